"""The walk: finds the files under the sync paths that are ready to be sent, in the order in which sync sends them.

First a survey visits every folder, except those that `Listings` lets it pass over. It counts the files, for
`Listings` to add them up, and keeps the first of them in a `KeyWindow`. If there are more, further passes over the
folders find the next ones, so memory does not grow with the backlog. If the survey takes long and no upload is
under way, the first files that it has seen are sent before it ends.

Blocks on the disk; runs on a worker thread. Each step of an iteration takes some milliseconds.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from ...base.bounded import Listed
from ...base.clock import Clock
from ...base.filesystem import Entry, EntryKind, FileSystem, is_in
from ...errors import StorageError
from ...storage.layout import SKIPPED_FOLDERS, FileKind, kind_of
from ..found import Found
from ..retries import Retries
from .listings import RELIST_S, Listing, Listings, Stamp
from .order import Key, KeyWindow, Order

logger = logging.getLogger(__name__)

BATCH_FILES = 256
BATCH_BYTES = 4 * 1024 * 1024
_SLICE_FILES = 4096
"""So many files in their order form a slice, in which the files of one folder are given together."""
_SLICE_BYTES = 32 * 1024 * 1024
_STEP = 4096
"""How many folder entries one step of an iteration reads."""
_MAX_FOLDERS = 10_000
"""The most `capture_folders` that a walk lists."""

Visit = Callable[[str, str, list[str], KeyWindow | None], Iterator[None]]
"""Visits a folder; its arguments are the folder, its root, the roots visited before it, and the window."""
VisitFile = Callable[[Entry, KeyWindow | None], None]
"""Visits a root that is a file."""


@dataclass
class Walk:
    """One walk over `roots`. What it says of them is complete once `surveyed` is true."""

    files: FileSystem
    clock: Clock
    roots: Iterable[str]
    """Folders and single files."""
    min_age_s: float
    """How long an arbitrary file must have stayed unchanged before it is ready."""
    order: Order = field(default_factory=Order)
    retries: Retries | None = None
    """The files that wait for a retry and are left out; None leaves none out."""
    listings: Listings | None = None
    """What earlier walks saw; None lists every folder and remembers nothing."""
    only_counted: Iterable[str] = ()
    """Further folders and single files, which are counted in `listings` and not sent."""
    too_recent: Listed[str] = field(default_factory=Listed)
    """Arbitrary files that were changed less than `min_age_s` ago."""
    in_progress: Listed[str] = field(default_factory=Listed)
    """Capture files in progress (`.prog`)."""
    capture_folders: set[str] = field(default_factory=set)
    """The folders that have, or may have, complete capture files."""
    roots_with_files: set[str] = field(default_factory=set)
    """The roots that have, or may have, files to send, ready or not."""
    whole: bool = True
    """Whether every folder and file was examined, and `capture_folders` is complete."""
    surveyed: bool = False
    """Whether the survey, the first pass, has ended."""
    visiting_s: float = 0.0
    """How long the survey took, without the listings of folders."""
    _unreadable: int = 0
    _walking_s: float = 0.0
    _resumed_s: float = 0.0
    _entries: int = 0
    _number: int = 0
    _leaves_out_others: bool = False
    _others: Listing = field(default_factory=lambda: Listing((0, 0, 0), 0.0))
    """What the folders hold together that `listings` does not remember."""
    _as_of_s: float = 0.0
    """When the oldest look that this walk relies on began."""
    _done: dict[str, Listing] = field(default_factory=dict)
    """The folders that further passes need not list: the survey passed over them, or found nothing to send."""
    _single: set[str] = field(default_factory=set)
    """The roots that are files."""

    def __iter__(self) -> Iterator[Found]:
        for batch in self.batches():
            yield from batch

    def batches(self, is_idle: Callable[[], bool] = lambda: False) -> Iterator[list[Found]]:
        """Yields the files to send in batches, in the order of `order`.

        A file is yielded once, even if roots lie inside each other. Close to each other in the order, files of one
        folder are yielded together. A batch has at most `BATCH_FILES` files and little more than `BATCH_BYTES`; an
        empty one only marks a step. While `is_idle` returns true, each step of the survey yields the first files
        found so far; with more files than a window holds, such a file may be yielded again later.

        A folder or file that can't be read is logged and passed over. Blocks on the disk.
        """
        window = KeyWindow(self.order.newest_first)
        for _ in self.survey(window):
            yield [found for key in window.take_first(BATCH_FILES) if (found := self._at(key))] if is_idle() else []
        yield from self._in_order(window)
        while window.begin_next_pass():
            for _ in self._pass(window, self._pass_again, self._offer_again):
                yield []
            yield from self._in_order(window)

    def survey(self, window: KeyWindow | None = None) -> Iterator[None]:
        """Visits every folder, in steps; without `window` only in order to count. Blocks on the disk."""
        began_s = self._as_of_s = self.clock.monotonic()
        if self.listings is not None:
            self._number, self._leaves_out_others = self.listings.begin_walk(began_s)
            self._others.begun_s = began_s
        yield from self._timed(self._pass(window, self._survey, self._survey_file))
        self.surveyed = True
        self.visiting_s += self._spent_s()
        if self.listings is not None:
            others = None if self._leaves_out_others else self._others
            now_s = self.clock.monotonic()
            self.listings.end_walk(self._number, others, self._as_of_s, self._unreadable, now_s)

    def has_files(self, root: str) -> bool:
        """Returns whether there may be files to send in `root`, ready or not."""
        return any(is_in(root, other) or is_in(other, root) for other in self.roots_with_files)

    def look_at(self, path: str) -> Found | None:
        """Returns one file without a walk, or None if it does not exist or is not ready. Blocks on the disk."""
        try:
            return self.look_at_resolved(self.files.real_path(path))
        except StorageError as error:
            self._note_unreadable(error)
            return None

    def look_at_resolved(self, path: str) -> Found | None:
        """Like `look_at`, but does not resolve `path`.

        If it is a link, it is found under its own name, as in a walk.
        """
        return self._file(Entry(path, os.path.basename(path), EntryKind.FILE))

    def _pass(self, window: KeyWindow | None, visit: Visit, visit_file: VisitFile) -> Iterator[None]:
        seen: list[str] = []
        counted = () if self.surveyed else self.only_counted
        for root, wanted in (*((root, window) for root in self.roots), *((root, None) for root in counted)):
            try:
                place = self.files.place_of(root)
            except StorageError as error:
                self._note_unreadable(error)
                continue
            if not any(is_in(place, other) for other in seen):
                if self.files.is_folder(place):
                    yield from visit(place, place, seen, wanted)
                else:
                    self._single.add(place)
                    visit_file(Entry(place, os.path.basename(place), EntryKind.FILE), wanted)
            seen.append(place)

    def _survey_file(self, entry: Entry, window: KeyWindow | None) -> None:
        """Counts a root that is a file, and offers it to the window; nothing if it is not there."""
        now_s = self.clock.monotonic()
        listing = Listing((0, 0, 0), now_s, now_s + RELIST_S)
        self._look_into(entry, os.path.dirname(entry.path), entry.path, listing, window)
        self._remember(entry.path, listing)

    def _survey(self, folder: str, root: str, seen: list[str], window: KeyWindow | None) -> Iterator[None]:
        """Counts the files in `folder` and in the folders inside, and offers them to the window."""
        if folder in seen:
            return
        try:
            stamp = self._stamp(folder)
        except StorageError as error:
            self._note_unreadable(error)
            return
        now_s, blocked = self.clock.monotonic(), self.retries is not None and self.retries.blocks(folder)
        known = self.listings.visit(folder, self._number) if self.listings is not None else None
        to_count = window is None
        if known is not None and self._passes_over(folder, root, known, stamp, blocked, to_count=to_count):
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
            for entry in self.files.list_folder(folder, with_status=True):
                if self._counts_a_step():
                    yield
                if entry.kind is not EntryKind.FOLDER:
                    if entry.path not in self._single:
                        self._look_into(entry, folder, root, listing, window)
                elif entry.name not in SKIPPED_FOLDERS:
                    listing.add_inner(entry.path)
                    before_s = self._spent_s()
                    yield from self._survey(entry.path, root, seen, window)
                    inner_s += self._spent_s() - before_s
        except StorageError as error:
            listing.note_incomplete()
            self._note_unreadable(error)
        listing.note_end(self.clock.monotonic(), self._spent_s() - began_s - inner_s)
        self.visiting_s -= listing.cost_s
        self._remember(folder, listing)

    def _remember(self, folder: str, listing: Listing) -> None:
        if self.listings is None:
            return
        if not self.listings.remember(folder, listing, self._number):
            self._others.add(listing)
        elif not listing.offered:
            self._done[folder] = listing

    def _pass_again(self, folder: str, root: str, seen: list[str], window: KeyWindow | None) -> Iterator[None]:
        """Offers the files of `folder` and of the folders inside to the window once more."""
        if folder in seen:
            return
        known = self._done.get(folder)
        if known is not None or (self._leaves_out_others and self.listings and not self.listings.knows(folder)):
            for inner in (known.inner if known else None) or ():
                yield from self._pass_again(inner, root, seen, window)
            return
        try:
            for entry in self.files.list_folder(folder):
                if self._counts_a_step():
                    yield
                if entry.kind is not EntryKind.FOLDER:
                    if entry.path not in self._single:
                        self._offer_again(entry, window)
                elif entry.name not in SKIPPED_FOLDERS:
                    yield from self._pass_again(entry.path, root, seen, window)
        except StorageError as error:
            self._note_unreadable(error)

    def _offer_again(self, entry: Entry, window: KeyWindow | None) -> None:
        folder, kind = os.path.dirname(entry.path), kind_of(entry.path)
        if kind is FileKind.CAPTURE:
            self._offer(entry, folder, kind, 0, window)
        elif (status := self._status(entry, kind)) is not None and not self._recent_s(status, kind):
            self._offer(entry, folder, kind, status.st_mtime_ns, window)

    def _look_into(self, entry: Entry, folder: str, root: str, listing: Listing, window: KeyWindow | None) -> None:
        kind = kind_of(entry.path)
        if kind is FileKind.IN_PROGRESS:
            listing.note_in_progress()
            if window is not None:
                self.in_progress.add(entry.path)
        if entry.kind is EntryKind.OTHER or kind is FileKind.SEQUENCE:
            return
        status = self._status(entry, kind)
        if status is None:
            listing.note_incomplete()
            return
        if recent_s := self._recent_s(status, kind):
            self.too_recent.add(entry.path)
            listing.count_recent(self.clock.monotonic() + recent_s)
            self.roots_with_files.add(root)
            return
        is_capture = kind is FileKind.CAPTURE
        retry_s = self._offer(entry, folder, kind, status.st_mtime_ns, window)
        listing.count_file(status.st_size, status.st_mtime_ns, is_capture, retry_s)
        self._note_files(folder, root, is_capture)

    def _offer(
        self, entry: Entry, folder: str, kind: FileKind, modified_ns: int, window: KeyWindow | None
    ) -> float | None:
        """Adds a file to the window, unless it waits for a retry. Then returns when that is due, else None."""
        due_s = self.retries.until(entry.path, folder) if self.retries is not None else None
        if due_s is None and window is not None:
            window.add(self.order.key(folder, entry.name, kind, modified_ns))
        return due_s

    def _note_files(self, folder: str, root: str, has_captures: bool) -> None:
        self.roots_with_files.add(root)
        if has_captures:
            self.capture_folders.add(folder)
            if len(self.capture_folders) > _MAX_FOLDERS:
                self.capture_folders.clear()
                self.whole = False

    def _stamp(self, folder: str) -> Stamp:
        status = self.files.stat(folder)
        return status.st_dev, status.st_ino, status.st_mtime_ns

    def _passes_over(
        self, folder: str, root: str, known: Listing, stamp: Stamp, blocked: bool, *, to_count: bool
    ) -> bool:
        """Returns whether a folder is not listed now, since it is quiet or it is too early.

        If so, relies on what its last listing found.
        """
        assert self.listings is not None
        now_s, waiting = self.clock.monotonic(), len(self.retries) if self.retries is not None else 0
        quiet = known.is_quiet(stamp, blocked, now_s, to_count=to_count)
        to_send = not to_count and not blocked and known.files > waiting
        if not quiet and not self.listings.is_too_early(known, to_send, now_s):
            return False
        self._done[folder] = known
        self.whole &= quiet
        if known.files or known.recent or not quiet:
            self._note_files(folder, root, known.has_captures)
        if not quiet or known.has_others:
            self._as_of_s = min(self._as_of_s, known.begun_s)
        return True

    def _in_order(self, window: KeyWindow) -> Iterator[list[Found]]:
        """Yields what a pass left in the window: slice by slice, in each the files of one folder together."""
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
        """Returns the status of a file that may be sent; None for anything else, or if it can't be read."""
        if entry.kind is EntryKind.OTHER or kind in (FileKind.IN_PROGRESS, FileKind.SEQUENCE):
            return None
        try:
            status = entry.status or self.files.stat(entry.path)
        except StorageError as error:
            if error.reason != "no_such_file":
                self.whole = False
                self._unreadable += 1
                logger.warning("%s; it is not synced", error)
            return None
        if not stat.S_ISREG(status.st_mode) or (status.st_size == 0 and kind is not FileKind.ENDED_SEQUENCE):
            return None
        return status

    def _recent_s(self, status: os.stat_result, kind: FileKind) -> float:
        """Returns how long an arbitrary file must still stay unchanged; 0 if it is ready.

        A time of change in the future does not hold a file back: the clock was wrong.
        """
        if kind is not FileKind.ARBITRARY:
            return 0.0
        age_s = (self.clock.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns)) / 1e9
        return self.min_age_s - age_s if 0 <= age_s < self.min_age_s else 0.0

    def _note_unreadable(self, error: StorageError) -> None:
        if error.reason != "no_such_file":
            self.whole = False
            self._unreadable += 1
            logger.warning("%s; its contents are not synced", error)

    def _counts_a_step(self) -> bool:
        self._entries += 1
        return self._entries % _STEP == 0

    def _timed(self, steps: Iterator[None]) -> Iterator[None]:
        """Passes `steps` on, and keeps for `_spent_s` how long they took, without the time between them."""
        self._resumed_s = self.clock.monotonic()
        for _ in steps:
            self._walking_s = self._spent_s()
            yield
            self._resumed_s = self.clock.monotonic()

    def _spent_s(self) -> float:
        """Returns how long the steps of the survey have taken so far."""
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
