"""How much is ready to be sent: what the last walk found, less what went since it began.

Belongs to the event loop.
"""

from __future__ import annotations

import math

from .walk import Walk


class Backlog:
    """`begin` before a walk, `found` with what that gave while it goes on and when it is over."""

    def __init__(self) -> None:
        self._found_files = self._found_bytes = 0
        self._gone_files = self._gone_bytes = 0
        self._before = (0, 0)
        self._oldest_ns = math.inf

    @property
    def files(self) -> int:
        return max(0, self._found_files - (self._gone_files - self._before[0]))

    @property
    def bytes(self) -> int:
        return max(0, self._found_bytes - (self._gone_bytes - self._before[1])) if self.files else 0

    @property
    def oldest_ns(self) -> float | None:
        """When the oldest file that waits was last changed; None when none waits."""
        return self._oldest_ns if self.files and self._oldest_ns < math.inf else None

    def begin(self) -> tuple[int, int]:
        """A mark for `found`."""
        return self._gone_files, self._gone_bytes

    def note_found(self, mark: tuple[int, int], walk: Walk) -> None:
        self._found_files, self._found_bytes, self._before = walk.found_files, walk.found_bytes, mark
        self._oldest_ns = walk.oldest_ns

    def subtract_departed(self, files: int, size_bytes: int) -> None:
        """So many files wait no more, whatever became of them."""
        self._gone_files += files
        self._gone_bytes += size_bytes
