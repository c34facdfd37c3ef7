from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path

import grpc
import pytest
from viam.proto.app.datasync import DataCaptureUploadRequest

from holdfast.base.at import Identity
from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.errors import StorageError
from holdfast.storage.ledger.counts import ReadingCounts
from holdfast.storage.ledger.known_files import WHOLE, Acknowledged
from holdfast.sync.delivery.calls import MAX_CALL_BYTES
from holdfast.sync.delivery.sequence_delivery import no_sequence_is_open
from holdfast.sync.found import Found, Outcome
from holdfast.sync.walk.walk import Walk
from tests.acceptance import accept_something

from ..conftest import API, World, make_world, metadata, reading, write_capture_file, write_old_file

COLLECTOR = (API, "lidar", "Readings")


def all_files(world: World) -> list[Found]:
    return list(Walk(world.files, SystemClock(), [str(world.folder)], 0.0))


def only_file(world: World) -> Found:
    (found,) = all_files(world)
    return found


async def attempt(world: World, found: Found | None = None) -> Outcome:
    await world.connected()
    return await attempt_now(world, found or only_file(world))


async def attempt_now(world: World, found: Found) -> Outcome:
    """Makes one attempt, whether there is a link or not."""
    outcomes = await world.delivery.attempt(world.store, [found], wait=False)
    return outcomes[found.path]


def counts(world: World) -> ReadingCounts:
    return world.ledger.readings().get(COLLECTOR, ReadingCounts())


async def test_a_capture_file_is_deleted_after_the_cloud_has_it(world: World) -> None:
    path = world.capture_file("9999-a", [1, 2, 3])
    assert await attempt(world) is Outcome.DELIVERED
    assert world.arrived.of("lidar") == [1, 2, 3]
    assert not path.exists()
    assert counts(world).delivered == 3


async def test_an_arbitrary_file_arrives_byte_for_byte_with_tags(world: World) -> None:
    content = bytes(range(256)) * 1000
    path = write_old_file(world.folder / "tag=x" / "a.bin", content)
    world.delivery.configure(("fleet",), no_sequence_is_open)
    assert await attempt(world) is Outcome.DELIVERED
    ((meta, received),) = world.arrived.files
    assert received == content and meta.file_name == str(path) and sorted(meta.tags) == ["fleet", "x"]
    assert not path.exists()
    assert (world.ledger.files.delivered, world.ledger.files.delivered_bytes) == (1, len(content))


async def test_a_file_stays_while_there_is_no_link(world: World) -> None:
    path = world.capture_file("9999-a", [1])
    found = only_file(world)
    await world.connected()
    await world.cable.cut()
    assert await attempt_now(world, found) is Outcome.WAITING
    assert path.exists() and world.delivery.retrying == 0


async def test_a_failing_unit_is_tried_again_later_and_others_go_on(world: World) -> None:
    path = world.capture_file("9999-a", [1])
    found = only_file(world)
    world.cloud.fail_next(grpc.StatusCode.INTERNAL, 1)
    assert await attempt(world, found) is Outcome.WAITING
    assert world.delivery.retrying == 1 and world.link.up and path.exists()
    assert not world.delivery.is_due(found)
    assert await attempt(world, found) is Outcome.DELIVERED
    assert world.delivery.retrying == 0


async def test_what_the_cloud_refuses_for_good_is_kept_in_failed_with_the_cause(world: World) -> None:
    world.capture_file("9999-a", [1, 2])
    world.cloud.fail_while = lambda method, _: grpc.StatusCode.INVALID_ARGUMENT if "Upload" in method else None
    assert await attempt(world) is Outcome.WAITING
    await accept_something(world.link)
    assert await attempt(world) is Outcome.QUARANTINED
    kept = world.folder / "failed" / "lidar" / "9999-a.capture"
    assert kept.exists()
    note = json.loads(kept.with_name(kept.name + ".cause.json").read_text())
    assert "INVALID_ARGUMENT" in note["cause"]
    assert counts(world).quarantined == 2 and counts(world).delivered == 0


async def test_an_arbitrary_file_that_is_refused_for_good_is_kept_too(world: World) -> None:
    write_old_file(world.folder / "notes" / "a.txt", b"x")
    world.cloud.fail_next(grpc.StatusCode.INVALID_ARGUMENT, 2)
    assert await attempt(world) is Outcome.WAITING
    await accept_something(world.link)
    assert await attempt(world) is Outcome.QUARANTINED
    assert (world.folder / "failed" / "notes" / "a.txt").read_bytes() == b"x"
    assert world.ledger.files.quarantined == 1


