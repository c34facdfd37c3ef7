"""`make bench-capture` measures what capture costs and how exactly it keeps its rates, on the real viam-server.

It prints a table, and writes it with a chart into docs/. Costs are ratios within the run, from alternating rounds,
and medians of these, since other programs may use the machine. `--minutes 20` adds the growth of memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from . import report
from .backlog import backlog
from .report import Row
from .rig import ROOT, Rig, Sensors, Window

USUAL = Sensors(20, 100.0)
FAST = Sensors(1, 1000.0, max_in_flight=4)
MIXED = (Sensors(200, 1.0), Sensors(20, 50.0))
IMAGES = Sensors(2, 1.0, api="rdk:component:camera", method="GetImages")
ALL = (USUAL, FAST, *MIXED, IMAGES)
PYTHON = Sensors(20, 100.0, python=True)
_FIRST_MINUTES = 5  # memory may still grow in these: caches fill, the allocator settles


async def bare(rig: Rig, sensors: Sensors, seconds: float) -> dict[str, float]:
    """Makes grpcio.aio calls at the same deadlines; returns what `bench.bare_client` prints."""
    command = [sys.executable, "-m", "bench.bare_client", str(rig.server.parent_socket)]
    command += [str(sensors.hz), str(seconds), *sensors.names]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, cwd=ROOT)
    output, _ = await process.communicate()
    return dict(json.loads(output))


async def rates(rig: Rig, rounds: int, seconds: float) -> list[Row]:
    """Measures the cost relative to a bare call, and how exactly the usual and the fastest rate are kept."""
    usual: list[Window] = []
    ratios: list[float] = []
    answered: list[float] = []
    for _ in range(rounds):
        await rig.configure(ALL, captured=[])
        plain = await bare(rig, USUAL, seconds)
        await rig.configure(ALL, captured=[USUAL])
        usual.append(await rig.measure([USUAL]))
        answered.append(plain["calls"] / plain["due"] * 100)
        ratios.append(usual[-1].module_us / (plain["cpu_s"] / plain["calls"] * 1e6))
        _say(f"20 × 100 Hz: {usual[-1]}, ratio {ratios[-1]:.2f}; bare: {plain}")
    await rig.configure(ALL, captured=[FAST])
    fast = [await rig.measure([FAST]) for _ in range(rounds)]
    _say(f"1 × 1,000 Hz: {fast}")
    return [
        _row("CPU per reading ÷ a bare call, 20 × 100 Hz", ratios, "", 1.25),
        _row("the bare client, 20 × 100 Hz: answered ÷ due", answered, " %"),
        _row("20 × 100 Hz: captured ÷ due", [w.captured * 100 for w in usual], " %", 99.0, at_most=False),
        _row("20 × 100 Hz: lateness p99", [w.late_p99_ms for w in usual], " ms", 8.0),
        _row("1 × 1,000 Hz: captured ÷ due", [w.captured * 100 for w in fast], " %", 97.0, at_most=False),
    ]


async def beside_a_drain(rig: Rig) -> list[Row]:
    """Measures the rate that is kept while a backlog drains at full speed for the whole window."""
    await rig.configure(ALL, captured=MIXED, sync=False)
    async with backlog(rig.capture_dir, rig.folder / "backlog"):
        await rig.configure(ALL, captured=MIXED)
        before = rig.cloud.readings_count
        span = await rig.watch()
        drained = rig.cloud.readings_count - before
        await rig.configure(ALL, captured=MIXED, sync=False)
    window = rig.count(span, MIXED, in_files=True)
    drained_per_s = drained / window.seconds
    _say(f"200 × 1 Hz and 20 × 50 Hz while a backlog drains at {drained_per_s:,.0f} readings/s: {window}")
    return [
        _row(
            "200 × 1 and 20 × 50 Hz beside a drain: captured ÷ due", [window.captured * 100], " %", 99.0,
            at_most=False,
        ),
        _row("the drain beside it", [drained_per_s], " readings/s"),
    ]  # fmt: skip


async def together(binary: Path, sensors: Sensors, seconds: float) -> tuple[Window, Window]:
    """Returns the builtin's window and ours, with the same sensors and without sync."""
    windows = []
    for builtin in (True, False):
        with tempfile.TemporaryDirectory(prefix="hf-bench-") as folder:
            rig = Rig(binary, Path(folder), builtin=builtin, seconds=seconds)
            try:
                await rig.start([sensors], sync=False)
                windows.append(await rig.measure([sensors], delivered=False))
            finally:
                await rig.stop()
    _say(f"{'Python' if sensors.python else 'Go'} sensors: builtin {windows[0]}; ours {windows[1]}")
    return windows[0], windows[1]


