from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from holdfast.errors import NotConnectedError
from holdfast.storage.layout import FileKind
from holdfast.sync.found import Found, Outcome
from holdfast.sync.manual import SyncReport
from tests.waiting import eventually

from .conftest import World, found_at, make_world, waited, write_old_file


async def test_scheduled_sync_delivers_what_appears(world: World) -> None:
    world.sync.configure(world.settings())
    world.capture_file("9999-a", [1])
    await eventually(lambda: world.arrived.of("lidar") == [1])
    world.capture_file("9999-b", [2])
    write_old_file(world.folder / "note.txt", b"x")
    await eventually(lambda: world.arrived.of("lidar") == [1, 2] and len(world.arrived.files) == 1)
    assert world.completed >= 2


async def test_a_manual_sync_delivers_what_is_there_when_it_is_called(world: World) -> None:
    world.sync.configure(world.settings(disabled=True))
    for number in range(30):
        world.capture_file(f"9999-{number}", [number])
    report = await world.sync.sync_now()
    assert sorted(world.arrived.of("lidar")) == list(range(30))
    assert (report.files, report.failed.count, report.quarantined) == (30, 0, 0)
    assert world.completed == 1


async def test_disabled_means_that_nothing_is_sent_by_itself(world: World) -> None:
    world.sync.configure(world.settings(disabled=True))
    world.capture_file("9999-a", [1])
    await eventually(lambda: "disabled" in world.sync.state)
    assert world.arrived.numbers == []


async def test_disabling_stops_uploads_that_are_under_way(world: World) -> None:
    arrived, never = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        arrived.set()
        await never.wait()

    world.cloud.before_answer = hold
    path = world.capture_file("9999-a", [1])
    world.sync.configure(world.settings())
    await asyncio.wait_for(arrived.wait(), 20)
    world.sync.configure(world.settings(disabled=True))
    await eventually(lambda: world.sync.in_flight == 0)
    assert path.exists()
    never.set()


async def test_a_manual_sync_tells_what_failed_and_what_is_too_recent(world: World) -> None:
    world.sync.configure(world.settings(disabled=True, min_age_s=3600))
    world.capture_file("9999-a", [1])
    (world.folder / "new.txt").write_text("x")
    world.cloud.fail_next(grpc.StatusCode.INTERNAL, 1)
    report = await world.sync.sync_now()
    assert report.failed.first == [str(world.folder / "lidar" / "9999-a.capture")]
    assert report.too_recent == [str(world.folder / "new.txt")]
    assert "INTERNAL" in report.last_error


async def test_a_manual_sync_does_not_wait_for_a_backoff(world: World) -> None:
    world.sync.configure(world.settings(disabled=True))
    world.capture_file("9999-a", [1])
    world.cloud.fail_next(grpc.StatusCode.INTERNAL, 1)
    await world.sync.sync_now()
    assert (await world.sync.sync_now()).files == 1


async def test_two_manual_syncs_share_the_work(world: World) -> None:
    world.sync.configure(world.settings(disabled=True))
    for number in range(20):
        world.capture_file(f"9999-{number}", [number])
    first, second = await asyncio.gather(world.sync.sync_now(), world.sync.sync_now())
    assert sorted(world.arrived.of("lidar")) == list(range(20))
    assert first.failed.count == second.failed.count == 0
    assert max(first.files, second.files) == 20


async def test_a_manual_sync_waits_for_an_upload_that_is_under_way_already(world: World) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        arrived.set()
        await go_on.wait()

    world.cloud.before_answer = hold
    world.capture_file("9999-a", [1])
    world.sync.configure(world.settings())
    await asyncio.wait_for(arrived.wait(), 20)
    manual = asyncio.create_task(world.sync.sync_now())
    await eventually(lambda: world.completed >= 2)
    go_on.set()
    assert (await manual).files == 1
    assert world.arrived.of("lidar") == [1]


async def test_without_a_link_a_manual_sync_fails_and_says_why(world: World) -> None:
    world.sync.configure(world.settings(disabled=True))
    await world.link.connected()
    await world.cable.cut()
    world.capture_file("9999-a", [1])
    assert (await world.sync.sync_now()).failed.count == 1, "the cut is noticed by the first call"
    with pytest.raises(NotConnectedError, match=r"not connected to the cloud: .*can't connect"):
        await world.sync.sync_now()


