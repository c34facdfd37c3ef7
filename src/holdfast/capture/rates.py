"""The figures of a collector: how fast it reads, how late, and how long its resource takes.

`RecentDurations` gets one value for each call, which costs one append. Everything else is computed from running
totals, of which `RateWindow` takes a sample now and then. Runs on the event loop. Bounds: `RECENT_CALLS` values for
each `RecentDurations`, `_SAMPLES` totals for each window.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from .causes import Cause

RECENT_CALLS = 128
WINDOW_S = 60.0
SAMPLE_S = 5.0
_SAMPLES = round(WINDOW_S / SAMPLE_S) + 1
_INTERVALS_PER_SAMPLE = 2  # so that a window holds 24 deadlines of even the slowest collector
_SLACK_S = 0.1  # a look that comes a little early still counts


class RecentDurations:
    """The last `RECENT_CALLS` durations of one kind, in seconds."""

    __slots__ = ("_values", "add")

    def __init__(self) -> None:
        self._values: deque[float] = deque(maxlen=RECENT_CALLS)
        self.add = self._values.append

    def percentiles_ms(self) -> tuple[float | None, float | None]:
        """Returns the 50th and the 99th percentile; None without any value."""
        values = sorted(self._values)
        if not values:
            return None, None
        last = len(values) - 1
        return round(values[last // 2] * 1000, 3), round(values[round(last * 0.99)] * 1000, 3)


@dataclass(frozen=True)
class Totals:
    """What became of a collector's deadlines since it started."""

    answered: int = 0
    filtered: int = 0
    unused: Mapping[Cause, int] = field(default_factory=dict)
    """The deadlines without a reading, by their cause."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """The readings that came and could not be kept, by reason."""

    def __sub__(self, before: Totals) -> Totals:
        return Totals(
            self.answered - before.answered,
            self.filtered - before.filtered,
            {cause: count - before.unused.get(cause, 0) for cause, count in self.unused.items()},
            {reason: count - before.dropped.get(reason, 0) for reason, count in self.dropped.items()},
        )

    @property
    def due(self) -> int:
        """How many deadlines there were."""
        return self.answered + self.filtered + sum(self.unused.values())

    @property
    def lost(self) -> int:
        """How many readings came and could not be kept."""
        return sum(self.dropped.values())

    @property
    def missing(self) -> dict[Cause, int]:
        """All readings that are missing, by their cause."""
        lost = {Cause.DISK: self.lost} if self.lost else {}
        return {**{cause: count for cause, count in self.unused.items() if count}, **lost}

    @property
    def missed(self) -> int:
        """How many readings are missing."""
        return sum(self.unused.values()) + self.lost

    @property
    def share(self) -> float | None:
        """The share of what was due that was read and kept, 0 to 1; None if nothing was due.

        What a filter held back counts as read.
        """
        return max(0, self.answered + self.filtered - self.lost) / self.due if self.due else None


class _Sample(NamedTuple):
    """The totals at a moment, and how long the longest call took since the sample before."""

    at_s: float
    totals: Totals
    longest_s: float


class RateWindow:
    """A collector's last minute, or its last two dozen deadlines if its interval is long."""

    def __init__(self, interval_s: float, now_s: float, totals: Totals) -> None:
        self._step_s = max(SAMPLE_S, _INTERVALS_PER_SAMPLE * interval_s)
        self._samples: deque[_Sample] = deque([_Sample(now_s, totals, 0.0)], maxlen=_SAMPLES)

    def is_due(self, now_s: float) -> bool:
        """Returns whether it is time for the next sample."""
        return now_s >= self._samples[-1].at_s + self._step_s - _SLACK_S

    def sample(self, now_s: float, totals: Totals, longest_s: float) -> None:
        """Moves the window on. The longest call since the last sample took `longest_s`."""
        self._samples.append(_Sample(now_s, totals, longest_s))

    def is_long_enough(self, now_s: float) -> bool:
        """Returns whether the window covers a minute yet."""
        return self.lasted_s(now_s) >= WINDOW_S - SAMPLE_S / 2

    def lasted_s(self, now_s: float) -> float:
        """Returns how long ago the window began, in seconds."""
        return now_s - self._samples[0].at_s

    def until(self, totals: Totals) -> Totals:
        """Returns what has happened within the window, up to `totals`."""
        return totals - self._samples[0].totals

    @property
    def missing_since_s(self) -> float:
        """When the first of the missing readings was missing, to the sample before it, on the monotonic clock."""
        missed_before, at_s = self._samples[0].totals.missed, self._samples[0].at_s
        for sample in self._samples:
            if sample.totals.missed > missed_before:
                break
            at_s = sample.at_s
        return at_s

    @property
    def longest_s(self) -> float:
        """How long the longest call took that ended or waited within the window, up to the last sample."""
        return max(itertools.islice((sample.longest_s for sample in self._samples), 1, None), default=0.0)
