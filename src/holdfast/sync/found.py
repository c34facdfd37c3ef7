"""A file that is to be sent, as the walk found it, and what became of it at one attempt."""

from __future__ import annotations

import os
from enum import Enum
from typing import NamedTuple

from ..storage.layout import FileKind


class Outcome(Enum):
    DELIVERED = "delivered"
    QUARANTINED = "quarantined"
    WAITING = "waiting"
    """It failed and is tried again."""
    GONE = "gone"
    """Somebody else removed it."""


class Found(NamedTuple):
    """A file to send, as it was when the walk passed it."""

    path: str
    kind: FileKind
    size_bytes: int
    modified_ns: int
    status_changed_ns: int

    @property
    def folder(self) -> str:
        """In which it lies."""
        return self.path.rpartition(os.sep)[0] or os.sep
