"""Remembers what failed or is held open by another process, when it is tried again, and which files may be cutting
the link.

Files that failed in one call wait together, as a unit. At most `MAX_FILES` files and `MAX_UNITS` units are
remembered; beyond that, the folder of a file that fails waits as a whole. When the time of such a folder comes, one
file of it that failed is tried first, to find out whether the others may go. A file that waits holds no claim, no
memory elsewhere and no place in a lane.

Belongs to the event loop, but for what `Retries` says.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from ..base.bounded import Newest
from ..base.clock import Clock
from .cloud.backoff import Backoff, unit_backoff

MAX_FILES = 10_000
MAX_UNITS = 1_000
"""Calls that failed, each with its files."""
SUSPECT_AFTER_CUTS = 3
"""After how many cuts in a row a file may be what cuts the link."""
MAX_FILES_PER_CALL = 512
HELD_OPEN_S = 60.0
"""How long until a file is looked at again that another process had open for writing."""


@dataclass
class _Wait:
    """The wait for the next attempt of a unit or a folder."""

    backoff: Backoff
    failures: int
    at_s: float = 0.0
    """When it ends, on the monotonic clock."""
    files: int = 0
    """How many files of the unit still wait; 0 for a folder."""
    example: str = ""
    """The file of a folder that failed last; empty for a unit, and when that file waits no more."""
    holder: str = ""
    """What has the file open for writing; empty for what failed."""


class Held(NamedTuple):
    """A file that another process had open for writing."""

    by: str
    """That process."""
    looked_s: float
    """When that was seen, on the monotonic clock."""


class Retries:
    """What waits for its retry, by path. A folder's path stands for all files that lie directly in it.

    `until`, `blocks` and the length may be asked from any thread.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._files: dict[str, _Wait] = {}
        self._folders: Newest[str, _Wait] = Newest(MAX_FILES)
        self._units = 0
        self._cuts: Newest[str, int] = Newest(MAX_FILES)

    def __len__(self) -> int:
        """Returns how many files and folders wait."""
        return len(self._files) + len(self._folders)

    def is_due(self, path: str) -> bool:
        """Whether the file may be tried now."""
        if not self._files and not self._folders:
            return True
        return self.until(path, os.path.dirname(path)) is None

    def until(self, path: str, folder: str) -> float | None:
        """Returns when the file at `path`, which lies in `folder`, is tried again, on the monotonic clock; None
        when it may be tried now."""
        wait = self._folders.get(folder) or self._files.get(path)
        return wait.at_s if wait is not None and self._clock.monotonic() < wait.at_s else None

    def blocks(self, folder: str) -> bool:
        """Whether the folder waits as a whole. It does until one file of it was delivered, even when its time has
        come."""
        return folder in self._folders

    def due(self) -> list[str]:
        """Returns the files whose time has come; of a folder that waits as a whole, one file."""
        now_s, folders = self._clock.monotonic(), self._folders
        files = [path for path, wait in self._files.items() if wait.at_s <= now_s]
        if folders:
            files = [path for path in files if os.path.dirname(path) not in folders]
        return files + [wait.example for wait in self._folders.values() if wait.example and wait.at_s <= now_s]

    def note_failure(self, paths: Iterable[str]) -> float:
        """Notes that one call with these files failed; returns the seconds until they are tried again."""
        paths = list(paths)
        known = [wait for path in paths if (wait := self._files.get(path)) is not None]
        failures = max((wait.failures for wait in known), default=0)
        wait = _Wait(unit_backoff(failures), failures + 1)
        wait_s = wait.backoff.next_s()
        wait.at_s = self._clock.monotonic() + wait_s
        self.forget(paths)
        full = self._units >= MAX_UNITS or len(self._files) + len(paths) > MAX_FILES
        if full or os.path.dirname(paths[0]) in self._folders:
            return self._note_folder_failure(paths[0])
        self._units += 1
        wait.files = len(paths)
        for path in paths:
            self._files[path] = wait
        return wait_s

    def note_held_open(self, path: str, holder: str) -> None:
        """Notes that `holder`, a process, has the file open for writing. It is tried again after `HELD_OPEN_S`, or
        at once beyond the bound of units."""
        self.forget([path])
        if self._units < MAX_UNITS:
            self._units += 1
            self._files[path] = _Wait(
                unit_backoff(), 0, self._clock.monotonic() + HELD_OPEN_S, files=1, holder=holder
            )

    def holder(self, path: str) -> str:
        """Returns what had the file open for writing when it was last tried; empty if nothing had."""
        wait = self._files.get(path)
        return wait.holder if wait is not None else ""

    @property
    def held_open(self) -> dict[str, Held]:
        """The files that other processes had open for writing when they were last tried."""
        return {
            path: Held(wait.holder, wait.at_s - HELD_OPEN_S) for path, wait in self._files.items() if wait.holder
        }

    def note_success(self, paths: Iterable[str]) -> None:
        """Notes that calls with these files succeeded: neither they nor their folders wait any more."""
        paths = list(paths)
        self.forget(paths)
        for path in paths:
            self._cuts.pop(path, None)
            if self._folders:
                self._folders.pop(os.path.dirname(path), None)

    def forget(self, paths: Iterable[str]) -> None:
        """Removes the files from those that wait."""
        for path in paths:
            wait = self._files.pop(path, None)
            if wait is not None:
                wait.files -= 1
                self._units -= wait.files == 0
            if self._folders and (known := self._folders.get(os.path.dirname(path))) and known.example == path:
                known.example = ""

    def note_cut(self, paths: Iterable[str]) -> None:
        """Notes that the link was cut while a call with these files was under way."""
        for path in paths:
            self._cuts[path] = self._cuts.get(path, 0) + 1

    def is_suspect(self, path: str) -> bool:
        """Whether the file was under way at `SUSPECT_AFTER_CUTS` cuts in a row, so that it may be what cuts the
        link."""
        return bool(self._cuts) and self._cuts.get(path, 0) >= SUSPECT_AFTER_CUTS

    def most_together(self, path: str) -> int:
        """Returns how many files may share a call with this one: half as many after each failure, so that the one
        that fails is found."""
        wait = self._files.get(path) if self._files else None
        return max(1, MAX_FILES_PER_CALL >> wait.failures) if wait is not None else MAX_FILES_PER_CALL

    def _note_folder_failure(self, path: str) -> float:
        folder = os.path.dirname(path)
        known = self._folders.pop(folder, None)
        wait = self._folders[folder] = known or _Wait(unit_backoff(), 0)
        wait.example = path
        wait_s = wait.backoff.next_s()
        wait.at_s = self._clock.monotonic() + wait_s
        return wait_s