async def test_after_a_cut_everything_arrives_by_itself_once(world: World) -> None:
    world.sync.configure(world.settings())
    await world.link.connected()
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
    world.sync.configure(world.settings())
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
    world.sync.configure(world.settings())
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
    world.sync.configure(world.settings(disabled=True, uploads=2))
    await world.sync.sync_now()
    assert most == 2


async def test_the_selector_decides_over_scheduled_sync_and_not_over_manual(world: World) -> None:
    reason = "the selective syncer says no"

    async def should_sync() -> str:
        return reason

    world.capture_file("9999-a", [1])
    world.sync.configure(world.settings(should_sync=should_sync))
    await eventually(lambda: "says no" in world.sync.state)
    assert world.sync.selector == reason and world.arrived.numbers == []
    assert (await world.sync.sync_now()).files == 1
    world.capture_file("9999-b", [2])
    reason = ""
    await eventually(lambda: world.arrived.of("lidar") == [1, 2])
    assert world.sync.selector == "should_sync is true"
    world.sync.configure(world.settings())
    await eventually(lambda: world.sync.selector == "")


async def test_a_cancelled_manual_sync_breaks_nothing(world: World) -> None:
    go_on = asyncio.Event()
    world.cloud.before_answer = lambda: waited(go_on)
    world.capture_file("9999-a", [1])
    world.sync.configure(world.settings(disabled=True))
    manual = asyncio.create_task(world.sync.sync_now())
    await eventually(lambda: world.sync.in_flight == 1)
    manual.cancel()
    with pytest.raises(asyncio.CancelledError):
        await manual
    go_on.set()
    await eventually(lambda: world.sync.in_flight == 0)
    assert world.arrived.of("lidar") == [1]


async def test_an_upload_that_is_cancelled_before_it_began_leaves_nothing_behind(world: World) -> None:
    path = world.capture_file("9999-a", [1])
    world.sync.configure(world.settings(interval_s=3600))
    report = SyncReport()
    await world.sync._start([found_at(path)], None)  # there is room, so that nothing else ran meanwhile
    world.sync.configure(world.settings(disabled=True))
    assert world.sync.in_flight == 1
    await eventually(lambda: world.sync.in_flight == 0)
    await world.sync._start([found_at(path)], report)
    await asyncio.wait_for(world.sync.release(world.store), 20)
    await asyncio.wait_for(report.done.wait(), 20)
    assert (report.failed.count, world.arrived.numbers) == (1, [])
    for _ in range(10):
        assert await world.sync._start([found_at(path)], report), "there is room for eight"
        await world.sync.release(world.store)


async def test_a_file_that_is_named_twice_counts_once(world: World) -> None:
    world.sync.configure(world.settings(disabled=True))
    path = world.capture_file("9999-a", [1])
    assert (await world.sync.sync_files([str(path), str(path)])).files == 1
    report, path = SyncReport(), world.capture_file("9999-b", [2])
    await world.sync._start([found_at(path), found_at(path)], report)
    await asyncio.wait_for(report.done.wait(), 20)
    assert (report.files, world.arrived.of("lidar")) == (1, [1, 2])


async def test_files_of_paths_outside_the_capture_folder_are_synced_and_quarantined_beside_themselves(
    tmp_path: Path,
) -> None:
    async with make_world(tmp_path) as world:
        outside = tmp_path / "outside"
        write_old_file(outside / "a.txt", b"x")
        world.sync.configure(world.settings(disabled=True, additional_paths=(str(outside),)))
        world.cloud.fail_next(grpc.StatusCode.INVALID_ARGUMENT, 1)
        assert (await world.sync.sync_now()).quarantined == 1
        assert (outside / "failed" / "a.txt").exists()
        write_old_file(outside / "b.txt", b"y")
        assert (await world.sync.sync_now()).files == 1
        assert [content for _, content in world.arrived.files] == [b"y"]


async def test_what_went_is_told_by_sync_path_as_it_is_configured(tmp_path: Path) -> None:
    async with make_world(tmp_path) as world:
        real, link = tmp_path / "real", tmp_path / "link"
        write_old_file(real / "folder" / "a.txt", b"x")
        link.symlink_to(real)
        world.capture_file("9999-a", [1])
        world.sync.configure(world.settings(disabled=True, additional_paths=(str(link),)))
        await world.sync.sync_now()
        assert set(world.sync.summary._totals) == {str(world.folder), str(link)}


