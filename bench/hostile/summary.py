"""What one run found, for people: a table, and the longest holds with what the loop did in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..report import Row
from .journal import Input
from .rig import HZ, SENSORS, Found
from .watch import Hold

AIM_MS = 50.0
_SHOWN = 10
_MOST_INPUTS = 6
_MOST_CHARS = 150
_MOST_LINES = 8
_BEFORE_NS = 100_000_000
"""An input that ended so shortly before a hold may have caused it."""


def rows(found: Found) -> list[Row]:
    memory = [bytes_ / 2**20 for _, bytes_, _, _ in found.samples if bytes_]
    files = [files for _, _, files, _ in found.samples]
    threads = [threads for _, _, _, threads in found.samples]
    return [
        Row("longest hold of the event loop", _longest(each.wall_ms for each in found.holds), " ms", AIM_MS),
        Row("the same without what a busy machine took", _longest(each.own_ms for each in found.holds), " ms"),
        Row("longest CPU time of the loop in a hold", _longest(each.cpu_ms for each in found.holds), " ms"),
        Row(f"holds of more than {AIM_MS:g} ms", sum(each.wall_ms > AIM_MS for each in found.holds), ""),
        Row(f"{SENSORS} × {HZ:g} Hz: captured ÷ due", found.captured / found.due * 100, " %"),
        Row(f"{SENSORS} × {HZ:g} Hz: captured ÷ answered", found.captured / max(1, found.served) * 100, " %"),
        Row("memory at the begin", memory[0], " MiB"),
        Row("memory at most", max(memory), " MiB"),
        Row("memory at the end", memory[-1], " MiB"),
        Row("open files, first and most", files[0], "", note=f"{max(files)}"),
        Row("threads, first and most", threads[0], "", note=f"{max(threads)}"),
        Row("restarts of the module", found.restarts, "", 0.0),
        Row("hostile inputs", len(found.inputs), ""),
    ]


def described(found: Found) -> str:
    """Returns the longest holds, the longest one first."""
    longest = sorted(found.holds, key=lambda hold: -hold.own_ms)[:_SHOWN]
    return "\n\n".join(_hold(hold, found) for hold in longest)


def _hold(hold: Hold, found: Found) -> str:
    lines = [
        f"{hold.wall_ms:.0f} ms at {(hold.begin_ns - found.begin_ns) / 1e9:.1f} s: the loop's CPU "
        f"{hold.cpu_ms:.0f} ms, without a processor {hold.delay_ms:.0f} ms, garbage collection "
        f"{hold.collection_ms:.0f} ms, began {hold.late_ms:.0f} ms late"
    ]
    lines += [f"  {times} × {_short(stack)}" for times, stack in hold.stacks]
    lines += [
        f"  {busy.thread}: CPU {busy.cpu_ms:.0f} ms, without a processor {busy.delay_ms:.0f} ms "
        f"{_short(busy.stack)}"
        for busy in hold.others
    ]
    lines += [f"  {each.side}: {each.what[:_MOST_CHARS]}" for each in under_way(hold, found.inputs)]
    return "\n".join(lines)


def under_way(hold: Hold, inputs: Iterable[Input]) -> list[Input]:
    """Returns the inputs that may have caused a hold: the last that began before its end and had not ended long
    before it."""
    near = [each for each in inputs if each.begin_ns < hold.end_ns and each.end_ns > hold.begin_ns - _BEFORE_NS]
    return sorted(near, key=lambda each: -each.begin_ns)[:_MOST_INPUTS]


def _short(stack: Sequence[str]) -> str:
    return " < ".join(stack[:_MOST_LINES])


def _longest(values: Iterable[float]) -> float:
    return max(values, default=0.0)
