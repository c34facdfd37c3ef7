"""Finds the files in quarantine by a walk over the sync paths, and lists them a page at a time.

A capture folder has one quarantine, in which files keep their paths. Elsewhere quarantine is a folder `failed`
beside the files, as with the builtin; folders in such a `failed` are not ours and are left out. Files are yielded
as they are found, so memory does not grow with their number.

Blocks on the disk: belongs on a worker thread.
"""

from __future__ import annotations

import heapq
import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ...base.filesystem import NEW_EXTENSION, Entry, EntryKind, FileSystem, is_in
from ...base.fitting import size_bytes
from ...base.words import all_escaped, escaped
from ...errors import DamagedFileError, StorageError
from .. import layout, names
from .sidecar import Sidecar, read_sidecar

MAX_ROWS = 1_000
MAX_PAGE_BYTES = 500_000
"""Of the rows of a page, as they are shown."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class QuarantinedFile:
    """A file in quarantine."""

    path: str
    """Where it is now."""
    place: str
    """Where it was."""
    root: str
    """The sync path in which it was found."""

    def names(self) -> Iterator[str]:
        """Yields the paths by which a user may name it, as they are shown: where it is, where it was, and their
        folders."""
        for path in (self.path, self.place):
            while path != self.root and path != os.path.dirname(path):
                yield escaped(path)
                path = os.path.dirname(path)
        yield escaped(self.root)


def quarantined_files(
    files: FileSystem, capture_roots: Collection[str], other_roots: Iterable[str]
) -> Iterator[QuarantinedFile]:
    """Yields all files in quarantine under these sync paths, each once.

    A folder that can't be read is logged and left out.
    """
    kept_whole = files.places_of(capture_roots)
    roots = dict.fromkeys((*kept_whole, *files.places_of(other_roots)))
    for root in roots:
        if files.is_folder(root):
            yield from _of_folder(files, root, root, roots, whole=root in kept_whole)
        elif not any(is_in(os.path.dirname(root), other) for other in roots):
            yield from _of_file(files, root)


def quarantined_files_of(files: FileSystem, capture_root: str) -> Iterator[QuarantinedFile]:
    """Yields the files in the quarantine of one capture folder. What can't be read is logged and left out."""
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


def _of_file(files: FileSystem, path: str) -> Iterator[QuarantinedFile]:
    """Yields what was at a sync path that is a file, or was one before it came into quarantine."""
    folder = os.path.dirname(path)
    failed = os.path.join(folder, layout.FAILED_FOLDER)
    yield from (file for file in _below(files, failed, folder, folder, deep=False) if file.place == path)


def _below(files: FileSystem, failed: str, place: str, root: str, *, deep: bool) -> Iterator[QuarantinedFile]:
    try:
        for entry in files.list_folder(failed):
            if entry.kind is EntryKind.FILE and not _is_ours(files, entry.path):
                yield QuarantinedFile(entry.path, os.path.join(place, _former_name(files, entry)), root)
            elif entry.kind is EntryKind.FOLDER and deep:
                yield from _below(files, entry.path, os.path.join(place, entry.name), root, deep=True)
    except StorageError as error:
        _left_out(error)


def _former_name(files: FileSystem, entry: Entry) -> str:
    """Returns the name that a file had. Its sidecar knows it, if it was taken or too long in quarantine."""
    if names.is_numbered(entry.name):
        with suppress(StorageError, DamagedFileError):
            former = os.path.basename(read_sidecar(files, entry.path).file)
            if names.may_come_from(entry.name, former) and "\0" not in former:
                return former
    return entry.name


def _is_ours(files: FileSystem, path: str) -> bool:
    """Whether a file in quarantine is a sidecar, or what a crash left of the replacement of another file there."""
    replaced = path.removesuffix(NEW_EXTENSION)
    if replaced != path:
        return replaced.endswith(layout.CAUSE_EXTENSION) or files.exists(replaced)
    return path.endswith(layout.CAUSE_EXTENSION)


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
    """A part of the list of files in quarantine, in the order of their paths, as these are shown."""

    rows: list[dict[str, Any]]
    files: int
    """How many files the whole list has."""
    next: str
    """The path after which the next page begins; empty on the last page."""


def list_page(
    files: FileSystem,
    found: Iterable[QuarantinedFile],
    is_meant: Callable[[QuarantinedFile], bool],
    after: str,
    limit: int,
) -> Page:
    """Returns the first of the files that `is_meant` accepts and whose paths, as they are shown, come after
    `after`: `limit` of them, or as many as fit into `MAX_PAGE_BYTES`."""
    count = 0

    def behind() -> Iterator[QuarantinedFile]:
        nonlocal count
        for file in found:
            if is_meant(file):
                count += 1
                if escaped(file.path) > after:
                    yield file

    first = heapq.nsmallest(limit + 1, behind(), key=lambda file: escaped(file.path))
    rows: list[dict[str, Any]] = []
    left_bytes = MAX_PAGE_BYTES
    last = ""
    for file in first[:limit]:
        row = _row(files, file) or {}
        left_bytes -= size_bytes(all_escaped(row))
        if left_bytes < 0 and rows:
            return Page(rows, count, last)
        last = escaped(file.path)
        rows += [row] if row else []
    return Page(rows, count, last if len(first) > limit else "")


def _row(files: FileSystem, file: QuarantinedFile) -> dict[str, Any] | None:
    """Returns what the command shows of a file, or None if it is gone."""
    try:
        status = files.stat(file.path)
        sidecar = read_sidecar(files, file.path)
    except DamagedFileError as error:
        sidecar = Sidecar(cause=str(error))
    except StorageError:
        return None
    moved = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(status.st_ctime))
    return {
        "path": file.path,
        "file": file.place,
        "cause": sidecar.cause,
        "time": sidecar.time or moved,
        "size_bytes": status.st_size,
        "readings": None if sidecar.held is None else sidecar.held.readings,
    }
