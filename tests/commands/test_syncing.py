"""A manual sync sends everything or a part of it, with and without waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from holdfast.base.jobs import MAX_RUNNING
from holdfast.errors import BusyError, CommandError, HoldfastError, NotConnectedError, NotReadyError
from tests.steered import Steered, left_alone, steered
from tests.sync.conftest import metadata, reading, write_capture_file
from tests.waiting import eventually

API_FOLDER = "rdk_component_sensor"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Steered]:
    async with steered(tmp_path) as world:
        logs = tmp_path / "logs"
        logs.mkdir()
        world.apply("a", capture_disabled=True, additional_sync_paths=[str(logs)], file_last_modified_millis=1)
        await eventually(lambda: world.manager.engine is not None and world.manager.engine.store.owned)
        yield world


def captured(world: Steered, name: str, stem: str = "9999-a") -> Path:
    folder = world.folder / "capture" / API_FOLDER / name / "Readings"
    return write_capture_file(folder, stem, [reading(1.0)], metadata(name))


def held(world: Steered) -> Callable[[], None]:
    """Holds back the cloud's answers to uploads until the returned function is called."""
    go_on = asyncio.Event()

    async def hold() -> None:
        await go_on.wait()

    world.cloud.before_answer = hold
    return go_on.set


async def test_a_sync_waits_and_tells_what_it_did(world: Steered) -> None:
    path = captured(world, "a")
    size = path.stat().st_size
    answer = await world.command("sync")
    assert (answer["done"], answer["files"], answer["bytes"]) == (True, 1, size)
    assert (answer["failed_count"], answer["quarantined"], answer["too_recent"], answer["pending"]) == (0, 0, [], 0)
    assert answer["seconds"] > 0 and not path.exists()


async def test_a_sync_that_is_not_waited_for_is_a_job_that_tells_how_far_it_is(world: Steered) -> None:
    answer_now = held(world)
    captured(world, "a")
    begun = await world.command("sync", wait=False)
    assert not begun["done"] and begun["files"] == 0
    await eventually(lambda: world.cloud.calls["DataCaptureUpload"] == 1)
    assert (await world.command("job", id=begun["job"]))["pending"] == 1
    answer_now()
    job = world.manager.jobs.find(begun["job"])
    assert job is not None
    await job.wait(None)
    told = await world.command("job", id=begun["job"])
    assert (told["done"], told["files"], told["error"]) == (True, 1, "")
    assert (await world.command("job"))["jobs"] == [told]


async def test_when_the_time_is_over_the_answer_says_how_far_it_is_and_the_rest_goes_on(world: Steered) -> None:
    answer_now = held(world)
    captured(world, "a")
    answer = await world.command("sync", timeout_s=0.05)
    assert not answer["done"]
    answer_now()
    await eventually(lambda: world.cloud.readings_count == 1)
    job = world.manager.jobs.find(answer["job"])
    assert job is not None
    await job.wait(None)
    assert job.tell()["files"] == 1


async def test_a_caller_that_goes_away_breaks_nothing_even_before_the_walk(world: Steered) -> None:
    flushing, go_on = asyncio.Event(), asyncio.Event()

    async def complete(appenders: object = None) -> None:
        flushing.set()
        await go_on.wait()

    assert world.manager.engine is not None
    world.manager.engine.store.writer.complete = complete  # type: ignore[method-assign]
    captured(world, "a")
    waiting = asyncio.create_task(world.command("sync"))
    await asyncio.wait_for(flushing.wait(), 20)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go_on.set()
    (job,) = world.manager.jobs.all()
    await job.wait(None)
    assert job.tell()["files"] == 1


async def test_two_at_once_send_a_file_once_and_both_tell_of_it(world: Steered) -> None:
    answer_now = held(world)
    captured(world, "a")
    first = await world.command("sync", wait=False)
    await eventually(lambda: world.cloud.calls["DataCaptureUpload"] == 1)
    second = await world.command("sync", wait=False)
    engine = await world.manager.ready_engine()
    (upload,) = set(engine.uplink.rounds._under_way._uploads.values())
    await eventually(lambda: len(upload.waiting) == 2)
    assert all(job.tell()["pending"] >= 1 for job in world.manager.jobs.all())
    answer_now()
    for begun in (first, second):
        job = world.manager.jobs.find(begun["job"])
        assert job is not None
        await job.wait(None)
        assert job.tell()["files"] == 1
    assert world.cloud.calls["DataCaptureUpload"] == 1


async def test_only_the_named_files_and_folders_are_sent(world: Steered) -> None:
    (world.folder / "logs" / "today").mkdir()
    for name in ("today/a.log", "today/b.log", "old.log", "other.log"):
        (world.folder / "logs" / name).write_text(name)
    await left_alone(*(world.folder / "logs").rglob("*.log"))
    kept = captured(world, "a")
    old = world.folder / "logs" / "old.log"
    folder = world.folder / "logs" / "today"
    answer = await world.command("sync", paths=[str(old), str(folder), str(folder / "a.log")])
    assert answer["files"] == 3 and world.cloud.files_count == 3
    assert kept.exists() and (world.folder / "logs" / "other.log").exists()