async def test_readings_around_damage_are_delivered_and_the_file_is_kept(world: World) -> None:
    path = world.capture_file("9999-a", [1, 2, 3, 4])
    data = bytearray(path.read_bytes())
    data[len(data) * 6 // 10] ^= 1
    path.write_bytes(bytes(data))
    assert await attempt(world) is Outcome.QUARANTINED
    arrived = world.arrived.of("lidar")
    assert len(arrived) == 3 and set(arrived) < {1, 2, 3, 4}
    assert (world.folder / "failed" / "lidar" / "9999-a.capture").read_bytes() == bytes(data)


async def test_a_file_with_no_readable_header_is_kept_whole(world: World) -> None:
    write_old_file(world.folder / "x.capture", b"no capture file")
    assert await attempt(world) is Outcome.QUARANTINED
    assert (world.folder / "failed" / "x.capture").read_bytes() == b"no capture file"


async def test_a_torn_end_costs_the_torn_reading_only_and_is_counted(world: World) -> None:
    path = world.capture_file("9999-a", [1, 2, 3])
    path.write_bytes(path.read_bytes()[:-5])
    assert await attempt(world) is Outcome.DELIVERED
    assert world.arrived.of("lidar") == [1, 2]
    assert counts(world).dropped == {"torn": 1}


@pytest.mark.parametrize("changed", [b"first and more", b"fir", b"FIRST"], ids=["grows", "shrinks", "same size"])
async def test_a_file_that_changes_while_it_is_sent_goes_again_whole(world: World, changed: bytes) -> None:
    path = write_old_file(world.folder / "a.txt", b"first")
    found = only_file(world)
    grown = False

    async def grow() -> None:
        nonlocal grown
        if not grown:
            path.write_bytes(changed)
            grown = True

    world.cloud.before_answer = grow
    assert await attempt(world, found) is Outcome.WAITING
    assert path.exists() and world.ledger.files.delivered == 0
    assert await attempt(world) is Outcome.DELIVERED
    assert [content for _, content in world.arrived.files] == [b"first", changed]


async def test_parts_that_the_cloud_has_are_not_sent_again(world: World) -> None:
    messages = [reading(n) + b"\x9a\x3e\x90\x4e" + b"x" * 10_000 for n in range(250)]
    assert sum(map(len, messages)) > 2 * MAX_CALL_BYTES
    write_capture_file(world.folder / "lidar", "9999-a", messages, metadata())
    sent = 0

    def second_fails(method: str, request: bytes | None) -> grpc.StatusCode | None:
        nonlocal sent
        if method == "DataCaptureUpload":
            sent += 1
        return grpc.StatusCode.INTERNAL if method == "DataCaptureUpload" and sent == 2 else None

    world.cloud.fail_while = second_fails
    assert await attempt(world) is Outcome.WAITING
    first = len(world.arrived.of("lidar"))
    assert 0 < first < 250
    assert await attempt(world) is Outcome.DELIVERED
    assert world.arrived.of("lidar") == list(range(250))
    assert counts(world).delivered == 250


async def test_what_the_cloud_has_is_not_sent_again_after_a_restart(
    tmp_path: Path, failing_removal: type[FileSystem]
) -> None:
    """The cloud has a part of one capture file, and all of another and of an arbitrary file that can't be
    deleted."""
    messages = [reading(n) + b"\x9a\x3e\x90\x4e" + b"x" * 10_000 for n in range(250)]

    def no_second_part(method: str, request: bytes | None) -> grpc.StatusCode | None:
        second = request is not None and len(world.arrived.of("lidar")) > 0 and b"lidar" in request
        return grpc.StatusCode.INTERNAL if second else None

    async with make_world(tmp_path, files=failing_removal()) as world:
        write_capture_file(world.folder / "lidar", "9999-a", messages, metadata())
        world.capture_file("9999-b", [7], "radar")
        write_old_file(world.folder / "note.txt", b"x")
        world.cloud.fail_while = no_second_part
        for found in all_files(world):
            assert await attempt(world, found) is Outcome.WAITING
        first = len(world.arrived.of("lidar"))
        assert 0 < first < 250 and world.arrived.of("radar") == [7] and len(world.arrived.files) == 1
    async with make_world(tmp_path) as again:
        for found in all_files(again):
            assert await attempt(again, found) is Outcome.DELIVERED
        assert again.arrived.of("lidar") == list(range(first, 250))
        assert again.arrived.of("radar") == [] and again.arrived.files == []
        assert counts(again).delivered == 250 and again.ledger.files.delivered == 1
        assert all_files(again) == []


async def test_what_was_acknowledged_and_can_not_be_deleted_is_never_sent_again(
    tmp_path: Path, failing_removal: type[FileSystem]
) -> None:
    files = failing_removal()
    async with make_world(tmp_path, files=files) as world:
        path = world.capture_file("9999-a", [1])
        found = only_file(world)
        assert await attempt(world, found) is Outcome.WAITING
        assert await attempt(world, found) is Outcome.WAITING
        assert world.arrived.of("lidar") == [1]
        files.broken = False  # type: ignore[attr-defined]
        assert await attempt(world, found) is Outcome.DELIVERED
        assert world.arrived.of("lidar") == [1] and not path.exists()
        assert counts(world).delivered == 1


async def test_an_arbitrary_file_that_can_not_be_deleted_is_sent_once(
    tmp_path: Path, failing_removal: type[FileSystem]
) -> None:
    files = failing_removal()
    async with make_world(tmp_path, files=files) as world:
        write_old_file(world.folder / "a.txt", b"x")
        found = only_file(world)
        for _ in range(3):
            assert await attempt(world, found) is Outcome.WAITING
        assert len(world.arrived.files) == 1


async def test_a_file_that_somebody_removed_is_no_failure(world: World) -> None:
    path = write_old_file(world.folder / "a.txt", b"x")
    found = only_file(world)
    path.unlink()
    assert await attempt(world, found) is Outcome.GONE
    assert world.ledger.files.vanished == 1


async def test_a_file_that_two_walks_found_is_delivered_and_has_not_vanished(world: World) -> None:
    write_old_file(world.folder / "a.txt", b"x")
    found = only_file(world)
    assert await attempt(world, found) is Outcome.DELIVERED
    assert await attempt(world, found) is Outcome.GONE
    assert (world.ledger.files.delivered, world.ledger.files.vanished) == (1, 0)


async def test_a_file_that_can_not_be_read_waits_and_stops_nobody(tmp_path: Path) -> None:
    class Unreadable(FileSystem):
        def read_at(self, descriptor: int, path: str, offset: int, size_bytes: int) -> bytes:
            if "bad" in path:
                raise StorageError("read", path, OSError(5, "Input/output error"))
            return super().read_at(descriptor, path, offset, size_bytes)

    async with make_world(tmp_path, files=Unreadable()) as world:
        bad = world.capture_file("bad", [1])
        assert await attempt(world) is Outcome.WAITING
        assert bad.exists() and "Input/output error" in (world.delivery.last_error or "")


async def test_an_attempt_that_is_cancelled_leaves_the_file(world: World) -> None:
    path = world.capture_file("9999-a", [1])
    arrived, never = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        arrived.set()
        await never.wait()

    world.cloud.before_answer = hold
    task = asyncio.create_task(attempt(world))
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    never.set()
    assert path.exists()


async def test_a_file_that_is_just_settled_is_nobody_elses_before_that_has_ended(tmp_path: Path) -> None:
    """Otherwise the limits would count as deleted what the ledger counts as delivered, or it would be sent
    again."""
    begun, go_on = threading.Event(), threading.Event()

    class SlowToDelete(FileSystem):
        def remove(self, path: str, identity: Identity | None = None) -> None:
            begun.set()
            assert go_on.wait(10)
            super().remove(path, identity)

    async with make_world(tmp_path, files=SlowToDelete()) as world:
        path = world.capture_file("9999-a", [1])
        task = asyncio.create_task(attempt(world))
        try:
            assert await asyncio.to_thread(begun.wait, 10)
            task.cancel()
            await asyncio.sleep(0)
            assert not task.done() and not world.store.claims.try_claim(str(path))
        finally:
            go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not path.exists() and world.store.claims.try_claim(str(path))


def test_the_request_of_the_parts_test_is_what_the_cloud_reads() -> None:
    """Its readings are made larger by an unknown field, which the cloud ignores."""
    message = reading(7) + b"\x9a\x3e\x90\x4e" + b"x" * 10_000
    request = DataCaptureUploadRequest()
    request.sensor_contents.add().MergeFromString(message)
    assert request.sensor_contents[0].struct.fields["readings"].struct_value.fields["n"].number_value == 7


async def test_a_file_that_the_limits_have_in_hand_is_not_sent(world: World) -> None:
    path = world.capture_file("9999-a", [1, 2, 3])
    assert world.store.claims.try_claim(str(path))
    assert await attempt(world) is Outcome.GONE
    assert world.arrived.numbers == []
    world.store.claims.release(str(path))
    assert await attempt(world) is Outcome.DELIVERED


async def test_a_file_that_is_sent_is_in_hand_until_it_is_gone(world: World) -> None:
    path = world.capture_file("9999-a", [1, 2, 3])
    taken: list[bool] = []

    async def look() -> None:
        taken.append(world.store.claims.try_claim(str(path)))

    world.cloud.before_answer = look
    assert await attempt(world) is Outcome.DELIVERED
    assert taken == [False]
    assert world.store.claims.try_claim(str(path))


async def test_what_is_delivered_is_taken_off_what_the_folder_holds(world: World) -> None:
    world.capture_file("9999-a", [1, 2, 3])
    world.store.space.count(lambda _: 5)
    before = world.store.space.captured_bytes
    assert await attempt(world) is Outcome.DELIVERED
    assert (before, world.store.space.captured_bytes) == (4096, 0)


@pytest.mark.parametrize("acknowledged", [4, 10**12, WHOLE])
async def test_a_file_of_which_the_ledger_knows_more_than_it_holds_is_sent_whole(
    world: World, acknowledged: int
) -> None:
    path = world.capture_file("9999-a", [1, 2, 3])
    found = only_file(world)
    known = Acknowledged(acknowledged, found.modified_ns)
    world.ledger.count_delivered(COLLECTOR, str(path), known, 0, ours=True)
    outcomes = [await attempt(world, found)]
    if outcomes == [Outcome.WAITING]:
        outcomes.append(await attempt(world, found))
    assert outcomes[-1] is Outcome.DELIVERED and not path.exists()
    assert world.arrived.of("lidar") == [1, 2, 3] and counts(world).delivered == 3
