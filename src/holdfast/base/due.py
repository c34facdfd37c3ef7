"""When what was put off must be done, so that all of it still ends within the interval that is promised."""

from __future__ import annotations

LONGEST_WAIT_S = 3600.0
"""A thread that waits for longer looks again meanwhile."""
_SHARE_OF_INTERVAL = 0.8  # the rest is for the work itself


def due_s(since_s: float, interval_s: float) -> float:
    """The latest beginning, for what waits since `since_s`."""
    return since_s + interval_s * _SHARE_OF_INTERVAL
