"""What lies in quarantine: found by a walk over the sync paths, listed a page at a time. Streams; blocks.

A capture folder has one quarantine, with the paths kept below it. Everywhere else it is a folder `failed` beside
the files, as the builtin has it: what lies deeper in such a folder is nobody's business.
"""

from __future__ import annotations

import heapq
import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ...base.filesystem import EntryKind, FileSystem
from ...errors import DamagedFileError, StorageError, printable
from .. import layout
from .quarantine import Sidecar, read_sidecar

MAX_ROWS = 1_000
_OURS = (layout.CAUSE_EXTENSION, layout.REWRITTEN_EXTENSION)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class QuarantinedFile:
    """A file in quarantine. `place` is where it was, or a name that was free beside it there."""

    path: str
    place: str
    root: str
    """The sync path in which it was found."""

    def origin(self, sidecar: Sidecar) -> str:
        """Where it was."""
        folder, name = os.path.split(self.place)
        plain = layout.without_number(name)
        return os.path.join(folder, plain) if plain == os.path.basename(sidecar.file) else self.place

    def names(self) -> Iterator[str]:
        """All by which it may be meant: itself, where it was, and the folders of either."""
        for path in (self.path, self.place):
            while path != self.root and path != os.path.dirname(path):
                yield printable(path)
                path = os.path.dirname(path)
        yield printable(self.root)


def quarantined_files(
    files: FileSystem, capture_roots: Collection[str], other_roots: Iterable[str]
) -> Iterator[QuarantinedFile]:
    """Everything in quarantine under these sync paths, each file once. What can't be looked at is left out."""
    kept_whole = {os.path.realpath(root) for root in capture_roots}
    roots = dict.fromkeys((*kept_whole, *map(os.path.realpath, other_roots)))
    for root in roots:
        yield from _of_folder(files, root, root, roots, whole=root in kept_whole)


def quarantined_files_of(files: FileSystem, capture_root: str) -> Iterator[QuarantinedFile]:
    """What a capture folder keeps in its own quarantine."""
    failed = os.path.join(capture_root, layout.FAILED_FOLDER)
    yield from _below(files, failed, capture_root, capture_root, deep=True)


def _of_folder(
    files: FileSystem, folder: str, root: str, roots: Collection[str], *, whole: bool
) -> Iterator[QuarantinedFile]:
    for path, name in _folders(files, folder):
        if name == layout.FAILED_FOLDER:
            yield from _below(files, path, folder, root, deep=whole)
        elif name not in layout.SKIPPED_FOLDERS and path not in roots:
            yield from _of_folder(files, path, root, roots, whole=False)


def _below(files: FileSystem, failed: str, place: str, root: str, *, deep: bool) -> Iterator[QuarantinedFile]:
    try:
        for entry in files.list_folder(failed):
            there = os.path.join(place, entry.name)
            if entry.kind is EntryKind.FILE and not entry.name.endswith(_OURS):
                yield QuarantinedFile(entry.path, there, root)
            elif entry.kind is EntryKind.FOLDER and deep:
                yield from _below(files, entry.path, there, root, deep=True)
    except StorageError as error:
        _left_out(error)


def _folders(files: FileSystem, folder: str) -> Iterator[tuple[str, str]]:
    try:
        for entry in files.list_folder(folder):
            if entry.kind is EntryKind.FOLDER:
                yield entry.path, entry.name
    except StorageError as error:
        _left_out(error)


def _left_out(error: StorageError) -> None:
    if error.reason != "no_such_file":
        logger.warning("%s; what is in quarantine there is left out", error)


@dataclass(frozen=True)
class Page:
    """Some of what is in quarantine, in the order of the paths. `next` is where to go on; empty at the end."""

    rows: list[dict[str, Any]]
    files: int
    """All that there is."""
    next: str


def list_page(
    files: FileSystem,
    found: Iterable[QuarantinedFile],
    is_meant: Callable[[QuarantinedFile], bool],
    after: str,
    limit: int,
) -> Page:
    """The first `limit` of those that are meant, behind the one at `after`."""
    count = 0

    def behind() -> Iterator[QuarantinedFile]:
        nonlocal count
        for file in found:
            if is_meant(file):
                count += 1
                if printable(file.path) > after:
                    yield file

    first = heapq.nsmallest(limit + 1, behind(), key=lambda file: printable(file.path))
    rows = [row for file in first[:limit] if (row := _row(files, file)) is not None]
    return Page(rows, count, printable(first[limit - 1].path) if len(first) > limit else "")


def _row(files: FileSystem, file: QuarantinedFile) -> dict[str, Any] | None:
    """None where it is gone meanwhile."""
    try:
        status = files.stat(file.path)
        sidecar = read_sidecar(files, file.path)
    except DamagedFileError as error:
        sidecar = Sidecar(cause=str(error))
    except StorageError:
        return None
    moved = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(status.st_ctime))
    return {
        "path": printable(file.path),
        "file": printable(file.origin(sidecar)),
        "cause": sidecar.cause,
        "time": sidecar.time or moved,
        "size_bytes": status.st_size,
        "readings": None if sidecar.held is None else sidecar.held.readings,
    }
