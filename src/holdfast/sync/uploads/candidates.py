"""Which files a user may upload by command.

A file may be uploaded if it lies below one of the upload roots after symbolic links are resolved, and is not one of
the data manager's own files (its state, its quarantine, captured data). The check here looks at paths, so it can be
outdated when the file is opened. What enforces the rule is `OpenFile`, which opens the file from its root without
following a link.

Blocks on the disk; runs on a worker thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ...base.filesystem import Entry, EntryKind, FileSystem, is_in
from ...base.words import shown
from ...errors import CommandError, StorageError
from ...storage import layout
from ...storage.layout import FileKind


@dataclass(frozen=True)
class Candidate:
    """A file to upload; if `why` is not empty, a file that is passed over for that reason."""

    path: str
    root: str = ""
    """The upload root in which it lies, or its folder if it is one itself; empty for a file that is passed over."""
    size_bytes: int = field(default=0, compare=False)
    """How large it was when it was found."""
    is_synced: bool = False
    """Whether it lies under a sync path. Then sync would send it too, and it is deleted when it is delivered."""
    why: str = ""


class Candidates:
    """Finds candidates in upload roots and sync paths, which are given as they are now. Blocks on the disk."""

    def __init__(self, files: FileSystem, roots: Sequence[str], sync_paths: Sequence[str]) -> None:
        self._files = files
        self._roots = files.places_of(roots)
        self._sync_paths = files.places_of(sync_paths)

    def find(self, path: str) -> Iterator[Candidate]:
        """Yields the file at `path`, or all files in that folder and in the folders inside it.

        A folder that can't be read is a candidate with the error as `why`. Raises CommandError at once if `path` is
        not in an upload root, is one of the data manager's own, or does not exist.
        """
        real = self._real(path) if os.path.isabs(path) else path
        root = self._root_of(real)
        if root is None:
            roots = ", ".join(self._roots)
            raise CommandError(f"path: {shown(path)} is not in one of upload_roots, which are: {roots}")
        if own := self._own(real):
            raise CommandError(f"path: {shown(path)} {own}")
        if not self._files.exists(real):
            raise CommandError(f"path: {shown(path)} is not there")
        return self._folder(real, real) if self._files.is_folder(real) else iter([self._candidate(real)])

    def _real(self, path: str) -> str:
        try:
            return self._files.real_path(path)
        except StorageError as error:
            raise CommandError(f"path: {error}") from error

    def _root_of(self, real: str) -> str | None:
        return next((root for root in self._roots if is_in(real, root)), None)

    def _own(self, real: str) -> str:
        """Returns in which of the data manager's own folders the path lies, as a text; empty if in none."""
        names = set(real.split(os.sep)) & {layout.STATE_FOLDER}
        for path in self._sync_paths:
            if is_in(real, path):
                names |= set(os.path.relpath(real, path).split(os.sep)) & layout.SKIPPED_FOLDERS
        return f"lies in {names.pop()}/, which is the data manager's own" if names else ""

    def _candidate(self, real: str) -> Candidate:
        root = self._root_of(real)
        if root is None:
            return Candidate(real, why="it leads out of upload_roots")
        if own := self._own(real):
            return Candidate(real, why=f"it {own}")
        if layout.kind_of(real) is not FileKind.ARBITRARY:
            return Candidate(real, why="it is captured data, which sync sends")
        folder = os.path.dirname(root) if real == root else root
        is_synced = any(is_in(real, path) for path in self._sync_paths)
        try:
            return Candidate(real, folder, self._files.stat(real).st_size, is_synced)
        except StorageError as error:
            return Candidate(real, why=str(error))

    def _folder(self, folder: str, top: str) -> Iterator[Candidate]:
        try:
            for entry in self._files.list_folder(folder):
                if entry.kind is EntryKind.FOLDER:
                    if not self._own(entry.path):
                        yield from self._folder(entry.path, top)
                elif entry.kind is EntryKind.FILE:
                    yield self._candidate(entry.path)
                else:
                    yield self._other(entry, top)
        except StorageError as error:
            yield Candidate(folder, why=str(error))

    def _other(self, entry: Entry, top: str) -> Candidate:
        if entry.kind is not EntryKind.LINK or not self._files.is_file(entry.path):
            return Candidate(entry.path, why="it is not a file")
        try:
            real = self._files.real_path(entry.path)
        except StorageError as error:  # it was exchanged at this moment
            return Candidate(entry.path, why=str(error))
        if is_in(real, top):
            return Candidate(entry.path, why="it is a link to a file in the same folder")
        return self._candidate(real)
