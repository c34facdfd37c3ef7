"""The walk: finds the files under the sync paths that are ready to be sent, in the order in which sync sends them.

First a survey visits every folder, except those that `Listings` lets it pass over. It counts the files and keeps
the first of them in a `KeyWindow`. If there are more, further passes over the folders find the next ones, so memory
does not grow with the backlog. If the survey takes long and no upload is under way, the first files that it has
seen are sent before it ends.

Blocks on the disk; runs on a worker thread. Each step of an iteration takes some milliseconds.
"""

from __future__ import annotations

import logging
import math
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from ...base.clock import Clock
from ...base.filesystem import Entry, EntryKind, FileSystem, is_in
from ...base.listed import Listed
from ...errors import StorageError, printable
from ...storage.layout import SKIPPED_FOLDERS, FileKind, kind_of
from ..found import Found
from ..retries import Retries
from .listings import RELIST_S, Listing, Listings, Stamp
from .order import Key, KeyWindow, Order

logger = logging.getLogger(__name__)

BATCH_FILES = 256
BATCH_BYTES = 4 * 1024 * 1024
_SLICE_FILES = 4096
_SLICE_BYTES = 32 * 1024 * 1024
_STEP = 4096
_MAX_FOLDERS = 10_000


Visit = Callable[[str, str, list[str], KeyWindow], Iterator[None]]
"""Of a folder, under a root, when other roots were seen."""


