"""A manual sync: which part of the files it sends, and the report of what it did."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ..base.bounded import Listed
from ..base.filesystem import EntryKind, FileSystem, is_in
from ..base.words import shown
from ..errors import CommandError, StorageError
from ..storage import layout
from .found import Found, Outcome


@dataclass(frozen=True)
class Selection:
    """The folders and single files that a manual sync sends; the paths have no symbolic links in them."""

    folders: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


Select = Callable[[], Selection]
"""Returns what to send. It is called when everything that was captured lies in complete files. Blocks; raises
CommandError."""


@dataclass(eq=False)
class SyncReport:
    """What a manual sync has done so far; it is final when `sync_now` or `sync_files` of `Rounds` returns.

    `failed`, `held_open` and `too_recent` name at most a hundred files each. Belongs to the event loop.
    """

    files: int = 0
    bytes: int = 0
    quarantined: int = 0
    failed: Listed[str] = field(default_factory=Listed)
    held_open: Listed[str] = field(default_factory=Listed)
    """Files that stay since another process has them open for writing."""
    too_recent: list[str] = field(default_factory=list)
    seconds: float = 0.0
    last_error: str = ""
    pending: int = 0
    """How many files are under way, plus 1 while the sync still looks for more."""
    done: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    """Set when no file is pending."""

    def note_begun(self) -> None:
        """Counts one more thing to wait for: a file that is under way, or the search for files."""
        self.pending += 1

    def note_ended(self) -> None:
        """Takes back one call of `note_begun`; the last one sets `done`."""
        self.pending -= 1
        if self.pending == 0:
            self.done.set()

    def note_outcome(self, found: Found, outcome: Outcome) -> None:
        """Counts what became of a file for which `note_begun` was called."""
        if outcome is Outcome.DELIVERED:
            self.files += 1
            self.bytes += found.size_bytes
        elif outcome is Outcome.QUARANTINED:
            self.quarantined += 1
        elif outcome is Outcome.WAITING:
            self.failed.add(found.path)
        elif outcome is Outcome.HELD_OPEN:
            self.held_open.add(found.path)
        self.note_ended()

    def note_too_recent(self, paths: Sequence[str]) -> None:
        """Names arbitrary files that are left out since they were changed a moment ago."""
        self.too_recent = list(paths)

    def note_seconds(self, seconds: float) -> None:
        """Says how long the manual sync has taken."""
        self.seconds = seconds

    def note_error(self, error: str) -> None:
        """Notes the last error of all deliveries, which may concern a file of another sync; ignored when no file of
        this one failed."""
        self.last_error = error if self.failed.count else ""


def select(
    files: FileSystem, paths: Iterable[str], resources: Iterable[str], stores: Sequence[str], others: Sequence[str]
) -> Selection:
    """Returns what `paths` and `resources` name together. `stores` are the capture folders, `others` the further
    sync paths.

    Raises CommandError, which says what can't be sent and why, and StorageError when a capture folder can't be
    listed. Blocks.
    """
    roots = files.places_of((*stores, *others))
    folders: list[str] = []
    single: list[str] = []
    for path in paths:
        try:
            real = files.real_path(path) if os.path.isabs(path) else path
        except StorageError as error:
            raise CommandError(f"paths: {error}") from error
        why = _why_not(files, real, roots)
        if why:
            raise CommandError(f"paths: {shown(path)} {why}")
        (folders if files.is_folder(real) else single).append(real)
    for resource in resources:
        folders += folders_of(files, resource, files.places_of(stores))
    alone = [path for path in dict.fromkeys(single) if not any(is_in(path, folder) for folder in folders)]
    return Selection(tuple(folders), tuple(alone))


def _why_not(files: FileSystem, real: str, roots: Sequence[str]) -> str:
    root = next((root for root in roots if is_in(real, root)), None)
    if root is None:
        return f"is not under a sync path; these are: {', '.join(roots)}"
    own = set(os.path.relpath(real, root).split(os.sep)) & layout.SKIPPED_FOLDERS
    if own:
        return f"lies in {own.pop()}/, which is never synced"
    return "" if files.exists(real) else "is not there"


def folders_of(files: FileSystem, resource: str, roots: Iterable[str]) -> Iterator[str]:
    """Yields the folders with what was captured of a resource, whatever its API unless the name is a full one.

    Raises StorageError when a capture folder can't be listed; one that does not exist has no such folders. Blocks.
    """
    api, _, name = resource.rpartition("/")
    of_api = api.replace(":", "_")
    for root in roots:
        try:
            for entry in files.list_folder(root):
                if entry.kind is EntryKind.FOLDER and entry.name not in layout.SKIPPED_FOLDERS:
                    folder = os.path.dirname(layout.collector_folder(root, entry.name, name, "method"))
                    if of_api in ("", entry.name) and files.exists(folder):
                        yield folder
        except StorageError as error:
            if error.reason != "no_such_file":
                raise
