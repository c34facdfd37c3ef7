"""The sidecar: a JSON file beside each file in quarantine, with the cause, and with what counts as quarantined.

Blocks on the disk: belongs on a worker thread.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...base.filesystem import FileSystem
from ...errors import DamagedFileError, StorageError
from .. import layout
from ..layout import FileKind
from ..ledger.counts import CollectorId
from ..ledger.moves import Move, MoveKind, uncounted

MAX_SIDECAR_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class QuarantinedReadings:
    """The readings of a capture file that count as quarantined."""

    collector: CollectorId
    readings: int
    ours: bool
    """Whether we captured them."""


@dataclass(frozen=True)
class Sidecar:
    """Why a file is in quarantine. If a file has none, the builtin put it there."""

    file: str = ""
    """The path where the file was."""
    cause: str = ""
    time: str = ""
    """When the file was moved here, in UTC."""
    damaged: tuple[tuple[int, int], ...] = ()
    """The byte ranges [from, to) that were not delivered, damaged or refused, if the rest was. A crash during a
    retry may leave ranges of before the file was rewritten; their total length is right (`removal`)."""
    held: QuarantinedReadings | None = None
    """What counts as quarantined; None for an arbitrary file, or if it is not known whose readings these are."""

    def counts_as(self, kind: MoveKind, origin: str) -> Move:
        """Returns what counts when the file that is, or was, at `origin` moves: its readings, if they are known.

        An arbitrary file counts as one file, unless the builtin put it here.
        """
        if self.held is not None:
            return Move(kind, self.held.collector, self.held.readings, self.held.ours)
        is_counted = self.cause and layout.kind_of(origin) is FileKind.ARBITRARY
        return Move(kind, None) if is_counted else uncounted(kind)


def read_sidecar(files: FileSystem, failed: str) -> Sidecar:
    """Returns the sidecar of the file at `failed`, an empty one if it has none.

    Raises StorageError, or DamagedFileError if the sidecar can't be understood.
    """
    path = layout.cause_path(failed)
    try:
        if files.stat(path).st_size > MAX_SIDECAR_BYTES:
            raise ValueError("it is too large")
        return _parsed(json.loads(files.read(path)))
    except StorageError as error:
        if error.reason != "no_such_file":
            raise
        return Sidecar()
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise DamagedFileError(f"{path} can't be understood: {error}") from error


def _parsed(note: dict[str, Any]) -> Sidecar:
    held = note.get("held")
    if note.get("taken_out"):  # its ranges would be sent twice
        raise ValueError("an earlier build was interrupted while it put the file back")
    return Sidecar(
        str(note.get("file", "")),
        str(note.get("cause", "")),
        str(note.get("time", "")),
        tuple((int(start), int(end)) for start, end in note.get("damaged", ())),
        None
        if held is None
        else QuarantinedReadings(_collector(held["collector"]), int(held["readings"]), bool(held["ours"])),
    )


def _collector(value: Sequence[Any]) -> CollectorId:
    api, resource, method = map(str, value)
    return api, resource, method
