"""Decides when work is due: deferred work ends within the interval that is promised for it, and repeated work takes
no more than its share of the time."""

from __future__ import annotations

LONGEST_WAIT_S = 3600.0
"""The longest that a thread sleeps at once. When it has longer to wait, it wakes up in between."""
_SHARE_OF_INTERVAL = 0.8  # the rest is for the work itself


def due_s(since_s: float, interval_s: float) -> float:
    """Returns the latest time at which work that waits since `since_s` may begin, to end within `interval_s`."""
    return since_s + interval_s * _SHARE_OF_INTERVAL


def rest_s(cost_s: float, share: float) -> float:
    """Returns how long to rest after work that took `cost_s`, so that it takes at most `share` of the time."""
    return cost_s * (1 / share - 1)