async def beside_the_builtin(binary: Path, rounds: int, seconds: float) -> list[Row]:
    usual = [await together(binary, USUAL, seconds) for _ in range(rounds)]
    python = [await together(binary, PYTHON, seconds) for _ in range(rounds)]
    return [
        _row("20 × 100 Hz: module and viam-server, of a core", [o.cpu * 100 for _, o in usual], " %", 90.0),
        _row("the builtin, of a core", [b.cpu * 100 for b, _ in usual], " %"),
        _row("the same from a Python module, all three, of a core", [o.cpu * 100 for _, o in python], " %"),
        _row("the same, captured ÷ due", [o.captured * 100 for _, o in python], " %"),
        _row("the builtin from a Python module, of a core", [b.cpu * 100 for b, _ in python], " %"),
        _row("the builtin from a Python module, captured ÷ due", [b.captured * 100 for b, _ in python], " %"),
    ]


async def memory(rig: Rig, minutes: float) -> list[Row]:
    """Measures how the module's memory grows after its first minutes, with readings and images."""
    await rig.configure(ALL, captured=(*MIXED, IMAGES))
    (pid,) = rig.server.module_pids("holdfast")
    module, samples = psutil.Process(pid), []
    started_s = time.monotonic()
    while (at_s := time.monotonic() - started_s) < minutes * 60:
        if at_s >= _FIRST_MINUTES * 60:
            samples.append((at_s / 60, module.memory_info().rss / 2**20))
        await asyncio.sleep(5)
    slope, _ = statistics.linear_regression(*zip(*samples, strict=True))
    _say(f"memory: {samples[0][1]:.1f} MiB after {_FIRST_MINUTES} minutes, {samples[-1][1]:.1f} at the end")
    name = f"growth of memory, minutes {_FIRST_MINUTES} to {minutes:g}"
    return [_row(name, [slope], " MiB/min", 0.5)]


async def main(binary: Path) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each measured window")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--minutes", type=float, default=0.0, help=f"watch memory for so many minutes, > {_FIRST_MINUTES}"
    )
    arguments = parser.parse_args()
    rounds, seconds = arguments.rounds, arguments.seconds
    ourselves = asyncio.current_task()
    assert ourselves is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ourselves.cancel)  # ends all that was started
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="hf-bench-") as folder:
        rig = Rig(binary, Path(folder), seconds=seconds)
        try:
            await rig.start(ALL, captured=[])
            rows += await rates(rig, rounds, seconds)
            if arguments.minutes > _FIRST_MINUTES:
                rows += await memory(rig, arguments.minutes)
            rows += await beside_a_drain(rig)
        finally:
            await rig.stop()
    rows += await beside_the_builtin(binary, rounds, seconds)
    print(f"\n{report.table(rows)}\n\n{report.machine()}")
    report.write(ROOT / "docs", "capture", rows, f"{rounds} rounds of {seconds:g} s, medians")


def _row(name: str, values: Sequence[float], unit: str, aim: float | None = None, *, at_most: bool = True) -> Row:
    return Row(name, statistics.median(values), unit, aim, at_most, values)


def _say(what: str) -> None:
    print(what, flush=True)


def build_viam_server() -> Path:
    build = subprocess.run([ROOT / "tests/viam_server/build.sh"], stdout=subprocess.PIPE, text=True, check=True)
    return Path(build.stdout.strip())


if __name__ == "__main__":
    asyncio.run(main(build_viam_server()))
