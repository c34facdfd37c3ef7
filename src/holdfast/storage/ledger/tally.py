"""The tally is all counts of one capture folder, and knows which of them changed since the journal was written.

Not thread-safe: the ledger holds a lock around it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from . import entries
from .counts import CollectorId, FileCounts, ReadingCounts
from .journal import Record
from .moves import OUT_OF_QUARANTINE, Move, MoveKind, count_files, count_readings

OTHERS: CollectorId = ("", "others", "")
"""The name under which all collectors beyond `MAX_COLLECTORS` count together."""
MAX_COLLECTORS = 2_000
"""How many collectors are counted by name. More exist only if another program fills the folder with files."""
_OF_NOW = ("unfinished", "returned")
"""Fields that are not in the journal: they mean nothing to a later process."""
_NUMBERS = vars(ReadingCounts()).keys() - {"dropped", *_OF_NOW}


class Tally:
    """The counts by collector, and those of arbitrary files; empty at first.

    What `counts_to_change` and `file_counts_to_change` return is in the next `take_changes`.
    """

    def __init__(self) -> None:
        self.files = FileCounts()
        self.readings: dict[CollectorId, ReadingCounts] = {}
        self._changed: set[CollectorId] = set()
        self._files_changed = False

    @classmethod
    def from_records(cls, records: Iterable[Record]) -> Tally:
        """Returns what an earlier process's records say. Values are absolute: the last one of each name holds."""
        tally = cls()
        for record in records:
            for collector, counts in entries.in_list(record.get("collectors"), _from_row):
                if collector in tally.readings or len(tally.readings) <= MAX_COLLECTORS:
                    tally.readings[collector] = counts
            for files in entries.in_list([record["files"]] if "files" in record else [], _from_file_counts):
                tally.files = files
        return tally

    def add(self, other: Tally) -> None:
        """Adds the counts of `other` to these."""
        for collector, counts in other.readings.items():
            self.counts_of(collector).add(counts)
        self.files.add(other.files)

    def counts_of(self, collector: CollectorId) -> ReadingCounts:
        """Returns the counts of a collector, or those of `OTHERS` if there are too many collectors.

        A change to them is not in the next `take_changes`.
        """
        return self.readings[self.counted_name(collector)]

    def counted_name(self, collector: CollectorId) -> CollectorId:
        """Returns the name under which a collector counts, and makes an entry for it."""
        if collector not in self.readings:
            if len(self.readings) >= MAX_COLLECTORS:
                collector = OTHERS
            self.readings.setdefault(collector, ReadingCounts())
        return collector

    def counts_to_change(self, collector: CollectorId) -> ReadingCounts:
        """Returns the counts of a collector, which the caller changes."""
        collector = self.counted_name(collector)
        self._changed.add(collector)
        return self.readings[collector]

    def file_counts_to_change(self) -> FileCounts:
        """Returns the counts of arbitrary files, which the caller changes."""
        self._files_changed = True
        return self.files

    def count_move(self, move: Move) -> Move:
        """Counts a move, and returns what `take_back_move` needs to undo exactly this.

        The move returned has the name under which its collector counts. A move out of quarantine has at most the
        readings that count as quarantined: the counts of the others are lost.
        """
        if move.collector is not None:
            move = move._replace(collector=self.counted_name(move.collector))
        if move.kind in OUT_OF_QUARANTINE:
            move = move._replace(readings=min(move.readings, self._most_out(move)))
        self._count(move, 1)
        return move

    def _most_out(self, move: Move) -> int:
        """Returns how many readings, or files, may leave quarantine by the counts."""
        if move.collector is None:
            return self.files.quarantined
        there = self.readings[move.collector]
        is_adopted = move.kind is MoveKind.PUT_BACK and not move.ours
        return min(there.quarantined, there.adopted) if is_adopted else there.quarantined

    def take_back_move(self, move: Move) -> None:
        """Undoes `count_move`: the file is still where it was."""
        self._count(move, -1)

    def take_back_left(self, move: Move) -> None:
        """Undoes the `count_move` of an earlier process, unless these counts can't have that in them."""
        there = self.files if move.collector is None else self.readings.get(move.collector)
        if isinstance(there, FileCounts):
            after = FileCounts(**vars(there))
            count_files(after, move, -1)
            if after.is_possible:
                self.take_back_move(move)
        elif there is not None:
            left = there.copy()
            count_readings(left, move, -1)
            if left.is_possible:
                self.take_back_move(move)

    def _count(self, move: Move, sign: int) -> None:
        if move.collector is None:
            count_files(self.file_counts_to_change(), move, sign)
        else:
            counts = self.counts_to_change(move.collector)
            count_readings(counts, move, sign)
            counts.adopt_what_is_missing()

    def take_changes(self) -> Record:
        """Returns what changed since the last call."""
        record: Record = {}
        if self._changed:
            record["collectors"] = [_row(collector, self.readings[collector]) for collector in self._changed]
        if self._files_changed:
            record["files"] = vars(self.files).copy()
        self._changed.clear()
        self._files_changed = False
        return record

    def checkpoint(self) -> Record:
        """Returns all counts, for a new journal."""
        rows = [_row(collector, counts) for collector, counts in self.readings.items()]
        return {"collectors": rows, "files": vars(self.files).copy()}


def _from_row(row: Any) -> tuple[CollectorId, ReadingCounts]:
    """Returns what `_row` made a row of. Raises ValueError or TypeError if it is none."""
    *name, known = row
    known = entries.mapping(known)
    numbers: dict[str, Any] = {field: entries.count(known[field]) for field in _NUMBERS if field in known}
    dropped = entries.mapping(known.get("dropped", {}))
    drops = {reason: entries.count(readings) for reason, readings in dropped.items()}
    counts = ReadingCounts(**numbers, dropped=drops)
    counts.adopt_what_is_missing()
    return entries.collector(name), counts


def _from_file_counts(known: Any) -> FileCounts:
    known = entries.mapping(known)
    return FileCounts(**{field: entries.count(known[field]) for field in vars(FileCounts()) if field in known})


def _row(collector: CollectorId, counts: ReadingCounts) -> list[Any]:
    """Returns a collector's counts as the journal has them, without unfinished readings.

    A crash loses those, or recovery finds them and counts them.
    """
    known = {name: value for name, value in vars(counts.copy()).items() if value and name not in _OF_NOW}
    if counts.unfinished:
        known["captured"] = counts.captured - counts.unfinished
    return [*collector, known]
