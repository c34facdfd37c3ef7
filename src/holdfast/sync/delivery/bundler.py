"""Decides which small capture files go together in a call. Belongs to the event loop."""

from __future__ import annotations

from collections.abc import Callable

from ...storage.layout import FileKind
from ..found import Found
from ..retries import MAX_FILES_PER_CALL
from .calls import MAX_CALL_BYTES
from .lanes import LARGE_FILE_BYTES


class Bundler:
    """Gathers small capture files of one folder until they fill a call.

    `most_together` says how many files may share a call with the file at a path. What is gathered is at most
    `calls.MAX_CALL_BYTES` and `retries.MAX_FILES_PER_CALL`.
    """

    def __init__(self, most_together: Callable[[str], int]) -> None:
        self._most_together = most_together
        self._founds: list[Found] = []
        self._size_bytes = 0
        self._folder = ""
        self._most = 0

    def add(self, found: Found) -> list[list[Found]]:
        """Takes in `found`; returns the groups of files that are to be sent now, each in one upload.

        Nothing is returned while there is room for more. A file of another folder completes what was gathered.
        """
        folder = found.folder
        single = found.kind is not FileKind.CAPTURE or found.size_bytes > LARGE_FILE_BYTES
        most = min(self._most_together(found.path), MAX_FILES_PER_CALL)
        full: list[list[Found]] = []
        if self._founds and (folder != self._folder or not (single or self._has_room(found, most))):
            full.append(self.take())
        if single:
            return [*full, [found]]
        self._most = min(most, self._most) if self._founds else most
        self._folder = folder
        self._founds.append(found)
        self._size_bytes += found.size_bytes
        return full

    def take(self) -> list[Found]:
        """Returns what was gathered, and gathers anew."""
        founds, self._founds, self._size_bytes = self._founds, [], 0
        return founds

    def _has_room(self, found: Found, most: int) -> bool:
        fits = self._size_bytes + found.size_bytes <= MAX_CALL_BYTES
        return fits and len(self._founds) < min(most, self._most)
