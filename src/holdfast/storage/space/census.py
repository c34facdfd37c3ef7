"""What lies in a capture folder: counted and listed as a stream, whatever its size.

A folder's names are sorted `MAX_SORTED` at a time, so that of a folder of usual size every nth file is every nth in
time, and memory does not grow with a million. Blocks: belongs on a worker thread.
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
    """A complete capture file. `size_bytes` is what it takes up on the disk."""

    path: str
    folder: str
    size_bytes: int
    modified_ns: int

    @property
    def time_ns(self) -> int:
        """When it was begun."""
        named = layout.capture_file_time_ns(self.path)
        return self.modified_ns if named is None else named

    def is_older(self, than_ns: int) -> bool:
        """False also for a file from before the machine's clock was right, whose age nobody knows."""
        return _CLOCK_WAS_SET_NS <= self.time_ns < than_ns


@dataclass
class Amount:
    files: int = 0
    bytes: int = 0


@dataclass
class Census:
    """What a folder held while it was listed."""

    complete: dict[int, Amount] = field(default_factory=dict)
    """Complete capture files by priority."""
    in_progress_bytes: int = 0
    content_bytes: int = 0
    """The sizes of all files of whatever kind, as the builtin counts them."""
    oldest_ns: int | None = None
    """The beginning of the oldest complete capture file whose age is known."""

    @property
    def files(self) -> int:
        """Complete capture files."""
        return sum(amount.files for amount in self.complete.values())

    @property
    def captured_bytes(self) -> int:
        """What capture files take up, those in progress too."""
        return sum(amount.bytes for amount in self.complete.values()) + self.in_progress_bytes


def take_census(files: FileSystem, root: str, priority_of: Callable[[str], int]) -> Census:
    """Counts everything under `root`; `priority_of` is asked for folders. What can't be looked at is left out."""
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
    """The complete capture files under `root`, folder by folder. Neither those in quarantine nor symbolic links."""
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
    """The files under a folder, each with the folder in which it lies."""
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
