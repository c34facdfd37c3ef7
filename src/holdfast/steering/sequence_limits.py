"""How many sequences there may be, and how large: each, all that are open, and all that lie on the disk.

What is open is written again every few seconds, and what has ended waits on the disk until the cloud has it, which
may take for ever. So neither may grow without end, whoever starts sequences. Belongs to the event loop.
"""

from __future__ import annotations

from ..base.words import size
from ..errors import BusyError, CommandError
from ..storage.sequence_files import MAX_FILES, MAX_FILES_BYTES, FilesKept, Sequence, document_bytes

MAX_SEQUENCE_BYTES = 256 * 1024
"""Of a sequence's file. `sequence_files` reads files up to four times as large."""
MAX_OPEN = 1_000
MAX_OPEN_BYTES = 1024 * 1024
"""Of the files of all open sequences."""


class SequenceLimits:
    """Knows what is on the disk: as of the last count, and what was started since."""

    def __init__(self) -> None:
        self._kept = FilesKept()
        self._started = FilesKept()

    def note_count(self, kept: FilesKept, unwritten: FilesKept) -> None:
        """Takes over what a look at the disk found, and what has started and is not there yet."""
        self._kept, self._started = kept, unwritten

    def admit(self, sequence: Sequence, open_count: int, open_bytes: int) -> int:
        """Counts a sequence that is to start, and returns the size of its file.

        Raises CommandError when it is too large itself, and BusyError when there are too many, or too large ones.
        """
        size_bytes = document_bytes(sequence)
        if size_bytes > MAX_SEQUENCE_BYTES:
            raise CommandError(
                f"the resources and tags of a sequence may have {size(MAX_SEQUENCE_BYTES)} as JSON, and these have "
                f"{size(size_bytes)}"
            )
        if open_count >= MAX_OPEN or open_bytes + size_bytes > MAX_OPEN_BYTES:
            raise BusyError(
                f"{open_count} sequences of {size(open_bytes)} are open, and there may be {MAX_OPEN} of "
                f"{size(MAX_OPEN_BYTES)}: stop one first"
            )
        files = self._kept.files + self._started.files
        kept_bytes = self._kept.bytes + self._started.bytes
        if files >= MAX_FILES or kept_bytes + size_bytes > MAX_FILES_BYTES:
            raise BusyError(
                f"{files} sequences of {size(kept_bytes)} lie on the disk, and there may be {MAX_FILES} of "
                f"{size(MAX_FILES_BYTES)}: no new one starts before the cloud has some of them"
            )
        self._started = FilesKept(self._started.files + 1, self._started.bytes + size_bytes)
        return size_bytes
