"""Who has a file in hand: sync, which sends it, or the limits, which delete it. Never both."""

from __future__ import annotations

import threading


class Claims:
    """The files of one capture folder that somebody has in hand. Thread-safe; as many as are under way at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: set[str] = set()

    def take(self, path: str) -> bool:
        """Whether `path` is the caller's from now on, until `free`."""
        with self._lock:
            if path in self._taken:
                return False
            self._taken.add(path)
            return True

    def free(self, path: str) -> None:
        with self._lock:
            self._taken.discard(path)
