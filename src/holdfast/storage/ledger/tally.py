"""The counts of one capture folder: readings by collector, and arbitrary files; and what of them changed.

Not thread-safe: whoever has one holds a lock around it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .counts import CollectorId, FileCounts, ReadingCounts
from .journal import Record
from .moves import OUT_OF_QUARANTINE, Move, count_files, count_readings

OTHERS: CollectorId = ("", "others", "")
MAX_COLLECTORS = 2_000
"""Collectors that are counted by name; further ones, whose files somebody put there, count as `OTHERS`."""
_OF_NOW = ("unfinished", "returned")
"""What means nothing to a later process."""


class Tally:
    """Empty at first. What `changing` and `changing_files` hand out is in the next `changes`."""

    def __init__(self) -> None:
        self.files = FileCounts()
        self.readings: dict[CollectorId, ReadingCounts] = {}
        self._changed: set[CollectorId] = set()
        self._files_changed = False

    @classmethod
    def from_records(cls, records: Iterable[Record]) -> Tally:
        """What an earlier process's records say. Their values are absolute: the last one of each name holds."""
        tally = cls()
        for record in records:
            for api, resource, method, counts in record.get("collectors", ()):
                tally.readings[(api, resource, method)] = ReadingCounts(**counts)
            if "files" in record:
                tally.files = FileCounts(**record["files"])
        return tally

    def add(self, other: Tally) -> None:
        for collector, counts in other.readings.items():
            self.counts_of(collector).add(counts)
        self.files.add(other.files)

    def counts_of(self, collector: CollectorId) -> ReadingCounts:
        """The counts of a collector, or those of `OTHERS` where there are too many."""
        return self.readings[self.counted_name(collector)]

    def counted_name(self, collector: CollectorId) -> CollectorId:
        """The collector under which `collector` is counted; there is an entry for it."""
        if collector not in self.readings:
            if len(self.readings) >= MAX_COLLECTORS:
                collector = OTHERS
            self.readings.setdefault(collector, ReadingCounts())
        return collector

    def counts_to_change(self, collector: CollectorId) -> ReadingCounts:
        collector = self.counted_name(collector)
        self._changed.add(collector)
        return self.readings[collector]

    def file_counts_to_change(self) -> FileCounts:
        self._files_changed = True
        return self.files

    def count_move(self, move: Move) -> Move:
        """Counts a move, and returns it as it is to be taken back: under the name of its collector, and of what
        was never counted as quarantined without what would come out of there."""
        if move.collector is not None:
            move = move._replace(collector=self.counted_name(move.collector))
        if move.kind in OUT_OF_QUARANTINE:
            there = self.files if move.collector is None else self.readings[move.collector]
            move = move._replace(readings=min(move.readings, there.quarantined))
        self._count(move, 1)
        return move

    def take_back_move(self, move: Move) -> None:
        """The file of a move that was counted is where it was."""
        self._count(move, -1)

    def _count(self, move: Move, sign: int) -> None:
        if move.collector is None:
            count_files(self.file_counts_to_change(), move, sign)
        else:
            counts = self.counts_to_change(move.collector)
            count_readings(counts, move, sign)
            counts.adopt_what_is_missing()

    def take_changes(self) -> Record:
        """The rows of what changed since the last time."""
        record: Record = {}
        if self._changed:
            record["collectors"] = [_row(collector, self.readings[collector]) for collector in self._changed]
        if self._files_changed:
            record["files"] = vars(self.files).copy()
        self._changed.clear()
        self._files_changed = False
        return record

    def checkpoint(self) -> Record:
        rows = [_row(collector, counts) for collector, counts in self.readings.items()]
        return {"collectors": rows, "files": vars(self.files).copy()}


def _row(collector: CollectorId, counts: ReadingCounts) -> list[Any]:
    """A collector in a record. Unfinished readings are not in it: a crash loses them, or recovery finds them."""
    known = {name: value for name, value in vars(counts.copy()).items() if value and name not in _OF_NOW}
    if counts.unfinished:
        known["captured"] = counts.captured - counts.unfinished
    return [*collector, known]
