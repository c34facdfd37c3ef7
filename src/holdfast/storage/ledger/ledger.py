"""The ledger: what became of every reading of a capture folder, and of every arbitrary file, across restarts.

Two things under one lock, so that one record of the journal tells of both: the counts (`Tally`), and what is known
of single files (`KnownFiles`), by which a count and what happens to its file are one. A captured reading counts in
the journal when its file is complete, before the file gets its final name; a delivered one before its file is
deleted; what goes with a file into quarantine, out of it or for good, before the file goes. So after a crash at any
instruction each reading counts once: recovery calls `count_recovered`, which knows the files that count already,
and `attach` takes back what was counted of a file that has not gone. No backlog is ever read for it: what is on
disk follows from the sum, and `reconcile` mends it when a collector's folder turns out to be empty. Invariants:

- `count_captured` and `count_dropped` take a lock for a few additions and never wait for a disk: they belong to the
  event loop.
  Everything else may block while it writes to the journal: it belongs on a worker thread or a storage thread.
- A journal that can't be written or read costs counters, never data.
- Until `attach`, which needs the folder's lock, counting goes on in memory alone.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from ...base.filesystem import FileSystem
from ...base.log_limit import once
from ...errors import NewerStateError, StorageError
from .. import layout
from .counts import CollectorId, FileCounts, ReadingCounts
from .journal import Journal, Record
from .known_files import WHOLE, Acknowledged, KnownFiles
from .moves import Move, MoveKind
from .tally import OTHERS, Tally

logger = logging.getLogger(__name__)


class Delivered(NamedTuple):
    """The part of a call that is in one capture file; see `Ledger.count_delivered`."""

    collector: CollectorId
    path: str
    acknowledged: Acknowledged
    readings: int
    ours: bool


class Ledger:
    """The counts of one capture folder. `close` before the folder's lock is released."""

    def __init__(self, files: FileSystem, capture_dir: str) -> None:
        self.state = "in memory, until the folder's lock is ours"
        """Where the counts are kept, in words."""
        self._disk = files
        self._capture_dir = capture_dir
        self._lock = threading.Lock()
        self._saving = threading.Lock()
        self._journal: Journal | None = None
        self._wrote: Callable[[], None] = lambda: None
        self._tally = Tally()
        self._known = KnownFiles()

    def attach(self, wrote: Callable[[], None]) -> None:
        """Adds what the folder's journal says, and keeps it from here on; the folder's lock must be ours.

        `wrote` is told of each write. Never raises: the state says what is wrong. A second time does nothing.
        """
        if self._journal is not None:
            return
        journal = Journal(self._disk, self._capture_dir, self._everything)
        try:
            records = journal.read()
        except NewerStateError as error:
            self.state = f"in memory only: {error}"
            logger.error("%s; until then counts are kept in memory only", error)
            return
        tally, known = Tally.from_records(records), KnownFiles.from_records(records)
        for move in known.take_undone_moves(self._disk):
            tally.take_back_move(move)
        with self._lock:
            self._tally.add(tally)
            self._known.add(known)
            self._journal, self._wrote = journal, wrote
            self._tally.file_counts_to_change()  # so that there is something to write: the journal is made anew
        self.save()

    def count_captured(self, collector: CollectorId) -> None:
        """One reading was taken; it is unfinished until its file is complete."""
        with self._lock:
            counts = self._tally.counts_of(collector)
            counts.captured += 1
            counts.unfinished += 1

    def count_dropped(self, collector: CollectorId, reason: str, readings: int) -> None:
        """Unfinished readings that are lost. In the journal with the next `save`."""
        with self._lock:
            counts = self._tally.counts_to_change(collector)
            counts.unfinished -= readings
            counts.drop(reason, readings)

    def note_completing(self, collector: CollectorId, path: str, readings: int) -> None:
        """The file in progress at `path` is whole and gets its final name after the next `save`."""
        with self._lock:
            self._tally.counts_to_change(collector).unfinished -= readings
            self._known.note_completing(path, readings)

    def note_completed(self, paths: Iterable[str]) -> None:
        """The final names of files that were in progress at `paths` are safe: they need not be known any more."""
        with self._lock:
            for path in paths:
                self._known.note_completed(path)

    def count_recovered(self, collector: CollectorId, path: str, readings: int, torn: int, *, ours: bool) -> None:
        """A file in progress that a crash left holds `readings` good readings and `torn` unfinished ones.

        Files of the builtin (`ours` false) are adopted when their readings' fate is known.
        """
        with self._lock:
            counts = self._tally.counts_to_change(collector)
            counted = self._known.completing_readings(path)
            if counted is not None:
                counts.captured += max(0, readings - counted)
                counts.drop("torn", max(0, counted - readings))
            elif ours:
                counts.captured += readings + torn
                counts.drop("torn", torn)
            else:
                counts.adopted += torn
                counts.drop("torn", torn)
            self._known.note_completing(path, readings)
        self.save()

    def count_vanished(self, collector: CollectorId, readings: int, *, ours: bool = True) -> None:
        """Readings of complete files that somebody took away."""
        with self._lock:
            counts = self._tally.counts_to_change(collector)
            counts.vanished += readings
            counts.adopted += 0 if ours else readings
            counts.adopt_what_is_missing()
        self.save()

    def acknowledged_of(self, path: str, modified_ns: int) -> int:
        """How many readings of a file the cloud has, from its beginning; `WHOLE` for all of an arbitrary file."""
        with self._lock:
            return self._known.acknowledged_of(path, modified_ns).readings

    def refused_of(self, path: str, modified_ns: int) -> tuple[int, ...]:
        """The numbers of the readings, among those that are acknowledged, that the cloud refused."""
        with self._lock:
            return self._known.acknowledged_of(path, modified_ns).refused

    def count_delivered(
        self, collector: CollectorId, path: str, acknowledged: Acknowledged, readings: int, *, ours: bool
    ) -> None:
        """The cloud took `readings` more of the capture file at `path`; `acknowledged` is what it has by now."""
        self.count_delivered_together([Delivered(collector, path, acknowledged, readings, ours)])

    def count_delivered_together(self, files: Iterable[Delivered]) -> None:
        """What one call brought to the cloud, of however many files: one write of the journal."""
        for file in files:
            with self._lock:
                counts = self._tally.counts_to_change(file.collector)
                counts.delivered += file.readings
                counts.adopted += 0 if file.ours else file.readings
                counts.adopt_what_is_missing()
                self._known.note_acknowledged(file.path, file.acknowledged)
        self.save()

    def count_file_delivered(self, path: str, size_bytes: int, modified_ns: int) -> None:
        """The cloud took an arbitrary file."""
        with self._lock:
            files = self._tally.file_counts_to_change()
            files.delivered += 1
            files.delivered_bytes += size_bytes
            self._known.note_acknowledged(path, Acknowledged(WHOLE, modified_ns))
        self.save()

    def count_file_vanished(self) -> None:
        with self._lock:
            self._tally.file_counts_to_change().vanished += 1
        self.save()

    def forget_file(self, path: str) -> None:
        """The file is gone: nothing about it need be known."""
        with self._lock:
            self._known.forget_file(path)

    @contextmanager
    def counting(self, path: str, move: Move) -> Iterator[None]:
        """Counts `move` before the file at `path` goes, which happens inside. A StorageError passes through; what
        was counted is then taken back, unless the file is gone."""
        if move.counts_nothing:
            yield
            return
        self.begin_move(path, move)
        self.save()
        try:
            yield
        except StorageError:
            self.end_moves([path])
            raise
        self._end_moves({path: False})

    def begin_move(self, path: str, move: Move, target: str = "") -> None:
        """The file at `path` goes, to `target` where it is put back, after the next `save`; then `end_moves`."""
        with self._lock:
            self._known.note_move(path, self._tally.count_move(move))
            if target:
                self._known.note_arriving(target)

    def end_moves(self, paths: Iterable[str]) -> None:
        """These files went as `begin_move` said, or stay after all where they still exist."""
        self._end_moves({path: self._disk.exists(path) for path in paths})

    def _end_moves(self, moves: Mapping[str, bool]) -> None:
        """Of moves by their paths, with whether the file stayed."""
        with self._lock:
            for path, stayed in moves.items():
                move = self._known.end_move(path)
                if stayed:
                    self._tally.take_back_move(move)
        self.save()

    def returning_collectors(self) -> set[CollectorId]:
        """Those of which a file is just being put back."""
        with self._lock:
            back = [move for move in self._known.moves if move.kind is MoveKind.PUT_BACK]
            return {move.collector for move in back if move.collector is not None}

    def readings(self) -> dict[CollectorId, ReadingCounts]:
        """A copy that the caller may keep."""
        with self._lock:
            return {collector: counts.copy() for collector, counts in self._tally.readings.items()}

    @property
    def files(self) -> FileCounts:
        """A copy that the caller may keep."""
        with self._lock:
            return FileCounts(**vars(self._tally.files))

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
            self.count_vanished(collector, readings)

    def collector_in(self, folder: str) -> CollectorId | None:
        """Whose files lie in `folder`, as far as that is known without reading one."""
        with self._lock:
            collectors = list(self._tally.readings)
        root, folder = os.path.realpath(self._capture_dir), os.path.realpath(folder)
        return next((c for c in collectors if layout.collector_folder(root, *c) == folder), None)

    def save(self) -> None:
        """Brings what changed into the journal. Never raises."""
        with self._saving:
            with self._lock:
                journal, record = self._journal, {**self._tally.take_changes(), **self._known.take_changes()}
            if journal is None or not record:
                return
            try:
                journal.append(record)
            except StorageError as error:
                with self._lock:
                    self._tally.file_counts_to_change()  # the next save tries again, and makes the journal anew
                self.state = f"in memory only: {error}"
                logger.error(
                    "%s; counts since then are lost if the process is killed",
                    error,
                    extra=once(f"{journal.path} {error.reason}"),
                )
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

    def _everything(self) -> Record:
        """For a new beginning of the journal."""
        with self._lock:
            return {**self._tally.checkpoint(), **self._known.checkpoint()}
