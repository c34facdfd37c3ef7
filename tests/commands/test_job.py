"""A job can be cancelled: it gives its place up, says what became of it, and loses nothing."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.base.jobs import MAX_RUNNING, STILL_S, Job
from holdfast.errors import BusyError, CommandError, HoldfastError, NotConnectedError
from holdfast.sync.uploads import uploads as uploads_module
from holdfast.sync.uploads.uploads import AT_ONCE
from tests.steered import Steered, left_alone, steered
from tests.sync.conftest import metadata, reading, write_capture_file
from tests.waiting import eventually

DATA = {"data": base64.b64encode(b"image").decode(), "mime_type": "image/jpeg"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Steered]:
    async with steered(tmp_path) as world:
        (tmp_path / "logs").mkdir()
        (tmp_path / "photos").mkdir()
        world.apply(
            "a",
            capture_disabled=True,
            additional_sync_paths=[str(tmp_path / "logs")],
            upload_roots=[str(tmp_path / "photos"), str(tmp_path / "logs")],
            file_last_modified_millis=1,
        )
        await eventually(lambda: world.manager.engine is not None and world.manager.engine.store.owned)
        yield world


def hanging(world: Steered) -> asyncio.Event:
    """A cloud that answers no upload until the event is set."""
    go_on = asyncio.Event()

    async def hold() -> None:
        await go_on.wait()

    world.cloud.before_answer = hold
    return go_on


async def cancelled(world: Steered, begun: dict[str, Any]) -> dict[str, Any]:
    """The answer to the second of two requests to cancel a job, which is the same as to the first."""
    answers = [await world.command("job", id=begun["job"], cancel=True) for _ in range(2)]
    assert answers[0] == answers[1]
    return answers[1]


async def test_a_cancelled_sync_ends_and_what_it_began_is_delivered_all_the_same(world: Steered) -> None:
    go_on = hanging(world)
    write_capture_file(
        world.folder / "capture/rdk_component_sensor/a/Readings", "9999-a", [reading(1.0)], metadata("a")
    )
    waiting = asyncio.create_task(world.command("sync"))
    await eventually(lambda: world.cloud.calls["DataCaptureUpload"] == 1)
    (job,) = world.manager.jobs.all()
    answer = await cancelled(world, {"job": job.identity})
    assert (answer["done"], answer["cancelled"], answer["error"]) == (True, True, "cancelled by command")
    with pytest.raises(HoldfastError, match="cancelled by command"):
        await waiting
    go_on.set()
    assert (await world.command("sync"))["done"]
    await eventually(lambda: not list((world.folder / "capture").rglob("*.capture")))
    assert world.cloud.calls["DataCaptureUpload"] == 1


async def test_a_cancelled_upload_of_a_folder_leaves_its_files_and_frees_its_slots(world: Steered) -> None:
    go_on = hanging(world)
    for number in range(2 * AT_ONCE):
        (world.folder / "logs" / f"{number}.log").write_text("x")
    begun = await world.command("upload", path=str(world.folder / "logs"), wait=False)
    await eventually(lambda: world.cloud.calls["FileUpload"] == AT_ONCE)
    answer = await cancelled(world, begun)
    assert (answer["done"], answer["cancelled"], answer["files"]) == (True, True, 0)
    assert len(list((world.folder / "logs").iterdir())) == 2 * AT_ONCE
    go_on.set()
    assert (await world.command("upload", **DATA))["files"] == 1
    await left_alone(*(world.folder / "logs").iterdir())
    assert (await world.command("sync"))["files"] == 2 * AT_ONCE


async def test_a_cancelled_upload_of_data_keeps_it_for_sync_and_says_so_to_who_waits(world: Steered) -> None:
    go_on = hanging(world)
    waiting = asyncio.create_task(world.command("upload", **DATA))
    await eventually(lambda: world.cloud.calls["FileUpload"] == 1)
    (job,) = world.manager.jobs.all()
    answer = await cancelled(world, {"job": job.identity})
    assert answer["cancelled"] and "it is kept as" in answer["error"]
    with pytest.raises(NotConnectedError, match="do not send it again"):
        await waiting
    go_on.set()
    assert (await world.command("sync"))["files"] == 1


async def test_a_cancelled_retry_of_what_failed_leaves_every_file_where_it_is_or_back(world: Steered) -> None:
    failed = world.folder / "logs" / "failed"
    failed.mkdir()
    (failed / "a.log").write_text("x")
    async with world.manager.emptying_quarantine:
        begun = await world.command("failed", action="retry", wait=False)
        assert (await cancelled(world, begun))["cancelled"]
    assert (failed / "a.log").exists()
    assert (await world.command("failed", action="retry"))["files"] == 1
    assert (world.folder / "logs" / "a.log").exists()


async def test_a_job_that_has_ended_is_not_changed_by_a_cancellation(world: Steered) -> None:
    begun = await world.command("sync")
    answer = await cancelled(world, begun)
    assert answer == {**begun, "cancelled": False} and answer["done"]


async def test_one_job_is_cancelled_by_its_name_and_never_all(world: Steered) -> None:
    with pytest.raises(CommandError, match="cancel ends one job: name its id"):
        await world.command("job", cancel=True)
    with pytest.raises(CommandError, match="there is no job 'sync-9'"):
        await world.command("job", id="sync-9", cancel=True)


async def test_uploads_that_hang_keep_out_no_sync_and_no_retry(world: Steered) -> None:
    go_on = hanging(world)
    path = world.folder / "photos" / "a.jpeg"
    path.write_text("x")
    for _ in range(MAX_RUNNING["upload"]):
        await world.command("upload", path=str(path), wait=False)
    with pytest.raises(BusyError, match=f"{MAX_RUNNING['upload']} jobs of the kind 'upload'"):
        await world.command("upload", path=str(path))
    assert (await world.command("sync"))["done"]
    assert (await world.command("failed", action="retry"))["done"]
    go_on.set()


async def test_data_is_not_decoded_before_there_is_a_place_for_its_job(
    world: Steered, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging(world)
    for _ in range(MAX_RUNNING["upload"]):
        await world.manager.jobs.start("upload", asyncio.Event().wait, dict)
    monkeypatch.setattr("holdfast.base.attachment._decoded", None)
    with pytest.raises(BusyError):
        await world.command("upload", **DATA)


async def test_a_new_sync_takes_the_place_of_one_that_stands_still(
    world: Steered, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = [await world.manager.jobs.start("sync", asyncio.Event().wait, dict) for _ in range(MAX_RUNNING["sync"])]
    still = {begun[3]: STILL_S + 1}
    monkeypatch.setattr(Job, "still_s", lambda job: still.get(job, STILL_S))
    assert (await world.command("sync"))["done"]
    assert [job.cancelled for job in begun] == [job is begun[3] for job in begun]


async def test_large_files_leave_a_slot_for_the_others(world: Steered, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads_module, "LARGE_BYTES", 10)
    go_on = asyncio.Event()
    large = [world.folder / "photos" / f"{number}.raw" for number in range(AT_ONCE + 1)]
    for path in large:
        path.write_bytes(bytes(100))
    calls = 0

    async def hold_the_first() -> None:
        nonlocal calls
        calls += 1
        if calls < AT_ONCE:
            await go_on.wait()

    world.cloud.before_answer = hold_the_first
    for path in large:
        await world.command("upload", path=str(path), wait=False)
    await eventually(lambda: calls == AT_ONCE - 1)
    assert (await world.command("upload", **DATA))["files"] == 1
    go_on.set()
    for job in world.manager.jobs.all():
        await job.wait(None)
        assert job.tell()["files"] == 1


async def test_what_is_sent_of_a_file_is_seen_as_progress_before_it_is_delivered(world: Steered) -> None:
    hanging(world)
    path = world.folder / "photos" / "a.raw"
    path.write_bytes(bytes(1_000_000))
    begun = await world.command("upload", path=str(path), wait=False)
    job = world.manager.jobs.find(begun["job"])
    assert job is not None
    await eventually(lambda: job.tell()["sent_bytes"] == 1_000_000)
    assert job.tell()["bytes"] == 0
