"""What keeps a collector from its rate, and what to do about it: pure functions of the figures of a minute.

| what is seen, in this order | bottleneck |
|---|---|
| at least half of what is missing came and could not be kept | the disk |
| at least half of it are calls that failed | errors |
| a call takes as long as the interval × the calls allowed at once, and the computer is not busy | the component |
| such a call takes many times as long, however busy the computer is | the component |
| anything else: deadlines passed although calls ended in time | CPU |

Calls leave late when the event loop is busy. Their answers wait for it as long, so this lateness is subtracted from
the duration of a call before it is judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .rates import Totals

ENOUGH = 0.95
"""A collector that reads less than this share of what is due is slow."""
_BUSY_CORE = 0.85
_BUSY_COMPUTER = 0.95
_ALMOST = 0.9
_SURELY = 5.0


class Bottleneck(Enum):
    """The causes of a low rate. The value is the word in the status."""

    COMPONENT = "component"
    CPU = "cpu"
    DISK = "disk"
    ERRORS = "errors"


@dataclass(frozen=True)
class Load:
    """How busy the CPU was, where 1 is fully: by this process, of one core; by everything, of all cores."""

    process: float = 0.0
    computer: float = 0.0


@dataclass(frozen=True)
class Shortfall:
    """A collector's figures over its window."""

    totals: Totals
    interval_s: float
    max_in_flight: int
    waited_s: float
    """How long the oldest call in flight has been waiting for its answer."""
    late_s: float
    """The median of how long calls leave after their deadlines if they wait for no other call."""
    load: Load
    last_error: str = ""

    @property
    def call_s(self) -> float:
        """The mean duration of a call, or the age of the oldest one in flight if that is longer."""
        totals = self.totals
        return max(totals.call_s / totals.calls if totals.calls else 0.0, self.waited_s)


def bottleneck_of(found: Shortfall) -> Bottleneck:
    """Returns what limits a collector with these figures."""
    totals = found.totals
    missing = totals.errors + totals.missed + totals.dropped
    if totals.dropped * 2 >= missing:
        return Bottleneck.DISK
    if totals.errors * 2 >= missing:
        return Bottleneck.ERRORS
    busy = found.load.process >= _BUSY_CORE or found.load.computer >= _BUSY_COMPUTER
    room_s = found.interval_s * found.max_in_flight
    if found.call_s - found.late_s >= room_s * (_SURELY if busy else _ALMOST):
        return Bottleneck.COMPONENT
    return Bottleneck.CPU


def advice(bottleneck: Bottleneck, found: Shortfall) -> str:
    """Returns what was seen and what helps, as one sentence for users."""
    if bottleneck is Bottleneck.DISK:
        return (
            f"the disk did not take {found.totals.dropped} readings (see last_disk_error and dropped): free some "
            "space, use a faster disk, or lower the frequency"
        )
    if bottleneck is Bottleneck.ERRORS:
        return f"{found.totals.errors} calls to the resource failed (last: {found.last_error}): fix the resource"
    if bottleneck is Bottleneck.COMPONENT:
        return (
            f"a call takes {found.call_s * 1000:.3g} ms, but has only {found.interval_s * 1000:.3g} ms × "
            f"max_in_flight ({found.max_in_flight}): raise max_in_flight if the component can answer several calls "
            "at once, or lower capture_frequency_hz"
        )
    return (
        f"this process uses {found.load.process:.0%} of a core, the computer is {found.load.computer:.0%} busy, "
        f"and calls leave {found.late_s * 1000:.3g} ms late: lower the frequencies, or use a faster computer"
    )
