"""How much room a capture folder takes up and has left, known without listing it each time.

A census says what the folder held. What capture wrote since then is added, to files in progress too, and the files
that sync or a limit removed are subtracted. The properties may be read on the event loop, and `note_removed` may be
called from any thread; the rest belongs to the thread that checks the limits.
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

FRESH_S = 120.0
"""Nothing is said of a rate when the disk could not be measured for so long: it may hang."""
RATE_WINDOW = 20
"""How many measurements the rate of growth is calculated from, one from each check of the disk."""


class _Sample(NamedTuple):
    at_s: float
    balance_bytes: int
    """The bytes written since the start, less those removed since then."""


class SpaceUsage:
    """The space that one capture folder takes up. `root` returns the folder; `written_bytes` returns how much of
    the disk the files took up that capture wrote since the start, those in progress included."""

    def __init__(self, files: FileSystem, clock: Clock, root: Callable[[], str], written_bytes: Callable[[], int]):
        self.usage: Usage | None = None
        """How full the file system was at the last check."""
        self.census: Census | None = None
        """The last census."""
        self.counted_at_s: float | None = None
        """When it was taken, on the monotonic clock."""
        self.deleted = Freed()
        """What the limits have deleted since the start."""
        self._files = files
        self._clock = clock
        self._root = root
        self._written_bytes = written_bytes
        self._lock = threading.Lock()
        self._removed_bytes = 0
        self._at_census_bytes = 0
        self._samples: deque[_Sample] = deque(maxlen=RATE_WINDOW)

    @property
    def root(self) -> str:
        return self._root()

    @property
    def captured_bytes(self) -> int | None:
        """How much of the disk capture files take up now, or a little more than that; None until the first
        census."""
        if self.census is None:
            return None
        return max(0, self.census.captured_bytes + self._balance_bytes - self._at_census_bytes)

    def note_removed(self, size_bytes: int) -> None:
        """Notes that sync removed a capture file of this size. Safe to call from any thread."""
        with self._lock:
            self._removed_bytes += occupied_bytes(size_bytes)

    def count(self, priority_of: Callable[[str], int]) -> Census:
        """Takes a census. What is written in the meantime is added to it, even if it has seen that; files that go
        in the meantime are not subtracted."""
        written_bytes = self._written_bytes()
        census = take_census(self._files, self.root, priority_of)
        self._at_census_bytes = written_bytes - self._removed_bytes - self.deleted.bytes
        self.census, self.counted_at_s = census, self._clock.monotonic()
        return census

    def note_usage(self, usage: Usage) -> None:
        """Notes how full the file system is now."""
        self.usage = usage
        self._samples.append(_Sample(self._clock.monotonic(), self._balance_bytes))

    @property
    def measured_s(self) -> float | None:
        """When the file system was measured last, on the monotonic clock; None if it was not yet."""
        return self._samples[-1].at_s if self._samples else None

    @property
    def growth_bytes_per_s(self) -> float | None:
        """How fast captured data grew in the minutes before the last measurement; None until there were two, and
        when the last one is older than `FRESH_S`."""
        if len(self._samples) < 2:
            return None
        first, last = self._samples[0], self._samples[-1]
        if self._clock.monotonic() - last.at_s > FRESH_S:
            return None
        span_s = last.at_s - first.at_s
        return (last.balance_bytes - first.balance_bytes) / span_s if span_s > 0 else None

    def lasts_s(self, most_bytes: int | None) -> float | None:
        """Returns after how many seconds the disk or the limit is full at the present rate; None while nothing
        grows, or the rate is not known."""
        growth = self.growth_bytes_per_s
        if growth is None or growth <= 0 or self.usage is None:
            return None
        room = self.usage.free_bytes
        if most_bytes is not None and self.captured_bytes is not None:
            room = min(room, max(0, most_bytes - self.captured_bytes))
        return room / growth

    @property
    def _balance_bytes(self) -> int:
        return self._written_bytes() - self._removed_bytes - self.deleted.bytes
