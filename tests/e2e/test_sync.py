"""Sync on the real viam-server: when data goes to the cloud, and when it stays."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from google.protobuf.struct_pb2 import Struct
from viam.proto.app.datasync import DataCaptureMetadata, DataType, SensorData

from holdfast.storage.capture_files.frames import FrameEncoder

from .machines import (
    Machine,
    Servers,
    a_machine,
    all_but_in_flight,
    collector,
    delimited,
    readings_of,
    sensor,
    until,
)

BOTH = pytest.mark.parametrize("connected", [False, True], ids=["local-config", "cloud-config"])
RECENT_S = 2.0


@asynccontextmanager
async def kept_recent(path: Path) -> AsyncIterator[None]:
    """Appends to `path` all the time."""
    path.write_text("begun\n")

    async def write() -> None:
        while True:
            with path.open("a") as file:
                file.write(f"still written at {time.time()}\n")
            await asyncio.sleep(0.05)

    writing = asyncio.create_task(write())
    try:
        yield
    finally:
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await writing


def is_old(path: Path) -> bool:
    return time.time() - path.stat().st_ctime > RECENT_S


@BOTH
async def test_a_manual_sync_delivers_all_that_was_there_and_names_what_is_too_recent(
    viam_server: Servers, tmp_path: Path, connected: bool
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "one.txt").write_text("the first file")
    recent = folder / "recent.txt"
    async with a_machine(viam_server, tmp_path, connected=connected) as machine:
        source = machine.source("counting")
        await machine.start(
            components=[source.component],
            sync_disabled=True,
            additional_sync_paths=[str(folder)],
            file_last_modified_millis=RECENT_S * 1000,
            capture_methods=[readings_of("counting", 50, max_in_flight=1)],
        )
        async with kept_recent(recent):
            captured = collector(await machine.until_captured("counting", 50), "counting")["captured"]
            await until(lambda: is_old(folder / "one.txt"), "the file is old")
            assert machine.uploads == 0

            await machine.sync()
            assert set(range(int(captured))) <= set(machine.seqs("counting"))
            assert [content for _, content in machine.files] == [b"the first file"]
            assert recent.exists()

            (folder / "two.txt").write_text("the second file")
            await until(lambda: is_old(folder / "two.txt"), "the file is old")
            captured = collector(await machine.status(), "counting")["captured"]
            assert captured > len(machine.of("counting"))
            report = await machine.command(command="sync")
            assert set(range(int(captured))) <= set(machine.seqs("counting"))
            assert [content for _, content in machine.files] == [b"the first file", b"the second file"]
            assert report["too_recent"] == [str(recent)]
            assert (report["files"], report["failed"], report["last_error"]) == (2, [], "")
        last = recent.read_bytes()
        await until(lambda: is_old(recent), "the file is left alone")
        assert (await machine.command(command="sync"))["too_recent"] == []
        assert machine.files[-1][1] == last
        await machine.stop_capture_and_sync()
        assert sorted(machine.seqs("counting")) == source.seqs


def an_old_capture_file(path: Path, seqs: range, *, checked: bool) -> None:
    """A complete capture file of a sensor named `earlier`, ours (with checks) or as the builtin writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    about = DataCaptureMetadata(
        component_type="rdk:component:sensor",
        component_name="earlier",
        method_name="Readings",
        type=DataType.DATA_TYPE_TABULAR_SENSOR,
        tags=["old"],
    )
    frames = []
    for seq in seqs:
        data = Struct()
        data.update({"readings": {"seq": seq}})
        message = SensorData(struct=data)
        message.metadata.time_requested.FromSeconds(1_700_000_000 + seq)
        message.metadata.time_received.FromSeconds(1_700_000_000 + seq)
        frames.append(message.SerializeToString())
    if checked:
        encoder = FrameEncoder(about)
        path.write_bytes(encoder.header_frame + b"".join(map(encoder.encode, frames)))
    else:
        path.write_bytes(b"".join(map(delimited, [about.SerializeToString(), *frames])))


