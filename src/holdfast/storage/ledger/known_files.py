"""What the ledger knows of single files, by their paths; and what of that changed.

Which are whole and counted and wait for their final names, what of which the cloud has, and which are on the move.
Not thread-safe: whoever has one holds a lock around it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ...base.filesystem import FileSystem
from ...base.newest import Newest
from .. import layout
from .journal import Record
from .moves import Move, from_record, to_record

WHOLE = -1
"""Acknowledged: all of an arbitrary file."""
MAX_ACKNOWLEDGED = 10_000
"""Files of which it is remembered what the cloud has."""


class Acknowledged(NamedTuple):
    """What the cloud has of a file that was last changed at `modified_ns`: its first `readings`, or `WHOLE`, but
    for those that it `refused` for good, by their numbers in the file."""

    readings: int
    modified_ns: int
    refused: tuple[int, ...] = ()


_NOTHING = Acknowledged(0, 0)


class KnownFiles:
    """Empty at first."""

    def __init__(self) -> None:
        self._completing: dict[str, int] = {}
        self._acknowledged: Newest[str, Acknowledged] = Newest(MAX_ACKNOWLEDGED)
        self._moving: dict[str, Move] = {}
        self._changes: Record = {}

    @classmethod
    def from_records(cls, records: Iterable[Record]) -> KnownFiles:
        """What an earlier process's records say. Their values are absolute: the last one of each path holds."""
        completing: dict[str, Any] = {}
        acknowledged: dict[str, Any] = {}
        moving: dict[str, Any] = {}
        for record in records:
            completing.update(record.get("completing", {}))
            acknowledged.update(record.get("acknowledged", {}))
            moving.update(record.get("moving", {}))
        known = cls()
        known._completing = {path: readings for path, readings in completing.items() if readings is not None}
        known._acknowledged.update(
            (path, Acknowledged(each[0], each[1], tuple(*each[2:3]))) for path, each in acknowledged.items()
        )
        known._moving = {path: from_record(move) for path, move in moving.items() if move is not None}
        return known

    def take_undone_moves(self, disk: FileSystem) -> list[Move]:
        """Forgets what is not there any more, and all moves; returns those whose file is where it was."""
        self._completing = {path: n for path, n in self._completing.items() if disk.exists(path)}
        for path in list(self._acknowledged):
            if not disk.exists(path) and not disk.exists(layout.in_progress_path(path)):
                del self._acknowledged[path]  # a power cut may undo a rename
        moving, self._moving = self._moving, {}
        return [move for path, move in moving.items() if disk.exists(path)]

    def add(self, other: KnownFiles) -> None:
        self._completing.update(other._completing)
        self._moving.update(other._moving)
        for path, acknowledged in other._acknowledged.items():
            self.note_acknowledged(path, acknowledged)

    def note_completing(self, path: str, readings: int) -> None:
        """The file in progress at `path` is whole, and its readings count."""
        self._completing[path] = readings
        self._note("completing", path, readings)

    def completing_readings(self, path: str) -> int | None:
        """How many readings of a file in progress count; None where it is not known to be whole."""
        return self._completing.get(path)

    def note_completed(self, path: str) -> None:
        """There is no file in progress at `path` any more."""
        if self._completing.pop(path, None) is not None:
            self._note("completing", path, None)

    def note_acknowledged(self, path: str, acknowledged: Acknowledged) -> None:
        self._acknowledged[path] = acknowledged
        self._note("acknowledged", path, acknowledged)

    def acknowledged_of(self, path: str, modified_ns: int) -> Acknowledged:
        """What the cloud has of the file that was last changed then."""
        known = self._acknowledged.get(path, _NOTHING)
        return known if known.modified_ns == modified_ns else _NOTHING

    def forget_file(self, path: str) -> None:
        """The file is gone. The journal's next reader sees that for itself."""
        self._acknowledged.pop(path, None)

    def note_arriving(self, path: str) -> None:
        """A file comes to `path` of which the cloud has nothing, whatever the journal knows of one before."""
        self._acknowledged.pop(path, None)
        self._note("acknowledged", path, _NOTHING)

    def note_move(self, path: str, move: Move) -> None:
        """The file at `path` is on the move, and `move` is counted."""
        self._moving[path] = move
        self._note("moving", path, to_record(move))

    def end_move(self, path: str) -> Move:
        """The move of the file at `path` is over."""
        self._note("moving", path, None)
        return self._moving.pop(path)

    @property
    def moves(self) -> Iterable[Move]:
        return self._moving.values()

    def take_changes(self) -> Record:
        """What changed since the last time."""
        changes, self._changes = self._changes, {}
        return changes

    def checkpoint(self) -> Record:
        return {
            "completing": dict(self._completing),
            "acknowledged": dict(self._acknowledged),
            "moving": {path: to_record(move) for path, move in self._moving.items()},
        }

    def _note(self, what: str, path: str, value: Any) -> None:
        self._changes.setdefault(what, {})[path] = value
