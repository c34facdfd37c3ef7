from __future__ import annotations

import asyncio

from holdfast.storage.layout import FileKind
from holdfast.sync.lanes import LARGE_FILE_BYTES, LARGE_UPLOADS, MAX_IN_FLIGHT_BYTES, Bundler, Lanes, Room
from holdfast.sync.planner import MAX_CALL_BYTES
from holdfast.sync.walker import Found


def found(path: str, size_bytes: int, kind: FileKind = FileKind.CAPTURE) -> Found:
    return Found(path, kind, size_bytes, 0, 0)


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def enter(lanes: Lanes, room: Room, uploads: int) -> asyncio.Task[None]:
    task = asyncio.create_task(lanes.enter(room, uploads))
    await settled()
    return task


async def test_what_is_alone_enters_when_nothing_is_inside_and_nothing_enters_beside_it() -> None:
    lanes = Lanes()
    first, suspect, after = (lanes.room_for([found("/a", 1)], alone=alone) for alone in (False, True, False))
    await lanes.enter(first, 8)
    alone = await enter(lanes, suspect, 8)
    assert not alone.done()
    await lanes.leave(first)
    await alone
    other = await enter(lanes, after, 8)
    assert not other.done()
    await lanes.leave(suspect)
    await other


async def test_the_bytes_in_flight_are_bounded_however_many_uploads_are_allowed() -> None:
    lanes = Lanes()
    rooms = [lanes.room_for([found("/a", MAX_CALL_BYTES)]) for _ in range(100)]
    entered = [await enter(lanes, room, 250) for room in rooms]
    assert sum(task.done() for task in entered) == MAX_IN_FLIGHT_BYTES // MAX_CALL_BYTES
    for task in entered:
        task.cancel()


async def test_small_and_large_uploads_take_no_room_from_each_other() -> None:
    lanes = Lanes()
    large = [lanes.room_for([found("/a", LARGE_FILE_BYTES + 1)]) for _ in range(10)]
    small = [lanes.room_for([found("/a", 1)]) for _ in range(10)]
    entered = [await enter(lanes, room, 8) for room in (*large, *small)]
    assert [task.done() for task in entered].count(True) == LARGE_UPLOADS + 8
    for task in entered:
        task.cancel()


async def test_who_leaves_before_it_entered_frees_its_place_in_the_queue() -> None:
    lanes = Lanes()
    room = lanes.room_for([found("/a", LARGE_FILE_BYTES + 1)])
    await lanes.queue(room, 8)
    await lanes.leave(room)
    assert lanes._waiting == 0


def test_a_bundle_holds_capture_files_of_one_folder_and_one_call() -> None:
    bundler = Bundler(lambda path: 3)
    assert bundler.add(found("/a/1", 10)) == []
    assert [f.path for f in bundler.add(found("/b/1", 10))] == ["/a/1"]
    assert bundler.add(found("/b/note.txt", 10, FileKind.ARBITRARY))[0].path == "/b/note.txt"
    assert [len(bundler.add(found(f"/b/{number}", 10))) for number in range(2, 5)] == [0, 0, 3]
    assert [f.path for f in bundler.add(found("/b/large", MAX_CALL_BYTES))] == ["/b/4"]
    assert [f.path for f in bundler.take()] == ["/b/large"] and bundler.take() == []
