from __future__ import annotations

import asyncio

import pytest

from holdfast.storage.layout import FileKind
from holdfast.sync.delivery.bundler import Bundler
from holdfast.sync.delivery.calls import MAX_CALL_BYTES
from holdfast.sync.delivery.lanes import (
    LARGE_FILE_BYTES,
    LARGE_UPLOADS,
    MAX_IN_FLIGHT_BYTES,
    MAX_WAITING,
    Lanes,
    Place,
    Reservation,
)
from holdfast.sync.found import Found


def found(path: str, size_bytes: int, kind: FileKind = FileKind.CAPTURE) -> Found:
    return Found(path, kind, size_bytes, 0, 0)


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def enter(lanes: Lanes, room: Reservation, uploads: int) -> asyncio.Task[None]:
    task = asyncio.create_task(lanes.enter(room, uploads))
    await settled()
    return task


async def test_what_is_alone_enters_when_nothing_is_inside_and_nothing_enters_beside_it() -> None:
    lanes = Lanes()
    first, suspect, after = (lanes.reservation_for([found("/a", 1)], alone=alone) for alone in (False, True, False))
    await lanes.enter(first, 8)
    alone = await enter(lanes, suspect, 8)
    assert not alone.done()
    lanes.leave(first)
    await alone
    other = await enter(lanes, after, 8)
    assert not other.done()
    lanes.leave(suspect)
    await other


async def test_the_bytes_in_flight_are_bounded_however_many_uploads_are_allowed() -> None:
    lanes = Lanes()
    rooms = [lanes.reservation_for([found("/a", MAX_CALL_BYTES)]) for _ in range(100)]
    entered = [await enter(lanes, room, 250) for room in rooms]
    assert sum(task.done() for task in entered) == MAX_IN_FLIGHT_BYTES // MAX_CALL_BYTES
    for task in entered:
        task.cancel()


async def test_small_and_large_uploads_take_no_room_from_each_other() -> None:
    lanes = Lanes()
    large = [lanes.reservation_for([found("/a", LARGE_FILE_BYTES + 1)]) for _ in range(10)]
    small = [lanes.reservation_for([found("/a", 1)]) for _ in range(10)]
    entered = [await enter(lanes, room, 8) for room in (*large, *small)]
    assert [task.done() for task in entered].count(True) == LARGE_UPLOADS + 8
    for task in entered:
        task.cancel()


async def test_who_leaves_before_it_entered_frees_its_place_in_the_queue() -> None:
    lanes = Lanes()
    room = lanes.reservation_for([found("/a", LARGE_FILE_BYTES + 1)])
    await lanes.queue(room, 8)
    lanes.leave(room)
    assert lanes._queue.total() == 0


async def test_of_large_uploads_that_wait_those_of_the_highest_priority_enter_first() -> None:
    lanes = Lanes()
    size_bytes = LARGE_FILE_BYTES + 1
    first = [lanes.reservation_for([found("/a", size_bytes)], priority=1) for _ in range(LARGE_UPLOADS)]
    low, high = (lanes.reservation_for([found("/a", size_bytes)], priority=priority) for priority in (1, 9))
    for room in first:
        await lanes.queue(room, 8)
        await lanes.enter(room, 8)
    for room in (low, high):
        await lanes.queue(room, 8)
    waiting = [await enter(lanes, room, 8) for room in (low, high)]
    lanes.leave(first[0])
    await settled()
    assert [task.done() for task in waiting] == [False, True]
    lanes.leave(first[1])
    await asyncio.gather(*waiting)


async def test_who_leaves_lets_the_next_in_at_once_so_that_nothing_can_cut_that_off() -> None:
    lanes = Lanes()
    first, second = (lanes.reservation_for([found("/a", 1)]) for _ in range(2))
    await lanes.enter(first, 1)
    waiting = await enter(lanes, second, 1)
    lanes.leave(first)
    assert second.place is Place.INSIDE
    await waiting


async def test_the_place_of_one_that_is_cancelled_just_when_it_may_enter_goes_to_the_next() -> None:
    lanes = Lanes()
    first, second, third = (lanes.reservation_for([found("/a", 1)]) for _ in range(3))
    await lanes.enter(first, 1)
    cancelled, waiting = [await enter(lanes, room, 1) for room in (second, third)]
    lanes.leave(first)
    cancelled.cancel()
    await asyncio.wait_for(waiting, 10)
    assert (second.place, third.place) == (Place.OUTSIDE, Place.INSIDE)


async def test_who_is_cancelled_while_it_waits_takes_nothing_when_its_turn_comes() -> None:
    lanes = Lanes()
    first, second, third = (lanes.reservation_for([found("/a", 1)]) for _ in range(3))
    await lanes.enter(first, 1)
    cancelled, waiting = [await enter(lanes, room, 1) for room in (second, third)]
    cancelled.cancel()
    await settled()
    lanes.leave(first)
    await asyncio.wait_for(waiting, 10)


async def test_a_full_queue_of_large_uploads_lets_one_more_wait_when_one_has_entered() -> None:
    lanes = Lanes()
    rooms = [lanes.reservation_for([found("/a", LARGE_FILE_BYTES + 1)]) for _ in range(MAX_WAITING + 1)]
    for room in rooms[:-1]:
        await lanes.queue(room, 8)
    last = asyncio.create_task(lanes.queue(rooms[-1], 8))
    await settled()
    assert not last.done()
    await lanes.enter(rooms[0], 8)
    await asyncio.wait_for(last, 10)


async def test_what_leaving_costs_does_not_grow_with_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    lanes = Lanes()
    asked: list[Reservation] = []
    has_room = lanes._has_room

    def counted(room: Reservation, uploads: int) -> bool:
        asked.append(room)
        return has_room(room, uploads)

    monkeypatch.setattr(lanes, "_has_room", counted)
    large = [lanes.reservation_for([found("/a", LARGE_FILE_BYTES + 1)]) for _ in range(500)]
    for room in large:
        await lanes.queue(room, 8)
    tasks = [asyncio.create_task(lanes.enter(room, 8)) for room in large]
    small = lanes.reservation_for([found("/a", 1)])
    await lanes.enter(small, 8)
    await settled()
    asked.clear()
    lanes.leave(small)
    await settled()
    assert len(asked) < 10
    for task in tasks:
        task.cancel()


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
