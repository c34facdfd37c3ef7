"""What the ledger knows of single files, by path, and what of that changed since the journal was written.

It knows which files are whole and counted and wait for their final names, what the cloud has of a file, and which
files are about to leave their paths (`moves`). Not thread-safe: the ledger holds a lock around it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from ...base.bounded import Newest
from ...base.filesystem import FileSystem, is_in
from ...errors import StorageError
from .. import layout
from . import entries
from .journal import Record
from .moves import Move, from_record, to_record

WHOLE = -1
"""Stands in `Acknowledged.readings` for all of an arbitrary file."""
MAX_ACKNOWLEDGED = 10_000
"""How many files are remembered with what the cloud has of them."""


class Acknowledged(NamedTuple):
    """What the cloud has of one file."""

    readings: int
    """How many readings from the beginning are settled: delivered or refused. `WHOLE` for an arbitrary file."""
    modified_ns: int
    """When the file was last changed. All this says nothing about a file that was changed at another time."""
    refused: tuple[int, ...] = ()
    """The numbers of those of these readings that the cloud refused for good."""


_NOTHING = Acknowledged(0, 0)


def _acknowledged_from(value: Any) -> Acknowledged:
    """Returns what the journal says that the cloud has of a file. Raises ValueError or TypeError for what makes no
    sense."""
    readings, modified_ns, *rest = value
    refused = [entries.count(number) for number in rest[0]] if rest else []
    if any(number >= readings for number in refused):
        raise ValueError("what was refused was not sent")
    return Acknowledged(
        entries.count(readings, WHOLE), entries.count(modified_ns, -entries.MAX_COUNT), tuple(refused)
    )


def _most_of(disk: FileSystem, path: str) -> int:
    """Returns what counts of a file at most: each reading takes a byte, and an arbitrary file is one file."""
    try:
        return max(1, disk.stat(path).st_size)
    except StorageError:
        return 1


class KnownFiles:
    """Everything known of single files; empty at first. What changes is in the next `take_changes`."""

    def __init__(self) -> None:
        self._completing: dict[str, int] = {}
        self._acknowledged: Newest[str, Acknowledged] = Newest(MAX_ACKNOWLEDGED)
        self._moving: dict[str, Move] = {}
        self._changes: Record = {}

    @classmethod
    def from_records(cls, records: Iterable[Record]) -> KnownFiles:
        """Returns what an earlier process's records say. Values are absolute: the last one of each path holds."""
        completing: dict[str, int | None] = {}
        moving: dict[str, Move | None] = {}
        known = cls()
        for record in records:
            completing.update(entries.by_path(record.get("completing"), entries.count))
            moving.update(entries.by_path(record.get("moving"), from_record))
            for path, acknowledged in entries.by_path(record.get("acknowledged"), _acknowledged_from):
                known._acknowledged[path] = acknowledged or _NOTHING
        known._completing = {path: readings for path, readings in completing.items() if readings is not None}
        known._moving = {path: move for path, move in moving.items() if move is not None}
        return known

    def take_undone_moves(self, disk: FileSystem) -> list[Move]:
        """Forgets files that no longer exist, and all moves. Returns the moves whose file is still where it was, if
        they can be of that file.

        Blocks on the disk.
        """
        self._completing = {path: n for path, n in self._completing.items() if disk.exists(path)}
        for path in list(self._acknowledged):
            if not disk.exists(path) and not disk.exists(layout.in_progress_path(path)):
                del self._acknowledged[path]  # a power cut may undo a rename
        moving, self._moving = self._moving, {}
        return [
            move for path, move in moving.items() if disk.exists(path) and move.readings <= _most_of(disk, path)
        ]

    def add(self, other: KnownFiles, *, moves: bool = True) -> None:
        """Adds all that `other` knows, perhaps without its moves."""
        self._completing.update(other._completing)
        if moves:
            self._moving.update(other._moving)
        for path, acknowledged in other._acknowledged.items():
            self.note_acknowledged(path, acknowledged)

    def add_places(self, former: Collection[str], capture_dir: str, root: str) -> None:
        """Adds what is known of each file in a folder under the path that it has when the folder is moved.

        `former` are the paths of the folder, `capture_dir` is its new one, and `root` that without symbolic links:
        files in progress are known by the first, others mostly by the second.
        """
        places: tuple[tuple[dict[str, Any], str], ...] = (
            (self._completing, capture_dir),
            (self._acknowledged, root),
            (self._moving, root),
        )
        for known, folder in places:
            for path, value in list(known.items()):
                above = next((each for each in former if is_in(path, each)), None)
                if above is not None:
                    known[folder + path[len(above) :]] = value

    def note_completing(self, path: str, readings: int) -> None:
        """Notes that the file in progress at `path` is whole, and that its readings are counted."""
        self._completing[path] = readings
        self._note("completing", path, readings)

    def completing_readings(self, path: str) -> int | None:
        """Returns how many readings of a file in progress are counted; None if it is not known to be whole."""
        return self._completing.get(path)

    def note_completed(self, path: str) -> None:
        """Notes that there is no file in progress at `path` any more."""
        if self._completing.pop(path, None) is not None:
            self._note("completing", path, None)

    def note_acknowledged(self, path: str, acknowledged: Acknowledged) -> None:
        """Notes what the cloud has of the file at `path`."""
        self._acknowledged[path] = acknowledged
        self._note("acknowledged", path, acknowledged)

    def acknowledged_of(self, path: str, modified_ns: int) -> Acknowledged:
        """Returns what the cloud has of the file, nothing if it was last changed at another time."""
        known = self._acknowledged.get(path, _NOTHING)
        return known if known.modified_ns == modified_ns else _NOTHING

    def forget_file(self, path: str) -> None:
        """Forgets a file that is gone. That needs no record: the next reader of the journal finds no such file."""
        self._acknowledged.pop(path, None)

    def note_arriving(self, path: str) -> None:
        """Notes that a file comes to `path` of which the cloud has nothing.

        The journal may still know a former file of that path.
        """
        self._acknowledged.pop(path, None)
        self._note("acknowledged", path, _NOTHING)

    def note_move(self, path: str, move: Move) -> None:
        """Notes that the file at `path` is about to leave it, and that `move` is counted."""
        self._moving[path] = move
        self._note("moving", path, to_record(move))

    def end_move(self, path: str) -> Move:
        """Forgets the move of the file at `path`, and returns it."""
        self._note("moving", path, None)
        return self._moving.pop(path)

    @property
    def moves(self) -> Iterable[Move]:
        """The moves that have begun and not ended."""
        return self._moving.values()

    def take_changes(self) -> Record:
        """Returns what changed since the last call."""
        changes, self._changes = self._changes, {}
        return changes

    def checkpoint(self) -> Record:
        """Returns everything that is known, for a new journal."""
        return {
            "completing": dict(self._completing),
            "acknowledged": dict(self._acknowledged),
            "moving": {path: to_record(move) for path, move in self._moving.items()},
        }

    def _note(self, what: str, path: str, value: Any) -> None:
        self._changes.setdefault(what, {})[path] = value
