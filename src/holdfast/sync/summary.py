"""Logs a line about what sync did: every minute while it is behind or something fails, more rarely while all is
well.

It has one task, `run`. Belongs to the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..base.clock import Clock
from ..base.filesystem import FileSystem
from ..base.words import duration, number_of, size
from .found import Outcome
from .walk.listings import Waiting

OFTEN_S = 60.0
SELDOM_S = 3600.0
"""The longest time between two lines; it is doubled up to here while all is well."""
_MAX_PATHS = 10

logger = logging.getLogger(__name__)


@dataclass
class _PathTotals:
    """What became of the files of one sync path."""

    files: int = 0
    bytes: int = 0
    failed: int = 0
    quarantined: int = 0

    def __str__(self) -> str:
        bad = [(self.failed, "not accepted yet"), (self.quarantined, "to failed/")]
        return ", ".join(
            [
                f"{number_of(self.files, 'file')} ({size(self.bytes)})",
                *(f"{count} {what}" for count, what in bad if count),
            ]
        )


class Summary:
    """What became of the files since the last line, by sync path. `paths` returns the sync paths; `waiting` and
    `time_left_s` what still waits and how long that takes, None if it is not known."""

    def __init__(
        self,
        files: FileSystem,
        clock: Clock,
        paths: Callable[[], Sequence[str]],
        waiting: Callable[[], Waiting | None],
        time_left_s: Callable[[], float | None],
    ) -> None:
        self._files = files
        self._clock = clock
        self._paths = paths
        self._waiting = waiting
        self._time_left_s = time_left_s
        self._totals: dict[str, _PathTotals] = {}
        self._known: tuple[Sequence[str], list[tuple[str, str]]] = ((), [])

    def note_attempt(self, path: str, outcome: Outcome, files: int, size_bytes: int) -> None:
        """Notes the outcome of an attempt with so many files of the folder in which `path` lies."""
        if outcome is Outcome.HELD_OPEN:  # the status has these
            return
        total = self._totals.setdefault(self._path_of(path), _PathTotals())
        if outcome is Outcome.DELIVERED:
            total.files += files
            total.bytes += size_bytes
        elif outcome is Outcome.QUARANTINED:
            total.quarantined += files
        elif outcome is Outcome.WAITING:
            total.failed += files

    async def run(self) -> None:
        """Logs a line each time that it is due and there is something to say. Runs until it is cancelled."""
        wait_s = OFTEN_S
        began_s = self._clock.monotonic()
        while True:
            await self._clock.sleep(wait_s)
            if not self._totals:
                continue
            now_s = self._clock.monotonic()
            wait_s = min(2 * wait_s, SELDOM_S) if self._is_well() else OFTEN_S
            self._say(now_s - began_s)
            began_s = now_s

    def _is_well(self) -> bool:
        """Whether nothing failed, and no more files wait than were delivered since the last line."""
        totals = self._totals.values()
        bad = sum(total.failed + total.quarantined for total in totals)
        waiting = self._waiting()
        return not bad and waiting is not None and waiting.files <= sum(total.files for total in totals)

    def _say(self, seconds: float) -> None:
        totals, self._totals = self._totals, {}
        paths = [f"{path}: {total}" for path, total in sorted(totals.items())]
        if len(paths) > _MAX_PATHS:
            paths[_MAX_PATHS:] = [f"and {len(paths) - _MAX_PATHS} more paths"]
        waiting, left_s = self._waiting(), self._time_left_s()
        left = "not all sync paths are looked at yet"
        if waiting is not None:
            left = f"still to be sent: {number_of(waiting.files, 'file')} ({size(waiting.bytes)})"
        if left_s:
            left += f", {duration(left_s)} at this rate"
        logger.info("sync, in the last %s: %s; %s", duration(seconds), "; ".join(paths), left)

    async def learn_paths(self) -> None:
        """Finds out where the sync paths really lie, if they have changed. The caller awaits this before
        `note_attempt`."""
        paths = self._paths()
        if paths != self._known[0]:
            self._known = (paths, await asyncio.to_thread(_real, self._files, paths))

    def _path_of(self, path: str) -> str:
        """Returns the sync path in which a file lies, as the user configured it."""
        return next((name for real, name in self._known[1] if path.startswith(real)), os.path.dirname(path))


def _real(files: FileSystem, paths: Sequence[str]) -> list[tuple[str, str]]:
    """Returns each path without symbolic links and as it is configured, the deepest first."""
    real = [(os.path.join(place, ""), each) for each in paths for place in files.places_of([each])]
    return sorted(real, key=lambda pair: len(pair[0]), reverse=True)