async def test_a_link_into_a_sync_path_is_where_it_leads(world: Steered, tmp_path: Path) -> None:
    (tmp_path / "logs" / "a.log").write_text("a")
    await left_alone(tmp_path / "logs" / "a.log")
    (tmp_path / "short").symlink_to(tmp_path / "logs")
    assert (await world.command("sync", paths=[str(tmp_path / "short")]))["files"] == 1


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("elsewhere", "is not under a sync path; these are: {root}/capture, {root}/logs"),
        ("logs/../elsewhere", "is not under a sync path"),
        ("logs/out", "is not under a sync path"),
        ("logsother", "is not under a sync path"),
        ("capture/.holdfast/ledger.prog", "lies in .holdfast/, which is never synced"),
        ("logs/failed", "lies in failed/, which is never synced"),
        ("logs/absent.log", "is not there"),
    ],
)
async def test_a_path_that_can_not_be_synced_is_an_error_that_says_why(
    world: Steered, tmp_path: Path, path: str, told: str
) -> None:
    for folder in ("elsewhere", "logsother", "logs/failed"):
        (tmp_path / folder).mkdir()
    (tmp_path / "logs" / "out").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CommandError) as refused:
        await world.command("sync", paths=[str(tmp_path / path)])
    assert told.format(root=tmp_path) in str(refused.value)
    assert world.manager.jobs.all() == []


async def test_a_relative_path_is_no_path(world: Steered, monkeypatch: pytest.MonkeyPatch) -> None:
    (world.folder / "logs" / "a.log").write_text("a")
    monkeypatch.chdir(world.folder / "logs")
    with pytest.raises(CommandError, match="not under a sync path"):
        await world.command("sync", paths=["a.log"])


async def test_only_what_was_captured_of_the_named_resources_is_sent(world: Steered) -> None:
    world.client.listed = {"quiet": frozenset({"rdk:component:sensor"})}
    kept = captured(world, "a")
    captured(world, "b", "9999-1")
    captured(world, "b", "9999-2")
    answer = await world.command("sync", resources=["rdk:component:sensor/b", "quiet"])
    assert answer["files"] == 2 and kept.exists()
    captured(world, "b", "9999-3")
    with pytest.raises(CommandError, match="no resource 'rdk:component:camera/b'"):
        await world.command("sync", resources=["rdk:component:camera/b"])
    with pytest.raises(CommandError, match="resources: there is no resource 'quite'; did you mean 'quiet'"):
        await world.command("sync", resources=["quite"])


async def test_without_a_cloud_the_error_says_that_it_is_not_connected(world: Steered) -> None:
    await world.cut_off()
    captured(world, "a")
    with pytest.raises(NotConnectedError, match="not connected to the cloud"):
        await world.command("sync")
    begun = await world.command("sync", wait=False)
    job = world.manager.jobs.find(begun["job"])
    assert job is not None
    await job.wait(None)
    assert "not connected to the cloud" in (await world.command("job", id=begun["job"]))["error"]


async def test_before_the_first_config_there_is_nothing_to_sync(tmp_path: Path) -> None:
    async with steered(tmp_path) as world:
        with pytest.raises(NotReadyError, match="not configured"):
            await world.command("sync", wait=False)


async def test_it_works_while_scheduled_sync_is_paused(world: Steered) -> None:
    world.apply("a", capture_disabled=True, sync_disabled=False)
    await world.command("pause", what="sync")
    captured(world, "a")
    assert (await world.command("sync"))["files"] == 1


async def test_jobs_that_run_are_bounded(world: Steered) -> None:
    answer_now = held(world)
    captured(world, "a")
    for _ in range(MAX_RUNNING["sync"]):
        await world.command("sync", wait=False)
    with pytest.raises(BusyError, match="jobs of the kind 'sync' are running already"):
        await world.command("sync", wait=False)
    answer_now()
    for job in world.manager.jobs.all():
        await job.wait(None)
    assert (await world.command("sync"))["done"]


async def test_a_stop_ends_the_jobs_and_says_so(world: Steered) -> None:
    held(world)
    captured(world, "a")
    waiting = asyncio.create_task(world.command("sync"))
    await eventually(lambda: world.cloud.calls["DataCaptureUpload"] == 1)
    await world.manager.stop()
    with pytest.raises(HoldfastError, match="the data manager was stopped"):
        await waiting


async def test_an_unknown_job_is_an_error_with_the_closest_name(world: Steered) -> None:
    begun = await world.command("sync")
    with pytest.raises(CommandError, match=f"did you mean '{begun['job']}'"):
        await world.command("job", id=begun["job"] + "x")
