"""The walk: what lies under the sync paths and is ready to go. Streams; blocks; belongs on a worker thread."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ..clock import Clock
from ..errors import StorageError, printable
from ..filesystem import Entry, EntryKind, FileSystem
from ..storage.layout import SEQUENCES_FOLDER, SKIPPED_FOLDERS, FileKind, kind_of
from ..throttle import Throttle

logger = logging.getLogger(__name__)

_MAX_LISTED = 100
_MAX_FOLDERS = 10_000
_MAX_DEFERRED = 1_000


@dataclass(frozen=True)
class Found:
    """A file to send, as it was when the walk passed it."""

    path: str
    kind: FileKind
    size_bytes: int
    modified_ns: int
    status_changed_ns: int


@dataclass
class Walk:
    """One walk over `roots`; its counts are complete when it is exhausted."""

    files: FileSystem
    clock: Clock
    throttle: Throttle
    roots: Iterable[str]
    min_age_s: float
    """How long an arbitrary file must have been left alone."""
    found: int = 0
    found_bytes: int = 0
    too_recent: list[str] = field(default_factory=list)
    """The first hundred arbitrary files that were changed less than `min_age_s` ago."""
    in_progress: list[str] = field(default_factory=list)
    """The first hundred files in progress."""
    capture_folders: set[str] = field(default_factory=set)
    """Where there were complete capture files."""
    roots_with_files: set[str] = field(default_factory=set)
    whole: bool = True
    """Whether everything could be looked at, and `capture_folders` lists them all."""

    def __iter__(self) -> Iterator[Found]:
        """Each file once, though roots may lie in each other; sequences behind the data of their root. What can't
        be read is logged and passed over."""
        seen: list[str] = []
        for root in self.roots:
            real = os.path.realpath(root)
            if not any(_is_in(real, other) for other in seen):
                before = self.found + len(self.too_recent)
                deferred: list[str] = []
                yield from self._folder(real, seen, deferred)
                for folder in deferred:
                    yield from self._folder(folder, seen, None)
                if self.found + len(self.too_recent) > before:
                    self.roots_with_files.add(real)
            seen.append(real)

    def has_files(self, root: str) -> bool:
        """Whether there may be anything to send in `root`, ready or not."""
        return any(_is_in(root, other) or _is_in(other, root) for other in self.roots_with_files)

    def look_at(self, path: str) -> Found | None:
        """One file without a walk; None when it is not there, or not ready."""
        real = os.path.realpath(path)
        return self._file(Entry(real, os.path.basename(real), EntryKind.FILE))

    def _folder(self, folder: str, seen: list[str], deferred: list[str] | None) -> Iterator[Found]:
        """What is in `folder`; folders of sequences go to `deferred`, as long as there is room."""
        if folder in seen:
            return
        try:
            for entry in self.files.list_folder(folder):
                if entry.kind is EntryKind.FOLDER:
                    if entry.name in SKIPPED_FOLDERS:
                        continue
                    if entry.name == SEQUENCES_FOLDER and deferred is not None and len(deferred) < _MAX_DEFERRED:
                        deferred.append(entry.path)
                    else:
                        yield from self._folder(entry.path, seen, deferred)
                elif (found := self._file(entry)) is not None:
                    self._count(found, folder)
                    yield found
        except StorageError as error:
            if error.reason != "no_such_file":
                self.whole = False
                if self.throttle.allows(str(error)):
                    logger.warning("%s; what lies in there is not synced", error)

    def _count(self, found: Found, folder: str) -> None:
        self.found += 1
        self.found_bytes += found.size_bytes
        if found.kind is FileKind.CAPTURE:
            self.capture_folders.add(folder)
            if len(self.capture_folders) > _MAX_FOLDERS:
                self.capture_folders.clear()
                self.whole = False

    def _file(self, entry: Entry) -> Found | None:
        kind = kind_of(entry.path)
        if kind is FileKind.IN_PROGRESS and len(self.in_progress) < _MAX_LISTED:
            self.in_progress.append(entry.path)
        if entry.kind is EntryKind.OTHER or kind in (FileKind.IN_PROGRESS, FileKind.SEQUENCE):
            return None
        try:
            status = self.files.stat(entry.path)
        except StorageError as error:
            if error.reason != "no_such_file":
                self.whole = False
                if self.throttle.allows(str(error)):
                    logger.warning("%s; it is not synced", error)
            return None
        if not stat.S_ISREG(status.st_mode) or (status.st_size == 0 and kind is not FileKind.ENDED_SEQUENCE):
            return None
        if kind is FileKind.ARBITRARY and self._is_recent(status):
            if len(self.too_recent) < _MAX_LISTED:
                self.too_recent.append(printable(entry.path))
            return None
        return Found(entry.path, kind, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def _is_recent(self, status: os.stat_result) -> bool:
        """A time of change that lies in the future counts as old once it stands still: the clock was wrong."""
        age_s = (self.clock.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns)) / 1e9
        return 0 <= age_s < self.min_age_s


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
