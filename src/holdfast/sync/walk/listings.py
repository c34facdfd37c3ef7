"""What the last listing of each folder showed. So a walk need not list every folder again, and all of it
together says how much waits to be sent.

A walk passes over a *quiet* folder: its time of change is the same as at its last listing, that listing offered no
file to send, and no file in it has become due since. A walk that only counts passes over folders with files to send
too.

- A file can become ready while its folder's time of change stays the same. When its retry is due, or it has been
  left alone for long enough, `due_s` says so. When a file that was empty or unreadable, or a link without a
  target, gets content, nothing says so: a folder with such a file is never quiet, nor is one with a file in
  progress.
- A folder that changed just before it was listed may change again with the same time of change. It is quiet only if
  a listing at least `RACY_S` before the last one saw the same time.
- Some file systems may not record the change at all, so each folder is listed every `RELIST_S`. Files of other
  programs may grow where they are, so a folder with such files is listed every `RELIST_OTHERS_S`.

A walk also passes over a folder if listing it again would take more than a share of the time. Of a folder that has
more files to send than wait for a retry this is `MOST_LISTING_TO_SEND`. The folders that collectors write to may be
many, change all the time, and have nothing that is not known without a listing: unless they are large, they take
`MOST_LISTING` together, in the same walks. All others that have changed take as much again, and share it evenly.

The listings change between walks as well: files that sync sent or a limit deleted are subtracted, and files that
capture completed are added.

Bounds: `MAX_FOLDERS` folders are remembered, and `MAX_INNER` folders inside them. The folders beyond these bounds
share one `MOST_LISTING`: between listings, walks leave all of them out, and what they hold counts as it was found.
Folders that a walk did not visit are forgotten.
"""

from __future__ import annotations

import math
import os
import threading
from dataclasses import dataclass, field

from ...base.intervals import rest_s

Stamp = tuple[int, int, int]
"""Device, inode and time of change of a folder."""

RACY_S = 3.0
RELIST_S = 600.0
RELIST_OTHERS_S = 60.0
MOST_LISTING = 0.003
"""A share of the time, as is the next one."""
MOST_LISTING_TO_SEND = 0.2
LARGE_S = 0.1
"""A folder is large if listing it takes longer than this: it has some 20,000 files."""
MAX_FOLDERS = 10_000
MAX_INNER = 20_000
_MAX_INNER_OF_ONE = 1_000


@dataclass
class Listing:
    """What one listing of a folder showed.

    `files` and `size_bytes` count the files that are ready to be sent or wait for their retry. Files that departed
    after the listing are subtracted.
    """

    stamp: Stamp
    begun_s: float
    """When the listing began. This and the other times in seconds are on the monotonic clock."""
    due_s: float = 0.0
    """When a file in it may become ready, or it has to be listed in any case."""
    blocked: bool = False
    """Whether the folder as a whole waited for a retry."""
    files: int = 0
    size_bytes: int = 0
    oldest_ns: float = math.inf
    """When the oldest of `files` was last changed, in Unix time. That file may have departed."""
    recent: int = 0
    """Arbitrary files that had not been left alone for long enough."""
    offered: int = 0
    """How many of `files` did not wait for a retry and were offered to the walk."""
    has_captures: bool = False
    has_others: bool = False
    """Whether files of other programs are among `files`."""
    is_of_collector: bool = False
    """Whether it had capture files, complete or in progress."""
    settled: bool = True
    """Whether the listing was complete, and every change will show in `due_s` or in the folder's stamp."""
    inner: list[str] | None = field(default_factory=list)
    """The folders in it; None if there are too many to remember."""
    ended_s: float = 0.0
    cost_s: float = 0.0
    """How long the listing took, without the folders inside."""
    unchanged_since_s: float = 0.0
    """When the first of the listings with this stamp began."""
    walk: int = 0
    """The number of the last walk that visited the folder."""

    def count_file(self, size_bytes: int, modified_ns: int, is_capture: bool, retry_s: float | None) -> None:
        """Counts a file that is ready to be sent, or that waits for its retry at `retry_s`."""
        self.files += 1
        self.size_bytes += size_bytes
        if modified_ns < self.oldest_ns:
            self.oldest_ns = modified_ns
        if is_capture:
            self.has_captures = self.is_of_collector = True
        else:
            self.has_others = True
            self.due_s = min(self.due_s, self.begun_s + RELIST_OTHERS_S)
        if retry_s is None:
            self.offered += 1
        elif retry_s < self.due_s:
            self.due_s = retry_s

    def add(self, other: Listing) -> None:
        """Counts what another listing has found as well."""
        self.files += other.files
        self.size_bytes += other.size_bytes
        self.oldest_ns = min(self.oldest_ns, other.oldest_ns)
        self.recent += other.recent
        self.cost_s += other.cost_s

    def count_recent(self, due_s: float) -> None:
        """Counts an arbitrary file that has been left alone for long enough only at `due_s`."""
        self.recent += 1
        self.due_s = min(self.due_s, due_s)

    def note_in_progress(self) -> None:
        """Notes that the folder has a capture file in progress."""
        self.is_of_collector = True

    @property
    def is_small_of_collector(self) -> bool:
        """Whether a collector writes to the folder, and listing it costs little."""
        return self.is_of_collector and self.cost_s <= LARGE_S

    def note_incomplete(self) -> None:
        """Notes that something in the folder could not be listed, or may become ready without a sign."""
        self.settled = False

    def note_end(self, ended_s: float, cost_s: float) -> None:
        """Notes when the listing ended, and how long it took without the folders inside."""
        self.ended_s, self.cost_s = ended_s, cost_s

    def add_inner(self, folder: str) -> None:
        if self.inner is not None:
            self.inner.append(folder)
            if len(self.inner) > _MAX_INNER_OF_ONE:
                self.inner = None

    def is_quiet(self, stamp: Stamp, blocked: bool, now_s: float, *, to_count: bool) -> bool:
        """Returns whether the folder, which has this stamp now, is as it was listed, and no file is due since; and
        unless it is only `to_count`, whether the listing offered no file to send."""
        return (
            self.settled
            and (to_count or not self.offered)
            and (self.stamp, self.blocked) == (stamp, blocked)
            and self.begun_s - self.unchanged_since_s >= RACY_S
            and now_s < self.due_s
        )


