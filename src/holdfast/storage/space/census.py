"""Counts and lists the files of a capture folder as a stream, whatever its size.

The names of a folder are sorted `MAX_SORTED` at a time: in a folder of usual size every nth file is then every nth
in time, and memory does not grow with a million files. Blocks: belongs on a worker thread.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ...base.filesystem import Entry, EntryKind, FileSystem, occupied_bytes
from ...errors import StorageError
from .. import layout
from ..layout import FileKind

MAX_SORTED = 20_000
_CLOCK_WAS_SET_NS = 1_577_836_800 * 1_000_000_000  # 2020; a machine without a battery begins in 1970

logger = logging.getLogger(__name__)


class StoredFile(NamedTuple):
    """A complete capture file. `size_bytes` is how much of the disk it takes up."""

    path: str
    folder: str
    size_bytes: int
    modified_ns: int

    @property
    def time_ns(self) -> int:
        """When the file was begun, by its name; when it was modified, if its name does not say."""
        named = layout.capture_file_time_ns(self.path)
        return self.modified_ns if named is None else named

    def is_older(self, than_ns: int) -> bool:
        """Whether the file began before `than_ns`; False also when it is from before the machine's clock was set,
        since its age is unknown then."""
        return _CLOCK_WAS_SET_NS <= self.time_ns < than_ns


@dataclass
class Amount:
    """A number of files and the bytes of the disk that they take up."""

    files: int = 0
    bytes: int = 0


@dataclass
class Census:
    """The content of a capture folder at the time when it was listed."""

    complete: dict[int, Amount] = field(default_factory=dict)
    """The complete capture files by their priority."""
    in_progress_bytes: int = 0
    content_bytes: int = 0
    """The sizes of all files of any kind, added up as the builtin does."""
    oldest_ns: int | None = None
    """When the oldest complete capture file began, of those whose age is known."""

    @property
    def files(self) -> int:
        """The number of complete capture files."""
        return sum(amount.files for amount in self.complete.values())

    @property
    def captured_bytes(self) -> int:
        """How much of the disk capture files take up, including those in progress."""
        return sum(amount.bytes for amount in self.complete.values()) + self.in_progress_bytes


def take_census(files: FileSystem, root: str, priority_of: Callable[[str], int]) -> Census:
    """Counts everything under `root`. `priority_of` returns the priority of the files in a folder. Leaves out files
    and folders that can't be read."""
    census = Census()
    for folder, entry in _entries(files, root, frozenset()):
        try:
            status = files.stat(entry.path)
        except StorageError:
            continue
        census.content_bytes += status.st_size
        captured = not _is_set_aside(folder, root)
        kind = layout.kind_of(entry.path)
        if captured and kind is FileKind.IN_PROGRESS:
            census.in_progress_bytes += occupied_bytes(status.st_size)
        elif captured and kind is FileKind.CAPTURE:
            amount = census.complete.setdefault(priority_of(folder), Amount())
            amount.files += 1
            amount.bytes += occupied_bytes(status.st_size)
            file = StoredFile(entry.path, folder, status.st_size, status.st_mtime_ns)
            if file.is_older(census.oldest_ns or 1 << 63):
                census.oldest_ns = file.time_ns
    return census


def complete_files(files: FileSystem, root: str) -> Iterator[StoredFile]:
    """Yields the complete capture files under `root`, folder by folder, without those in quarantine and without
    symbolic links."""
    for folder, entry in _entries(files, root, layout.SKIPPED_FOLDERS):
        if layout.kind_of(entry.path) is FileKind.CAPTURE:
            try:
                status = files.stat(entry.path)
            except StorageError:
                continue
            yield StoredFile(entry.path, folder, occupied_bytes(status.st_size), status.st_mtime_ns)


def _is_set_aside(folder: str, root: str) -> bool:
    return not layout.SKIPPED_FOLDERS.isdisjoint(folder[len(root) :].split("/"))


def _entries(files: FileSystem, folder: str, skipped: frozenset[str]) -> Iterator[tuple[str, Entry]]:
    """Yields the files under a folder, each after the folder that it lies in."""
    try:
        entries = files.list_folder(folder)
        while batch := sorted(itertools.islice(entries, MAX_SORTED), key=lambda entry: entry.name):
            for entry in batch:
                if entry.kind is EntryKind.FOLDER:
                    if entry.name not in skipped:
                        yield from _entries(files, entry.path, skipped)
                elif entry.kind is EntryKind.FILE:
                    yield folder, entry
    except StorageError as error:
        if error.reason != "no_such_file":
            logger.debug("%s; its contents are not counted", error)
