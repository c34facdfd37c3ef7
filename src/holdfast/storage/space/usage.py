"""How much room a capture folder takes and has, known without listing it.

A census tells what was there; what capture finished since comes on top, and what was let go is taken off. Read from
the event loop; `let_go` belongs to any thread, the rest to the one that checks the limits.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from ...base.clock import Clock
from ...base.filesystem import FileSystem, Usage, occupied_bytes
from .census import Census, take_census
from .deletion import Freed

RATE_WINDOW = 20
"""Measurements that the rate is taken from, one at each check of the disk."""


class _Sample(NamedTuple):
    at_s: float
    balance_bytes: int
    """Written less gone, since the start."""


class SpaceUsage:
    """`finished_bytes` tells what capture has written in complete files since the start. `root` is where."""

    def __init__(self, files: FileSystem, clock: Clock, root: Callable[[], str], finished_bytes: Callable[[], int]):
        self.usage: Usage | None = None
        """Of the file system, at the last check."""
        self.census: Census | None = None
        self.counted_at_s: float | None = None
        self.deleted = Freed()
        """What the limits deleted since the start."""
        self._files = files
        self._clock = clock
        self._root = root
        self._finished_bytes = finished_bytes
        self._lock = threading.Lock()
        self._let_go_bytes = 0
        self._at_census_bytes = 0
        self._samples: deque[_Sample] = deque(maxlen=RATE_WINDOW)

    @property
    def root(self) -> str:
        return self._root()

    @property
    def captured_bytes(self) -> int | None:
        """What capture files take up by now, or a little more; None until they were counted once."""
        if self.census is None:
            return None
        return max(0, self.census.captured_bytes + self._balance_bytes - self._at_census_bytes)

    def let_go(self, size_bytes: int) -> None:
        """Sync took a capture file of this size out of the folder."""
        with self._lock:
            self._let_go_bytes += occupied_bytes(size_bytes)

    def count(self, priority_of: Callable[[str], int]) -> Census:
        """Takes a census. What is finished meanwhile counts on top, what goes meanwhile not off."""
        finished_bytes = self._finished_bytes()
        census = take_census(self._files, self.root, priority_of)
        self._at_census_bytes = finished_bytes - self._let_go_bytes - self.deleted.bytes
        self.census, self.counted_at_s = census, self._clock.monotonic()
        return census

    def measured(self, usage: Usage) -> None:
        self.usage = usage
        self._samples.append(_Sample(self._clock.monotonic(), self._balance_bytes))

    @property
    def growth_bytes_per_s(self) -> float | None:
        """In less out, over the last minutes; None until it was measured twice."""
        if len(self._samples) < 2:
            return None
        first, last = self._samples[0], self._samples[-1]
        span_s = last.at_s - first.at_s
        return (last.balance_bytes - first.balance_bytes) / span_s if span_s > 0 else None

    def lasts_s(self, most_bytes: int | None) -> float | None:
        """Until the disk or the limit is full at the present rate; None while it does not grow."""
        growth = self.growth_bytes_per_s
        if growth is None or growth <= 0 or self.usage is None:
            return None
        room = self.usage.free_bytes
        if most_bytes is not None and self.captured_bytes is not None:
            room = min(room, max(0, most_bytes - self.captured_bytes))
        return room / growth

    @property
    def _balance_bytes(self) -> int:
        return self._finished_bytes() - self._let_go_bytes - self.deleted.bytes
