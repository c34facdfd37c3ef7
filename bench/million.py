"""`python -m bench.million` measures how sync copes with a million small capture files, in one folder or in many.

The module's engine runs in a process of its own (`bench.million_side`) against a cloud in this one. First the cloud
can't be reached: this shows what it costs to know how much waits. Then it refuses everything, so that all files
wait, and then it accepts everything: this shows the time until the first call. Last, nothing is there: this shows
what it costs to look for files. Memory is the peak of the process, and CPU is a share of one core.

Each folder has an empty file. So none is ever known to be unchanged, which is the dearest case. All that waits was
counted before the CPU is measured; how long that took, the table says as well.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import psutil
from viam.proto.rpc.auth import AuthenticateResponse

from holdfast.storage.layout import capture_file_stem
from holdfast.sync.walk.backlog import LOOK_S

from .report import Row, machine, table, write
from .sync_files import READINGS_OF_2_KIB, content

ROOT = Path(__file__).parent.parent
_IN_MEMORY = Path("/dev/shm")
_BYTES_OF_A_FILE = 8192
"""The room that one file takes, including what the file system needs for it."""
NOT_UNCHANGED = "empty"
"""An empty file: it may get content at any time, and nothing but a look at it tells."""
_UPLOAD = "/viam.app.datasync.v1.DataSyncService/DataCaptureUpload"
_AUTHENTICATE = "/proto.rpc.v1.AuthService/Authenticate"

if TYPE_CHECKING:  # generic in their stubs only
    Context = grpc.aio.ServicerContext[bytes, bytes]


class Receiver(grpc.GenericRpcHandler):
    """A cloud that accepts uploads when it `is_well`, and otherwise answers them with INTERNAL."""

    def __init__(self) -> None:
        self.is_well = False
        self.calls = 0
        self.first_s: float | None = None
        self._handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            _UPLOAD: grpc.unary_unary_rpc_method_handler(self._upload),
            _AUTHENTICATE: grpc.unary_unary_rpc_method_handler(self._authenticate),
        }

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        return self._handlers.get(details.method)

    async def _authenticate(self, request: bytes, context: Context) -> bytes:
        return AuthenticateResponse(access_token="token").SerializeToString()

    async def _upload(self, request: bytes, context: Context) -> bytes:
        self.calls += 1
        self.first_s = self.first_s or time.monotonic()
        if not self.is_well:
            await context.abort(grpc.StatusCode.INTERNAL, "takes nothing")
        return b""


class Side:
    """The process that syncs, as the operating system sees it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = psutil.Process(process.pid)
        self._said = process.stdout

    async def counted(self) -> int:
        """Returns how many files wait, as soon as the process knows that."""
        assert self._said is not None
        return int(await self._said.readline())

    async def cpu_share(self, seconds: float) -> float:
        """Returns the CPU time that the process takes in the next seconds, in per cent of a core."""
        before_s = self.cpu_s
        await asyncio.sleep(seconds)
        return (self.cpu_s - before_s) / seconds * 100

    @property
    def cpu_s(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system

    @property
    def peak_bytes(self) -> int:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@asynccontextmanager
async def side(port: int, capture_dir: Path, interval_s: float) -> AsyncIterator[tuple[Side, float]]:
    """Runs the process during the block; yields it, and the monotonic time at which its sync began."""
    attributes = {
        "capture_dir": str(capture_dir),
        "cloud_address": f"http://127.0.0.1:{port}",
        "sync_interval_mins": interval_s / 60,
    }
    environment = {
        **os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "VIAM_API_KEY": "key", "VIAM_API_KEY_ID": "id",
        "VIAM_MACHINE_PART_ID": "part",
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.million_side", json.dumps(attributes), env=environment,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield Side(process), float(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()


async def measure(capture_dir: Path, files: int, settle_s: float, seconds: float) -> list[Row]:
    receiver = Receiver()
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 8 * 1024 * 1024)])
    server.add_generic_rpc_handlers((receiver,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with side(free_port(), capture_dir, 6.0) as (offline, _):
            assert await offline.counted() == files
            count_s = offline.cpu_s
            await asyncio.sleep(LOOK_S)
            offline_share = await offline.cpu_share(2 * seconds)
            peak = offline.peak_bytes
        async with side(port, capture_dir, 6.0) as (waiting, _):
            await asyncio.sleep(settle_s)
            waiting_share = await waiting.cpu_share(seconds)
            peak = max(peak, waiting.peak_bytes)
        receiver.is_well, receiver.first_s = True, None
        async with side(port, capture_dir, 0.05) as (draining, began_s):
            calls = receiver.calls
            await asyncio.sleep(seconds)
            assert receiver.first_s is not None, "nothing was uploaded"
            first_s, peak = receiver.first_s - began_s, max(peak, draining.peak_bytes)
            calls = receiver.calls - calls
        left = sum(len(names) - 1 for path, _, names in os.walk(capture_dir) if NOT_UNCHANGED in names)
        with tempfile.TemporaryDirectory(prefix="hf-nothing-") as nothing:
            async with side(port, Path(nothing), 6.0) as (idle, _):
                assert await idle.counted() == 0
                await asyncio.sleep(settle_s)
                idle_share = await idle.cpu_share(seconds)
    finally:
        await server.stop(0)
    return [
        Row("peak of the memory", peak / 2**20, " MiB", 150.0),
        Row("from the start of sync to the first call", first_s, " s", 2.0),
        Row("CPU while offline", offline_share, " % of a core", 1.0),
        Row("CPU while all of it is refused and waits", waiting_share, " % of a core", 1.0),
        Row("CPU while idle, without a file", idle_share, " % of a core", 1.0),
        Row("CPU from the start until all was counted", count_s, " s"),
        Row(f"calls in {seconds:g} s of sending", calls, ""),
        Row("files left then", left, ""),
    ]


def put(capture_dir: Path, files: int, folders: int) -> None:
    data = content(0, READINGS_OF_2_KIB, builtin=False)
    yesterday_ns = time.time_ns() - 86_400 * 10**9
    places = [capture_dir / "rdk_component_sensor" / f"sensor-{number}" / "Readings" for number in range(folders)]
    for folder in places:
        folder.mkdir(mode=0o700, parents=True)
        (folder / NOT_UNCHANGED).touch()
    for number in range(files):
        name = capture_file_stem(yesterday_ns + number * 1_000_000)
        with open(places[number % folders] / f"{name}.capture", "xb", buffering=0) as file:
            file.write(data)


def free_port() -> int:
    """Returns a port at which nothing answers."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def place(files: int) -> str | None:
    """Returns the folder for the files: in memory if they need less than half of it, else None."""
    fits = _IN_MEMORY.is_dir() and shutil.disk_usage(_IN_MEMORY).free > 2 * files * _BYTES_OF_A_FILE
    return str(_IN_MEMORY) if fits and psutil.virtual_memory().available > 2 * files * _BYTES_OF_A_FILE else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--folders", type=int, default=1)
    parser.add_argument("--settle", type=float, default=30.0, help="seconds before waiting is measured")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each measurement")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    arguments = parser.parse_args()
    where = place(arguments.files)
    with tempfile.TemporaryDirectory(prefix="hf-million-", dir=where) as folder:
        capture_dir = Path(folder) / "capture"
        put(capture_dir, arguments.files, arguments.folders)
        print(f"{arguments.files:,} files are in place", flush=True)
        rows = asyncio.run(measure(capture_dir, arguments.files, arguments.settle, arguments.seconds))
    spread = "one folder" if arguments.folders == 1 else f"{arguments.folders:,} folders"
    how = f"{arguments.files:,} files of 2 KiB in {spread}, {'in memory' if where else 'on disk'}"
    print(table(rows))
    print(f"\n{machine()}; {how}")
    if arguments.write:
        write(ROOT / "docs", "million", rows, how)


if __name__ == "__main__":
    main()
