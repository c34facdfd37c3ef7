"""The demo's inputs are real: figures of this computer, and log files that grow.

Each input keeps a ledger of its own, to compare with what arrives in the cloud. A reading is in the ledger before
the caller gets it. A file is entered within `interval_s` / `PIECES` of its last byte, so sync has to leave a
changed file alone for longer than that.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import platform
import random
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
from viam.components.sensor import Sensor
from viam.utils import SensorReading

DISK_SAMPLE_INTERVAL_S = 1.0
MIN_LOG_BYTES = 1_000
MAX_LOG_BYTES = 200_000
LEDGER_HEADER = "seq,unix_time_ns"
PIECES = 8
"""The number of pieces in which a file is written, spread over its interval, so that it visibly grows."""
_TAIL_BYTES = 4096


class HostSensor(Sensor):
    """A sensor of this computer's load, memory, disk and network, and of `seq`, the number of the answer.

    `seq` starts at 1, or continues where an existing ledger ends. A call is cheap enough for 100 calls a second;
    the figures of the disk are read at most once a second.
    """

    def __init__(self, name: str, ledger: Path | None = None) -> None:
        """`ledger` is a CSV file with a line for each call below its `LEDGER_HEADER`; its folder is created."""
        super().__init__(name)
        self._seq = 0
        self._ledger = None
        if ledger:
            ledger.parent.mkdir(parents=True, exist_ok=True)
            self._seq = _last_seq(ledger)
            self._ledger = ledger.open("ab", buffering=0)
            if not self._ledger.tell():
                self._ledger.write(f"{LEDGER_HEADER}\n".encode())
        self._disk: dict[str, float] = {}
        self._disk_sampled_at_s = float("-inf")
        psutil.cpu_percent()  # the first call returns 0.0 and begins the interval that the next one measures

    async def get_readings(
        self, *, extra: Mapping[str, Any] | None = None, timeout: float | None = None, **kwargs: Any
    ) -> Mapping[str, SensorReading]:
        memory = psutil.virtual_memory()
        network = psutil.net_io_counters()
        readings = {
            "cpu_percent": psutil.cpu_percent(),
            "memory_percent": memory.percent,
            "memory_available_mb": round(memory.available / 1e6, 1),
            "network_sent_bytes": network.bytes_sent if network else 0,
            "network_received_bytes": network.bytes_recv if network else 0,
            **self._sampled_disk(),
        }
        self._seq += 1
        if self._ledger:
            self._ledger.write(f"{self._seq},{time.time_ns()}\n".encode())
        return {"seq": self._seq, **readings}

    async def close(self) -> None:
        if self._ledger:
            self._ledger.close()

    def _sampled_disk(self) -> dict[str, float]:
        now_s = time.monotonic()
        if now_s - self._disk_sampled_at_s >= DISK_SAMPLE_INTERVAL_S:
            self._disk_sampled_at_s = now_s
            counters = psutil.disk_io_counters()  # None in some containers
            self._disk = {
                "disk_percent": psutil.disk_usage("/").percent,
                "disk_read_bytes": counters.read_bytes if counters else 0,
                "disk_written_bytes": counters.write_bytes if counters else 0,
            }
        return self._disk


class LogFiles:
    """Writes `app-0001.log`, `app-0002.log`, … of 1 to 200 KB into a folder, one after the other.

    A finished file is not touched again. The ledger gets one JSON line for each finished file: name, size, sha256.
    The numbers continue where an existing ledger ends.
    """

    def __init__(self, folder: Path, ledger: Path, *, interval_s: float = 2.0) -> None:
        self._folder = folder
        self._ledger = ledger
        self._interval_s = interval_s
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.files_count = 0

    async def start(self) -> None:
        for folder in (self._folder, self._ledger.parent):
            folder.mkdir(parents=True, exist_ok=True)
        self._stopping.clear()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Finishes the current file, and stops. Does nothing when it is not running.

        Raises the error that ended the writing before, if there was one.
        """
        self._stopping.set()
        task, self._task = self._task, None
        if task:
            await task

    async def _run(self) -> None:
        number = _lines_count(self._ledger)
        while not self._stopping.is_set():
            number += 1
            await self._write_file(f"app-{number:04d}.log")
            self.files_count += 1

    async def _write_file(self, name: str) -> None:
        path = self._folder / name
        lines = _log_lines(name)
        size_bytes = random.randint(MIN_LOG_BYTES, MAX_LOG_BYTES)
        digest = hashlib.sha256()
        written_bytes = 0
        with path.open("wb", buffering=0) as file:
            for piece in range(1, PIECES + 1):
                text = b""
                while written_bytes + len(text) < size_bytes * piece // PIECES:
                    text += next(lines)
                file.write(text)
                digest.update(text)
                written_bytes += len(text)
                await self._pause()
        row = {"name": name, "size": written_bytes, "sha256": digest.hexdigest()}
        with self._ledger.open("a") as ledger:
            ledger.write(f"{json.dumps(row)}\n")

    async def _pause(self) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), self._interval_s / PIECES)


def _log_lines(name: str) -> Iterator[bytes]:
    """Yields endless lines about this machine and its processes, as they are when a line is taken."""
    host = platform.node()
    number = 0
    while True:
        for process in psutil.process_iter(["pid", "name", "num_threads", "memory_info"]):
            number += 1
            memory = process.info["memory_info"]
            yield (
                f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {host} {name} line={number} pid={process.info['pid']} "
                f"process={process.info['name']} threads={process.info['num_threads']} "
                f"rss={memory.rss if memory else 0} load={psutil.getloadavg()[0]:.2f}\n"
            ).encode()


def _last_seq(ledger: Path) -> int:
    with contextlib.suppress(FileNotFoundError), ledger.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
        last = file.read().splitlines()[-1:]
        return int(last[0].split(b",")[0]) if last not in ([], [LEDGER_HEADER.encode()]) else 0
    return 0


def _lines_count(ledger: Path) -> int:
    with contextlib.suppress(FileNotFoundError), ledger.open("rb") as file:
        return sum(1 for _ in file)
    return 0
