"""`python -m bench.million` measures how sync copes with a million small capture files in one folder.

The module's engine runs in a process of its own (`bench.million_side`) against a cloud in this one. First the cloud
refuses everything, so that all files wait: this shows what waiting costs. Then it accepts everything: this shows
the time until the first call. Memory is the peak of the process over both, and CPU is a share of one core.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
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

from .report import Row, machine, table
from .sync_files import READINGS_OF_2_KIB, content

ROOT = Path(__file__).parent.parent
_IN_MEMORY = Path("/dev/shm")
_BYTES_OF_A_FILE = 8192
"""The room that one file takes, including what the file system needs for it."""
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

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)

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
        yield Side(process.pid), float(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()


async def measure(capture_dir: Path, settle_s: float, seconds: float) -> list[Row]:
    receiver = Receiver()
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 8 * 1024 * 1024)])
    server.add_generic_rpc_handlers((receiver,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with side(port, capture_dir, 6.0) as (waiting, _):
            await asyncio.sleep(settle_s)
            before_s = waiting.cpu_s
            await asyncio.sleep(seconds)
            idle = (waiting.cpu_s - before_s) / seconds * 100
            idle_peak = waiting.peak_bytes
        receiver.is_well, receiver.first_s = True, None
        async with side(port, capture_dir, 0.05) as (draining, began_s):
            calls = receiver.calls
            await asyncio.sleep(seconds)
            assert receiver.first_s is not None, "nothing was uploaded"
            first_s, peak = receiver.first_s - began_s, max(idle_peak, draining.peak_bytes)
            calls = receiver.calls - calls
        left = sum(1 for _ in os.scandir(capture_dir / "rdk_component_sensor" / "sensor-0" / "Readings"))
    finally:
        await server.stop(0)
    return [
        Row("peak of the memory", peak / 2**20, " MiB", 150.0),
        Row("from the start of sync to the first call", first_s, " s", 2.0),
        Row("CPU while all of it waits", idle, " % of a core", 2.0),
        Row(f"calls in {seconds:g} s of sending", calls, ""),
        Row("files left then", left, ""),
    ]


def put(folder: Path, files: int) -> None:
    folder.mkdir(mode=0o700, parents=True)
    data = content(0, READINGS_OF_2_KIB, builtin=False)
    yesterday_ns = time.time_ns() - 86_400 * 10**9
    for number in range(files):
        name = capture_file_stem(yesterday_ns + number * 1_000_000)
        with open(folder / f"{name}.capture", "xb", buffering=0) as file:
            file.write(data)


def place(files: int) -> str | None:
    """Returns the folder for the files: in memory if they need less than half of it, else None."""
    fits = _IN_MEMORY.is_dir() and shutil.disk_usage(_IN_MEMORY).free > 2 * files * _BYTES_OF_A_FILE
    return str(_IN_MEMORY) if fits and psutil.virtual_memory().available > 2 * files * _BYTES_OF_A_FILE else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--settle", type=float, default=30.0, help="seconds before waiting is measured")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each measurement")
    arguments = parser.parse_args()
    where = place(arguments.files)
    with tempfile.TemporaryDirectory(prefix="hf-million-", dir=where) as folder:
        capture_dir = Path(folder) / "capture"
        put(capture_dir / "rdk_component_sensor" / "sensor-0" / "Readings", arguments.files)
        print(f"{arguments.files:,} files are in place", flush=True)
        rows = asyncio.run(measure(capture_dir, arguments.settle, arguments.seconds))
    print(table(rows))
    print(f"\n{machine()}; {arguments.files:,} files of 2 KiB {'in memory' if where else 'on disk'}")


if __name__ == "__main__":
    main()
