"""The wall clock for those who delete by age: one that jumps ahead is not believed at once.

A clock that is set forward by mistake, and right again soon after, must not make everything too old. So a step
forward counts only when it has lasted for `PROBATION_S`; until then time goes on from where it was, by the
monotonic clock. A step back is believed at once, since it makes nothing older. Belongs to one thread at a time.
"""

from __future__ import annotations

from ...base.clock import Clock

PROBATION_S = 3600.0
_DRIFT_S = 5.0
"""By so much both clocks may run apart between two looks: a suspended computer's do."""
_NS = 1_000_000_000


class CautiousClock:
    """Look at it now and then: what happens between two looks is one step."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen_ns = clock.time_ns()
        self._seen_s = clock.monotonic()
        self._withheld_ns = 0
        """By how much the wall clock is ahead of what is believed."""
        self._stepped_s = 0.0

    def time_ns(self) -> int:
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
