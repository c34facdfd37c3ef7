"""What the last listing of each folder showed, so that a walk need not list every folder again.

A walk passes over a *quiet* folder: its time of change is the same as at its last listing, that listing offered no
file to send, and no file in it has become due since.

- A file can become ready while its folder's time of change stays the same. When its retry is due, or it has been
  left alone for long enough, `due_s` says so. When a file that was empty or unreadable, or a link without a
  target, gets content, nothing says so: a folder with such a file is never quiet, nor is one with a file in
  progress.
- A folder that changed just before it was listed may change again with the same time of change. It is quiet only if
  a listing at least `RACY_S` before the last one saw the same time.
- Some file systems may not record the change at all, so each folder is listed every `RELIST_S`.

A walk also passes over a folder if listing it again would take more than a share of the time: `MOST_LISTING`, or
`MOST_LISTING_TO_SEND` if the folder has more files to send than wait for a retry.

Bounds: `MAX_FOLDERS` folders are remembered, and `MAX_INNER` folders inside them. The folders beyond these bounds
share one `MOST_LISTING`: between listings, walks leave all of them out. Folders that a walk did not visit are
forgotten.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field

from ...base.intervals import rest_s

Stamp = tuple[int, int, int]
"""Device, inode and time of change of a folder."""

RACY_S = 3.0
RELIST_S = 600.0
MOST_LISTING = 0.02
"""A share of the time, as is the next one."""
MOST_LISTING_TO_SEND = 0.2
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
    due_s: float
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
    passed_over: bool = False
    """Whether the current walk passed over the folder."""

    def count_file(self, size_bytes: int, modified_ns: int, is_capture: bool, retry_s: float | None) -> None:
        """Counts a file that is ready to be sent, or that waits for its retry at `retry_s`."""
        self.files += 1
        self.size_bytes += size_bytes
        if modified_ns < self.oldest_ns:
            self.oldest_ns = modified_ns
        if is_capture:
            self.has_captures = True
        if retry_s is None:
            self.offered += 1
        elif retry_s < self.due_s:
            self.due_s = retry_s

    def count_recent(self, due_s: float) -> None:
        """Counts an arbitrary file that has been left alone for long enough only at `due_s`."""
        self.recent += 1
        self.due_s = min(self.due_s, due_s)

    def note_incomplete(self) -> None:
        """Notes that something in the folder could not be listed, or may become ready without a sign."""
        self.settled = False

    def note_end(self, ended_s: float, cost_s: float) -> None:
        """Notes when the listing ended, and how long it took without the folders inside."""
        self.ended_s, self.cost_s = ended_s, cost_s

    def note_passed_over(self) -> None:
        """Notes that the current walk passes over the folder."""
        self.passed_over = True

    def add_inner(self, folder: str) -> None:
        if self.inner is not None:
            self.inner.append(folder)
            if len(self.inner) > _MAX_INNER_OF_ONE:
                self.inner = None

    def is_quiet(self, stamp: Stamp, blocked: bool, now_s: float) -> bool:
        """Returns whether the folder, which has this stamp now, has no file to send: the last listing offered none,
        and none is new or due since."""
        return (
            self.settled
            and not self.offered
            and (self.stamp, self.blocked) == (stamp, blocked)
            and self.begun_s - self.unchanged_since_s >= RACY_S
            and now_s < self.due_s
        )

    def is_too_early(self, to_send: bool, now_s: float) -> bool:
        """Returns whether listing the folder again now would take more than its share of the time."""
        return now_s < self.ended_s + rest_s(self.cost_s, MOST_LISTING_TO_SEND if to_send else MOST_LISTING)


class Listings:
    """The listings of all folders.

    `subtract_departed` and `clear` are safe to call from any thread; the rest is called by one walk at a time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, Listing] = {}
        self._inner = 0
        self._walk = 0
        self._others_cost_s = self._others_again_s = 0.0

    def clear(self) -> None:
        """Forgets all listings, so that the next walk lists every folder."""
        with self._lock:
            self._known = {}
            self._inner = 0
        self._others_again_s = 0.0

    def begin_walk(self, now_s: float) -> bool:
        """Notes that a walk begins. Returns whether it must leave out the folders that are not remembered."""
        self._walk += 1
        self._others_cost_s = 0.0
        return now_s < self._others_again_s

    def end_walk(self, now_s: float) -> None:
        """Notes that the walk has visited every folder, and forgets those that it did not visit."""
        with self._lock:
            self._known = {folder: known for folder, known in self._known.items() if known.walk == self._walk}
            self._inner = sum(len(known.inner or ()) for known in self._known.values())
        if self._others_cost_s:
            self._others_again_s = now_s + rest_s(self._others_cost_s, MOST_LISTING)

    def visit(self, folder: str) -> Listing | None:
        """Notes that the walk is at `folder`. Returns its last listing, or None if it is not remembered."""
        known = self._known.get(folder)
        if known is not None:
            known.walk = self._walk
            known.passed_over = False
        return known

    def remember(self, folder: str, listing: Listing) -> None:
        """Takes the new listing of `folder`. Beyond the bounds, only its cost is kept."""
        with self._lock:
            before = self._known.get(folder)
            unchanged = before is not None and before.stamp == listing.stamp
            listing.unchanged_since_s = before.unchanged_since_s if before and unchanged else listing.begun_s
            listing.walk = self._walk
            inner = self._inner - len(before.inner or ()) if before is not None else self._inner
            full = before is None and len(self._known) >= MAX_FOLDERS
            if listing.inner is None or full or inner + len(listing.inner) > MAX_INNER:
                self._known.pop(folder, None)
                self._inner = inner
                self._others_cost_s += listing.cost_s
            else:
                self._known[folder] = listing
                self._inner = inner + len(listing.inner)

    def done_listing(self, folder: str) -> Listing | None:
        """Returns the folder's listing if further passes of this walk need not list the folder; otherwise None.

        That is so if the walk passed over the folder, or found no file in it to send.
        """
        known = self._known.get(folder)
        return known if known is not None and (known.passed_over or not known.offered) else None

    def knows(self, folder: str) -> bool:
        """Returns whether the folder's listing is remembered."""
        return folder in self._known

    def subtract_departed(self, folder: str, files: int, size_bytes: int) -> None:
        """Subtracts files that a walk found in the folder and that have departed since."""
        with self._lock:
            known = self._known.get(folder)
            if known is not None:
                known.files -= min(files, known.files)
                known.size_bytes -= min(size_bytes, known.size_bytes)
