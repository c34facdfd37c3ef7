"""A move is what counts when a file leaves its path: into quarantine, out of it, or because it is deleted.

The ledger counts a move before the file goes, and notes it in the journal. It takes the count back if the file is
still there afterwards, because the disk refused or a crash came first. So each reading counts once, whenever the
process dies.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

from ...base.json_values import flag
from . import entries
from .counts import CollectorId, FileCounts, ReadingCounts


class MoveKind(Enum):
    """Why a file leaves its path. The values are in journals."""

    DELIVERED = "delivered"
    """It is deleted, since the cloud has every reading of it that is whole."""
    DELETED = "deleted"
    """It is deleted to free space."""
    QUARANTINED = "quarantined"
    """It is moved into quarantine."""
    PUT_BACK = "put_back"
    """It is moved out of quarantine, to be sent again."""
    DISCARDED = "discarded"
    """It is deleted from quarantine by a command."""
    FREED = "freed"
    """It is deleted from quarantine to free space."""


OUT_OF_QUARANTINE = frozenset({MoveKind.PUT_BACK, MoveKind.DISCARDED, MoveKind.FREED})


class Move(NamedTuple):
    """What counts with one file: readings of a collector, or one arbitrary file if `collector` is None."""

    kind: MoveKind
    collector: CollectorId | None
    readings: int = 1
    """How many readings, or files, change their count. Delivered readings were counted before: then it is 0."""
    ours: bool = True
    """Whether we captured the readings; others are adopted with the move."""
    torn: int = 0
    """Unfinished readings at the end of the file, left by the builtin or by a disk that failed. They are
    dropped."""

    @property
    def counts_nothing(self) -> bool:
        """Whether the ledger need not know of this move."""
        return not self.readings and not self.torn


def uncounted(kind: MoveKind) -> Move:
    """Returns the move of a file that is in no count."""
    return Move(kind, None, 0)


def count_readings(counts: ReadingCounts, move: Move, sign: int = 1) -> None:
    """Counts a move of readings, or takes that back if `sign` is -1."""
    readings, torn = sign * move.readings, sign * move.torn
    if move.kind in OUT_OF_QUARANTINE:
        counts.quarantined -= readings
    match move.kind:
        case MoveKind.QUARANTINED:
            counts.quarantined += readings
        case MoveKind.DELETED | MoveKind.FREED:
            counts.deleted += readings
        case MoveKind.DISCARDED:
            counts.drop("discarded", readings)
        case MoveKind.PUT_BACK:
            counts.returned += readings
    counts.drop("torn", torn)
    if move.kind not in OUT_OF_QUARANTINE:
        counts.adopted += 0 if move.ours else readings + torn
    elif move.kind is MoveKind.PUT_BACK:
        counts.adopted -= 0 if move.ours else readings


def count_files(counts: FileCounts, move: Move, sign: int = 1) -> None:
    """Counts the move of an arbitrary file, or takes that back if `sign` is -1."""
    files = sign * move.readings
    if move.kind is MoveKind.QUARANTINED:
        counts.quarantined += files
    elif move.kind in OUT_OF_QUARANTINE:
        counts.quarantined -= files
        counts.discarded += files if move.kind is not MoveKind.PUT_BACK else 0


def to_record(move: Move) -> list[Any]:
    """Returns a move as the journal has it."""
    return [move.kind.value, *move[1:]]


def from_record(value: Any) -> Move:
    """Returns the move of a journal's entry. Raises ValueError or TypeError if it is none."""
    kind, collector, readings, ours, torn = value
    return Move(
        MoveKind(kind),
        None if collector is None else entries.collector(collector),
        entries.count(readings),
        flag(ours),
        entries.count(torn),
    )
