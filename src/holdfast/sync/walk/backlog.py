"""How much is ready to be sent: what the last walk found, minus the files that departed since it began.

Runs on the event loop.
"""

from __future__ import annotations

import math

from .walk import Walk


class Backlog:
    """Counts the files that are ready to be sent.

    Call `begin` before a walk, and `note_found` during the walk and after it.
    """

    def __init__(self) -> None:
        self._found_files = self._found_bytes = 0
        self._gone_files = self._gone_bytes = 0
        self._before = (0, 0)
        self._oldest_ns = math.inf

    @property
    def files(self) -> int:
        """How many files are ready to be sent."""
        return max(0, self._found_files - (self._gone_files - self._before[0]))

    @property
    def bytes(self) -> int:
        """Their size together."""
        return max(0, self._found_bytes - (self._gone_bytes - self._before[1])) if self.files else 0

    @property
    def oldest_ns(self) -> float | None:
        """When the oldest waiting file was last changed, in Unix time; None if no file waits."""
        return self._oldest_ns if self.files and self._oldest_ns < math.inf else None

    def begin(self) -> tuple[int, int]:
        """Notes that a walk begins. Returns the mark that `note_found` takes for this walk."""
        return self._gone_files, self._gone_bytes

    def note_found(self, mark: tuple[int, int], walk: Walk) -> None:
        """Takes over what `walk` has found so far. `mark` is what `begin` returned before that walk."""
        self._found_files, self._found_bytes, self._before = walk.found_files, walk.found_bytes, mark
        self._oldest_ns = walk.oldest_ns

    def subtract_departed(self, files: int, size_bytes: int) -> None:
        """Subtracts files that no longer wait: delivered, quarantined, or removed by another process."""
        self._gone_files += files
        self._gone_bytes += size_bytes
