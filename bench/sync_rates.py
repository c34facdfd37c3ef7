"""This module measures how fast a backlog drains over long links, compared with the builtin in alternating rounds.

The builtin gets a limited time, since it is slow over long links; the result is files per second.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from .report import Row
from .sync_files import READINGS_OF_2_KIB, READINGS_OF_64_KIB
from .sync_side import Side, a_side, say

OURS, BUILTIN, BUILTIN_8 = "ours", "builtin with 1 thread", "builtin with 8 threads"
RTTS_MS = (0, 50, 200)
OURS_LIMIT_S = 120.0
_AIMS = (
    (READINGS_OF_64_KIB, "64 KiB", BUILTIN, (5, 30, 60)),
    (READINGS_OF_64_KIB, "64 KiB", BUILTIN_8, (5, 8, 10)),
    (READINGS_OF_2_KIB, "2 KiB", BUILTIN, (8, 100, 200)),
)


@dataclass(frozen=True)
class Scale:
    """The amount of data and the number of rounds."""

    rounds: int = 2
    files: int = 2000
    large_bytes: int = 200 * 1024 * 1024
    builtin_s: float = 6.0


QUICK = Scale(rounds=1, files=500, large_bytes=50 * 1024 * 1024, builtin_s=3.0)


@dataclass(frozen=True)
class Drain:
    """The speed at which one backlog of small files drained, and the CPU microseconds that a reading cost."""

    files_per_s: float
    cpu_us: float


async def drains(binary: Path, folder: Path, scale: Scale) -> list[Row]:
    """Measures small files of both sizes at each round-trip time."""
    found: dict[tuple[int, int, str], list[Drain]] = {}
    async with AsyncExitStack() as stack:
        sides = {
            OURS: await stack.enter_async_context(a_side(binary, folder / "ours", builtin=False)),
            BUILTIN: await stack.enter_async_context(a_side(binary, folder / "one", builtin=True, threads=1)),
            BUILTIN_8: await stack.enter_async_context(a_side(binary, folder / "eight", builtin=True, threads=8)),
        }
        runs = [
            (readings, rtt_ms, name)
            for rtt_ms in RTTS_MS
            for readings in (READINGS_OF_64_KIB, READINGS_OF_2_KIB)
            for _ in range(scale.rounds)
            for name in sides
            if name != BUILTIN_8 or readings == READINGS_OF_64_KIB
        ]
        for readings, rtt_ms, name in runs:
            drain = await _drain(sides[name], scale, readings, rtt_ms / 1000)
            found.setdefault((readings, rtt_ms, name), []).append(drain)
            say(f"{readings} readings a file, {rtt_ms} ms, {name}: {drain}")

    rows = []
    for readings, size, against, aims in _AIMS:
        for rtt_ms, aim in zip(RTTS_MS, aims, strict=True):
            ours, theirs = (
                [each.files_per_s for each in found[readings, rtt_ms, name]] for name in (OURS, against)
            )
            rows.append(ratio(f"files of {size}, {rtt_ms} ms: ours ÷ {against}", ours, theirs, "files/s", aim))
    ours, theirs = ([each.cpu_us for each in found[READINGS_OF_64_KIB, 0, name]] for name in (OURS, BUILTIN))
    cpu = Row(
        "CPU seconds of sync per million readings",
        statistics.median(ours),
        "",
        4.0,
        rounds=ours,
        note=f"builtin {statistics.median(theirs):.3g}",
    )
    return [*rows, cpu]


async def large(binary: Path, folder: Path, scale: Scale) -> list[Row]:
    """Measures one large arbitrary file at each round-trip time."""
    rows = []
    async with AsyncExitStack() as stack:
        sides = (
            await stack.enter_async_context(a_side(binary, folder / "ours", builtin=False)),
            await stack.enter_async_context(a_side(binary, folder / "theirs", builtin=True, threads=1)),
        )
        for rtt_ms in RTTS_MS:
            found: tuple[list[float], list[float]] = [], []
            for _ in range(4 * scale.rounds):
                for side, rates in zip(sides, found, strict=True):
                    side.link.rtt_s = rtt_ms / 1000
                    rates.append(await side.upload_large(scale.large_bytes) / 1e6)
            say(f"large file, {rtt_ms} ms: ours {found[0]}, builtin {found[1]} MB/s")
            name = f"one file of {scale.large_bytes >> 20} MiB, {rtt_ms} ms: ours ÷ builtin"
            rows.append(ratio(name, *found, "MB/s", 1))
    return rows


def ratio(name: str, ours: Sequence[float], theirs: Sequence[float], unit: str, aim: float | None = None) -> Row:
    """Returns the ratio of ours to theirs in each round, with both medians as a note."""
    ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
    note = f"{statistics.median(ours):.4g} ÷ {statistics.median(theirs):.4g} {unit}"
    return Row(name, statistics.median(ratios), "", aim, False, ratios, note)


async def _drain(side: Side, scale: Scale, readings: int, rtt_s: float) -> Drain:
    side.link.rtt_s = rtt_s
    before_s = side.cpu_s()
    drained = await side.drain(scale.files, readings, scale.builtin_s if side.builtin else OURS_LIMIT_S)
    return Drain(drained.readings_per_s / readings, (side.cpu_s() - before_s) / drained.readings * 1e6)
