"""This module measures how long data waits behind a large file, and after trouble. Both sides sync every second."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from . import sync_files
from .report import Row
from .sync_files import READINGS_OF_2_KIB
from .sync_rates import Scale
from .sync_side import Arrival, Side, a_side, say

_INTERVAL_S = 1.0
_BYTES_PER_S = 5_000_000
_SMALL_FILES = 500
_TROUBLE_S = 10.0
_LIMIT_S = 90.0
_LOOK_S = 0.05
_SOURCE_S = 0.25

Sides = tuple[Side, Side]
Trouble = Callable[[Side], Awaitable[None]]


@asynccontextmanager
async def _both(binary: Path, folder: Path) -> AsyncIterator[Sides]:
    """Yields our side and the builtin's with one thread, which both sync on a schedule."""
    folder.mkdir(exist_ok=True)
    async with AsyncExitStack() as stack:
        yield (
            await stack.enter_async_context(a_side(binary, folder / "ours", builtin=False, interval_s=_INTERVAL_S)),
            await stack.enter_async_context(
                a_side(binary, folder / "theirs", builtin=True, threads=1, interval_s=_INTERVAL_S)
            ),
        )


async def behind(binary: Path, folder: Path, scale: Scale) -> list[Row]:
    """Measures small files that appear while a large one is being sent."""
    async with _both(binary, folder) as sides:
        ours_s, theirs_s = await asyncio.gather(*(_behind(side, scale) for side in sides))
    name = f"{_SMALL_FILES} files of 2 KiB behind one of {scale.large_bytes >> 20} MiB at 5 MB/s: median wait"
    return [Row(name, ours_s, " s", 2.0, note=f"builtin {theirs_s:.3g}")]


async def _behind(side: Side, scale: Scale) -> float:
    side.link.bytes_per_s = _BYTES_PER_S
    await asyncio.to_thread(sync_files.put_large, side.files_dir, scale.large_bytes)
    await asyncio.sleep(3 * _INTERVAL_S)
    await side.receiver.take()
    await asyncio.to_thread(sync_files.put, side.capture_dir, _SMALL_FILES, READINGS_OF_2_KIB, builtin=side.builtin)
    began_s = time.monotonic()
    arrived: list[Arrival] = []
    half = _SMALL_FILES * READINGS_OF_2_KIB / 2
    while sum(each.readings for each in arrived) < half and time.monotonic() < began_s + _LIMIT_S:
        await asyncio.sleep(_LOOK_S)
        arrived += await side.receiver.take()
    total = 0
    for arrival in arrived:
        total += arrival.readings
        if total >= half:
            return arrival.at_s - began_s
    return _LIMIT_S


async def recovery(binary: Path, folder: Path, scale: Scale) -> list[Row]:
    """Measures how soon uploads flow again after the cloud, or the link, was down, while files keep coming."""

    async def unwell(side: Side) -> None:
        await side.receiver.ask("SetWell", b"0")
        await asyncio.sleep(_TROUBLE_S)
        await side.receiver.ask("SetWell", b"1")

    async def cut(side: Side) -> None:
        side.link.cut()
        await asyncio.sleep(_TROUBLE_S)
        await side.link.start()

    async def waits(name: str, trouble: Trouble) -> Row:
        async with _both(binary, folder / name) as sides:
            ours_s, theirs_s = await asyncio.gather(*(_recovery(side, trouble) for side in sides))
        say(f"after {_TROUBLE_S:g} s {name}: ours {ours_s:.2f} s, builtin {theirs_s:.2f} s")
        return Row(f"after 10 s {name}: until uploads flow", ours_s, " s", 2.5, note=f"builtin {theirs_s:.3g}")

    return list(await asyncio.gather(waits("of UNAVAILABLE", unwell), waits("without a connection", cut)))


async def _recovery(side: Side, trouble: Trouble) -> float:
    source = asyncio.create_task(_put_all_the_time(side))
    try:
        await _next_arrival_s(side, 0.0)
        await trouble(side)
        over_s = time.monotonic()
        return await _next_arrival_s(side, over_s) - over_s
    finally:
        source.cancel()
        await asyncio.gather(source, return_exceptions=True)


async def _put_all_the_time(side: Side) -> None:
    for number in itertools.count():
        await asyncio.to_thread(
            sync_files.put,
            side.capture_dir,
            1,
            READINGS_OF_2_KIB,
            builtin=side.builtin,
            prefix=f"{time.time_ns()}-{number}-",
        )
        await asyncio.sleep(_SOURCE_S)


async def _next_arrival_s(side: Side, after_s: float) -> float:
    """Returns when the first upload after `after_s` arrived; the end of the wait if none did."""
    deadline_s = time.monotonic() + _LIMIT_S
    while time.monotonic() < deadline_s:
        for arrival in await side.receiver.take():
            if arrival.at_s >= after_s:
                return arrival.at_s
        await asyncio.sleep(_LOOK_S)
    return deadline_s
