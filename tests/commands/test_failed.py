"""Files in quarantine are listed with the cause, sent again or discarded by command only, and never otherwise."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from viam.proto.app.datasync import DataCaptureUploadRequest, SensorData, UploadMetadata

from holdfast.base.fitting import size_bytes
from holdfast.errors import CommandError, NotReadyError
from holdfast.storage.ledger.counts import ReadingCounts
from holdfast.storage.quarantine import listing
from holdfast.sync.walk import backlog, listings
from tests.acceptance import accept_something
from tests.steered import Steered, left_alone, steered
from tests.sync.conftest import API, metadata, reading, write_capture_file
from tests.waiting import eventually

INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Steered]:
    async with steered(tmp_path) as world:
        await begin(world)
        yield world


async def begin(world: Steered) -> None:
    (world.folder / "logs").mkdir(exist_ok=True)
    world.arrived = []  # type: ignore[attr-defined]

    def note(about: UploadMetadata, data: SensorData) -> None:
        world.arrived.append(_number(data))  # type: ignore[attr-defined]

    world.cloud._on_reading = note
    logs = [str(world.folder / "logs")]
    world.apply("a", capture_disabled=True, additional_sync_paths=logs, file_last_modified_millis=1)
    await eventually(lambda: world.manager.engine is not None and world.manager.engine.store.owned)


def _number(data: SensorData) -> float:
    return float(data.struct.fields["readings"].struct_value.fields["n"].number_value)


def refusing(world: Steered, *numbers: float) -> None:
    """Makes the cloud refuse every call with one of these readings, and every file with `bad` in its name."""

    def fails(method: str, request: bytes | None) -> grpc.StatusCode | None:
        if method == "FileUpload":
            return INVALID if numbers and b"bad" in (request or b"") else None
        if method != "DataCaptureUpload" or request is None:
            return None
        sent = [_number(data) for data in DataCaptureUploadRequest.FromString(request).sensor_contents]
        return INVALID if set(sent) & set(numbers) else None

    world.cloud.fail_while = fails


def captured(world: Steered, *numbers: float, name: str = "a") -> Path:
    folder = world.folder / "capture" / API.replace(":", "_") / name / "Readings"
    return write_capture_file(folder, "9999-a", [reading(number) for number in numbers], metadata(name))


def counts(world: Steered, name: str = "a") -> ReadingCounts:
    assert world.manager.engine is not None
    return world.manager.engine.store.ledger.readings()[(API, name, "Readings")]


async def sync_until_believed(world: Steered) -> int:
    """Syncs, again when the cloud has accepted something, so that it is believed; returns how many files went to
    quarantine."""
    first = await world.command("sync")
    assert world.manager.engine is not None
    await accept_something(world.manager.engine.uplink.link)
    return int(first["quarantined"] + (await world.command("sync"))["quarantined"])


async def test_what_was_refused_is_listed_with_its_cause_and_sent_again_once(world: Steered) -> None:
    refusing(world, 2.0)
    path = captured(world, 1.0, 2.0, 3.0)
    bad = world.folder / "logs" / "bad.log"
    bad.write_text("x")
    await left_alone(bad)
    assert await sync_until_believed(world) == 2
    listed = await world.command("failed", action="list")
    assert (listed["files"], listed["next"], listed["not_found"]) == (2, "", [])
    of_a, of_log = listed["rows"]
    assert (of_a["file"], of_a["readings"], of_a["size_bytes"] > 0) == (str(path), 1, True)
    assert "INVALID_ARGUMENT" in of_a["cause"] and of_a["time"].endswith("Z")
    assert (of_log["file"], of_log["path"]) == (str(bad), str(bad.parent / "failed" / "bad.log"))

    assert (await world.command("sync"))["files"] == 0, "the walk never sends it"
    refusing(world)
    again = await world.command("failed", action="retry")
    assert (again["done"], again["files"], again["readings"], again["kept"]) == (True, 2, 2, [])
    assert counts(world).quarantined == 0
    await left_alone(bad)
    assert (await world.command("sync"))["files"] == 2
    assert sorted(world.arrived) == [1.0, 2.0, 3.0], "each once"  # type: ignore[attr-defined]
    assert (counts(world).delivered, counts(world).quarantined, counts(world).on_disk) == (3, 0, 0)
    assert world.cloud.files_count == 1 and (await world.command("failed", action="list"))["files"] == 0
    assert world.manager.engine is not None and world.manager.engine.store.ledger.files.quarantined == 0


async def test_what_is_put_back_soon_counts_as_waiting(world: Steered, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "LOOK_S", 3600.0)
    monkeypatch.setattr(backlog, "MOST_VISITING", 0.5)
    monkeypatch.setattr(listings, "MOST_LISTING", 0.5)
    refusing(world, 2.0)
    captured(world, 1.0, 2.0)
    assert await sync_until_believed(world) == 1
    world.apply("a", sync_disabled=True, capture_disabled=True)

    def waiting() -> int | None:
        assert world.manager.engine is not None
        waiting = world.manager.engine.uplink.rounds.backlog.waiting
        return None if waiting is None else waiting.files

    await eventually(lambda: waiting() == 0)
    assert (await world.command("failed", action="retry"))["files"] == 1
    await eventually(lambda: waiting() == 1)


async def test_after_a_restart_between_retry_and_sync_the_rest_and_only_that_is_sent(world: Steered) -> None:
    refusing(world, 2.0)
    captured(world, 1.0, 2.0)
    captured(world, 2.0, name="b")
    await world.command("sync")
    await world.command("failed", action="retry")
    await world.manager.stop()
    refusing(world)
    world.new_process()
    await begin(world)
    assert (await world.command("sync"))["files"] == 2
    assert world.arrived == [2.0, 2.0]  # type: ignore[attr-defined]
    for name, delivered in (("a", 2), ("b", 1)):
        assert (counts(world, name).delivered, counts(world, name).quarantined) == (delivered, 0)


async def test_what_is_refused_again_is_kept_again_and_not_tried_for_ever(world: Steered) -> None:
    refusing(world, 2.0)
    captured(world, 1.0, 2.0)
    await world.command("sync")
    for _ in range(3):
        assert (await world.command("failed", action="retry"))["files"] == 1
        assert await sync_until_believed(world) == 1
    assert (counts(world).delivered, counts(world).quarantined, counts(world).on_disk) == (1, 1, 0)
    assert (await world.command("failed", action="list"))["files"] == 1


async def test_only_what_is_named_is_sent_again(world: Steered) -> None:
    refusing(world, 2.0)
    for name in ("a", "b", "c"):
        captured(world, 1.0, 2.0, name=name)
    assert await sync_until_believed(world) == 3
    refusing(world)
    rows = (await world.command("failed", action="list"))["rows"]
    folder = str(world.folder / "capture" / API.replace(":", "_") / "b")
    again = await world.command("failed", action="retry", paths=[rows[0]["path"], folder, "/no/such"])
    assert (again["files"], again["not_found"]) == (2, ["/no/such"])
    assert [row["file"].split("/")[-3] for row in (await world.command("failed", action="list"))["rows"]] == ["c"]


async def test_only_what_is_said_is_discarded_and_that_is_counted(world: Steered) -> None:
    refusing(world, 2.0)
    for name in ("a", "b"):
        captured(world, 1.0, 2.0, name=name)
    bad = world.folder / "logs" / "bad.log"
    bad.write_text("x")
    await left_alone(bad)
    assert await sync_until_believed(world) == 3
    with pytest.raises(CommandError, match='name the paths, or say "all": true'):
        await world.command("failed", action="discard")
    rows = (await world.command("failed", action="list"))["rows"]
    assert (await world.command("failed", action="discard", paths=[rows[0]["path"]]))["files"] == 1
    assert (counts(world).dropped, counts(world).quarantined) == ({"discarded": 1}, 0)
    assert (await world.command("failed", action="list"))["files"] == 2
    gone = await world.command("failed", action="discard", all=True)
    assert (gone["files"], gone["kept_count"]) == (2, 0)
    assert counts(world, "b").dropped == {"discarded": 1}
    assert world.manager.engine is not None
    files = world.manager.engine.store.ledger.files
    assert (files.quarantined, files.discarded) == (0, 1)
    assert [path for path in world.folder.rglob("failed/**/*") if path.is_file()] == []
    assert (await world.command("sync"))["files"] == 0


async def test_a_file_is_named_as_it_is_or_as_it_is_shown(world: Steered, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "holdfast")  # pytest can't hand on a log that is no Unicode
    names = {
        "bad\n2026 ERROR forged": "bad\n2026 ERROR forged",
        "bad\x1b[2J": r"bad\x1b[2J",
        "bad\udcff": r"bad\xff",
    }
    refusing(world, 2.0)
    paths = [world.folder / "logs" / name for name in names]
    for path in paths:
        path.write_text("x")
    await left_alone(*paths)
    assert await sync_until_believed(world) == 3
    pages = [await world.command("failed", action="list", limit=1)]
    while pages[-1]["next"]:
        pages.append(await world.command("failed", action="list", limit=1, after=pages[-1]["next"]))
    assert {row["file"] for page in pages for row in page["rows"]} == {str(path) for path in paths}
    assert all(page["next"].isprintable() for page in pages)
    shown = [str(world.folder / "logs" / name) for name in names.values()]
    answer = await world.command("failed", action="discard", paths=shown)
    assert (answer["files"], answer["not_found"]) == (3, [])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "action is missing"),
        ({"action": "delete"}, "action must be one of list, retry, discard"),
        ({"action": "retry", "paths": ["/x"], "all": True}, "either paths or all"),
        ({"action": "list", "limit": 0.0}, "limit must be a whole number from 1 to 1000"),
        ({"action": "list", "limit": 1.5}, "limit must be a whole number"),
        ({"action": "list", "limit": 1e9}, "limit must be a whole number"),
        ({"action": "retry", "paths": ["/x"] * 1001}, "a list of at most 1000"),
    ],
)
async def test_an_argument_that_can_not_be_is_named(world: Steered, arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(CommandError) as refused:
        await world.command("failed", **arguments)
    assert told in str(refused.value)


async def test_a_run_is_a_job_that_goes_on_when_nobody_waits(world: Steered) -> None:
    refusing(world, 2.0)
    captured(world, 2.0)
    await sync_until_believed(world)
    async with world.manager.emptying_quarantine:
        first = await world.command("failed", action="retry", wait=False)
        second = await world.command("failed", action="retry", wait=False)
        assert not first["done"]
    for begun in (first, second):
        job = world.manager.jobs.find(begun["job"])
        assert job is not None
        await job.wait(None)
        assert job.error == ""
    assert sum(each["files"] for each in (await world.command("job"))["jobs"] if each["kind"] == "failed") == 1


async def test_many_files_are_taken_a_batch_at_a_time_and_listed_a_page_at_a_time(world: Steered) -> None:
    failed = world.folder / "logs" / "failed"
    failed.mkdir()
    for number in range(150):
        (failed / f"{number:03}.log").write_text("x")
    page = await world.command("failed", action="list", limit=100)
    assert (len(page["rows"]), page["files"], page["next"]) == (100, 150, str(failed / "099.log"))
    rest = await world.command("failed", action="list", after=page["next"])
    assert (len(rest["rows"]), rest["files"], rest["next"]) == (50, 150, "")
    assert (await world.command("failed", action="retry"))["files"] == 150
    await left_alone(*(world.folder / "logs").glob("*.log"))
    assert (await world.command("sync"))["files"] == 150


async def test_what_comes_into_quarantine_meanwhile_is_left_for_the_next_time(
    world: Steered, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = world.folder / "logs" / "failed"
    failed.mkdir()
    (failed / "first.log").write_text("x")
    found = listing.quarantined_files

    def and_one_more(*arguments: Any) -> Any:
        yield from found(*arguments)
        (failed / "second.log").write_text("x")
        yield from (file for file in found(*arguments) if file.path.endswith("second.log"))

    monkeypatch.setattr("holdfast.commands.failed.quarantined_files", and_one_more)
    assert (await world.command("failed", action="retry"))["files"] == 1
    assert (failed / "second.log").exists()


async def test_while_another_process_has_the_folder_nothing_is_taken_out(tmp_path: Path) -> None:
    async with steered(tmp_path) as first:
        await begin(first)
        second = Steered(tmp_path, first.cloud)
        second.apply("a", capture_disabled=True)
        try:
            await eventually(lambda: "process" in second.manager.engine.store.waiting_for)  # type: ignore[union-attr]
            with pytest.raises(NotReadyError, match="which has the lock"):
                await second.command("failed", action="retry")
            assert (await second.command("failed", action="list"))["files"] == 0
        finally:
            await asyncio.wait_for(second.manager.stop(), 20)


async def test_a_sync_path_that_is_a_file_is_listed_and_sent_again_alone(world: Steered) -> None:
    file, other = world.folder / "single" / "bad.log", world.folder / "single" / "bad.txt"
    file.parent.mkdir()
    world.apply(
        "a", capture_disabled=True, additional_sync_paths=[str(file), str(other)], file_last_modified_millis=1
    )
    refusing(world, 2.0)
    for path in (file, other):
        path.write_text("x")
        await left_alone(path)
    assert await sync_until_believed(world) == 2
    listed = await world.command("failed", action="list")
    assert [row["file"] for row in listed["rows"]] == [str(file), str(other)]
    world.cloud.fail_while = None
    retried = await world.command("failed", action="retry", paths=[str(file)])
    assert retried["files"] == 1 and file.exists() and not other.exists()
    await left_alone(file)
    assert (await world.command("sync"))["files"] == 1
    assert (await world.command("failed", action="list"))["files"] == 1


async def test_a_page_of_the_list_ends_where_it_is_large_and_the_next_one_begins_there(
    world: Steered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.storage.quarantine.listing.MAX_PAGE_BYTES", 3_000)
    failed = world.folder / "logs" / "failed"
    failed.mkdir()
    names = [f"{number:03}{'x' * 200}.log" for number in range(12)]
    for name in names:
        (failed / name).write_text("x")
    pages: list[list[str]] = []
    after = ""
    while not pages or after:
        page = await world.command("failed", action="list", after=after)
        assert page["files"] == 12 and page["rows"] and size_bytes(page["rows"]) < 4_000
        pages.append([Path(row["path"]).name for row in page["rows"]])
        after = page["next"]
    assert [name for page in pages for name in page] == names and len(pages) > 3
