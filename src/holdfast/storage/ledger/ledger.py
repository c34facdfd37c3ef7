"""The ledger counts what became of every reading and every arbitrary file of a capture folder, across restarts.

It has two parts under one lock, so that one record of the journal has both: the counts (`Tally`), and what is known
of single files (`KnownFiles`), by which a count and what happens to its file are one. A captured reading is counted
in the journal when its file is complete, before the file gets its final name. A delivered one is counted before its
file is deleted. What goes with a file into quarantine, out of it or for good is counted before the file goes.

So after a crash at any instruction each reading counts once: recovery calls `count_recovered`, which knows the
files that are counted already, and `attach` takes back what was counted of a file that has not gone. No backlog is
read for this: what is on disk follows from the sum, and `reconcile` corrects it when a collector's folder turns out
to be empty. Invariants:

- `count_captured` and `count_dropped` take a lock for a few additions and never wait for a disk: the event loop may
  call them. The methods that say "Blocks" write to the journal: they belong on a worker thread or a storage thread.
- A journal that can't be written or read costs counts, never data.
- Until `attach`, which needs the folder's lock, counts are in memory only.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from ...base import unforeseen
from ...base.filesystem import FileSystem
from ...base.log_limit import once
from ...base.problems import Kind, Problem
from ...errors import NewerStateError, StorageError
from .. import layout
from .counts import CollectorId, FileCounts, ReadingCounts
from .journal import Journal, Record
from .known_files import WHOLE, Acknowledged, KnownFiles
from .moves import Move, MoveKind
from .tally import OTHERS, Tally

logger = logging.getLogger(__name__)


class Delivered(NamedTuple):
    """What one call delivered of one capture file; the fields are the arguments of `Ledger.count_delivered`."""

    collector: CollectorId
    path: str
    acknowledged: Acknowledged
    readings: int
    ours: bool


class Ledger:
    """The counts of one capture folder. The owner calls `close` before it releases the folder's lock.

    Safe to use from any thread.
    """

    def __init__(self, files: FileSystem, capture_dir: str) -> None:
        self.state = ""
        """Where the counts are kept, in words for the status; empty until `attach`, while they are in memory."""
        self.problem: Problem | None = None
        """Why a restart would lose counts, although the folder is ours; None if it would not."""
        self._disk = files
        self._capture_dir = capture_dir
        self._lock = threading.Lock()
        self._saving = threading.Lock()
        self._journal: Journal | None = None
        self._on_write: Callable[[], None] = lambda: None
        self._tally = Tally()
        self._known = KnownFiles()

    def attach(self, on_write: Callable[[], None]) -> None:
        """Adds what the folder's journal says, and writes to the journal from here on.

        The folder's lock must be ours. `on_write` is called after each write. Never raises: `state` says what is
        wrong. A second call does nothing. Blocks on the disk.
        """
        if self._journal is not None:
            return
        journal = Journal(self._disk, self._capture_dir, self._everything)
        try:
            records = journal.read()
        except NewerStateError as error:
            self.state = f"in memory only: {error}"
            self.problem = Problem(Kind.STATE, f"{error}; until then counts are kept in memory only")
            logger.error("%s; until then counts are kept in memory only", error)
            return
        tally, known = Tally.from_records(records), KnownFiles.from_records(records)
        for move in known.take_undone_moves(self._disk):
            tally.take_back_left(move)
        with self._lock:
            self._tally.add(tally)
            self._known.add(known)
            self._journal, self._on_write = journal, on_write
            self._tally.file_counts_to_change()  # so that there is something to write: the journal is made anew
        self.save()

    def count_captured(self, collector: CollectorId) -> None:
        """Counts one captured reading, which is unfinished until its file is complete. Never blocks on the disk."""
        with self._lock:
            counts = self._tally.counts_of(collector)
            counts.captured += 1
            counts.unfinished += 1

    def count_dropped(self, collector: CollectorId, reason: str, readings: int) -> None:
        """Counts unfinished readings as lost. They are in the journal after the next `save`. Never blocks on the
        disk."""
        with self._lock:
            counts = self._tally.counts_to_change(collector)
            counts.unfinished -= readings
            counts.drop(reason, readings)

    def note_completing(self, collector: CollectorId, path: str, readings: int) -> None:
        """Counts the readings of a file in progress that is whole, and notes that they are counted.

        The caller gives it its final name after the next `save`.
        """
        with self._lock:
            self._tally.counts_to_change(collector).unfinished -= readings
            self._known.note_completing(path, readings)

    def note_completed(self, paths: Iterable[str]) -> None:
        """Forgets what `note_completing` noted. This is in the journal after the next `save`.

        The caller calls it when the files that were at `paths` are gone, or their final names are safe from a power
        cut.
        """
        with self._lock:
            for path in paths:
                self._known.note_completed(path)

    def count_recovered(self, collector: CollectorId, path: str, readings: int, torn: int, *, ours: bool) -> None:
        """Counts a file in progress that a crash left, with `readings` whole readings and `torn` unfinished ones.

        Readings that the journal knows as counted do not count again; those that are missing count as torn. The
        readings of the builtin's files (`ours` false) are adopted later, when their fate is known. Blocks on the
        disk.
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
        """Counts readings of complete files that another program or a person removed. Blocks on the disk."""
        with self._lock:
            counts = self._tally.counts_to_change(collector)
            counts.vanished += readings
            counts.adopted += 0 if ours else readings
            counts.adopt_what_is_missing()
        self.save()

    def acknowledged_of(self, path: str, modified_ns: int) -> int:
        """Returns how many readings of a file, from its beginning, the cloud took or refused.

        `WHOLE` stands for all of an arbitrary file. The answer is 0 if the file was changed since.
        """
        with self._lock:
            return self._known.acknowledged_of(path, modified_ns).readings

    def refused_of(self, path: str, modified_ns: int) -> tuple[int, ...]:
        """Returns the numbers of those of these readings that the cloud refused for good."""
        with self._lock:
            return self._known.acknowledged_of(path, modified_ns).refused

    def count_delivered(
        self, collector: CollectorId, path: str, acknowledged: Acknowledged, readings: int, *, ours: bool
    ) -> None:
        """Counts `readings` more that the cloud took of the capture file at `path`. Blocks on the disk.

        `acknowledged` is what the cloud has of the file by now.
        """
        self.count_delivered_together([Delivered(collector, path, acknowledged, readings, ours)])

    def count_delivered_together(self, files: Iterable[Delivered]) -> None:
        """Counts what one call delivered of several files, with one write of the journal. Blocks on the disk."""
        for file in files:
            with self._lock:
                counts = self._tally.counts_to_change(file.collector)
                counts.delivered += file.readings
                counts.adopted += 0 if file.ours else file.readings
                counts.adopt_what_is_missing()
                self._known.note_acknowledged(file.path, file.acknowledged)
        self.save()

    def count_file_delivered(self, path: str, size_bytes: int, modified_ns: int) -> None:
        """Counts an arbitrary file that the cloud took. Blocks on the disk."""
        with self._lock:
            files = self._tally.file_counts_to_change()
            files.delivered += 1
            files.delivered_bytes += size_bytes
            self._known.note_acknowledged(path, Acknowledged(WHOLE, modified_ns))
        self.save()

    def count_file_vanished(self) -> None:
        """Counts an arbitrary file that another program or a person removed. Blocks on the disk."""
        with self._lock:
            self._tally.file_counts_to_change().vanished += 1
        self.save()

    def forget_file(self, path: str) -> None:
        """Forgets what the cloud has of a file that is gone."""
        with self._lock:
            self._known.forget_file(path)

    @contextmanager
    def counting(self, path: str, move: Move) -> Iterator[None]:
        """Counts `move`, then runs the body of the `with` statement, in which the file at `path` goes.

        A StorageError of the body passes through; the count is then taken back, unless the file is gone. Blocks on
        the disk.
        """
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
        """Counts `move`. The caller then calls `save`, lets the file at `path` go, and calls `end_moves`.

        `target` is the path to which a file is put back.
        """
        with self._lock:
            self._known.note_move(path, self._tally.count_move(move))
            if target:
                self._known.note_arriving(target)

    def end_moves(self, paths: Iterable[str]) -> None:
        """Ends what `begin_move` began: takes back the count of each file that still exists. Blocks on the disk."""
        self._end_moves({path: self._disk.exists(path) for path in paths})

    def _end_moves(self, moves: Mapping[str, bool]) -> None:
        """Ends moves, given by path with whether the file is still there."""
        with self._lock:
            for path, stayed in moves.items():
                move = self._known.end_move(path)
                if stayed:
                    self._tally.take_back_move(move)
        self.save()

    def returning_collectors(self) -> set[CollectorId]:
        """Returns the collectors of which a file is just being put back."""
        with self._lock:
            back = [move for move in self._known.moves if move.kind is MoveKind.PUT_BACK]
            return {move.collector for move in back if move.collector is not None}

    @property
    def quarantined(self) -> int:
        """How many readings are in quarantine. This costs little, also with many collectors."""
        with self._lock:
            return sum(counts.quarantined for counts in self._tally.readings.values())

    def readings(self) -> dict[CollectorId, ReadingCounts]:
        """Returns a copy of the counts by collector."""
        with self._lock:
            return {collector: counts.copy() for collector, counts in self._tally.readings.items()}

    @property
    def files(self) -> FileCounts:
        """A copy of the counts of arbitrary files."""
        with self._lock:
            return FileCounts(**vars(self._tally.files))

    def reconcile(
        self,
        before: Mapping[CollectorId, ReadingCounts],
        folders: Collection[str],
        waiting: Collection[CollectorId],
    ) -> None:
        """Counts as vanished the readings of each collector in whose folder a full walk found no file.

        `before` is what `readings` returned before the walk. `folders` are those in which the walk found capture
        files, or from which some were being sent. Collectors in `waiting` are left out: their files were about to
        appear. Raises StorageError. Blocks on the disk.
        """
        root = self._disk.real_path(self._capture_dir)
        now = self.readings()
        for collector, then in before.items():
            gone = now[collector].gone + now[collector].returned - then.gone - then.returned
            readings = then.in_files - gone
            if readings <= 0 or collector == OTHERS or collector in waiting:
                continue
            if layout.collector_folder(root, *collector) in folders:
                continue
            logger.warning(
                "%d readings of %s %s are no longer in the folder: another program or a person removed them; they "
                "count as vanished",
                readings,
                collector[1],
                collector[2],
            )
            self.count_vanished(collector, readings)

    def collector_in(self, folder: str) -> CollectorId | None:
        """Returns the collector whose files lie in `folder`, or None if no file of that folder was ever counted.

        Raises StorageError. Blocks on the disk: symbolic links are resolved.
        """
        with self._lock:
            collectors = list(self._tally.readings)
        root, folder = self._disk.real_path(self._capture_dir), self._disk.real_path(folder)
        return next((c for c in collectors if layout.collector_folder(root, *c) == folder), None)

    def save(self) -> None:
        """Writes what changed to the journal. Never raises. Blocks on the disk."""
        with self._saving:
            with self._lock:
                journal, record = self._journal, {**self._tally.take_changes(), **self._known.take_changes()}
            if journal is None or not record:
                return
            try:
                journal.append(record)
            except Exception as error:  # noqa: BLE001 - a StorageError, or something unforeseen
                with self._lock:
                    self._tally.file_counts_to_change()  # the next save tries again, and makes the journal anew
                self.state = f"in memory only: {error}"
                remedy = error.remedy if isinstance(error, StorageError) else unforeseen.REMEDY
                what = f"{error}; if the module ends before it works again, counts since then are lost, and no data"
                self.problem = Problem(Kind.STATE, what, remedy, key=journal.path)
                self._say(journal, error)
            else:
                self.state, self.problem = f"kept in {journal.path}", None
        self._on_write()

    def _say(self, journal: Journal, error: Exception) -> None:
        if isinstance(error, StorageError):
            logger.error(
                "%s; counts since then are lost if the process is killed",
                error,
                extra=once(f"{journal.path} {error.reason}"),
            )
        else:
            unforeseen.note("keeping the counts", error, "they are lost if the process is killed now")

    def close(self) -> None:
        """Saves, and closes the journal; nothing is written to it from here on. Blocks on the disk."""
        self.save()
        with self._saving, self._lock:
            journal, self._journal = self._journal, None
        if journal is not None:
            journal.close()

    def _everything(self) -> Record:
        """Returns everything that is known, for a new journal."""
        with self._lock:
            return {**self._tally.checkpoint(), **self._known.checkpoint()}