def test_a_report_lists_a_hundred_failures_and_counts_all() -> None:
    report = SyncReport(pending=150)
    for number in range(150):
        report.note_outcome(Found(f"/f{number}", FileKind.ARBITRARY, 1, 0, 0), Outcome.WAITING)
    assert report.failed.count == 150 and len(report.failed.first) == 100 and report.done.is_set()


async def test_an_orderly_stop_lets_an_upload_end_so_that_it_does_not_arrive_twice(world: World) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        arrived.set()
        await go_on.wait()

    world.cloud.before_answer = hold
    path = world.capture_file("9999-a", [1])
    world.sync.configure(world.settings())
    await asyncio.wait_for(arrived.wait(), 20)
    stopping = asyncio.create_task(world.sync.stop())
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
    world.sync.configure(world.settings())
    await asyncio.wait_for(arrived.wait(), 20)
    patient = asyncio.create_task(world.sync.stop(1000))
    hurried = asyncio.create_task(world.sync.stop(0))
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
    world.sync.configure(world.settings())
    await asyncio.wait_for(began.wait(), 20)
    await asyncio.wait_for(world.sync.stop(0), 20)
    assert ended.is_set() and world.sync.in_flight == 0


async def test_a_stop_does_not_wait_for_uploads_that_have_no_link(world: World) -> None:
    await world.link.connected()
    world.capture_file("9999-a", [1])
    world.sync.configure(world.settings())
    await world.cable.cut()
    await eventually(lambda: not world.link.usable)
    await world.sync.stop()
    assert world.sync.in_flight == 0


async def test_a_walk_that_began_before_does_not_say_that_a_folder_is_empty(world: World) -> None:
    before = world.store.begin_round()
    emptied = asyncio.create_task(world.store.emptied())
    await asyncio.sleep(0)
    world.store.found_empty(before)
    await asyncio.sleep(0)
    assert not emptied.done()
    world.sync.configure(world.settings())
    await emptied


async def test_a_folder_with_a_file_that_is_not_sent_yet_is_not_empty(world: World) -> None:
    world.cloud.fail_while = lambda method, request: grpc.StatusCode.INTERNAL if "Upload" in method else None
    world.capture_file("9999-a", [1])
    emptied = asyncio.create_task(world.store.emptied())
    world.sync.configure(world.settings())
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
    world.sync.configure(world.settings(uploads=1, interval_s=0.01))
    await asyncio.wait_for(arrived.wait(), 20)
    world.sync.configure(world.settings(uploads=1, interval_s=3600, disabled=True))
    go_on.set()
    await eventually(lambda: "disabled" in world.sync.state and world.sync.in_flight == 0)
    assert world.cloud.calls["DataCaptureUpload"] == 1


async def test_between_close_and_successor_a_manual_sync_begins_no_upload_either(world: World) -> None:
    world.sync.configure(world.settings(disabled=True))
    world.capture_file("9999-a", [1])
    world.sync.pause()
    manual = asyncio.create_task(world.sync.sync_now())
    await eventually(lambda: world.sync.in_flight == 1)
    assert world.cloud.calls["DataCaptureUpload"] == 0
    world.sync.configure(world.settings(disabled=True))
    assert (await manual).files == 1


async def test_disabling_leaves_the_uploads_for_which_a_manual_sync_waits(world: World) -> None:
    go_on = asyncio.Event()
    world.cloud.before_answer = lambda: waited(go_on)
    for number in range(3):
        world.capture_file("9999-a", [number], f"sensor-{number}")
    world.sync.configure(world.settings(uploads=1))
    manual = asyncio.create_task(world.sync.sync_now())
    await eventually(lambda: world.cloud.calls["DataCaptureUpload"] == 1 and world.completed >= 2)
    world.sync.configure(world.settings(uploads=1, disabled=True))
    go_on.set()
    report = await manual
    assert (report.files, report.failed.count) == (3, 0)