@dataclass
class Walk:
    """One walk over `roots`. Its counts are complete when it is `surveyed`."""

    files: FileSystem
    clock: Clock
    roots: Iterable[str]
    min_age_s: float
    """How long an arbitrary file must have been left alone."""
    order: Order = field(default_factory=Order)
    retries: Retries | None = None
    """What waits for its retry, and is left out; None: nothing does."""
    listings: Listings | None = None
    """None: everything is listed, and nothing remembered."""
    found_files: int = 0
    """Files that are ready to be sent or wait for their retry."""
    found_bytes: int = 0
    oldest_ns: float = math.inf
    """When the one of them that was left alone for longest was last changed."""
    too_recent: Listed[str] = field(default_factory=Listed)
    """The first hundred arbitrary files that were changed less than `min_age_s` ago."""
    in_progress: Listed[str] = field(default_factory=Listed)
    """The first hundred files in progress."""
    capture_folders: set[str] = field(default_factory=set)
    """Where there were, or may be, complete capture files."""
    roots_with_files: set[str] = field(default_factory=set)
    whole: bool = True
    """Whether everything could be looked at, and `capture_folders` lists them all."""
    surveyed: bool = False
    _walking_s: float = 0.0
    _resumed_s: float = 0.0
    _entries: int = 0
    _leaves_out_others: bool = False

    def __iter__(self) -> Iterator[Found]:
        for batch in self.batches():
            yield from batch

    def batches(self, is_idle: Callable[[], bool] = lambda: False) -> Iterator[list[Found]]:
        """Each file once, though roots may lie in each other, in some order in which files of a folder go together:
        at most `BATCH_FILES` and little more than `BATCH_BYTES`, or nothing for now. While `is_idle`, what is known
        so far is given at once. What can't be read is logged and passed over."""
        window = KeyWindow(self.order.newest_first)
        if self.listings is not None:
            self._leaves_out_others = self.listings.begin_walk(self.clock.monotonic())
        for _ in self._timed(self._pass(window, self._survey)):
            yield [found for key in window.take_first(BATCH_FILES) if (found := self._at(key))] if is_idle() else []
        self.surveyed = True
        if self.listings is not None:
            self.listings.end_walk(self.clock.monotonic())
        yield from self._in_order(window)
        while window.begin_next_pass():
            for _ in self._pass(window, self._pass_again):
                yield []
            yield from self._in_order(window)

    def has_files(self, root: str) -> bool:
        """Whether there may be anything to send in `root`, ready or not."""
        return any(is_in(root, other) or is_in(other, root) for other in self.roots_with_files)

    def covers(self, path: str) -> bool:
        """Whether `path`, which has no symbolic links in it, lies under a root."""
        return any(is_in(path, os.path.realpath(root)) for root in self.roots)

    def look_at(self, path: str) -> Found | None:
        """One file without a walk; None when it is not there, or not ready."""
        return self.look_at_resolved(os.path.realpath(path))

    def look_at_resolved(self, path: str) -> Found | None:
        """As `look_at`, of a path as a walk finds it: a link as itself."""
        return self._file(Entry(path, os.path.basename(path), EntryKind.FILE))

    def _pass(self, window: KeyWindow, visit: Visit) -> Iterator[None]:
        seen: list[str] = []
        for root in self.roots:
            real = os.path.realpath(root)
            if not any(is_in(real, other) for other in seen):
                yield from visit(real, real, seen, window)
            seen.append(real)

    def _survey(self, folder: str, root: str, seen: list[str], window: KeyWindow) -> Iterator[None]:
        """Looks at everything in `folder`."""
        if folder in seen:
            return
        try:
            stamp = self._stamp(folder)
        except StorageError as error:
            self._unreadable(error)
            return
        now_s, blocked = self.clock.monotonic(), self.retries is not None and self.retries.blocks(folder)
        known = self.listings.visit(folder) if self.listings is not None else None
        if known is not None and self._passes_over(folder, root, known, stamp, blocked):
            for inner in known.inner or ():
                yield from self._survey(inner, root, seen, window)
            return
        if known is None and self._leaves_out_others:
            self.whole = False
            self.roots_with_files.add(root)
            return
        listing = Listing(stamp, now_s, now_s + RELIST_S, blocked)
        began_s, inner_s = self._spent_s(), 0.0
        try:
            for entry in self.files.list_folder(folder):
                if self._counts_a_step():
                    yield
                if entry.kind is not EntryKind.FOLDER:
                    self._look_into(entry, folder, root, listing, window)
                elif entry.name not in SKIPPED_FOLDERS:
                    listing.add_inner(entry.path)
                    before_s = self._spent_s()
                    yield from self._survey(entry.path, root, seen, window)
                    inner_s += self._spent_s() - before_s
        except StorageError as error:
            listing.settled = False
            self._unreadable(error)
        if self.listings is not None:
            listing.cost_s = self._spent_s() - began_s - inner_s
            listing.ended_s = self.clock.monotonic()
            self.listings.remember(folder, listing)

    def _pass_again(self, folder: str, root: str, seen: list[str], window: KeyWindow) -> Iterator[None]:
        """Shows the window once more what is to be sent from `folder`."""
        if folder in seen:
            return
        known = self.listings.done_listing(folder) if self.listings is not None else None
        if known is not None or (self._leaves_out_others and self.listings and not self.listings.knows(folder)):
            for inner in (known.inner if known else None) or ():
                yield from self._pass_again(inner, root, seen, window)
            return
        try:
            for entry in self.files.list_folder(folder):
                if self._counts_a_step():
                    yield
                if entry.kind is not EntryKind.FOLDER:
                    kind = kind_of(entry.path)
                    if kind is FileKind.CAPTURE:
                        self._offer(entry, folder, kind, 0, window)
                    elif (status := self._status(entry, kind)) is not None and not self._recent_s(status, kind):
                        self._offer(entry, folder, kind, status.st_mtime_ns, window)
                elif entry.name not in SKIPPED_FOLDERS:
                    yield from self._pass_again(entry.path, root, seen, window)
        except StorageError as error:
            self._unreadable(error)

    def _look_into(self, entry: Entry, folder: str, root: str, listing: Listing, window: KeyWindow) -> None:
        kind = kind_of(entry.path)
        if kind is FileKind.IN_PROGRESS:
            self.in_progress.add(entry.path)
        if entry.kind is EntryKind.OTHER or kind is FileKind.SEQUENCE:
            return
        status = self._status(entry, kind)
        if status is None:
            listing.settled = False
            return
        if recent_s := self._recent_s(status, kind):
            self.too_recent.add(printable(entry.path))
            listing.recent += 1
            listing.due_s = min(listing.due_s, self.clock.monotonic() + recent_s)
            self.roots_with_files.add(root)
            return
        listing.files += 1
        listing.size_bytes += status.st_size
        listing.oldest_ns = min(listing.oldest_ns, status.st_mtime_ns)
        self.oldest_ns = min(self.oldest_ns, status.st_mtime_ns)
        listing.has_captures |= kind is FileKind.CAPTURE
        self._count(folder, root, 1, status.st_size, kind is FileKind.CAPTURE)
        due_s = self._offer(entry, folder, kind, status.st_mtime_ns, window)
        if due_s is None:
            listing.offered += 1
        else:
            listing.due_s = min(listing.due_s, due_s)

    def _offer(
        self, entry: Entry, folder: str, kind: FileKind, modified_ns: int, window: KeyWindow
    ) -> float | None:
        """Hands a file to the window, unless it waits: then returns until when."""
        due_s = self.retries.until(entry.path, folder) if self.retries is not None else None
        if due_s is None:
            window.add(self.order.key(folder, entry.name, kind, modified_ns))
        return due_s

    def _count(self, folder: str, root: str, files: int, size_bytes: int, has_captures: bool) -> None:
        self.found_files += files
        self.found_bytes += size_bytes
        self.roots_with_files.add(root)
        if has_captures:
            self.capture_folders.add(folder)
            if len(self.capture_folders) > _MAX_FOLDERS:
                self.capture_folders.clear()
                self.whole = False

    def _stamp(self, folder: str) -> Stamp:
        status = self.files.stat(folder)
        return status.st_dev, status.st_ino, status.st_mtime_ns

    def _passes_over(self, folder: str, root: str, known: Listing, stamp: Stamp, blocked: bool) -> bool:
        """Whether a folder need not be listed, or must not yet: then what was found in it before counts."""
        now_s, waiting = self.clock.monotonic(), len(self.retries) if self.retries is not None else 0
        quiet = known.is_quiet(stamp, blocked, now_s)
        to_send = not blocked and known.files > waiting
        if not quiet and not known.is_too_early(to_send, now_s):
            return False
        known.passed_over = True
        self.whole &= quiet
        if known.files or known.recent or not quiet:
            self._count(folder, root, known.files, known.size_bytes, known.has_captures)
        if known.files:
            self.oldest_ns = min(self.oldest_ns, known.oldest_ns)
        return True

    def _in_order(self, window: KeyWindow) -> Iterator[list[Found]]:
        """What a pass has kept: a slice after the other, and in each the files of a folder together."""
        keys = window.take_all()
        keys.reverse()
        while keys:
            slice_: dict[tuple[int, str], list[Found]] = {}
            files = size_bytes = 0
            while keys and files < _SLICE_FILES and size_bytes < _SLICE_BYTES:
                key = keys.pop()
                found = self._at(key)
                if found is not None:
                    slice_.setdefault((key.rank, key.folder), []).append(found)
                    files += 1
                    size_bytes += found.size_bytes
            yield from _in_batches(found for founds in slice_.values() for found in founds)

    def _at(self, key: Key) -> Found | None:
        return self._file(Entry(os.path.join(key.folder, key.name), key.name, EntryKind.FILE))

    def _file(self, entry: Entry) -> Found | None:
        kind = kind_of(entry.path)
        status = self._status(entry, kind)
        if status is None or self._recent_s(status, kind):
            return None
        return Found(entry.path, kind, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def _status(self, entry: Entry, kind: FileKind) -> os.stat_result | None:
        """Of a file that may be sent; None when it is none, or can't be looked at."""
        if entry.kind is EntryKind.OTHER or kind in (FileKind.IN_PROGRESS, FileKind.SEQUENCE):
            return None
        try:
            status = self.files.stat(entry.path)
        except StorageError as error:
            if error.reason != "no_such_file":
                self.whole = False
                logger.warning("%s; it is not synced", error)
            return None
        if not stat.S_ISREG(status.st_mode) or (status.st_size == 0 and kind is not FileKind.ENDED_SEQUENCE):
            return None
        return status

    def _recent_s(self, status: os.stat_result, kind: FileKind) -> float:
        """How long until an arbitrary file has been left alone for long enough; 0 when it has. A time of change
        that lies in the future counts as old once it stands still: the clock was wrong."""
        if kind is not FileKind.ARBITRARY:
            return 0.0
        age_s = (self.clock.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns)) / 1e9
        return self.min_age_s - age_s if 0 <= age_s < self.min_age_s else 0.0

    def _unreadable(self, error: StorageError) -> None:
        if error.reason != "no_such_file":
            self.whole = False
            logger.warning("%s; its contents are not synced", error)

    def _counts_a_step(self) -> bool:
        self._entries += 1
        return self._entries % _STEP == 0

    def _timed(self, steps: Iterator[None]) -> Iterator[None]:
        """The same, and `_spent_s` tells how long they took, without what happens between them."""
        self._resumed_s = self.clock.monotonic()
        for _ in steps:
            self._walking_s = self._spent_s()
            yield
            self._resumed_s = self.clock.monotonic()

    def _spent_s(self) -> float:
        return self._walking_s + self.clock.monotonic() - self._resumed_s


def _in_batches(founds: Iterable[Found]) -> Iterator[list[Found]]:
    batch: list[Found] = []
    size_bytes = 0
    for found in founds:
        batch.append(found)
        size_bytes += found.size_bytes
        if len(batch) >= BATCH_FILES or size_bytes >= BATCH_BYTES:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch
