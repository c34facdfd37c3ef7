"""`Side` is one side of the comparison: a real viam-server with its data manager, a link, and a receiver behind it.

Both sides are alike; the machine's config also comes from the receiver, over the link. The figures are of what the
receiver accepted, by the monotonic clock, which all processes of a computer share. CPU is that of the process that
syncs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import grpc.aio
import psutil
from grpclib import GRPCError
from viam.errors import ResourceNotFoundError

from demo.machine_config import robot_config
from module.data_manager import DataManagerClient
from tests.e2e.viam_server import ViamServer

from . import sync_files
from .slow_link import SlowLink
from .ways import Way

ROOT = Path(__file__).parent.parent
WIDE_BYTES = 256 * 1024 * 1024
"""The window of a receiver that never holds up the link."""
_KEYS = {"id": "key"}
_PART_ID = "bench"
_POLL_S = 0.02
_READY_TIMEOUT_S = 60.0
_QUIET_S = 0.5
_OLD_ENOUGH_S = 0.1
"""A time that is longer than `file_last_modified_millis`."""


class Arrival(NamedTuple):
    """One upload that was accepted."""

    at_s: float
    readings: int
    size_bytes: int


class Drained(NamedTuple):
    """What was accepted of a backlog, and how fast."""

    readings: int
    readings_per_s: float
    bytes_per_s: float


class Receiver:
    """The process of a receiver program, such as `bench.sync_receiver`, and what it has accepted."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.port = port
        self._process = process
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")

    @classmethod
    async def start(cls, program: str, window_bytes: int) -> Receiver:
        environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
        command = (sys.executable, "-m", program, str(window_bytes))
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, cwd=ROOT, env=environment)
        assert process.stdout is not None
        return cls(process, int(await process.stdout.readline()))

    async def take(self) -> list[Arrival]:
        """Returns what arrived since the last call."""
        return [Arrival(*each) for each in json.loads(await self.ask("Take"))]

    async def streamed_bytes(self) -> int:
        """Returns the bytes that came in streams so far, also in those that have not ended."""
        return int(await self.ask("Streamed"))

    async def ask(self, method: str, request: bytes = b"") -> bytes:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(
            f"/bench.Receiver/{method}"
        )
        return await call(request, wait_for_ready=True, timeout=_READY_TIMEOUT_S)

    async def stop(self) -> None:
        await self._channel.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        await self._process.wait()


class Side:
    """One side, made by `a_side`. Files are put into folders below `folder`, which `clear` empties."""

    def __init__(
        self, server: ViamServer, receiver: Receiver, link: SlowLink, folder: Path, *, builtin: bool
    ) -> None:
        self.receiver = receiver
        self.link = link
        self.builtin = builtin
        self.capture_dir = folder / "captured"
        self.files_dir = folder / "files"
        self._server = server

    async def clear(self) -> None:
        """Deletes all files, and returns when nothing arrives any more."""
        for folder in (self.capture_dir, self.files_dir):
            for path in folder.iterdir() if folder.exists() else ():
                if path.name != ".holdfast":
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        quiet = False
        while not quiet:
            await asyncio.sleep(_QUIET_S + 2 * self.link.rtt_s)
            quiet = not await self.receiver.take()

    async def sync(self, limit_s: float) -> float:
        """Requests a sync as a user does, and waits until all is sent or the time is up.

        Returns the monotonic time of the request.
        """
        async with self._server.robot() as robot:
            client = DataManagerClient.from_robot(robot, "data")
            began_s = time.monotonic()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(client.sync(timeout=limit_s + 5), limit_s)
        return began_s

    async def drain(self, files: int, readings: int, limit_s: float) -> Drained:
        """Puts `files` files into the capture folder, and syncs them.

        The clock runs from the request to the last arrival in time, so the time that sync takes to begin counts
        too. Raises TimeoutError when nothing arrived.
        """
        await self.clear()
        await asyncio.to_thread(sync_files.put, self.capture_dir, files, readings, builtin=self.builtin)
        began_s = await self.sync(limit_s)
        arrived = [each for each in await self.receiver.take() if each.at_s <= began_s + limit_s]
        if not arrived:
            raise TimeoutError(f"nothing arrived in {limit_s:g} s\n{self._server.log_tail()}")
        seconds, total = arrived[-1].at_s - began_s, sum(each.readings for each in arrived)
        return Drained(total, total / seconds, sum(each.size_bytes for each in arrived) / seconds)

    async def upload_large(self, size_bytes: int) -> float:
        """Puts one arbitrary file into the sync path, and syncs it.

        Returns the bytes per second from the request to the arrival. Raises TimeoutError when it did not arrive.
        """
        await self.clear()
        await asyncio.to_thread(sync_files.put_large, self.files_dir, size_bytes)
        await asyncio.sleep(_OLD_ENOUGH_S)
        began_s = await self.sync(_READY_TIMEOUT_S)
        for _ in range(int(_READY_TIMEOUT_S / _POLL_S)):  # the builtin's answer comes before the file has arrived
            for arrival in await self.receiver.take():
                return size_bytes / (arrival.at_s - began_s)
            await asyncio.sleep(_POLL_S)
        raise TimeoutError(f"the large file did not arrive\n{self._server.log_tail()}")

    def cpu_s(self) -> float:
        """Returns the CPU seconds so far of the process in which the data manager runs."""
        pids = [self._server.pid] if self.builtin else self._server.module_pids("holdfast")
        return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)

    async def wait_until_connected(self) -> None:
        """Returns when a sync is accepted. Raises TimeoutError."""
        deadline_s = time.monotonic() + _READY_TIMEOUT_S
        while True:
            try:
                await self.sync(10)
                return
            except (GRPCError, ResourceNotFoundError, ConnectionError, OSError) as error:
                if time.monotonic() > deadline_s:
                    raise TimeoutError(f"no sync: {error}\n{self._server.log_tail()}") from error
                await asyncio.sleep(_POLL_S)


@asynccontextmanager
async def a_side(
    binary: Path,
    folder: Path,
    *,
    builtin: bool,
    threads: int | None = None,
    interval_s: float | None = None,
    window_bytes: int = WIDE_BYTES,
    receiver: str = "bench.sync_receiver",
    way: Way | None = None,
) -> AsyncIterator[Side]:
    """Yields a connected side, which ends with the block. Without `interval_s` it syncs only on request. Without
    `way` it reaches the cloud directly by its address."""
    folder.mkdir()
    taker = await Receiver.start(receiver, window_bytes)
    link = SlowLink(taker.port)
    await link.start()
    server = ViamServer(binary, folder / "server", env=way.environment if way else None)
    address = link.address
    if way is not None:
        server.prefix = way.prefix
        address = way.address(link.port)
    side = Side(server, taker, link, folder, builtin=builtin)
    try:
        for path in (side.capture_dir, side.files_dir):
            path.mkdir(mode=0o700)
        attributes: dict[str, Any] = {
            "capture_dir": str(side.capture_dir),
            "additional_sync_paths": [str(side.files_dir)],
            "file_last_modified_millis": 1,
            "capture_disabled": True,
            "sync_disabled": interval_s is None,
        }
        if interval_s is not None:
            attributes["sync_interval_mins"] = interval_s / 60
        if threads is not None:
            attributes["maximum_num_sync_threads"] = threads
        if not builtin:
            attributes |= {"cloud_address": address, "allow_plaintext": True}
        config = robot_config(
            _machine(attributes, server.bind_address, builtin=builtin), part_id=_PART_ID, api_keys=_KEYS
        )
        await taker.ask("Configure", config.SerializeToString())
        await server.start_connected(address, part_id=_PART_ID)
        await server.wait_until_ready("data", timeout_s=_READY_TIMEOUT_S)
        await side.wait_until_connected()
        yield side
    finally:
        await server.stop()
        link.stop()
        await taker.stop()


def _machine(attributes: dict[str, Any], bind_address: str, *, builtin: bool) -> dict[str, Any]:
    module = {"name": "holdfast", "type": "local", "executable_path": str(ROOT / "module" / "run.sh")}
    model = "rdk:builtin:builtin" if builtin else "holdfast:data-manager:durable"
    service = {"name": "data", "api": "rdk:service:data_manager", "model": model, "attributes": attributes}
    return {
        "modules": [] if builtin else [module],
        "services": [service],
        "network": {"bind_address": bind_address},
    }


def say(what: str) -> None:
    print(what, flush=True)