@dataclass(frozen=True)
class Waiting:
    """How much waits to be sent. Files are ready, or wait for their retry."""

    files: int
    bytes: int
    oldest_ns: float | None
    """When the oldest that was seen was last changed, in Unix time; it may have departed. None if no file waits."""
    recent: int
    """Arbitrary files beside them that had not been left alone for long enough."""
    unreadable: int
    """Folders and files that could not be read, and are in no count."""
    as_of_s: float
    """When the look began that saw all of it, on the monotonic clock. What capture completed since is added, and
    what sync sent is subtracted."""


class Listings:
    """The listings of all folders, and of the sync paths that are files.

    Walks may overlap. The walks' methods are for worker threads; `waiting`, `clear` and what notes something
    are for the event loop.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, Listing] = {}
        self._inner = 0
        self._walks = 0
        self._cleared = 0
        """Walks up to this one had begun when the listings were last cleared, and tell nothing any more."""
        self._others = Listing((0, 0, 0), 0.0)
        """What the folders hold together that are not remembered."""
        self._others_again_s = self._captured_again_s = 0.0
        self._captured_cost_s = 0.0
        self._lists_captured = True
        """Whether this walk may list small folders of collectors that have nothing to send."""
        self._changed = self._changed_before = 0
        """How many other folders were to be listed by this walk, and by the one before it."""
        self._files = self._bytes = self._recent = self._unreadable = 0
        self._as_of_s: float | None = None
        self.looked_s = -math.inf
        """When the last walk ended that visited every folder, on the monotonic clock."""

    def clear(self) -> None:
        """Forgets all listings, so that the next walk lists every folder. Until then it is not known what waits."""
        with self._lock:
            self._known = {}
            self._cleared = self._walks
            self._others = Listing((0, 0, 0), 0.0)
            self._inner = self._files = self._bytes = self._recent = 0
            self._others_again_s = self._captured_again_s = 0.0
            self._as_of_s = None
            self.looked_s = -math.inf

    @property
    def waiting(self) -> Waiting | None:
        """What waits now; None while no walk has seen all of it."""
        with self._lock:
            if self._as_of_s is None:
                return None
            oldest_ns = min((known.oldest_ns for known in self._known.values() if known.files), default=math.inf)
            others = self._others
            if others.files:
                oldest_ns = min(oldest_ns, others.oldest_ns)
            return Waiting(
                self._files + others.files,
                self._bytes + others.size_bytes,
                oldest_ns if oldest_ns < math.inf else None,
                self._recent + others.recent,
                self._unreadable,
                self._as_of_s,
            )

    def begin_walk(self, now_s: float) -> tuple[int, bool]:
        """Notes that a walk begins. Returns its number, and whether it must leave out the folders that are not
        remembered."""
        with self._lock:
            self._walks += 1
            self._changed_before, self._changed = self._changed, 0
            self._captured_cost_s = 0.0
            self._lists_captured = now_s >= self._captured_again_s
            return self._walks, now_s < self._others_again_s

    def end_walk(self, walk: int, others: Listing | None, as_of_s: float, unreadable: int, now_s: float) -> None:
        """Notes that the walk has visited every folder that it should.

        `others` is what it found together in the folders that are not remembered; None if it left them out. If it
        did not, the folders are forgotten that neither it nor a later walk has visited.
        `as_of_s` is when its oldest look at anything began.
        """
        gone = [folder for folder, known in list(self._known.items()) if known.walk < walk]
        with self._lock:
            if walk <= self._cleared:
                return
            if self._lists_captured:
                self._captured_again_s = now_s + rest_s(self._captured_cost_s, MOST_LISTING)
            if others is not None:
                for folder in gone:
                    if (known := self._known.get(folder)) is not None and known.walk < walk:
                        self._forget(folder)
                self._others = others
                if others.cost_s:
                    self._others_again_s = now_s + rest_s(others.cost_s, MOST_LISTING)
            elif self._others.files:
                as_of_s = min(as_of_s, self._others.begun_s)
            self._as_of_s, self._unreadable = as_of_s, unreadable
            self.looked_s = now_s

    def visit(self, folder: str, walk: int) -> Listing | None:
        """Notes that the walk is at `folder`. Returns its last listing, or None if it is not remembered."""
        known = self._known.get(folder)
        if known is not None:
            known.walk = max(known.walk, walk)
        return known

    def remember(self, folder: str, listing: Listing, walk: int) -> bool:
        """Takes the new listing of `folder`. Returns False if it is beyond the bounds, or of a walk from before
        `clear`, and not remembered."""
        with self._lock:
            if walk <= self._cleared:
                return False
            before = self._forget(folder)
            if listing.is_small_of_collector:
                self._captured_cost_s += listing.cost_s
            unchanged = before is not None and before.stamp == listing.stamp
            listing.unchanged_since_s = before.unchanged_since_s if before and unchanged else listing.begun_s
            listing.walk = walk
            full = before is None and len(self._known) >= MAX_FOLDERS
            if listing.inner is None or full or self._inner + len(listing.inner) > MAX_INNER:
                return False
            self._keep(folder, listing)
            return True

    def is_too_early(self, known: Listing, to_send: bool, now_s: float) -> bool:
        """Returns whether listing a folder again now would take more than its share of the time."""
        if to_send:
            return now_s < known.ended_s + rest_s(known.cost_s, MOST_LISTING_TO_SEND)
        if known.is_small_of_collector:
            return not self._lists_captured
        self._changed += 1
        at_once = max(self._changed, self._changed_before)
        return now_s < known.ended_s + rest_s(known.cost_s * at_once, MOST_LISTING)

    def knows(self, folder: str) -> bool:
        """Returns whether the folder's listing is remembered."""
        return folder in self._known

    def note_departed(self, path: str, files: int, size_bytes: int) -> None:
        """Subtracts files that no longer wait, of the folder in which `path` lies."""
        with self._lock:
            self._subtract(*self._of(path), files, size_bytes)

    def note_deleted(self, path: str, size_bytes: int, at_s: float) -> None:
        """Subtracts a file that a limit deleted at `at_s`, on the monotonic clock, unless its folder was listed
        since."""
        with self._lock:
            known, place = self._of(path)
            if known.begun_s <= at_s:
                self._subtract(known, place, 1, size_bytes)

    def note_arrived(self, path: str, size_bytes: int, at_ns: int, at_s: float) -> None:
        """Adds a complete capture file, unless its folder was listed since the file got its name, which was at
        `at_ns` by the wall clock and at `at_s` by the monotonic one."""
        with self._lock:
            known, place = self._of(path)
            if place is None and len(self._known) < MAX_FOLDERS:
                known, place = Listing((0, 0, 0), at_s, walk=self._walks), os.path.dirname(path)
                self._keep(place, known)
            if known.begun_s <= at_s:
                self._change(known, place, 1, size_bytes)
                known.oldest_ns = min(known.oldest_ns, at_ns)
                known.has_captures = True
                known.offered += 1

    def _of(self, path: str) -> tuple[Listing, str | None]:
        """Returns the listing that counts the file at `path`, and by which name it is remembered; None if it is
        not."""
        for place in (path, os.path.dirname(path)):
            known = self._known.get(place)
            if known is not None:
                return known, place
        return self._others, None

    def _subtract(self, known: Listing, place: str | None, files: int, size_bytes: int) -> None:
        self._change(known, place, -min(files, known.files), -min(size_bytes, known.size_bytes))

    def _change(self, known: Listing, place: str | None, files: int, size_bytes: int) -> None:
        known.files += files
        known.size_bytes += size_bytes
        if place is not None:
            self._files += files
            self._bytes += size_bytes

    def _keep(self, folder: str, listing: Listing) -> None:
        self._known[folder] = listing
        self._inner += len(listing.inner or ())
        self._files += listing.files
        self._bytes += listing.size_bytes
        self._recent += listing.recent

    def _forget(self, folder: str) -> Listing | None:
        listing = self._known.pop(folder, None)
        if listing is not None:
            self._inner -= len(listing.inner or ())
            self._files -= listing.files
            self._bytes -= listing.size_bytes
            self._recent -= listing.recent
        return listing
