"""What the last listing of each folder has shown, so that a walk need not list it again.

A folder that did not change since, and in which nothing waits for its time, is passed over. A file can become ready
without its folder's time of change saying so: when its retry is due, when it has been left alone for long enough
(`due_s` knows both moments), or when something comes into an empty, unreadable or linked file, or into one in
progress; a folder with such a file is never passed over for this reason. A folder that was changed in the moment
before it was listed may have changed again with the same time: it counts as unchanged only when it had that time
`RACY_S` before. And in case a file system tells no such times, each folder is listed every `RELIST_S`.

Listing a folder takes at most `MOST_LISTING` of the time, or `MOST_LISTING_TO_SEND` where there is more in it to
send than what waits. Bounds: `MAX_FOLDERS` are remembered, with `MAX_INNER` folders in them; those beyond share one
such limit. What a walk did not come across is forgotten.
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
MOST_LISTING_TO_SEND = 0.2
MAX_FOLDERS = 10_000
MAX_INNER = 20_000
_MAX_INNER_OF_ONE = 1_000


@dataclass
class Listing:
    """Of one folder. `files` and `size_bytes` are ready to be sent or wait for their retry; what has gone since is
    not in them."""

    stamp: Stamp
    begun_s: float
    due_s: float
    """When something in it may become ready, on the monotonic clock."""
    blocked: bool = False
    """Whether the folder as a whole waited."""
    files: int = 0
    size_bytes: int = 0
    oldest_ns: float = math.inf
    """When one of them was last changed; that one may be gone."""
    recent: int = 0
    offered: int = 0
    """Of `files`, those that were to be sent then."""
    has_captures: bool = False
    settled: bool = True
    """Whether it was read to its end, and only `due_s` and the folder's stamp tell of changes."""
    inner: list[str] | None = field(default_factory=list)
    """The folders in it; None where they are too many."""
    ended_s: float = 0.0
    cost_s: float = 0.0
    unchanged_since_s: float = 0.0
    walk: int = 0
    passed_over: bool = False
    """In the walk that is under way."""

    def add_inner(self, folder: str) -> None:
        if self.inner is not None:
            self.inner.append(folder)
            if len(self.inner) > _MAX_INNER_OF_ONE:
                self.inner = None

    def is_quiet(self, stamp: Stamp, blocked: bool, now_s: float) -> bool:
        """Whether there is nothing to do in the folder that has that stamp now."""
        return (
            self.settled
            and not self.offered
            and (self.stamp, self.blocked) == (stamp, blocked)
            and self.begun_s - self.unchanged_since_s >= RACY_S
            and now_s < self.due_s
        )

    def is_too_early(self, to_send: bool, now_s: float) -> bool:
        """Whether listing it again already would take too much of the time."""
        return now_s < self.ended_s + rest_s(self.cost_s, MOST_LISTING_TO_SEND if to_send else MOST_LISTING)


class Listings:
    """Of all folders. `subtract_departed` may be called from any thread, the rest by one walk at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, Listing] = {}
        self._inner = 0
        self._walk = 0
        self._others_cost_s = self._others_again_s = 0.0

    def clear(self) -> None:
        """Everything is listed at the next walk."""
        with self._lock:
            self._known = {}
        self._inner = 0
        self._others_again_s = 0.0

    def begin_walk(self, now_s: float) -> bool:
        """A walk begins; whether it is to leave out the folders that are not remembered."""
        self._walk += 1
        self._others_cost_s = 0.0
        return now_s < self._others_again_s

    def end_walk(self, now_s: float) -> None:
        """The walk has come across every folder."""
        with self._lock:
            self._known = {folder: known for folder, known in self._known.items() if known.walk == self._walk}
            self._inner = sum(len(known.inner or ()) for known in self._known.values())
        if self._others_cost_s:
            self._others_again_s = now_s + rest_s(self._others_cost_s, MOST_LISTING)

    def visit(self, folder: str) -> Listing | None:
        """What is known of a folder that the walk has come to."""
        known = self._known.get(folder)
        if known is not None:
            known.walk = self._walk
            known.passed_over = False
        return known

    def remember(self, folder: str, listing: Listing) -> None:
        """The folder was listed."""
        before = self._known.get(folder)
        unchanged = before is not None and before.stamp == listing.stamp
        listing.unchanged_since_s = before.unchanged_since_s if before and unchanged else listing.begun_s
        listing.walk = self._walk
        inner = self._inner - len(before.inner or ()) if before is not None else self._inner
        full = before is None and len(self._known) >= MAX_FOLDERS
        with self._lock:
            if listing.inner is None or full or inner + len(listing.inner) > MAX_INNER:
                self._known.pop(folder, None)
                self._inner = inner
                self._others_cost_s += listing.cost_s
            else:
                self._known[folder] = listing
                self._inner = inner + len(listing.inner)

    def done_listing(self, folder: str) -> Listing | None:
        """What is known of a folder that this walk does not list, or in which it has found nothing to send."""
        known = self._known.get(folder)
        return known if known is not None and (known.passed_over or not known.offered) else None

    def knows(self, folder: str) -> bool:
        return folder in self._known

    def subtract_departed(self, folder: str, files: int, size_bytes: int) -> None:
        """So many files that were found in the folder are not there any more."""
        with self._lock:
            known = self._known.get(folder)
            if known is not None:
                known.files -= min(files, known.files)
                known.size_bytes -= min(size_bytes, known.size_bytes)
