"""A wall clock for deletion by age, which does not follow at once when the computer's clock jumps ahead.

A clock that is set forward by mistake, and corrected soon after, must not make everything too old. So a step
forward counts only after it has lasted for `PROBATION_S`; until then, time continues from before the step by the
monotonic clock. A step back counts at once, since it makes nothing older. Belongs to one thread at a time.
"""

from __future__ import annotations

from ...base.clock import Clock

PROBATION_S = 3600.0
_DRIFT_S = 5.0
"""How far the two clocks may drift apart between two calls, as they do on a computer that was suspended."""
_NS = 1_000_000_000


class CautiousClock:
    """The clock. It must be read now and then: everything between two calls of `time_ns` counts as one step."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen_ns = clock.time_ns()
        self._seen_s = clock.monotonic()
        self._withheld_ns = 0
        """How far the wall clock is ahead of the time that is returned."""
        self._stepped_s = 0.0

    def time_ns(self) -> int:
        """Returns the nanoseconds since the Unix epoch, without a step forward that is on probation."""
        now_ns, now_s = self._clock.time_ns(), self._clock.monotonic()
        step_ns = now_ns - self._seen_ns - round((now_s - self._seen_s) * _NS)
        self._seen_ns, self._seen_s = now_ns, now_s
        if step_ns > _DRIFT_S * _NS:
            self._withheld_ns += step_ns
            self._stepped_s = now_s
        elif step_ns < 0:
            self._withheld_ns = max(0, self._withheld_ns + step_ns)
        if self._withheld_ns and now_s - self._stepped_s >= PROBATION_S:
            self._withheld_ns = 0
        return now_ns - self._withheld_ns
