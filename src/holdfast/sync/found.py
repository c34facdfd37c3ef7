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
    GONE = "gone"
    """The file is not there any more, or something else has claimed it: the limits, or an upload by command."""


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
