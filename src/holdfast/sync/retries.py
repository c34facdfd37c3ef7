"""What failed and when it is tried again; what may be cutting the link. Belongs to the event loop.

Files that failed in one call wait together. Bounds: `MAX_FILES` are remembered; beyond `MAX_UNITS` calls that wait,
further ones wait as their folders. A file that waits is only remembered here: it holds nothing else. When the time
of a folder comes, one file of it that failed is enough to find out whether the others may go.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from ..base.clock import Clock
from ..base.newest import Newest
from .cloud.backoff import Backoff, unit_backoff

MAX_FILES = 10_000
MAX_UNITS = 1_000
SUSPECT_AFTER_CUTS = 3
MAX_FILES_PER_CALL = 512


@dataclass
class _Wait:
    """What waits for one attempt."""

    backoff: Backoff
    failures: int
    at_s: float = 0.0
    files: int = 0
    example: str = ""
    """Of a folder: the file that failed last."""


class Retries:
    """Keys are paths; a folder's path stands for all that lies directly in it. `until`, `blocks` and the length may
    be asked from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._files: dict[str, _Wait] = {}
        self._folders: Newest[str, _Wait] = Newest(MAX_FILES)
        self._units = 0
        self._cuts: Newest[str, int] = Newest(MAX_FILES)

    def __len__(self) -> int:
        """Files, and folders, that wait."""
        return len(self._files) + len(self._folders)

    def is_due(self, path: str) -> bool:
        """Whether it is time to try the file."""
        if not self._files and not self._folders:
            return True
        return self.until(path, os.path.dirname(path)) is None

    def until(self, path: str, folder: str) -> float | None:
        """When the file that lies in `folder` is tried again, on the monotonic clock; None when it may go now."""
        wait = self._folders.get(folder) or self._files.get(path)
        return wait.at_s if wait is not None and self._clock.monotonic() < wait.at_s else None

    def blocks(self, folder: str) -> bool:
        """Whether what lies in the folder waits as a whole, or did until one of it has gone well."""
        return folder in self._folders

    def due(self) -> list[str]:
        """Files whose time has come; of a folder that waits as a whole, one."""
        now_s, folders = self._clock.monotonic(), self._folders
        files = [path for path, wait in self._files.items() if wait.at_s <= now_s]
        if folders:
            files = [path for path in files if os.path.dirname(path) not in folders]
        return files + [wait.example for wait in self._folders.values() if wait.example and wait.at_s <= now_s]

    def note_failure(self, paths: Iterable[str]) -> float:
        """Files failed in one call; returns the seconds until they are tried again."""
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

    def note_success(self, paths: Iterable[str]) -> None:
        """Calls with these files went well."""
        paths = list(paths)
        self.forget(paths)
        for path in paths:
            self._cuts.pop(path, None)
            if self._folders:
                self._folders.pop(os.path.dirname(path), None)

    def forget(self, paths: Iterable[str]) -> None:
        """The files wait no more."""
        for path in paths:
            wait = self._files.pop(path, None)
            if wait is not None:
                wait.files -= 1
                self._units -= wait.files == 0
            if self._folders and (known := self._folders.get(os.path.dirname(path))) and known.example == path:
                known.example = ""

    def note_cut(self, paths: Iterable[str]) -> None:
        """The link was cut while a call with these files was under way."""
        for path in paths:
            self._cuts[path] = self._cuts.get(path, 0) + 1

    def is_suspect(self, path: str) -> bool:
        """Whether the file was under way at three cuts in a row: it may be what cuts."""
        return bool(self._cuts) and self._cuts.get(path, 0) >= SUSPECT_AFTER_CUTS

    def most_together(self, path: str) -> int:
        """How many files may share a call with this one: fewer after each failure, so that the cause is found."""
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
