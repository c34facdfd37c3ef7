"""What a manual sync is to send, and what it did."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import printable
from .found import Outcome
from .walk.walk import Found

_MAX_LISTED = 100


@dataclass(frozen=True)
class Selection:
    """A part of what lies under the sync paths, by paths without symbolic links."""

    folders: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


Select = Callable[[], Selection]
"""Asked when everything that was captured lies in complete files. Blocks; raises CommandError."""


@dataclass(eq=False)
class SyncReport:
    """What a manual sync did, and what it does, until `done`. `failed` and `too_recent` name at most a hundred
    files each."""

    files: int = 0
    bytes: int = 0
    quarantined: int = 0
    failed_count: int = 0
    failed: list[str] = field(default_factory=list)
    too_recent: list[str] = field(default_factory=list)
    seconds: float = 0.0
    last_error: str = ""
    pending: int = 0
    """Files that are under way; and 1 while it still looks for more."""
    done: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def begin(self) -> None:
        self.pending += 1

    def end(self) -> None:
        self.pending -= 1
        if self.pending == 0:
            self.done.set()

    def add(self, found: Found, outcome: Outcome) -> None:
        """An upload for which `begin` was called has ended."""
        if outcome is Outcome.DELIVERED:
            self.files += 1
            self.bytes += found.size_bytes
        elif outcome is Outcome.QUARANTINED:
            self.quarantined += 1
        elif outcome is Outcome.WAITING:
            self.failed_count += 1
            if len(self.failed) < _MAX_LISTED:
                self.failed.append(printable(found.path))
        self.end()
