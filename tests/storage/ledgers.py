"""Ledgers for the tests, and what happens to readings in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from holdfast.base.filesystem import FileSystem
from holdfast.storage.ledger.counts import CollectorId
from holdfast.storage.ledger.ledger import Ledger
from holdfast.storage.ledger.moves import Move, MoveKind

from . import samples

LIDAR: CollectorId = (samples.API, "lidar", "Readings")
RADAR: CollectorId = (samples.API, "radar", "Readings")


def open_ledger(folder: Path, files: FileSystem | None = None) -> Ledger:
    """Returns the ledger with which a process begins."""
    ledger = Ledger(files or FileSystem(), str(folder))
    ledger.attach(lambda: None)
    return ledger


def capture(ledger: Ledger, readings: int, path: str = "", collector: CollectorId = LIDAR) -> None:
    """Counts readings that are in a complete file."""
    for _ in range(readings):
        ledger.count_captured(collector)
    ledger.note_completing(collector, path or f"/capture/{collector[1]}.prog", readings)
    ledger.save()


def go(
    ledger: Ledger, kind: MoveKind, readings: int, *, collector: CollectorId | None = LIDAR, **what: Any
) -> None:
    """Counts the move of a file with this many readings, or of an arbitrary file if there is no collector."""
    with ledger.counting("/gone", Move(kind, collector, readings, **what)):
        pass
