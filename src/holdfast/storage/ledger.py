"""The ledger: what became of every reading of a capture folder, and of every arbitrary file, across restarts.

A captured reading counts in the journal when its file is complete, before the file gets its final name; a delivered
one before its file is deleted. So after a crash at any instruction each reading counts once: recovery asks
`recovered`, which knows the files that count already. No backlog is ever read for it: what is on disk follows from
the sum, and `reconcile` mends it when a collector's folder turns out to be empty. Invariants:

- `captured` and `dropped` take a lock for a few additions and never wait for a disk: they belong to the event loop.
  Everything else may block while it writes to the journal: it belongs on a worker thread or a storage thread.
- A journal that can't be written or read costs counters, never data.
- Until `attach`, which needs the folder's lock, counting goes on in memory alone.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from ..clock import Clock
from ..errors import NewerStateError, StorageError
from ..filesystem import FileSystem
from ..throttle import Throttle
from . import layout
from .counts import CollectorId, FileCounts, ReadingCounts
from .journal import Journal, Record
from .ledger_memory import Acknowledged, Earlier, Leaving, row

OTHERS: CollectorId = ("", "others", "")
MAX_COLLECTORS = 2_000
"""Collectors that are counted by name; further ones, whose files somebody put there, count as `OTHERS`."""
MAX_ACKNOWLEDGED = 10_000
"""Files of which it is remembered what the cloud has."""
WHOLE = -1
"""Acknowledged: all of an arbitrary file."""
_LOG_INTERVAL_S = 60.0

logger = logging.getLogger(__name__)


class Delivered(NamedTuple):
    """The part of a call that is in one capture file; see `Ledger.delivered`."""

    collector: CollectorId
    path: str
    acknowledged: Acknowledged
    readings: int
    ours: bool


class Ledger:
    """The counts of one capture folder. `close` before the folder's lock is released."""

    def __init__(self, files: FileSystem, clock: Clock, capture_dir: str) -> None:
        self.state = "in memory, until the folder's lock is ours"
        """Where the counts are kept, in words."""
        self._disk = files
        self._capture_dir = capture_dir
        self._lock = threading.Lock()
        self._saving = threading.Lock()
        self._throttle = Throttle(clock, _LOG_INTERVAL_S)
        self._journal: Journal | None = None
        self._wrote: Callable[[], None] = lambda: None
        self._counts: dict[CollectorId, ReadingCounts] = {}
        self._files = FileCounts()
        self._completing: dict[str, int] = {}
        self._acknowledged: OrderedDict[str, Acknowledged] = OrderedDict()
        self._leaving: dict[str, Leaving] = {}
        self._changed: set[CollectorId] = set()
        self._changes: Record = {}

    def attach(self, wrote: Callable[[], None]) -> None:
        """Adds what the folder's journal says, and keeps it from here on; the folder's lock must be ours.

        `wrote` is told of each write. Never raises: the state says what is wrong. A second time does nothing.
        """
        if self._journal is not None:
            return
        journal = Journal(self._disk, self._capture_dir, self._checkpoint)
        try:
            records = journal.read()
        except NewerStateError as error:
            self.state = f"in memory only: {error}"
            logger.error("%s; until then counts are kept in memory only", error)
            return
        earlier = Earlier(records, self._disk)
        with self._lock:
            for collector, counts in earlier.counts.items():
                self._counts[self._named(collector)].add(counts)
            self._files.add(earlier.files)
            self._completing.update(earlier.completing)
            for path, acknowledged in earlier.acknowledged.items():
                self._remember(path, acknowledged)
            for what in earlier.stayed:
                self._leave(what, -1)
            self._journal, self._wrote = journal, wrote
            self._changes["files"] = True
        self.save()

    def captured(self, collector: CollectorId) -> None:
        """One reading was taken; it is unfinished until its file is complete."""
        with self._lock:
            counts = self._counts[self._named(collector)]
            counts.captured += 1
            counts.unfinished += 1

    def dropped(self, collector: CollectorId, reason: str, readings: int) -> None:
        """Unfinished readings that are lost. In the journal with the next `save`."""
        with self._changing(collector) as counts:
            counts.unfinished -= readings
            counts.drop(reason, readings)

    def completing(self, collector: CollectorId, path: str, readings: int) -> None:
        """The file in progress at `path` is whole and gets its final name after the next `save`."""
        with self._changing(collector) as counts:
            counts.unfinished -= readings
            self._count_file(path, readings)

    def completed(self, paths: Iterable[str]) -> None:
        """The final names of files that were in progress at `paths` are safe: they need not be known any more."""
        with self._lock:
            for path in paths:
                if self._completing.pop(path, None) is not None:
                    self._note("completing", path, None)

    def recovered(self, collector: CollectorId, path: str, readings: int, torn: int, *, ours: bool) -> None:
        """A file in progress that a crash left holds `readings` good readings and `torn` unfinished ones.

        Files of the builtin (`ours` false) are adopted when their readings' fate is known.
        """
        with self._changing(collector) as counts:
            counted = self._completing.get(path)
            if counted is not None:
                counts.captured += max(0, readings - counted)
                counts.drop("torn", max(0, counted - readings))
            elif ours:
                counts.captured += readings + torn
                counts.drop("torn", torn)
            else:
                counts.adopted += torn
                counts.drop("torn", torn)
            self._count_file(path, readings)
        self.save()

    def vanished(self, collector: CollectorId, readings: int, *, ours: bool = True) -> None:
        """Readings of complete files that somebody took away."""
        with self._changing(collector) as counts:
            counts.vanished += readings
            counts.adopted += 0 if ours else readings
            self._adopt_what_is_missing(counts)
        self.save()

    def acknowledged(self, path: str, modified_ns: int) -> int:
        """How many readings of a file the cloud has, from its beginning; `WHOLE` for all of an arbitrary file."""
        with self._lock:
            known = self._acknowledged.get(path)
            return known.readings if known is not None and known.modified_ns == modified_ns else 0

    def refused(self, path: str, modified_ns: int) -> tuple[int, ...]:
        """The numbers of the readings, among those that are `acknowledged`, that the cloud refused."""
        with self._lock:
            known = self._acknowledged.get(path)
            return known.refused if known is not None and known.modified_ns == modified_ns else ()

    def delivered(
        self, collector: CollectorId, path: str, acknowledged: Acknowledged, readings: int, *, ours: bool
    ) -> None:
        """The cloud took `readings` more of the capture file at `path`; `acknowledged` is what it has by now."""
        self.delivered_together([Delivered(collector, path, acknowledged, readings, ours)])

    def delivered_together(self, files: Iterable[Delivered]) -> None:
        """What one call brought to the cloud, of however many files: one write of the journal."""
        for file in files:
            with self._changing(file.collector) as counts:
                counts.delivered += file.readings
                counts.adopted += 0 if file.ours else file.readings
                self._adopt_what_is_missing(counts)
                self._remember(file.path, file.acknowledged)
        self.save()

    def quarantined(self, collector: CollectorId, readings: int, *, ours: bool) -> None:
        """Readings of a complete file that lie in `failed/`."""
        with self._changing(collector) as counts:
            counts.quarantined += readings
            counts.adopted += 0 if ours else readings
            self._adopt_what_is_missing(counts)
        self.save()

    def leaving(self, path: str, what: Leaving, target: str = "") -> None:
        """The file at `path`, in quarantine, goes after the next `save`: back to `target`, or for good. Of what was
        never counted as quarantined nothing is counted now."""
        with self._lock:
            there = self._files.quarantined
            if what.collector is not None:
                collector = self._named(what.collector)
                there = self._counts[collector].quarantined
                what = what._replace(collector=collector)
            what = self._leaving[path] = what._replace(readings=min(what.readings, there))
            self._leave(what, 1)
            self._note("leaving", path, what)
            if target:
                self._acknowledged.pop(target, None)
                self._note("acknowledged", target, Acknowledged(0, 0))  # the journal may know it from before

    def left(self, paths: Iterable[str]) -> None:
        """These files are where `leaving` said, or stay after all where they still exist."""
        stayed = {path: self._disk.exists(path) for path in paths}
        with self._lock:
            for path, is_there in stayed.items():
                what = self._leaving.pop(path)
                if is_there:
                    self._leave(what, -1)
                self._note("leaving", path, None)
        self.save()

    def returning(self) -> set[CollectorId]:
        """Those of which a file is just being put back."""
        with self._lock:
            return {what.collector for what in self._leaving.values() if what.collector is not None}

    def torn(self, collector: CollectorId, readings: int, *, ours: bool) -> None:
        """Unfinished readings at the end of a complete file: of the builtin, or of a disk that failed."""
        with self._changing(collector) as counts:
            counts.drop("torn", readings)
            counts.adopted += 0 if ours else readings
            self._adopt_what_is_missing(counts)
        self.save()

    def deleted(
        self, collector: CollectorId, path: str, acknowledged: Acknowledged, readings: int, *, ours: bool
    ) -> None:
        """The capture file at `path` goes, to free space, and with it `readings` that the cloud does not have.

        Told before the removal; `acknowledged` is all of the file, so that nothing of it is sent after a crash in
        between. Where it could not go, `not_deleted` takes this back.
        """
        with self._changing(collector) as counts:
            counts.deleted += readings
            counts.adopted += 0 if ours else readings
            self._adopt_what_is_missing(counts)
            self._remember(path, acknowledged)
        self.save()

    def not_deleted(
        self, collector: CollectorId, path: str, acknowledged: Acknowledged, readings: int, *, ours: bool
    ) -> None:
        """Takes back `deleted`; `acknowledged` is what the cloud has of the file."""
        with self._changing(collector) as counts:
            counts.deleted -= readings
            counts.adopted -= 0 if ours else readings
            self._remember(path, acknowledged)
        self.save()

    def file_delivered(self, path: str, size_bytes: int, modified_ns: int) -> None:
        """The cloud took an arbitrary file."""
        with self._lock:
            self._files.delivered += 1
            self._files.delivered_bytes += size_bytes
            self._changes["files"] = True
            self._remember(path, Acknowledged(WHOLE, modified_ns))
        self.save()

    def file_quarantined(self) -> None:
        with self._lock:
            self._files.quarantined += 1
            self._changes["files"] = True
        self.save()

    def file_vanished(self) -> None:
        with self._lock:
            self._files.vanished += 1
            self._changes["files"] = True
        self.save()

    def forget(self, path: str) -> None:
        """The file is gone: nothing about it need be known. (The journal's next reader sees that for itself.)"""
        with self._lock:
            self._acknowledged.pop(path, None)

    def readings(self) -> dict[CollectorId, ReadingCounts]:
        """A copy that the caller may keep."""
        with self._lock:
            return {collector: counts.copy() for collector, counts in self._counts.items()}

    @property
    def files(self) -> FileCounts:
        """A copy that the caller may keep."""
        with self._lock:
            return FileCounts(**vars(self._files))

    def reconcile(
        self,
        before: Mapping[CollectorId, ReadingCounts],
        folders: Collection[str],
        waiting: Collection[CollectorId],
    ) -> None:
        """Counts as vanished what a walk of everything did not find.

        `before` is what `readings` told before the walk; `folders` are those in which it found capture files or
        some were being sent; files of `waiting` waited for their final names.
        """
        root = os.path.realpath(self._capture_dir)
        now = self.readings()
        for collector, then in before.items():
            gone = now[collector].gone + now[collector].returned - then.gone - then.returned
            readings = then.in_files - gone
            if readings <= 0 or collector == OTHERS or collector in waiting:
                continue
            if layout.collector_folder(root, *collector) in folders:
                continue
            logger.warning(
                "%d readings of %s %s are no longer in the folder: somebody removed them; they count as vanished",
                readings,
                collector[1],
                collector[2],
            )
            self.vanished(collector, readings)

    def save(self) -> None:
        """Brings what changed into the journal. Never raises."""
        with self._saving:
            with self._lock:
                journal, record = self._journal, self._take_changes()
            if journal is None or not record:
                return
            try:
                journal.append(record)
            except StorageError as error:
                with self._lock:
                    self._changes["files"] = True  # the next save tries again, and makes the journal anew
                self.state = f"in memory only: {error}"
                if self._throttle.allows(error.reason):
                    logger.error("%s; counts since then are lost if the process is killed", error)
            else:
                self.state = f"kept in {journal.path}"
        self._wrote()

    def close(self) -> None:
        """Saves and lets the journal go; nothing is written from here on."""
        self.save()
        with self._saving, self._lock:
            journal, self._journal = self._journal, None
        if journal is not None:
            journal.close()

    def collector_in(self, folder: str) -> CollectorId | None:
        """Whose files lie in `folder`, as far as that is known without reading one."""
        with self._lock:
            collectors = list(self._counts)
        root, folder = os.path.realpath(self._capture_dir), os.path.realpath(folder)
        return next((c for c in collectors if layout.collector_folder(root, *c) == folder), None)

    @contextmanager
    def _changing(self, collector: CollectorId) -> Iterator[ReadingCounts]:
        with self._lock:
            collector = self._named(collector)
            self._changed.add(collector)
            yield self._counts[collector]

    def _leave(self, what: Leaving, sign: int) -> None:
        """Counts what leaves quarantine, or takes it back."""
        number = sign * what.readings
        if what.collector is None:
            self._files.quarantined -= number
            self._files.discarded += number if what.discarded or what.freed else 0
            self._changes["files"] = True
            return
        collector = self._named(what.collector)
        counts = self._counts[collector]
        self._changed.add(collector)
        counts.quarantined -= number
        if what.discarded:
            counts.drop("discarded", number)
        elif what.freed:
            counts.deleted += number
        else:
            counts.returned += number
            counts.adopted -= 0 if what.ours else number

    def _named(self, collector: CollectorId) -> CollectorId:
        """The collector under which `collector` is counted; there is an entry for it."""
        if collector not in self._counts:
            if len(self._counts) >= MAX_COLLECTORS:
                collector = OTHERS
            self._counts.setdefault(collector, ReadingCounts())
        return collector

    def _count_file(self, path: str, readings: int) -> None:
        self._completing[path] = readings
        self._note("completing", path, readings)

    def _remember(self, path: str, acknowledged: Acknowledged) -> None:
        self._acknowledged[path] = acknowledged
        if len(self._acknowledged) > MAX_ACKNOWLEDGED:
            self._acknowledged.popitem(last=False)
        self._note("acknowledged", path, acknowledged)

    def _note(self, what: str, path: str, value: int | Acknowledged | Leaving | None) -> None:
        if self._journal is not None:
            self._changes.setdefault(what, {})[path] = value

    @staticmethod
    def _adopt_what_is_missing(counts: ReadingCounts) -> None:
        """More is gone from the files than we know to have come in: it is from a time whose counts are lost."""
        counts.adopted += max(0, -counts.in_files)

    def _take_changes(self) -> Record:
        changes, self._changes = self._changes, {}
        if "files" in changes:
            changes["files"] = vars(self._files).copy()
        if self._changed:
            changes["collectors"] = [row(collector, self._counts[collector]) for collector in self._changed]
            self._changed.clear()
        return changes

    def _checkpoint(self) -> Record:
        """Everything that is known, as one record."""
        with self._lock:
            return {
                "collectors": [row(collector, counts) for collector, counts in self._counts.items()],
                "files": vars(self._files).copy(),
                "completing": dict(self._completing),
                "acknowledged": dict(self._acknowledged),
                "leaving": dict(self._leaving),
            }
