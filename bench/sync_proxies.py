"""This module measures what a proxy costs sync, and the capture beside it: the same directly and through proxies.

The proxies run on the same cores. So beside the rates there is the CPU of the module's process, which has the
tunnel, and the proxy's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from .report import Row
from .rig import Rig, Sensors, Window
from .sync_files import READINGS_OF_2_KIB, READINGS_OF_64_KIB
from .sync_rates import OURS_LIMIT_S, Scale, ratio
from .sync_side import WIDE_BYTES, Receiver, Side, a_side, say
from .ways import DIRECTLY, HTTP, SOCKS, Way, ways

_SENSORS = Sensors(20, 100.0)
_ENDLESS_BYTES = 64 * 1024**3
"""The size of a file, which has no blocks on the disk, that is sent longer than a window lasts."""
_FLOWING_BYTES = 16 * 1024**2
_POLL_S = 0.05
_FLUSHED_S = 2.0


@dataclass(frozen=True)
class _Run:
    """The rate of one backlog, files or bytes per second, and the CPU milliseconds of module and proxy for it."""

    rate: float
    module_ms: float
    proxy_ms: float


async def proxies(binary: Path, folder: Path, scale: Scale) -> list[Row]:
    """Measures sync, and then the capture beside it."""
    with ways(folder) as open_ways:
        return [*await _speed(binary, folder, scale, open_ways), *await _capture(binary, folder, scale, open_ways)]


async def _speed(binary: Path, folder: Path, scale: Scale, open_ways: Mapping[str, Way]) -> list[Row]:
    """Measures small files and a large one, by each way in turn."""
    found: dict[tuple[str, str], list[_Run]] = defaultdict(list)
    size = f"one file of {scale.large_bytes >> 20} MiB"
    async with AsyncExitStack() as stack:
        sides = {
            name: await stack.enter_async_context(
                a_side(binary, folder / str(number), builtin=False, way=open_ways[name])
            )
            for number, name in enumerate(open_ways)
        }
        for _ in range(4 * scale.rounds):
            for name, side in sides.items():
                large = side.upload_large(scale.large_bytes)
                found[size, name].append(await _run(side, open_ways[name], large))
        for kind, readings in (("files of 64 KiB", READINGS_OF_64_KIB), ("files of 2 KiB", READINGS_OF_2_KIB)):
            for _ in range(2 * scale.rounds):
                for name, side in sides.items():
                    small = _small(side, scale.files, readings)
                    found[kind, name].append(await _run(side, open_ways[name], small))
    for (kind, name), runs in found.items():
        say(f"{kind} {name}: {runs}")
    rows = []
    for kind, unit, amount, per in (
        (size, "MB/s", scale.large_bytes / 1e6, "MB"),
        ("files of 64 KiB", "files/s", scale.files, "file"),
        ("files of 2 KiB", "files/s", scale.files, "file"),
    ):
        for name in (SOCKS, HTTP):
            runs, direct = found[kind, name], found[kind, DIRECTLY]
            rows.append(ratio(f"{kind} {name} ÷ directly", _rates(runs, unit), _rates(direct, unit), unit))
            ours, theirs = ([run.module_ms / amount for run in each] for each in (runs, direct))
            cpu = ratio("the same: CPU of the module's process ÷ directly", ours, theirs, f"ms per {per}")
            own_ms = statistics.median(run.proxy_ms for run in runs) / amount
            rows.append(replace(cpu, note=f"{cpu.note}, the proxy itself {own_ms:.2g}"))
    return rows


def _rates(runs: list[_Run], unit: str) -> list[float]:
    return [run.rate / 1e6 if unit == "MB/s" else run.rate for run in runs]


async def _run(side: Side, way: Way, upload: Awaitable[float]) -> _Run:
    """Returns what it cost to await `upload`, which returns the rate."""
    module_s, proxy_s = side.cpu_s(), way.proxy_cpu_s()
    rate = await upload
    return _Run(rate, (side.cpu_s() - module_s) * 1e3, (way.proxy_cpu_s() - proxy_s) * 1e3)


async def _small(side: Side, files: int, readings: int) -> float:
    """Returns the files per second of a backlog."""
    return (await side.drain(files, readings, OURS_LIMIT_S)).readings_per_s / readings


@dataclass(frozen=True)
class _Beside:
    """What was captured in one window beside an upload."""

    window: Window
    lost: int
    bytes_per_s: float


async def _capture(binary: Path, folder: Path, scale: Scale, open_ways: Mapping[str, Way]) -> list[Row]:
    """Measures the capture of 20 sensors at 100 Hz while a large file is being sent, by each way in turn."""
    found: dict[str, list[_Beside]] = defaultdict(list)
    for number in range(2 * scale.rounds):
        for name, way in ((None, open_ways[DIRECTLY]), *open_ways.items()):
            what = f"beside a large file {name}" if name else "without an upload"
            async with _a_rig(binary, folder / f"{number}-{name}", way) as (rig, receiver):
                found[what].append(await _beside(rig, receiver, upload=name is not None))
            say(f"20 × 100 Hz {what}: {found[what][-1]}")
    rows = []
    for what, each in found.items():
        captured = [one.window.captured * 100 for one in each]
        late_ms = [one.window.late_p99_ms for one in each]
        rate = statistics.median(one.bytes_per_s for one in each) / 1e6
        sent = f"at {rate:.3g} MB/s" if rate else ""
        name = f"20 × 100 Hz {what}: captured ÷ due"
        rows += [
            Row(name, statistics.median(captured), " %", rounds=captured, note=sent),
            Row("the same: lateness p99", statistics.median(late_ms), " ms", rounds=late_ms),
        ]
    lost = sum(one.lost for each in found.values() for one in each)
    return [*rows, Row("lost readings in all of these", lost, "")]


@asynccontextmanager
async def _a_rig(binary: Path, folder: Path, way: Way) -> AsyncIterator[tuple[Rig, Receiver]]:
    """Yields a machine that captures, and the cloud to which it sends a file without end on request."""
    files = folder / "files"
    files.mkdir(parents=True)
    with (files / "endless.bin").open("wb") as file:
        os.truncate(file.fileno(), _ENDLESS_BYTES)
    receiver = await Receiver.start("bench.sync_receiver", WIDE_BYTES)
    attributes = {
        "cloud_address": way.address(receiver.port),
        "allow_plaintext": True,
        "additional_sync_paths": [str(files)],
        "file_last_modified_millis": 1,
    }
    rig = Rig(binary, folder, attributes=attributes, way=way)
    try:
        await rig.start([_SENSORS], sync=False)
        yield rig, receiver
    finally:
        await rig.stop()
        await receiver.stop()


async def _beside(rig: Rig, receiver: Receiver, *, upload: bool) -> _Beside:
    async with _upload(rig, receiver) if upload else contextlib.nullcontext():
        before_bytes = await receiver.streamed_bytes()
        span = await rig.watch()
        sent_bytes = await receiver.streamed_bytes() - before_bytes
        status = await rig.status()
    lost = sum(sum(each["dropped"].values()) for each in status["capture"]["collectors"])
    await asyncio.sleep(_FLUSHED_S)
    window = rig.count(span, [_SENSORS], in_files=True)
    return _Beside(window, lost, sent_bytes / window.seconds)


@asynccontextmanager
async def _upload(rig: Rig, receiver: Receiver) -> AsyncIterator[None]:
    """Requests a sync, and waits until the large file flows. It goes on flowing after the block."""
    sync = asyncio.create_task(rig.sync())
    try:
        while await receiver.streamed_bytes() < _FLOWING_BYTES:
            if sync.done():
                raise RuntimeError("the large file is not sent") from sync.exception()
            await asyncio.sleep(_POLL_S)
        yield
    finally:
        sync.cancel()
        await asyncio.gather(sync, return_exceptions=True)
