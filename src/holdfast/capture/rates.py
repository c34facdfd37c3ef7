"""The figures of a collector: how fast it reads, how late, and how long its resource takes.

`RecentDurations` gets one value for each call, which costs one append. Everything else is computed from running
totals, of which `RateWindow` takes a sample now and then. Runs on the event loop. Bounds: `RECENT_CALLS` values for
each `RecentDurations`, `_SAMPLES` totals for each window.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

RECENT_CALLS = 256
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

    def median_s(self) -> float:
        """Returns the median; 0 without any value."""
        values = sorted(self._values)
        return values[(len(values) - 1) // 2] if values else 0.0


@dataclass(frozen=True)
class Totals:
    """What became of a collector's deadlines since it started.

    Each deadline that was used or missed is in one of the first four. `dropped` are readings that came and could
    not be kept.
    """

    answered: int = 0
    filtered: int = 0
    errors: int = 0
    missed: int = 0
    dropped: int = 0
    call_s: float = 0.0
    """The sum of the durations of all calls that have ended."""

    def __sub__(self, before: Totals) -> Totals:
        return Totals(
            self.answered - before.answered,
            self.filtered - before.filtered,
            self.errors - before.errors,
            self.missed - before.missed,
            self.dropped - before.dropped,
            self.call_s - before.call_s,
        )

    @property
    def due(self) -> int:
        """How many deadlines there were."""
        return self.answered + self.filtered + self.errors + self.missed

    @property
    def calls(self) -> int:
        """How many calls have ended."""
        return self.answered + self.filtered + self.errors

    @property
    def share(self) -> float | None:
        """The share of what was due that was read and kept, 0 to 1; None if nothing was due.

        What a filter held back counts as read.
        """
        return max(0, self.answered + self.filtered - self.dropped) / self.due if self.due else None


class RateWindow:
    """A collector's last minute, or its last two dozen deadlines if its interval is long."""

    def __init__(self, interval_s: float, now_s: float, totals: Totals) -> None:
        self._step_s = max(SAMPLE_S, _INTERVALS_PER_SAMPLE * interval_s)
        self._samples: deque[tuple[float, Totals]] = deque([(now_s, totals)], maxlen=_SAMPLES)

    def sample(self, now_s: float, totals: Totals) -> bool:
        """Moves the window on if it is time to, and returns whether it was."""
        if now_s < self._samples[-1][0] + self._step_s - _SLACK_S:
            return False
        self._samples.append((now_s, totals))
        return True

    def is_long_enough(self, now_s: float) -> bool:
        """Returns whether the window covers a minute yet."""
        return now_s - self._samples[0][0] >= WINDOW_S - SAMPLE_S / 2

    def until(self, totals: Totals) -> Totals:
        """Returns what has happened within the window, up to `totals`."""
        return totals - self._samples[0][1]
