"""How fast uploads go: bytes per second over the last minute. Thread-safe."""

from __future__ import annotations

import threading
import time
from collections import deque

WINDOW_S = 60


class Meter:
    """Counts what is sent, a second at a time: it remembers `WINDOW_S` numbers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began_s = time.monotonic()
        self._seconds: deque[tuple[int, int]] = deque()
        self._sum = 0

    def add(self, size_bytes: int) -> None:
        with self._lock:
            now = int(time.monotonic())
            self._forget(now)
            before = self._seconds.pop()[1] if self._seconds and self._seconds[-1][0] == now else 0
            self._seconds.append((now, before + size_bytes))
            self._sum += size_bytes

    @property
    def bytes_per_s(self) -> float:
        with self._lock:
            now_s = time.monotonic()
            self._forget(int(now_s))
            return self._sum / min(WINDOW_S, max(1.0, now_s - self._began_s))

    def _forget(self, now: int) -> None:
        while self._seconds and self._seconds[0][0] <= now - WINDOW_S:
            self._sum -= self._seconds.popleft()[1]
