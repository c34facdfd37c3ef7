"""What keeps a collector from its rate, and what to do about it: pure functions over the figures of a minute.

| what is seen, in this order | bound |
|---|---|
| at least half of what is missing came and could not be kept | the disk |
| at least half of it are calls that failed | errors |
| a call takes as long as the interval × the calls allowed at once, and the computer is not busy | the component |
| such a call takes many times that, however busy the computer is | the component |
| anything else: deadlines passed though calls came back in time | CPU |

How late deadlines are is how long the event loop makes things wait; a call's answer waits as long, so that is taken
off its duration first.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .rates import Totals

ENOUGH = 0.95
"""A collector that reads less than this share of what is due is said to be slow."""
_BUSY_CORE = 0.85
_BUSY_COMPUTER = 0.95
_ALMOST = 0.9
_SURELY = 5.0


class Bottleneck(Enum):
    """What a rate is bounded by, as the status names it."""

    COMPONENT = "component"
    CPU = "cpu"
    DISK = "disk"
    ERRORS = "errors"


@dataclass(frozen=True)
class Load:
    """How busy a stretch of time was: of one core, this process; of all cores, everything. 1 is all of it."""

    process: float = 0.0
    computer: float = 0.0


@dataclass(frozen=True)
class Shortfall:
    """A collector's figures over its window."""

    totals: Totals
    interval_s: float
    max_in_flight: int
    waited_s: float
    """How long the oldest call in flight has been waiting."""
    late_s: float
    """How long after their slots calls leave that wait for no other one, as a median."""
    load: Load
    last_error: str = ""

    @property
    def call_s(self) -> float:
        """What a call takes; one that does not come back counts with its age."""
        totals = self.totals
        return max(totals.call_s / totals.calls if totals.calls else 0.0, self.waited_s)


def bottleneck_of(found: Shortfall) -> Bottleneck:
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
    """What was seen and what helps, as one sentence."""
    if bottleneck is Bottleneck.DISK:
        return (
            f"the disk did not take {found.totals.dropped} readings (see last_disk_error and dropped): make room, "
            "use a faster disk, or lower the frequency"
        )
    if bottleneck is Bottleneck.ERRORS:
        return f"{found.totals.errors} calls to the resource failed (last: {found.last_error}): fix the resource"
    if bottleneck is Bottleneck.COMPONENT:
        return (
            f"a call takes {found.call_s * 1000:.3g} ms, where {found.interval_s * 1000:.3g} ms × max_in_flight "
            f"({found.max_in_flight}) are there: raise max_in_flight if the component answers several calls at "
            "once, or lower capture_frequency_hz"
        )
    return (
        f"this process uses {found.load.process:.0%} of a core, the computer is {found.load.computer:.0%} busy, "
        f"and calls leave {found.late_s * 1000:.3g} ms late: lower frequencies, or give it more CPU"
    )
