"""`python -m bench.profile` shows where the module's event loop spends its time while it captures, by cProfile.

The capture engine runs in this process as it does in the module, at 20 × 100 Hz over the socket of a real
viam-server. cProfile inflates functions in Python relative to those in C, so the shares are rough; they show where
to look.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import tempfile
from collections import Counter
from pathlib import Path

from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.capture.client import GrpcioClient
from holdfast.capture.collector import CollectorSpec
from holdfast.capture.engine import Capture
from holdfast.capture.methods import lookup
from holdfast.config import CaptureMethod
from holdfast.storage.ledger.ledger import Ledger
from holdfast.storage.writing.disk_writer import DiskWriter
from module.event_loop import run

from .capture import USUAL, build_viam_server
from .rig import SETTLE_S, Rig

API = "rdk:component:sensor"
WAITING = ("select.epoll", "select.select", "time.sleep")
WHERE = {
    "grpcio's aio calls": ("grpc/", "cygrpc", "grpc._cython", "_invoke"),
    "asyncio: tasks, handles, timers, the selector": ("asyncio/", "_asyncio", "selectors.py", "event_loop.py"),
    "scheduler, collector, client, rates": ("capture/",),
    "frames, buffer, the ledger's count": ("storage/", "zlib", "_struct"),
}
"""The rows of the summary, each with parts of a function's file and name. The first row that matches counts."""


async def profiled(binary: Path, profile: cProfile.Profile, seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="hf-bench-") as folder:
        rig = Rig(binary, Path(folder))
        try:
            await rig.start([USUAL], captured=[])
            await _capture(str(rig.server.parent_socket), folder, profile, seconds)
        finally:
            await rig.stop()


async def _capture(socket: str, folder: str, profile: cProfile.Profile, seconds: float) -> None:
    clock, client, files = SystemClock(), GrpcioClient(socket), FileSystem()
    ledger = Ledger(files, folder)
    writer = DiskWriter(files, clock, ledger, folder, 1.0)
    capture = Capture(clock, lambda collector, sink: sink)
    table = lookup(API, "Readings")
    assert table is not None
    methods = [CaptureMethod(name, "Readings", USUAL.hz) for name in USUAL.names]
    capture.configure(CollectorSpec(API, method, table, client, (), writer, 1 << 18) for method in methods)
    try:
        await asyncio.sleep(SETTLE_S)
        profile.enable()
        await asyncio.sleep(seconds)
        profile.disable()
    finally:
        await capture.stop()
        await writer.close()
        await client.close()


def summary(profile: cProfile.Profile) -> str:
    """Returns a table of the shares of the time that was not spent waiting."""
    spent: Counter[str] = Counter()
    for (file, _, name), (_, _, own_s, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        text = f"{file}:{name}"
        if not any(waiting in text for waiting in WAITING):
            row = next((row for row, parts in WHERE.items() if any(part in text for part in parts)), "the rest")
            spent[row] += own_s
    total_s = sum(spent.values())
    rows = [f"| {row} | {spent[row] / total_s:.0%} |" for row in (*WHERE, "the rest")]
    return "\n".join(["| where | share |", "|---|---|", *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    arguments = parser.parse_args()
    profile = cProfile.Profile()
    run(profiled(build_viam_server(), profile, arguments.seconds))
    pstats.Stats(profile).sort_stats("tottime").print_stats(20)
    print(summary(profile))


if __name__ == "__main__":
    main()