async def test_with_capture_disabled_what_is_there_is_synced_and_nothing_is_read(
    viam_server: Servers, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "notes.txt").write_text("an arbitrary file")
    async with a_machine(viam_server, tmp_path) as machine:
        source = machine.source("counting")
        old = machine.capture_dir / "rdk_component_sensor" / "earlier" / "Readings"
        an_old_capture_file(old / "2023-11-14T22_13_20.000000Z.capture", range(10), checked=True)
        an_old_capture_file(old / "2023-11-14T22_13_30.000000Z.capture", range(10, 20), checked=False)
        await machine.start(
            components=[source.component],
            capture_disabled=True,
            additional_sync_paths=[str(folder)],
            capture_methods=[readings_of("counting", 100)],
        )
        await machine.server.wait_until_ready("counting")
        await until(lambda: len(machine.of("earlier")) == 20 and machine.files, "all files arrive")
        assert sorted(machine.seqs("earlier")) == list(range(20))
        assert {reading.tags for reading in machine.of("earlier")} == {("old",)}
        times = [r.requested_ns for r in sorted(machine.of("earlier"), key=lambda reading: reading.seq)]
        assert times == [(1_700_000_000 + seq) * 1_000_000_000 for seq in range(20)]
        await until(lambda: not machine.capture_files() and not any(folder.iterdir()), "what arrived is deleted")
        status = await machine.until_status(
            lambda status: status["readings"]["delivered"] == 20 and status["files"]["delivered"] == 1,
            "the status counts it",
        )
        assert status["readings"]["adopted"] == 20
        assert source.served == []


async def test_with_sync_disabled_files_stay_and_nothing_arrives(viam_server: Servers, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "notes.txt").write_text("an arbitrary file")
    async with a_machine(viam_server, tmp_path) as machine:
        source = machine.source("counting")
        await machine.start(
            components=[source.component],
            sync_disabled=True,
            additional_sync_paths=[str(folder)],
            maximum_capture_file_size_bytes=4096,
            capture_methods=[readings_of("counting", 100)],
        )
        # Two seconds: six intervals of sync, some files complete, the last one still written.
        await machine.until_captured("counting", 200)
        await until(lambda: len(machine.capture_files(".capture")) >= 2, "files are complete")
        assert await machine.stop()
        assert machine.uploads == 0
        assert (folder / "notes.txt").exists()
        seqs = [reading.seq for reading in machine.on_disk("counting")]
        # The reading that was on its way when viam-server ended may be cut off.
        assert all_but_in_flight(seqs, source.seqs)


async def test_the_status_says_that_sync_is_disabled(viam_server: Servers, tmp_path: Path) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        await machine.start(sync_disabled=True)
        await machine.until_status(lambda status: "sync_disabled" in status["sync"]["state"], "it says so", 5)


async def nothing_is_sent_while(machine: Machine, reason: str) -> None:
    """Scheduled sync waits, says this reason, and sends nothing over several intervals."""
    status = await machine.until_status(
        lambda status: reason in status["sync"]["state"] and not status["sync"]["in_flight"],
        f"the status says {reason!r}",
    )
    uploads = machine.uploads
    await machine.until_captured("counting", collector(status, "counting")["readings"] + 50)
    assert machine.uploads == uploads


async def test_the_selector_decides_on_scheduled_sync_and_never_on_manual_sync(
    viam_server: Servers, tmp_path: Path
) -> None:
    word = tmp_path / "word"
    word.write_text("false")
    async with a_machine(viam_server, tmp_path) as machine:
        source = machine.source("counting")
        await machine.start(
            components=[source.component, sensor("switch", "switch", path=str(word))],
            selective_syncer_name="switch",
            capture_methods=[readings_of("counting", 50)],
        )
        for text, reason in (
            ("false", "says should_sync: false"),
            ("missing", "has no 'should_sync'"),
            ("text", "must be true or false, it is 'yes'"),
            ("error", "gives no reading"),
        ):
            word.write_text(text)
            await nothing_is_sent_while(machine, reason)
            before = len(machine.of("counting"))
            await machine.sync()
            assert len(machine.of("counting")) >= before + 50

        word.write_text("true")
        before = len(machine.of("counting"))
        await until(lambda: len(machine.of("counting")) >= before + 50, "scheduled sync goes on")

        machine.change(selective_syncer_name="nobody")
        await nothing_is_sent_while(machine, "'nobody' is not there")
        await machine.stop_capture_and_sync()
        assert sorted(machine.seqs("counting")) == source.seqs
