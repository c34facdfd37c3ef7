"""When work is due: what was put off still ends within the interval that is promised, and what is done again and
again takes no more than its share of the time."""

from __future__ import annotations

LONGEST_WAIT_S = 3600.0
"""A thread that waits for longer looks again meanwhile."""
_SHARE_OF_INTERVAL = 0.8  # the rest is for the work itself


def due_s(since_s: float, interval_s: float) -> float:
    """The latest beginning, for what waits since `since_s`."""
    return since_s + interval_s * _SHARE_OF_INTERVAL


def rest_s(cost_s: float, share: float) -> float:
    """Returns how long to rest behind work that took `cost_s`, so that it takes at most `share` of the time."""
    return cost_s * (1 / share - 1)
