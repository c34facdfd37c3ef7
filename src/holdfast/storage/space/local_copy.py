"""The local copy: a folder that keeps files which the cloud has, instead of their being deleted.

Files are moved to `<dir>/holdfast/captured/` and `<dir>/holdfast/files/`, under the path that they had. Bounds:
bytes, and the time since the delivery; the oldest files are deleted first. Delivery never fails because of the
local copy: a file that can't be moved there is deleted as it would be without it. When the wall clock is set
forward, nothing is old because of it before that has lasted a while (`CautiousClock`).

Safe to use from any thread. Blocks: belongs on a worker thread.
"""

from __future__ import annotations

import heapq
import logging
import os
import threading
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ...base.at import Identity
from ...base.clock import Clock
from ...base.filesystem import EntryKind, FileSystem, is_in, occupied_bytes
from ...base.log_limit import once
from ...base.noted import Noted
from ...base.problems import Kind, Problem
from ...base.words import number_of
from ...config import CopySettings
from ...errors import StorageError
from .. import names
from .cautious_clock import CautiousClock

_CAPTURED, _FILES = FOLDERS = ("captured", "files")
"""What is kept in the folder: capture files, and others."""
MAX_CHOSEN = 10_000
"""How many files are remembered at once to find the oldest."""
_LOW_SHARE = 0.9
_TIDY_S = 60.0

logger = logging.getLogger(__name__)


def folder_in(folder: str) -> str:
    """Returns where the files are kept in the configured folder, beside what others may have there."""
    return os.path.join(folder, "holdfast")


class _Kept(NamedTuple):
    delivered_ns: int
    path: str
    size_bytes: int


class LocalCopy:
    """The folder, with its bounds."""

    def __init__(self, files: FileSystem, clock: Clock, settings: CopySettings) -> None:
        self.settings = settings
        self.bytes: int | None = None
        """How much of the disk the kept files take up; None until they were counted once."""
        self.failed = 0
        """How many files could not be kept."""
        self.last_error: Noted | None = None
        self.refusal: StorageError | None = None
        """Why the last file could not be kept; None if it was."""
        self._files = files
        self._clock = clock
        self._lock = threading.Lock()
        self._wall_clock = CautiousClock(clock)
        self._tidy_at_s = 0.0
        self._root = folder_in(settings.folder)

    @property
    def problem(self) -> Problem | None:
        """What keeps delivered files from the copy now."""
        if (refusal := self.refusal) is None:
            return None
        what = f"{refusal}; delivered files are deleted without a copy until that works"
        return Problem(Kind.DISK, what, refusal.remedy, f"{number_of(self.failed, 'file')} not kept", self._root)

    def keep(
        self, path: str, identity: Identity | None, size_bytes: int, capture_dir: str, roots: Iterable[str]
    ) -> bool:
        """Moves the delivered file at `path` into the local copy; returns False when that fails.

        Nothing is moved if another file than that of `identity` has the name by now.

        `roots` are the folders that are synced: nothing is kept when a symbolic link makes the local copy overlap
        one of them, since the file would be sent again.
        """
        try:
            root = self._files.real_path(self._root)
            if any(is_in(root, other) or is_in(other, root) for other in roots):
                why = f"{self.settings.folder} leads into a sync path; set another folder for the copy"
                raise StorageError("keep", path, OSError(0, why))
            names.named_to_fit(
                lambda most_chars: self._files.move(path, self._target(path, capture_dir, most_chars), identity)
            )
        except StorageError as error:
            with self._lock:
                self.failed += 1
                self.last_error, self.refusal = Noted(str(error), self._clock.monotonic()), error
            logger.error("%s; it is delivered, and deleted without a copy", error, extra=once(error.reason))
            return False
        with self._lock:
            self.refusal = None
            if self.bytes is not None:
                self.bytes += occupied_bytes(size_bytes)
        self.tidy()
        return True

    def tidy(self) -> None:
        """Deletes the files beyond the bounds. Lists the folder only when there may be any."""
        now_s = self._clock.monotonic()
        beyond = self.bytes is None or self.bytes > self.settings.most_bytes
        if not beyond and (self.settings.most_age_s is None or now_s < self._tidy_at_s):
            return
        with self._lock:
            self._tidy_at_s = now_s + _TIDY_S
            total = self._delete_old()
            if total > self.settings.most_bytes:
                total -= self._free(total - int(self.settings.most_bytes * _LOW_SHARE))
            self.bytes = total

    def free(self, wanted_bytes: int) -> int:
        """Deletes the oldest files until `wanted_bytes` are free or none is left; returns how many bytes became
        free."""
        with self._lock:
            freed = self._free(wanted_bytes)
            self.bytes = None if self.bytes is None else max(0, self.bytes - freed)
        return freed

    def _target(self, path: str, capture_dir: str, most_chars: float) -> str:
        if is_in(path, capture_dir):
            target = os.path.join(self._root, _CAPTURED, os.path.relpath(path, capture_dir))
        else:
            target = os.path.join(self._root, _FILES, path.lstrip(os.sep))
        self._files.make_folder(os.path.dirname(target))
        return names.free_name(target, self._files.exists, most_chars)

    def _delete_old(self) -> int:
        """Deletes the files that are too old; returns how much of the disk the others take up."""
        age_s = self.settings.most_age_s
        before_ns = self._wall_clock.time_ns() - int(age_s * 1e9) if age_s is not None else None
        total = 0
        for kept in self._all(self._root):
            if before_ns is None or kept.delivered_ns >= before_ns or not self._remove(kept):
                total += kept.size_bytes
        return total

    def _free(self, wanted_bytes: int) -> int:
        freed = 0
        while freed < wanted_bytes:
            before = freed
            for kept in heapq.nsmallest(MAX_CHOSEN, self._all(self._root)):
                if freed >= wanted_bytes:
                    break
                freed += kept.size_bytes if self._remove(kept) else 0
            if freed == before:
                break
        return freed

    def _remove(self, kept: _Kept) -> bool:
        try:
            self._files.remove(kept.path)
        except StorageError as error:
            self.last_error = Noted(str(error), self._clock.monotonic())
            return error.reason == "no_such_file"
        return True

    def _all(self, folder: str) -> Iterator[_Kept]:
        """Yields all files that are kept. A file was delivered when it was moved here."""
        try:
            for entry in self._files.list_folder(folder):
                if entry.kind is EntryKind.FOLDER:
                    yield from self._all(entry.path)
                elif entry.kind is EntryKind.FILE and (kept := self._kept(entry.path)) is not None:
                    yield kept
        except StorageError as error:
            if error.reason != "no_such_file":
                self.last_error = Noted(str(error), self._clock.monotonic())

    def _kept(self, path: str) -> _Kept | None:
        try:
            status = self._files.stat(path)
        except StorageError as error:
            if error.reason != "no_such_file":
                self.last_error = Noted(str(error), self._clock.monotonic())
            return None
        return _Kept(status.st_ctime_ns, path, occupied_bytes(status.st_size))
