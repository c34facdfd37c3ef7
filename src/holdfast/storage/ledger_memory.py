"""What the ledger knows of an earlier process, by its journal: records in, counts out; and what a record holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ..filesystem import FileSystem
from . import layout
from .counts import CollectorId, FileCounts, ReadingCounts
from .journal import Record

_OF_NOW = ("unfinished", "returned")
"""What means nothing to a later process."""


class Acknowledged(NamedTuple):
    """What the cloud has of a file that was last changed at `modified_ns`: its first `readings`, or `WHOLE`, but
    for those that it `refused` for good, by their numbers in the file."""

    readings: int
    modified_ns: int
    refused: tuple[int, ...] = ()


class Leaving(NamedTuple):
    """What leaves quarantine with a file: readings of a collector, or an arbitrary file (`collector` None)."""

    collector: CollectorId | None
    readings: int = 1
    ours: bool = True
    discarded: bool = False
    """Deleted, as somebody said."""
    freed: bool = False
    """Deleted to free space. Neither: put back, to be sent again."""


def _leaving_from(value: Any) -> Leaving:
    """`Leaving` as it stands in a record."""
    collector, *rest = value
    return Leaving(None if collector is None else (*collector,), *rest)


class Earlier:
    """What an earlier process knew. Values in records are absolute: the last one of each name holds."""

    def __init__(self, records: Iterable[Record], files: FileSystem) -> None:
        rows: dict[CollectorId, Any] = {}
        totals: dict[str, int] = {}
        completing: dict[str, int | None] = {}
        acknowledged: dict[str, Any] = {}
        leaving: dict[str, Any] = {}
        for record in records:
            for api, resource, method, counts in record.get("collectors", ()):
                rows[(api, resource, method)] = counts
            totals = record.get("files", totals)
            completing.update(record.get("completing", {}))
            acknowledged.update(record.get("acknowledged", {}))
            leaving.update(record.get("leaving", {}))
        self.counts = {collector: ReadingCounts(**counts) for collector, counts in rows.items()}
        self.files = FileCounts(**totals)
        self.completing = {path: n for path, n in completing.items() if n is not None and files.exists(path)}
        self.stayed = [_leaving_from(value) for path, value in leaving.items() if value and files.exists(path)]
        """What was counted as leaving quarantine when the process died, and had not left."""
        self.acknowledged = {
            path: Acknowledged(known[0], known[1], tuple(*known[2:3]))
            for path, known in acknowledged.items()
            if files.exists(path) or files.exists(layout.in_progress_path(path))  # a power cut may undo a rename
        }


def row(collector: CollectorId, counts: ReadingCounts) -> list[Any]:
    """A collector in a record. Unfinished readings are not in it: a crash loses them, or recovery finds them."""
    known = {name: value for name, value in vars(counts.copy()).items() if value and name not in _OF_NOW}
    if counts.unfinished:
        known["captured"] = counts.captured - counts.unfinished
    return [*collector, known]
