"""Which readings of one appender were dropped: how many, why, and when they were taken.

Thread-safe: what finds no room in memory is noted on the event loop, what the disk refuses on the disk thread.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

_CONTIGUOUS_S = 1.0
_MOST_NEW = 16


class Drop(NamedTuple):
    """Readings that were dropped. They were taken between these times of the monotonic clock."""

    from_s: float
    to_s: float
    readings: int


class Dropped:
    """The readings that an appender dropped. At most `_MOST_NEW` drops wait to be taken: beyond that, the newest is
    extended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_reason: dict[str, int] = {}
        self._new: list[Drop] = []

    @property
    def by_reason(self) -> dict[str, int]:
        """How many readings were dropped so far, by reason."""
        with self._lock:
            return dict(self._by_reason)

    def add(self, reason: str, readings: int, from_s: float, to_s: float) -> None:
        """Takes note of readings that are dropped. `from_s` and `to_s` are as in `Drop`."""
        with self._lock:
            self._by_reason[reason] = self._by_reason.get(reason, 0) + readings
            last = self._new[-1] if self._new else None
            if last is not None and (from_s - last.to_s < _CONTIGUOUS_S or len(self._new) == _MOST_NEW):
                self._new[-1] = Drop(min(last.from_s, from_s), max(last.to_s, to_s), last.readings + readings)
            else:
                self._new.append(Drop(from_s, to_s, readings))

    def take(self) -> list[Drop]:
        """Returns what was noted since the last call, in order."""
        if not self._new:
            return []
        with self._lock:
            new, self._new = self._new, []
            return new
