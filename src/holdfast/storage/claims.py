"""Who has a file in hand: sync, which sends it, or the limits, which delete it. Never both."""

from __future__ import annotations

import threading
from collections.abc import Iterable


class Claims:
    """The files of one capture folder that somebody has in hand. Thread-safe; as many as are under way at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: set[str] = set()

    def try_claim(self, path: str) -> bool:
        """Whether `path` is the caller's from now on, until `free`."""
        with self._lock:
            if path in self._taken:
                return False
            self._taken.add(path)
            return True

    def claim_all(self, paths: Iterable[str]) -> set[str]:
        """Those of `paths` that are the caller's from now on."""
        with self._lock:
            free = set(paths) - self._taken
            self._taken |= free
        return free

    def release(self, *paths: str) -> None:
        with self._lock:
            self._taken.difference_update(paths)
