"""Limits of space, and memory mode, under the real viam-server."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from holdfast.base.filesystem import FileSystem

from .machines import Machine, Servers, Status, a_machine, collector, readings_of, repeated, until
from .test_life import FLUSH_INTERVAL_NS, TOLERANCE_NS, end_module

LIMIT_BYTES = 400_000
_BLOCK_BYTES = 4096
_HZ = 200
_SMALL_FILES = {
    "maximum_capture_file_size_bytes": 1.0,
    "capture_flush_interval_ms": 20.0,
    "capture_fsync_interval_ms": 50.0,
}
"""A reading or a few in each, a block long, and complete at once."""

needs_tmpfs = pytest.mark.skipif(
    not (Path("/dev/shm").is_dir() and FileSystem().is_in_memory("/dev/shm")), reason="there is no tmpfs here"
)


def captured_bytes(machine: Machine) -> int:
    """What the complete capture files take up."""
    total = 0
    for path in machine.capture_files(".capture"):
        with suppress(FileNotFoundError):  # deleted since they were listed
            total += -(-path.stat().st_size // _BLOCK_BYTES) * _BLOCK_BYTES
    return total


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest", "thin"])
async def test_a_limit_of_bytes_holds_and_what_goes_is_what_the_policy_says_and_is_counted(
    policy: str, viam_server: Servers, tmp_path: Path
) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        source = machine.source("counting")
        await machine.start(
            components=[source.component],
            sync_disabled=True,
            capture_methods=[readings_of("counting", _HZ, max_in_flight=1)],
            capture_dir_limit_bytes=LIMIT_BYTES,
            when_full=policy,
            **_SMALL_FILES,
        )

        def deleted_often(status: Status) -> bool:
            return int(status["space"]["folders"][0]["deleted_files"]) > 2 * LIMIT_BYTES // _BLOCK_BYTES

        await machine.until_status(deleted_often, "files are deleted again and again")
        await machine.until_captured("counting", collector(await machine.status(), "counting")["readings"] + 50)
        machine.change(capture_disabled=True)
        await machine.until_status(
            lambda status: not status["capture"]["enabled"] and not status["capture"]["buffered_bytes"],
            "capture has ended",
        )
        await until(lambda: captured_bytes(machine) <= LIMIT_BYTES, "the limit holds")

        async def at_rest() -> tuple[Status, list[int]] | None:
            """The counts, and what is left: a file is gone behind its count, and others go at the limit still."""
            before = (await machine.status())["readings"]
            left = [reading.seq for reading in machine.on_disk("counting")]
            return (before, left) if before["on_disk"] == len(left) else None

        counts, left = await until(at_rest, "as much is left as is counted")
        assert counts["dropped"] == {} and counts["deleted"] > 0
        assert len(source.seqs) == counts["captured"] == counts["deleted"] + len(left)
        gone = sorted(set(source.seqs) - set(left))
        if policy == "drop_oldest":
            assert left == source.seqs[-len(left) :]
        elif policy == "drop_newest":
            assert left[: len(left) // 2] == source.seqs[: len(left) // 2]
        else:
            assert gone[0] < left[-1] and left[0] < gone[-1]


@pytest.fixture
def memory_folders() -> Iterator[list[Path]]:
    """To be removed behind the test."""
    folders: list[Path] = []
    yield folders
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


@needs_tmpfs
async def test_in_memory_mode_readings_outlive_a_change_of_the_config_and_a_sigkill_and_are_delivered(
    viam_server: Servers, tmp_path: Path, memory_folders: list[Path]
) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        source = machine.source("counting")
        methods = [readings_of("counting", 100)]
        on_disk = machine.capture_dir
        await machine.start(
            components=[source.component], sync_disabled=True, capture_store="memory", capture_methods=methods
        )
        status = await machine.until_captured("counting", 50)
        folder = Path(status["space"]["folders"][0]["folder"])
        memory_folders.append(folder)
        machine.capture_dir = folder
        assert folder.parent == Path("/dev/shm") and folder.stat().st_mode & 0o777 == 0o700
        await until(lambda: len(machine.on_disk("counting")) > 100, "readings lie in memory")
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in machine.capture_files(".prog"))

        machine.change(tags=["changed"])
        await until(
            lambda: any("changed" in reading.tags for reading in machine.on_disk("counting")), "the change acts"
        )
        before_kill = {reading.seq for reading in machine.on_disk("counting")}
        pid, killed_ns, _ = await end_module(machine, signal.SIGKILL)
        assert {reading.seq for reading in machine.on_disk("counting")} >= before_kill
        await machine.until_status(
            lambda status: (
                status["process"]["pid"] != pid
                and status["sync"]["recovery"].startswith("done")
                and collector(status, "counting")["readings"] > 50
            ),
            "another process of the module captures and has recovered",
        )
        machine.change(sync_disabled=False)
        await until(lambda: len(machine.arrived) > len(before_kill), "readings arrive")
        await machine.stop_capture_and_sync()

        arrived = machine.seqs("counting")
        assert not repeated(arrived) and set(arrived) <= set(source.seqs)
        lost = [each for each in source.served if each.seq not in set(arrived)]
        assert before_kill <= set(arrived)
        for each in lost:
            assert -FLUSH_INTERVAL_NS - TOLERANCE_NS <= each.time_ns - killed_ns <= TOLERANCE_NS
        assert not list(on_disk.rglob("*.capture")) and not list(on_disk.rglob("*.prog"))


@needs_tmpfs
async def test_in_memory_mode_the_oldest_go_at_the_limit(
    viam_server: Servers, tmp_path: Path, memory_folders: list[Path]
) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        source = machine.source("counting")
        attributes: dict[str, Any] = {"capture_store": "memory", "capture_dir_limit_bytes": LIMIT_BYTES}
        await machine.start(
            components=[source.component],
            sync_disabled=True,
            capture_methods=[readings_of("counting", _HZ, max_in_flight=1)],
            **attributes,
            **_SMALL_FILES,
        )
        status = await machine.until_status(
            lambda status: status["space"]["folders"][0]["deleted_readings"] > 50, "the oldest readings go"
        )
        machine.capture_dir = Path(status["space"]["folders"][0]["folder"])
        memory_folders.append(machine.capture_dir)
        assert status["space"]["folders"][0]["when_full"] == "drop_oldest"
        machine.change(sync_disabled=False)
        await machine.stop_capture_and_sync()
        arrived = sorted(machine.seqs("counting"))
        counts = (await machine.status())["readings"]
        assert arrived == source.seqs[-len(arrived) :]
        assert len(source.seqs) == len(arrived) + counts["deleted"]
