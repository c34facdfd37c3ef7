"""A capture file, or an arbitrary one, that leaves its path: what counts with that.

Into quarantine, out of it, or for good. The ledger counts a move before the file goes, with a note in the journal,
and takes that back where the file is there still: the disk refused, or a crash came first. So each reading counts
once, whenever the process dies.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

from .counts import CollectorId, FileCounts, ReadingCounts


class MoveKind(Enum):
    """Where a file goes."""

    DELIVERED = "delivered"
    """For good: the cloud has every reading of it that is whole."""
    DELETED = "deleted"
    """For good, to free space."""
    QUARANTINED = "quarantined"
    PUT_BACK = "put_back"
    """Out of quarantine, to be sent again."""
    DISCARDED = "discarded"
    """Out of quarantine and for good, as somebody said."""
    FREED = "freed"
    """Out of quarantine and for good, to free space."""


OUT_OF_QUARANTINE = frozenset({MoveKind.PUT_BACK, MoveKind.DISCARDED, MoveKind.FREED})


class Move(NamedTuple):
    """What goes with a file: readings of a collector, or an arbitrary file (`collector` None)."""

    kind: MoveKind
    collector: CollectorId | None
    readings: int = 1
    """Whose fate becomes known, or open again; the delivered ones count before."""
    ours: bool = True
    torn: int = 0
    """Unfinished readings at its end, which nobody can read: of the builtin, or of a disk that failed."""

    @property
    def counts_nothing(self) -> bool:
        return not self.readings and not self.torn


def uncounted(kind: MoveKind) -> Move:
    """The move of a file that is in no count."""
    return Move(kind, None, 0)


def count_readings(counts: ReadingCounts, move: Move, sign: int = 1) -> None:
    """Counts a move of readings, or takes that back (`sign` -1)."""
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
    """Counts the move of an arbitrary file, or takes that back."""
    files = sign * move.readings
    if move.kind is MoveKind.QUARANTINED:
        counts.quarantined += files
    elif move.kind in OUT_OF_QUARANTINE:
        counts.quarantined -= files
        counts.discarded += files if move.kind is not MoveKind.PUT_BACK else 0


def to_record(move: Move) -> list[Any]:
    return [move.kind.value, *move[1:]]


def from_record(value: list[Any]) -> Move:
    kind, collector, *rest = value
    return Move(MoveKind(kind), None if collector is None else (*collector,), *rest)
