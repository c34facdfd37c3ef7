"""The pace of sync: how many bytes arrive while calls are under way.

Unlike the rate of the `Meter`, this leaves out the time in which sync had nothing to send or waited for the link,
and what did not arrive. So it says how long the rest takes. Safe to use from any thread.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from ...base.clock import Clock
from .progress import Progress

WINDOW_S = 60.0
_SAMPLE_S = 1.0


class Pace:
    """The pace of the last `WINDOW_S`, and the progress of the uploads that have begun."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._calls: dict[Progress, int] = {}
        """The uploads of which a call is under way, with what each had sent before it."""
        self._busy_s = self._at_s = 0.0
        """How long calls were under way, and until when that is counted."""
        self._moved_bytes = 0
        """What the calls that have ended brought to the cloud."""
        self._samples: deque[tuple[float, float, int]] = deque()
        """The time, how long calls were under way until then, and what had arrived: at most one for each second,
        the first of them older than the window."""
        self._last: tuple[float, int] = (-math.inf, 0)
        """When more had arrived than before, and how much."""
        self._uploads: set[Progress] = set()

    @property
    def bytes_per_s(self) -> float:
        """The pace; 0 if nothing has arrived within the window."""
        with self._lock:
            now_s, moved_bytes = self._look()
            _, busy_s, before_bytes = self._samples[0]
            if now_s - self._last[0] > WINDOW_S or moved_bytes <= before_bytes:
                return 0.0
            return (moved_bytes - before_bytes) / max(0.001, self._busy_s - busy_s)

    @property
    def sent_bytes(self) -> int:
        """How much of the files whose upload has begun is sent."""
        with self._lock:
            return sum(progress.sent_bytes for progress in self._uploads)

    @contextmanager
    def upload(self, path: str, size_bytes: int) -> Iterator[Progress]:
        """Yields the progress of an upload, which counts while this lasts."""
        progress = Progress(self._clock, path, size_bytes)
        with self._lock:
            self._uploads.add(progress)
        try:
            yield progress
        finally:
            with self._lock:
                self._uploads.discard(progress)

    @contextmanager
    def call(self, progress: Progress) -> Iterator[None]:
        """Counts the time of a call for an upload, and what `progress` gains by it. When the call fails, nothing of
        it has arrived."""
        progress.note_begun()
        with self._lock:
            self._look()
            self._calls[progress] = progress.sent_bytes
        try:
            yield
        except BaseException:
            progress.note_failed()
            raise
        finally:
            with self._lock:
                self._look()
                self._moved_bytes += progress.sent_bytes - self._calls.pop(progress)

    def _look(self) -> tuple[float, int]:
        """Takes a sample if it is time. Returns the time, and how much has arrived until now."""
        now_s = self._clock.monotonic()
        self._busy_s += (now_s - self._at_s) if self._calls else 0.0
        self._at_s = now_s
        moved_bytes = self._moved_bytes + sum(each.sent_bytes - before for each, before in self._calls.items())
        if moved_bytes > self._last[1]:
            self._last = now_s, moved_bytes
        if not self._samples or self._samples[-1][0] <= now_s - _SAMPLE_S:
            self._samples.append((now_s, self._busy_s, moved_bytes))
        while len(self._samples) > 1 and self._samples[1][0] <= now_s - WINDOW_S:
            self._samples.popleft()
        return now_s, moved_bytes
