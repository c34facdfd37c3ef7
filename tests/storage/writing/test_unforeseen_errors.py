"""Errors that nobody foresaw, at each call that the storage threads make: they cost counted readings at most.

Whatever a trap hits, both threads live, and each reading is in a file or counted as dropped.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.storage.ledger.counts import ReadingCounts
from holdfast.storage.ledger.ledger import Ledger
from holdfast.storage.recovery import Recovery
from holdfast.storage.writing.disk_writer import DiskWriter
from tests.traps import Trap

from .. import samples
from ..lives import Later
from .test_disk_writer import append, open_lidar

NEVER_S = 3600.0
ERRORS = [ValueError("nobody foresaw this"), MemoryError(), RecursionError()]
HIT = {
    "disk": {"make_folder", "create", "write", "close", "rename", "sync"},
    "time_ns": {"time_ns"},
    "monotonic": {"monotonic"},
}
"""Where a trap is set, and some of the calls that it must hit there."""


async def one_run(folder: Path, files: FileSystem, clock: SystemClock) -> Ledger:
    """Captures, flushes, rotates, completes and ends, with tabular and binary readings; returns the ledger."""
    ledger = Ledger(files, str(folder))
    writer = DiskWriter(files, clock, ledger, str(folder), NEVER_S)
    ledger.attach(lambda: None)
    appender, camera = open_lidar(writer, max_bytes=600), writer.open(samples.metadata(name="camera"), 600)
    append(appender, 10)
    await writer.flush()
    append(appender, 10, first=10)
    camera.append_binary(b"", [b"\x1a\x04", b"data"], "image/jpeg")
    await writer.complete()
    append(appender, 10, first=20)
    await writer.release([appender])
    camera.append_binary(b"", [b"\x1a\x04", b"more"], "image/jpeg")
    assert await writer.close(), "both threads live, and end"
    ledger.close()
    return ledger


@pytest.mark.parametrize("error", ERRORS, ids=[type(error).__name__ for error in ERRORS])
@pytest.mark.parametrize("where", HIT)
async def test_an_error_at_any_call_costs_counted_readings_at_most(
    tmp_path: Path, where: str, error: Exception
) -> None:
    sprung = set()
    for number in itertools.count():
        folder = tmp_path / str(number)
        trap = Trap(number, error)
        files = trap.disk() if where == "disk" else FileSystem()
        clock = SystemClock() if where == "disk" else trap.clock(where)
        ledger = await one_run(folder, files, clock)
        if not trap.sprung:
            break
        sprung.add(trap.sprung)
        # A file that could not be named at the very end is named by the recovery at the next start.
        for left in Recovery(FileSystem(), Later(), ledger, str(folder), lambda path: False):
            left.complete()
        complete = samples.files_under(folder, ".capture")
        there = sum(len(samples.scan(path.read_bytes()).readings) for path in complete)
        counts = ReadingCounts()
        for each in ledger.readings().values():
            counts.add(each)
        assert counts.captured == 32
        assert there + sum(counts.dropped.values()) == counts.captured, (number, trap.sprung)
        assert counts.on_disk == there, (number, trap.sprung)
        assert set(counts.dropped) <= {"unexpected_error"}
        next_life = Ledger(FileSystem(), str(folder))
        next_life.attach(lambda: None)
        assert sum(each.on_disk for each in next_life.readings().values()) == there, (number, trap.sprung)
        next_life.close()
    assert sprung >= HIT[where]