async def test_a_stop_ends_a_manual_round_too(world: World) -> None:
    go_on = asyncio.Event()
    world.cloud.before_answer = lambda: waited(go_on)
    for number in range(5):
        world.capture_file("9999-a", [number], f"sensor-{number}")
    world.sync.configure(world.settings(uploads=1, disabled=True))
    manual = asyncio.create_task(world.sync.sync_now())
    await eventually(lambda: world.cloud.calls["DataCaptureUpload"] == 1)
    stopping = asyncio.create_task(world.sync.stop())
    await asyncio.sleep(0)
    go_on.set()
    await stopping
    assert (await manual).files <= 1
    assert world.sync.in_flight == 0 and world.cloud.calls["DataCaptureUpload"] == 1


async def test_what_is_pending_is_what_the_walk_found_and_has_not_gone_since(world: World) -> None:
    release = asyncio.Event()
    world.cloud.before_answer = lambda: waited(release)
    for number in range(5):
        world.capture_file("9999-a", [number], f"sensor-{number}")
    world.sync.configure(world.settings(interval_s=3600))
    manual = asyncio.create_task(world.sync.sync_now())
    await eventually(lambda: world.sync.backlog.files == 5 and world.sync.in_flight == 5)
    assert world.sync.backlog.bytes > 0 and world.delivery.meter.bytes_per_s == 0
    release.set()
    await manual
    assert (world.sync.backlog.files, world.sync.backlog.bytes) == (0, 0)
    assert world.delivery.meter.bytes_per_s > 0


async def test_what_goes_together_is_accounted_for_file_by_file(world: World) -> None:
    left: list[tuple[str, int, int]] = []
    world.sync._listings.left = lambda *what: left.append(what)  # type: ignore[method-assign]
    size_bytes = sum(world.capture_file(f"9999-{number}", [number]).stat().st_size for number in range(3))
    world.sync.configure(world.settings(disabled=True))
    world.cloud.fail_next(grpc.StatusCode.INTERNAL, 1)
    assert (await world.sync.sync_now()).failed.count == 3
    assert (world.sync.backlog.files, world.sync.backlog.bytes, left) == (3, size_bytes, [])
    assert (await world.sync.sync_now()).files == 3
    assert (world.sync.backlog.files, world.sync.backlog.bytes) == (0, 0)
    assert left == [(str(world.folder / "lidar"), 3, size_bytes)]
    tally = world.sync.summary._totals[str(world.folder)]
    assert (tally.files, tally.bytes, tally.failed) == (3, size_bytes, 3)
    assert world.cloud.calls["DataCaptureUpload"] == 2


async def test_who_waits_for_one_file_is_told_of_none_that_goes_with_it(world: World) -> None:
    arrived, release = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        arrived.set()
        await release.wait()

    world.cloud.before_answer = hold
    paths = [world.capture_file(f"9999-{number}", [number]) for number in range(3)]
    world.sync.configure(world.settings())
    await asyncio.wait_for(arrived.wait(), 20)
    assert world.sync.in_flight == 3
    manual = asyncio.create_task(world.sync.sync_files([str(paths[1])]))
    await eventually(lambda: bool(world.sync._under_way._uploads[str(paths[1])].waiting))
    release.set()
    assert (await manual).files == 1
    assert world.arrived.of("lidar") == [0, 1, 2]


async def test_what_a_stream_moves_counts_while_it_goes(world: World) -> None:
    release = asyncio.Event()
    world.cloud.before_answer = lambda: waited(release)
    write_old_file(world.folder / "a.bin", bytes(300_000))
    world.sync.configure(world.settings(disabled=True))
    manual = asyncio.create_task(world.sync.sync_now())
    await eventually(lambda: world.delivery.meter.bytes_per_s > 0)
    assert not manual.done()
    release.set()
    await manual


async def test_the_oldest_that_waits_is_known_also_while_its_folder_is_not_listed(world: World) -> None:
    world.cloud.fail_while = lambda method, request: grpc.StatusCode.INTERNAL if "Upload" in method else None
    for number in (30, 10, 20):
        path = world.capture_file("9999-a", [number], f"sensor-{number}")
        os.utime(path, (number, number))
    assert world.sync.backlog.oldest_ns is None
    world.sync.configure(world.settings())
    await eventually(lambda: world.sync.backlog.files == 3 and world.delivery.retrying == 3)
    rounds = world.completed
    await eventually(lambda: world.completed >= rounds + 3)
    assert world.sync.backlog.oldest_ns == 10e9
    world.cloud.fail_while = None
    await world.sync.sync_now()
    assert world.sync.backlog.oldest_ns is None
