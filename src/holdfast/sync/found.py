"""A file to send, as the walk found it, and what became of it in one attempt."""

from __future__ import annotations

import os
from enum import Enum
from typing import NamedTuple

from ..storage.layout import FileKind


class Outcome(Enum):
    """What became of a file in one attempt to deliver it."""

    DELIVERED = "delivered"
    QUARANTINED = "quarantined"
    WAITING = "waiting"
    """The file stays, and is tried again."""
    HELD_OPEN = "held open"
    """The file stays as long as another process has it open for writing."""
    GONE = "gone"
    """The file is not there any more, or something else has claimed it: the limits, or an upload by command."""

    @property
    def stays(self) -> bool:
        """Whether the file is where it was, and sync still has to do with it."""
        return self in (Outcome.WAITING, Outcome.HELD_OPEN)


class Found(NamedTuple):
    """A file to send, as it was when the walk looked at it. Times are in nanoseconds since the epoch."""

    path: str
    kind: FileKind
    size_bytes: int
    modified_ns: int
    status_changed_ns: int

    @property
    def folder(self) -> str:
        """The folder in which the file lies."""
        return self.path.rpartition(os.sep)[0] or os.sep

    @property
    def version(self) -> tuple[str, int]:
        """Which file this is, and as of which change."""
        return self.path, self.modified_ns
