"""`python -m bench.own_path` measures what a reading costs in the module's own code, without any call.

The scheduler, collectors and the disk writer run as they do in the module, as fast as they can: the clock is
simulated, and the resource answers at once. It prints microseconds of CPU per reading, the median of several
rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import statistics
import tempfile
import time

from viam.proto.common import GetReadingsResponse

from holdfast.base.filesystem import FileSystem
from holdfast.capture.collector import CollectorSpec
from holdfast.capture.engine import Capture
from holdfast.capture.large_call import RoomForAnswer
from holdfast.capture.methods import lookup
from holdfast.config import CaptureMethod
from holdfast.storage.ledger.ledger import Ledger
from holdfast.storage.writing.disk_writer import DiskWriter

API = "rdk:component:sensor"


class SimulatedClock:
    """A clock on which sleeping takes no real time and advances the time."""

    time_ns = staticmethod(time.time_ns)

    def __init__(self) -> None:
        self._now_s = 1000.0

    def monotonic(self) -> float:
        return self._now_s

    async def sleep(self, seconds: float) -> None:
        if seconds > 0.1:  # tasks that wake up rarely are not measured
            await asyncio.Event().wait()
        self._now_s += max(0.0, seconds)
        for _ in range(3):
            await asyncio.sleep(0)


class InstantClient:
    def __init__(self) -> None:
        answer = GetReadingsResponse()
        for name in "abc":
            answer.readings[name].number_value = 1.5
        self._answer = answer.SerializeToString()

    async def call(self, method: str, request: bytes, timeout_s: float, most_bytes: int) -> bytes:
        return self._answer

    async def large_call(self, method: str, request: bytes, timeout_s: float, room: RoomForAnswer) -> bytes:
        raise AssertionError("no method here answers with a payload")

    async def stream(self, method: str, request: bytes, timeout_s: float, room: RoomForAnswer) -> list[bytes]:
        return [self._answer]

    async def close(self) -> None:
        """Does nothing, since no connection is open."""


async def cost_us(readings: int, profile: cProfile.Profile | None = None) -> float:
    """Returns the CPU microseconds of the event loop's thread per reading, with 20 collectors at 100 Hz."""
    clock, client = SimulatedClock(), InstantClient()
    with tempfile.TemporaryDirectory(prefix="hf-bench-") as folder:
        ledger = Ledger(FileSystem(), folder)
        writer = DiskWriter(FileSystem(), clock, ledger, folder, 3600.0)
        table = lookup(API, "Readings")
        assert table is not None
        capture = Capture(clock, lambda collector, sink: sink)
        capture.configure(
            CollectorSpec(API, CaptureMethod(f"s{n}", "Readings", 100.0), table, client, (), writer, 1 << 24)
            for n in range(20)
        )
        before = time.thread_time()
        if profile is not None:
            profile.enable()
        while sum(running.collector.readings for running in capture.running) < readings:
            for _ in range(2000):
                await asyncio.sleep(0)
        if profile is not None:
            profile.disable()
        spent = time.thread_time() - before
        done = sum(running.collector.readings for running in capture.running)
        await capture.stop()
        await writer.close()
    return spent / done * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readings", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="where the time goes, by function")
    arguments = parser.parse_args()
    if arguments.profile:
        profile = cProfile.Profile()
        asyncio.run(cost_us(arguments.readings, profile))
        pstats.Stats(profile).sort_stats("tottime").print_stats(14)
        return
    rounds = [asyncio.run(cost_us(arguments.readings)) for _ in range(arguments.rounds)]
    print(f"{statistics.median(rounds):.1f} us per reading (of {', '.join(f'{cost:.1f}' for cost in rounds)})")


if __name__ == "__main__":
    main()
