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
    assert lanes._waiting.total() == 0


async def test_of_large_uploads_that_wait_those_of_the_highest_priority_enter_first() -> None:
    lanes = Lanes()
    size_bytes = LARGE_FILE_BYTES + 1
    first = [lanes.room_for([found("/a", size_bytes)], priority=1) for _ in range(LARGE_UPLOADS)]
    low, high = (lanes.room_for([found("/a", size_bytes)], priority=priority) for priority in (1, 9))
    for room in first:
        await lanes.queue(room, 8)
        await lanes.enter(room, 8)
    for room in (low, high):
        await lanes.queue(room, 8)
    waiting = [await enter(lanes, room, 8) for room in (low, high)]
    await lanes.leave(first[0])
    await settled()
    assert [task.done() for task in waiting] == [False, True]
    await lanes.leave(first[1])
    await asyncio.gather(*waiting)


def paths(bundles: list[list[Found]]) -> list[list[str]]:
    return [[each.path for each in bundle] for bundle in bundles]


def test_a_bundle_holds_capture_files_of_one_folder_and_one_call() -> None:
    bundler = Bundler(lambda path: 3)
    assert bundler.add(found("/a/1", 10)) == []
    assert paths(bundler.add(found("/b/1", 10))) == [["/a/1"]]
    assert paths(bundler.add(found("/b/note.txt", 10, FileKind.ARBITRARY))) == [["/b/note.txt"]]
    bundles = [paths(bundler.add(found(f"/b/{number}", 10))) for number in range(2, 5)]
    assert bundles == [[], [], [["/b/1", "/b/2", "/b/3"]]]
    assert paths(bundler.add(found("/b/large", MAX_CALL_BYTES))) == [["/b/4"]]
    assert paths([bundler.take()]) == [["/b/large"]] and bundler.take() == []


def test_what_has_gathered_goes_before_a_file_of_another_folder() -> None:
    bundler = Bundler(lambda path: 3)
    bundler.add(found("/a/1", 10))
    assert paths(bundler.add(found("/b/note.txt", 10, FileKind.ARBITRARY))) == [["/a/1"], ["/b/note.txt"]]
