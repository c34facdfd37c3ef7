"""Claims on files: either sync sends a file, or a limit deletes it, never both.

`sync.under_way` is another list: it knows what is being uploaded, for callers that wait for the end of an upload.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable


class Claims:
    """The claimed files of one capture folder: as many as are sent or deleted at once. Safe to call from any
    thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: set[str] = set()

    def try_claim(self, path: str) -> bool:
        """Claims a file until `release`. Returns False if it is claimed already."""
        with self._lock:
            if path in self._taken:
                return False
            self._taken.add(path)
            return True

    def claim_all(self, paths: Iterable[str]) -> set[str]:
        """Claims those of `paths` that are free, until `release`, and returns them."""
        with self._lock:
            free = set(paths) - self._taken
            self._taken |= free
        return free

    def release(self, *paths: str) -> None:
        """Ends claims. Only the caller that made them may call it."""
        with self._lock:
            self._taken.difference_update(paths)
