"""What became of a file at one attempt."""

from __future__ import annotations

from enum import Enum


class Outcome(Enum):
    DELIVERED = "delivered"
    QUARANTINED = "quarantined"
    WAITING = "waiting"
    """It failed and is tried again."""
    GONE = "gone"
    """Somebody else removed it."""
