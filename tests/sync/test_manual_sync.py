from __future__ import annotations

import asyncio

import grpc
import pytest

from holdfast.errors import NotConnectedError
from holdfast.storage.layout import FileKind
from holdfast.sync.found import Found, Outcome
from holdfast.sync.manual import SyncReport
from tests.waiting import eventually

from .conftest import World, found_at, waited


async def test_a_manual_sync_delivers_what_is_there_when_it_is_called(world: World) -> None:
    world.rounds.configure(world.settings(disabled=True))
    for number in range(30):
        world.capture_file(f"9999-{number}", [number])
    report = await world.rounds.sync_now()
    assert sorted(world.arrived.of("lidar")) == list(range(30))
    assert (report.files, report.failed.count, report.quarantined) == (30, 0, 0)
    assert world.completed == 1


async def test_a_manual_sync_tells_what_failed_and_what_is_too_recent(world: World) -> None:
    world.rounds.configure(world.settings(disabled=True, min_age_s=3600))
    world.capture_file("9999-a", [1])
    (world.folder / "new.txt").write_text("x")
    world.cloud.fail_next(grpc.StatusCode.INTERNAL, 1)
    report = await world.rounds.sync_now()
    assert report.failed.first == [str(world.folder / "lidar" / "9999-a.capture")]
    assert report.too_recent == [str(world.folder / "new.txt")]
    assert "INTERNAL" in report.last_error


async def test_a_manual_sync_does_not_wait_for_a_backoff(world: World) -> None:
    world.rounds.configure(world.settings(disabled=True))
    world.capture_file("9999-a", [1])
    world.cloud.fail_next(grpc.StatusCode.INTERNAL, 1)
    await world.rounds.sync_now()
    assert (await world.rounds.sync_now()).files == 1


async def test_two_manual_syncs_share_the_work(world: World) -> None:
    world.rounds.configure(world.settings(disabled=True))
    for number in range(20):
        world.capture_file(f"9999-{number}", [number])
    first, second = await asyncio.gather(world.rounds.sync_now(), world.rounds.sync_now())
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
    world.rounds.configure(world.settings())
    await asyncio.wait_for(arrived.wait(), 20)
    manual = asyncio.create_task(world.rounds.sync_now())
    await eventually(lambda: world.completed >= 2)
    go_on.set()
    assert (await manual).files == 1
    assert world.arrived.of("lidar") == [1]


async def test_without_a_link_a_manual_sync_fails_and_says_why(world: World) -> None:
    world.rounds.configure(world.settings(disabled=True))
    await world.connected()
    await world.cable.cut()
    world.capture_file("9999-a", [1])
    assert (await world.rounds.sync_now()).failed.count == 1, "the cut is noticed by the first call"
    with pytest.raises(NotConnectedError, match=r"not connected to the cloud: .*can't connect"):
        await world.rounds.sync_now()


async def test_a_cancelled_manual_sync_breaks_nothing(world: World) -> None:
    go_on = asyncio.Event()
    world.cloud.before_answer = lambda: waited(go_on)
    world.capture_file("9999-a", [1])
    world.rounds.configure(world.settings(disabled=True))
    manual = asyncio.create_task(world.rounds.sync_now())
    await eventually(lambda: world.rounds.in_flight == 1)
    manual.cancel()
    with pytest.raises(asyncio.CancelledError):
        await manual
    go_on.set()
    await eventually(lambda: world.rounds.in_flight == 0)
    assert world.arrived.of("lidar") == [1]


async def test_a_file_that_is_named_twice_counts_once(world: World) -> None:
    world.rounds.configure(world.settings(disabled=True))
    path = world.capture_file("9999-a", [1])
    assert (await world.rounds.sync_files([str(path), str(path)])).files == 1
    report, path = SyncReport(), world.capture_file("9999-b", [2])
    await world.rounds._start([found_at(path), found_at(path)], report)
    await asyncio.wait_for(report.done.wait(), 20)
    assert (report.files, world.arrived.of("lidar")) == (1, [1, 2])


def test_a_report_lists_a_hundred_failures_and_counts_all() -> None:
    report = SyncReport(pending=150)
    for number in range(150):
        report.note_outcome(Found(f"/f{number}", FileKind.ARBITRARY, 1, 0, 0), Outcome.WAITING)
    assert report.failed.count == 150 and len(report.failed.first) == 100 and report.done.is_set()


async def test_between_close_and_successor_a_manual_sync_begins_no_upload_either(world: World) -> None:
    world.rounds.configure(world.settings(disabled=True))
    world.capture_file("9999-a", [1])
    world.rounds.pause()
    manual = asyncio.create_task(world.rounds.sync_now())
    await eventually(lambda: world.rounds.in_flight == 1)
    assert world.cloud.calls["DataCaptureUpload"] == 0
    world.rounds.configure(world.settings(disabled=True))
    assert (await manual).files == 1


async def test_disabling_leaves_the_uploads_for_which_a_manual_sync_waits(world: World) -> None:
    go_on = asyncio.Event()
    world.cloud.before_answer = lambda: waited(go_on)
    for number in range(3):
        world.capture_file("9999-a", [number], f"sensor-{number}")
    world.rounds.configure(world.settings(uploads=1))
    manual = asyncio.create_task(world.rounds.sync_now())
    await eventually(lambda: world.cloud.calls["DataCaptureUpload"] == 1 and world.completed >= 2)
    world.rounds.configure(world.settings(uploads=1, disabled=True))
    go_on.set()
    report = await manual
    assert (report.files, report.failed.count) == (3, 0)


async def test_a_stop_ends_a_manual_round_too(world: World) -> None:
    go_on = asyncio.Event()
    world.cloud.before_answer = lambda: waited(go_on)
    for number in range(5):
        world.capture_file("9999-a", [number], f"sensor-{number}")
    world.rounds.configure(world.settings(uploads=1, disabled=True))
    manual = asyncio.create_task(world.rounds.sync_now())
    await eventually(lambda: world.cloud.calls["DataCaptureUpload"] == 1)
    stopping = asyncio.create_task(world.rounds.stop())
    await asyncio.sleep(0)
    go_on.set()
    await stopping
    assert (await manual).files <= 1
    assert world.rounds.in_flight == 0 and world.cloud.calls["DataCaptureUpload"] == 1


async def test_who_waits_for_one_file_is_told_of_none_that_goes_with_it(world: World) -> None:
    arrived, release = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        arrived.set()
        await release.wait()

    world.cloud.before_answer = hold
    paths = [world.capture_file(f"9999-{number}", [number]) for number in range(3)]
    world.rounds.configure(world.settings())
    await asyncio.wait_for(arrived.wait(), 20)
    assert world.rounds.in_flight == 3
    manual = asyncio.create_task(world.rounds.sync_files([str(paths[1])]))
    await eventually(lambda: bool(world.rounds._under_way._uploads[str(paths[1])].waiting))
    release.set()
    assert (await manual).files == 1
    assert world.arrived.of("lidar") == [0, 1, 2]
