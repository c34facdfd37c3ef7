"""Rounds: where their files come from, what is sent first, how long they last, and what ends them."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import Entry, FileSystem
from holdfast.storage.space.limits import Rules
from holdfast.storage.store import Store
from holdfast.sync import rounds
from holdfast.sync.found import Outcome
from holdfast.sync.manual import SyncReport
from holdfast.sync.walk import walk
from holdfast.sync.walk.audit import Audit
from holdfast.sync.walk.walk import Walk
from tests.acceptance import accept_something
from tests.waiting import eventually

from .conftest import API, World, found_at, make_world, waited, write_old_file


class Unlisted(FileSystem):
    """A disk on which the folder of `lidar` seems empty, as if it were not listed."""

    def list_folder(self, path: str, *, with_status: bool = False) -> Iterator[Entry]:
        return iter(()) if os.path.basename(path) == "lidar" else super().list_folder(path, with_status=with_status)


async def test_a_file_that_we_have_just_completed_is_sent_though_its_folder_is_not_listed(tmp_path: Path) -> None:
    async with make_world(tmp_path, files=Unlisted()) as world:
        path = world.capture_file("9999-a", [1])
        world.rounds.configure(world.settings())
        await eventually(lambda: world.completed >= 2)
        assert world.arrived.numbers == []
        world.complete(path)
        await eventually(lambda: world.arrived.of("lidar") == [1])


async def test_a_file_that_is_known_and_found_by_the_same_round_goes_once_and_frees_its_place(world: World) -> None:
    world.rounds.configure(world.settings(uploads=1))
    for number in range(3):
        path = world.capture_file(f"9999-{number}", [number])
        world.complete(path)
        await eventually(lambda: len(world.arrived.numbers) == number + 1)  # noqa: B023
    assert world.arrived.of("lidar") == [0, 1, 2]


async def test_a_retry_needs_no_listing_of_its_folder(tmp_path: Path) -> None:
    async with make_world(tmp_path, files=Unlisted()) as world:
        path = world.capture_file("9999-a", [1])
        world.delivery.retries.note_failure([str(path)])
        gone = str(world.folder / "lidar" / "gone.capture")
        elsewhere = write_old_file(tmp_path / "elsewhere.txt", b"x")
        world.delivery.retries.note_failure([gone])
        world.delivery.retries.note_failure([str(elsewhere)])
        world.rounds.configure(world.settings())
        await eventually(lambda: world.arrived.of("lidar") == [1])
        await eventually(lambda: world.delivery.retrying == 1)  # the one elsewhere
        await eventually(lambda: world.delivery.retries.is_due(str(elsewhere)))
        completed = world.completed
        await eventually(lambda: world.completed >= completed + 3 and world.rounds.in_flight == 0)
        assert elsewhere.exists(), "what is under no sync path any more is not sent"


@pytest.mark.parametrize("newest", [False, True])
async def test_what_is_captured_during_a_long_round_goes_before_a_backlog_of_a_lower_priority(
    world: World, newest: bool
) -> None:
    """With newest first it is also sent before a backlog of its own priority; with oldest first, after that."""
    go_on = asyncio.Event()
    world.cloud.before_answer = lambda: waited(go_on)
    world.store.limits.configure(Rules(priorities={"high": 9, **{f"low{n}": 1 for n in range(20)}}))
    for number in range(20):
        world.capture_file("2023-a", [number], f"low{number}")
    world.rounds.configure(world.settings(uploads=1, interval_s=0.2, newest_first=newest))
    await eventually(lambda: world.cloud.calls["DataCaptureUpload"] == 1)
    same, high = world.capture_file("2024-b", [1], "low0"), world.capture_file("2024-b", [1], "high")
    for path in (same, high):
        world.complete(path)
    go_on.set()
    await eventually(lambda: len(world.arrived.numbers) == 22)
    order = [name for name, _ in world.arrived.numbers]
    assert order.index("high") <= 3
    assert (order[1:].index("low0") <= 4) == newest


async def test_a_long_round_completes_what_is_captured_meanwhile(world: World) -> None:
    go_on = asyncio.Event()
    world.cloud.before_answer = lambda: waited(go_on)
    for number in range(50):
        world.capture_file("2023-a", [number], f"sensor{number}")
    world.rounds.configure(world.settings(uploads=1, interval_s=0.001))
    await eventually(lambda: world.cloud.calls["DataCaptureUpload"] == 1)
    completed = world.completed
    go_on.set()
    await eventually(lambda: len(world.arrived.numbers) == 50)
    assert world.completed > completed + 3


async def test_a_round_does_not_wait_for_a_survey_that_takes_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    class Slow(FileSystem):
        def list_folder(self, path: str, *, with_status: bool = False) -> Iterator[Entry]:
            for number, entry in enumerate(super().list_folder(path, with_status=with_status)):
                if os.path.basename(path) == "lidar" and number == 9:
                    go_on.wait(20)
                yield entry

    monkeypatch.setattr(rounds, "_SURVEY_S", 0.0)
    monkeypatch.setattr(walk, "_STEP", 4)
    async with make_world(tmp_path, files=Slow()) as world:
        for number in range(10):
            world.capture_file(f"9999-{number}", [number])
        world.rounds.configure(world.settings())
        await eventually(lambda: world.arrived.numbers)
        assert not go_on.is_set()
        go_on.set()
        await eventually(lambda: sorted(world.arrived.of("lidar")) == list(range(10)))


async def test_a_folder_that_is_not_listed_yet_has_lost_nothing(world: World) -> None:
    """Only a walk that looked everywhere may say that readings have vanished."""
    world.ledger.note_completing((API, "lidar", "Readings"), "x", 3)
    walk = Walk(world.files, SystemClock(), [str(world.folder)], 0.0)
    audit = Audit(world.store)
    await eventually(lambda: world.store.recovered_all)
    list(walk)
    walk.whole = False
    await asyncio.to_thread(audit.finish, walk, [])
    assert world.ledger.readings()[API, "lidar", "Readings"].vanished == 0
    walk.whole = True
    await asyncio.to_thread(audit.finish, walk, [])
    assert world.ledger.readings()[API, "lidar", "Readings"].vanished == 3


async def test_a_file_belongs_to_the_store_that_it_had_when_it_was_claimed(world: World) -> None:
    """A new config may make its folder a store of its own while the file is under way."""
    path = world.capture_file("9999-a", [1])
    nested = Store(world.files, SystemClock(), str(path.parent), 1.0, 5.0)
    await eventually(lambda: nested.owned)
    claimed: list[bool] = []

    async def change() -> None:
        world.stores.append(nested)
        claimed.append(world.store.claims.try_claim(str(path)))

    world.cloud.before_answer = change
    world.rounds.configure(world.settings(disabled=True))
    assert (await world.rounds.sync_now()).files == 1
    assert claimed == [False] and world.store.claims.try_claim(str(path))
    assert world.ledger.readings()[API, "lidar", "Readings"].delivered == 1 and not nested.ledger.readings()
    await nested.close()


async def test_a_store_that_is_given_up_ends_the_uploads_that_belong_to_it_though_they_lie_elsewhere(
    tmp_path: Path,
) -> None:
    async with make_world(tmp_path) as world:
        arrived = asyncio.Event()

        async def hold() -> None:
            arrived.set()
            await asyncio.Event().wait()

        world.cloud.before_answer = hold
        outside = write_old_file(tmp_path / "outside" / "a.txt", b"x")
        world.rounds.configure(world.settings(disabled=True, additional_paths=(str(outside.parent),)))
        manual = asyncio.create_task(world.rounds.sync_now())
        await asyncio.wait_for(arrived.wait(), 20)
        other = Store(world.files, SystemClock(), str(tmp_path / "other"), 1.0, 5.0)
        world.stores.insert(0, other)
        await asyncio.wait_for(world.rounds.release(world.store), 20)
        report = await asyncio.wait_for(manual, 20)
        assert report.failed.count == 1 and outside.exists()
        await other.close()


async def test_scheduled_sync_delivers_what_appears(world: World) -> None:
    world.rounds.configure(world.settings())
    world.capture_file("9999-a", [1])
    await eventually(lambda: world.arrived.of("lidar") == [1])
    world.capture_file("9999-b", [2])
    write_old_file(world.folder / "note.txt", b"x")
    await eventually(lambda: world.arrived.of("lidar") == [1, 2] and len(world.arrived.files) == 1)
    assert world.completed >= 2


async def test_disabled_means_that_nothing_is_sent_by_itself(world: World) -> None:
    world.rounds.configure(world.settings(disabled=True))
    world.capture_file("9999-a", [1])
    await eventually(lambda: "disabled" in world.rounds.state)
    assert world.arrived.numbers == []


async def test_disabling_stops_uploads_that_are_under_way(world: World) -> None:
    arrived, never = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        arrived.set()
        await never.wait()

    world.cloud.before_answer = hold
    path = world.capture_file("9999-a", [1])
    world.rounds.configure(world.settings())
    await asyncio.wait_for(arrived.wait(), 20)
    world.rounds.configure(world.settings(disabled=True))
    await eventually(lambda: world.rounds.in_flight == 0)
    assert path.exists()
    never.set()


async def test_after_a_cut_everything_arrives_by_itself_once(world: World) -> None:
    world.rounds.configure(world.settings())
    await world.connected()
    await world.cable.cut()
    for number in range(20):
        world.capture_file(f"9999-{number}", [number])
    await eventually(lambda: not world.link.usable)
    await world.cable.restore()
    await eventually(lambda: len(world.arrived.numbers) >= 20)
    assert sorted(world.arrived.of("lidar")) == list(range(20))


async def test_after_the_cloud_was_unavailable_everything_arrives_by_itself(world: World) -> None:
    unwell = True

    def unavailable(method: str, request: bytes | None) -> grpc.StatusCode | None:
        return grpc.StatusCode.UNAVAILABLE if unwell and method == "DataCaptureUpload" else None

    world.cloud.fail_while = unavailable
    for number in range(20):
        world.capture_file(f"9999-{number}", [number])
    world.rounds.configure(world.settings())
    await eventually(lambda: world.link.state.value == "cloud unavailable")
    tried = world.cloud.calls["DataCaptureUpload"]
    assert tried <= 20
    unwell = False
    await eventually(lambda: len(world.arrived.numbers) == 20)


async def test_one_slow_file_holds_up_no_later_round(world: World) -> None:
    release = asyncio.Event()
    slow_arrived = asyncio.Event()

    async def hold() -> None:
        if not slow_arrived.is_set():
            slow_arrived.set()
            await release.wait()

    world.cloud.before_answer = hold
    write_old_file(world.folder / "slow.bin", b"x" * 1000)
    world.rounds.configure(world.settings())
    await asyncio.wait_for(slow_arrived.wait(), 20)
    world.capture_file("9999-a", [1])
    await eventually(lambda: world.arrived.of("lidar") == [1])
    release.set()
    await eventually(lambda: len(world.arrived.files) == 1)


async def test_no_more_uploads_than_configured_are_under_way(world: World) -> None:
    most = 0
    now = 0
    second = asyncio.Event()

    async def count() -> None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        if now == 2:
            second.set()
        await asyncio.wait_for(second.wait(), 20)
        now -= 1

    world.cloud.before_answer = count
    for number in range(10):
        world.capture_file("9999-a", [number], f"sensor-{number}")
    world.rounds.configure(world.settings(disabled=True, uploads=2))
    await world.rounds.sync_now()
    assert most == 2


async def test_the_selector_decides_over_scheduled_sync_and_not_over_manual(world: World) -> None:
    reason = "the selective syncer says no"

    async def should_sync() -> str:
        return reason

    world.capture_file("9999-a", [1])
    world.rounds.configure(world.settings(should_sync=should_sync))
    await eventually(lambda: "says no" in world.rounds.state)
    assert world.rounds.selector == reason and world.arrived.numbers == []
    assert (await world.rounds.sync_now()).files == 1
    world.capture_file("9999-b", [2])
    reason = ""
    await eventually(lambda: world.arrived.of("lidar") == [1, 2])
    assert world.rounds.selector == "should_sync is true"
    world.rounds.configure(world.settings())
    await eventually(lambda: world.rounds.selector == "")


async def test_an_upload_that_is_cancelled_before_it_began_leaves_nothing_behind(world: World) -> None:
    await world.connected()
    path = world.capture_file("9999-a", [1])
    world.rounds.configure(world.settings(interval_s=3600))
    report = SyncReport()
    await world.rounds._start([found_at(path)], None)  # there is room, so that nothing else ran meanwhile
    world.rounds.configure(world.settings(disabled=True))
    assert world.rounds.in_flight == 1
    await eventually(lambda: world.rounds.in_flight == 0)
    await world.rounds._start([found_at(path)], report)
    await asyncio.wait_for(world.rounds.release(world.store), 20)
    await asyncio.wait_for(report.done.wait(), 20)
    assert (report.failed.count, world.arrived.numbers) == (1, [])
    for _ in range(10):
        assert await world.rounds._start([found_at(path)], report), "there is room for eight"
        await world.rounds.release(world.store)


async def test_files_of_paths_outside_the_capture_folder_are_synced_and_quarantined_beside_themselves(
    tmp_path: Path,
) -> None:
    async with make_world(tmp_path) as world:
        outside = tmp_path / "outside"
        write_old_file(outside / "a.txt", b"x")
        world.rounds.configure(world.settings(disabled=True, additional_paths=(str(outside),)))
        world.cloud.fail_next(grpc.StatusCode.INVALID_ARGUMENT, 2)
        assert (await world.rounds.sync_now()).quarantined == 0
        await accept_something(world.link)
        assert (await world.rounds.sync_now()).quarantined == 1
        assert (outside / "failed" / "a.txt").exists()
        write_old_file(outside / "b.txt", b"y")
        assert (await world.rounds.sync_now()).files == 1
        assert [content for _, content in world.arrived.files] == [b"y"]


async def test_what_went_is_told_by_sync_path_as_it_is_configured(tmp_path: Path) -> None:
    async with make_world(tmp_path) as world:
        real, link = tmp_path / "real", tmp_path / "link"
        write_old_file(real / "folder" / "a.txt", b"x")
        link.symlink_to(real)
        world.capture_file("9999-a", [1])
        world.rounds.configure(world.settings(disabled=True, additional_paths=(str(link),)))
        await world.rounds.sync_now()
        assert set(world.rounds.summary._totals) == {str(world.folder), str(link)}


async def test_an_orderly_stop_lets_an_upload_end_so_that_it_does_not_arrive_twice(world: World) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        arrived.set()
        await go_on.wait()

    world.cloud.before_answer = hold
    path = world.capture_file("9999-a", [1])
    world.rounds.configure(world.settings())
    await asyncio.wait_for(arrived.wait(), 20)
    stopping = asyncio.create_task(world.rounds.stop())
    await asyncio.sleep(0)
    go_on.set()
    await stopping
    assert world.arrived.of("lidar") == [1] and not path.exists()


async def test_a_stop_in_a_hurry_waits_for_no_upload(world: World) -> None:
    arrived = asyncio.Event()

    async def never() -> None:
        arrived.set()
        await asyncio.Event().wait()

    world.cloud.before_answer = never
    path = world.capture_file("9999-a", [1])
    world.rounds.configure(world.settings())
    await asyncio.wait_for(arrived.wait(), 20)
    patient = asyncio.create_task(world.rounds.stop(1000))
    hurried = asyncio.create_task(world.rounds.stop(0))
    await asyncio.wait_for(asyncio.gather(patient, hurried), 20)
    assert path.exists()


async def test_a_stop_ends_an_upload_that_takes_its_cancellation_for_a_closed_connection(world: World) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def attempt(*founds: object, **how: object) -> dict[str, Outcome]:
        began.set()
        try:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            await asyncio.Event().wait()  # for the link
        finally:
            ended.set()
        return {}

    world.delivery.attempt = attempt  # type: ignore[method-assign]
    world.capture_file("9999-a", [1])
    world.rounds.configure(world.settings())
    await asyncio.wait_for(began.wait(), 20)
    await asyncio.wait_for(world.rounds.stop(0), 20)
    assert ended.is_set() and world.rounds.in_flight == 0


async def test_a_stop_does_not_wait_for_uploads_that_have_no_link(world: World) -> None:
    await world.connected()
    world.capture_file("9999-a", [1])
    world.rounds.configure(world.settings())
    await world.cable.cut()
    await eventually(lambda: not world.link.usable)
    await world.rounds.stop()
    assert world.rounds.in_flight == 0


async def test_a_walk_that_began_before_does_not_say_that_a_folder_is_empty(world: World) -> None:
    before = world.store.begin_round()
    emptied = asyncio.create_task(world.store.emptied())
    await asyncio.sleep(0)
    world.store.found_empty(before)
    await asyncio.sleep(0)
    assert not emptied.done()
    world.rounds.configure(world.settings())
    await emptied


async def test_a_folder_with_a_file_that_is_not_sent_yet_is_not_empty(world: World) -> None:
    world.cloud.fail_while = lambda method, request: grpc.StatusCode.INTERNAL if "Upload" in method else None
    world.capture_file("9999-a", [1])
    emptied = asyncio.create_task(world.store.emptied())
    world.rounds.configure(world.settings())
    completed = world.completed
    await eventually(lambda: world.completed >= completed + 3)
    assert not emptied.done()
    world.cloud.fail_while = None
    await emptied
    assert world.arrived.of("lidar") == [1]


async def test_disabling_in_the_middle_of_a_round_begins_no_further_upload(world: World) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        arrived.set()
        await go_on.wait()

    world.cloud.before_answer = hold
    for number in range(20):
        world.capture_file(f"9999-{number}", [number])
    world.rounds.configure(world.settings(uploads=1, interval_s=0.01))
    await asyncio.wait_for(arrived.wait(), 20)
    world.rounds.configure(world.settings(uploads=1, interval_s=3600, disabled=True))
    go_on.set()
    await eventually(lambda: "disabled" in world.rounds.state and world.rounds.in_flight == 0)
    assert world.cloud.calls["DataCaptureUpload"] == 1


async def test_what_is_pending_is_what_the_walk_found_and_has_not_gone_since(world: World) -> None:
    release = asyncio.Event()
    world.cloud.before_answer = lambda: waited(release)
    for number in range(5):
        world.capture_file("9999-a", [number], f"sensor-{number}")
    world.rounds.configure(world.settings(interval_s=3600))
    manual = asyncio.create_task(world.rounds.sync_now())
    await eventually(lambda: (world.pending or (0,))[0] == 5 and world.rounds.in_flight == 5)
    assert world.pending is not None and world.pending[1] > 0 and world.delivery.meter.bytes_per_s == 0
    release.set()
    await manual
    assert world.pending == (0, 0)
    assert world.delivery.meter.bytes_per_s > 0


async def test_what_goes_together_is_accounted_for_file_by_file(world: World) -> None:
    size_bytes = sum(world.capture_file(f"9999-{number}", [number]).stat().st_size for number in range(3))
    world.rounds.configure(world.settings(disabled=True))
    world.cloud.fail_next(grpc.StatusCode.INTERNAL, 1)
    assert (await world.rounds.sync_now()).failed.count == 3
    await eventually(lambda: world.pending == (3, size_bytes))
    assert (await world.rounds.sync_now()).files == 3
    assert world.pending == (0, 0)
    tally = world.rounds.summary._totals[str(world.folder)]
    assert (tally.files, tally.bytes, tally.failed) == (3, size_bytes, 3)
    assert world.cloud.calls["DataCaptureUpload"] == 2


async def test_what_a_stream_moves_counts_while_it_goes(world: World) -> None:
    release = asyncio.Event()
    world.cloud.before_answer = lambda: waited(release)
    write_old_file(world.folder / "a.bin", bytes(300_000))
    world.rounds.configure(world.settings(disabled=True))
    manual = asyncio.create_task(world.rounds.sync_now())
    await eventually(lambda: world.delivery.meter.bytes_per_s > 0)
    assert not manual.done()
    release.set()
    await manual


async def test_the_oldest_that_waits_is_known_also_while_its_folder_is_not_listed(world: World) -> None:
    world.cloud.fail_while = lambda method, request: grpc.StatusCode.INTERNAL if "Upload" in method else None
    for number in (30, 10, 20):
        path = world.capture_file("9999-a", [number], f"sensor-{number}")
        os.utime(path, (number, number))

    def oldest_ns() -> float | None:
        waiting = world.rounds.backlog.waiting
        return None if waiting is None else waiting.oldest_ns

    world.rounds.configure(world.settings())
    await eventually(lambda: (world.pending or (0,))[0] == 3 and world.delivery.retrying == 3)
    rounds = world.completed
    await eventually(lambda: world.completed >= rounds + 3)
    assert oldest_ns() == 10e9
    world.cloud.fail_while = None
    await world.rounds.sync_now()
    assert oldest_ns() is None
