"""The files of one round, in the order in which sync handles them.

Most are found by a walk. `AnnouncedFiles` has those that need no listing of their folder: capture files that were
completed just now, and files whose retry is due. While the walk yields a backlog, announced files of a higher
priority than the next found file go before it, and with `newest_first` also those of the same priority. The others
follow when the walk has ended.

Runs on the event loop; the disk is read on worker threads. Bound: `MAX_ANNOUNCED` files of each priority.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from ...base.bounded import Newest
from ...base.filesystem import FileSystem, is_in
from ...config import HIGHEST_PRIORITY
from ...storage.store import Store
from ..found import Found
from ..retries import Retries
from .listings import Listings
from .order import Order
from .walk import Walk

MAX_ANNOUNCED = 4_000
"""The most announced files of one priority. Files beyond that are found by a walk."""


class AnnouncedFiles:
    """Files that sync knows of without a walk, kept from one round to the next."""

    def __init__(
        self, files: FileSystem, stores: Callable[[], Sequence[Store]], retries: Retries, listings: Listings
    ) -> None:
        self._files = files
        self._stores = stores
        self._retries = retries
        self._listings = listings
        self.order = Order()
        """What decides about the priorities of files that are announced from now on."""
        self._paths: list[Newest[str, None]] = [Newest(MAX_ANNOUNCED) for _ in range(HIGHEST_PRIORITY + 1)]
        self._highest = -1
        """The highest priority that may have announced files; -1 if none has."""

    def gather_due(self) -> None:
        """Adds the files whose retry is due."""
        self._add(self._retries.due())

    def take_over(self) -> None:
        """Takes over the files that the stores have completed since the last call, and counts them; and subtracts
        those that a limit has deleted."""
        for store in self._stores():
            deleted = store.take_just_deleted()  # first: what was deleted was completed before
            if store.has_just_completed:
                completed = store.take_just_completed()
                for file in completed:
                    self._listings.note_arrived(file.path, file.size_bytes, file.at_ns, file.at_s)
                self._add(file.path for file in completed)
            for gone in deleted:
                self._listings.note_deleted(gone.path, gone.size_bytes, gone.at_s)

    def has(self, above: int) -> bool:
        """Returns whether there may be announced files with a priority above `above`, after `take_over`."""
        self.take_over()
        return self._highest > above

    async def take(self, walk: Walk, above: int) -> list[Found]:
        """Removes and returns the announced files with a priority above `above` that are ready, highest first.

        Retries of files that no longer exist are forgotten. Files outside the roots of `walk`, and files that are
        not ready, are dropped: a later walk finds them.
        """
        if not self.has(above):
            return []
        paths: list[str] = []
        for priority in range(HIGHEST_PRIORITY, above, -1):
            some = list(self._paths[priority])
            self._paths[priority].clear()
            paths += reversed(some) if walk.order.newest_first else some
        self._highest = above
        if not paths:
            return []
        founds, gone = await asyncio.to_thread(self._look_at_all, walk, paths)
        self._retries.forget(gone)
        return founds

    def _add(self, paths: Iterable[str]) -> None:
        for path in paths:
            priority = self.order.priority_of(os.path.dirname(path))
            waiting, self._highest = self._paths[priority], max(priority, self._highest)
            if path not in waiting:
                waiting[path] = None

    def _look_at_all(self, walk: Walk, paths: Iterable[str]) -> tuple[list[Found], list[str]]:
        founds, gone = [], []
        places = self._files.places_of(walk.roots)
        for path in paths:
            is_covered = any(is_in(path, place) for place in places)
            found = walk.look_at_resolved(path) if is_covered else None
            if found is not None:
                founds.append(found)
            elif not self._files.exists(path):
                gone.append(path)
        return founds, gone


async def files_of_round(
    walk: Walk, single: Iterable[str], announced: AnnouncedFiles | None, is_idle: Callable[[], bool]
) -> AsyncIterator[Found | None]:
    """Yields what `walk` finds, then the files of `single` that exist and are ready, then the announced files.

    Announced files that precede a found file by priority are yielded before it. A file may be yielded twice. None
    means that the next file may take long to find, so the caller should start what it has.
    """
    batches = walk.batches(is_idle)
    while (batch := await asyncio.to_thread(next, batches, None)) is not None:
        for found in batch:
            if announced is not None and announced.has(above := _above(walk.order, found)):
                for first in await announced.take(walk, above):
                    yield first
            yield found
        if batch and not walk.surveyed:
            yield None
    for path in single:
        one = await asyncio.to_thread(walk.look_at, path)
        if one is not None:
            yield one
    if announced is not None:
        for found in await announced.take(walk, -1):
            yield found


def _above(order: Order, found: Found) -> int:
    """Returns the priority above which an announced file goes before `found`."""
    return order.priority_of(found.folder) - order.newest_first
