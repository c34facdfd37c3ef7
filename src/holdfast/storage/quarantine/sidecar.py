"""The sidecar: a JSON file beside each file in quarantine, with the cause, and with what counts as quarantined.

Whoever may write to a folder can make such a file in it. So a sidecar is believed only if no other user can have
made or changed it. A file beside any other one is treated like a file that the builtin put into quarantine: it is
in no count. What our own sidecar says may still be damaged, so `contents` checks it against the file.

Blocks on the disk: belongs on a worker thread.
"""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...base.filesystem import FileSystem
from ...base.json_values import flag, text, whole_number
from ...base.log_limit import once
from ...base.words import shortened
from ...errors import DamagedFileError, StorageError
from .. import layout
from ..layout import FileKind
from ..ledger.counts import CollectorId
from ..ledger.moves import Move, MoveKind, uncounted

MAX_SIDECAR_BYTES = 16 * 1024 * 1024
MAX_CAUSE_CHARS = 2_000
_MAX_TIME_CHARS = 40
_MAX_WHY_CHARS = 300

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class QuarantinedReadings:
    """The readings of a capture file that count as quarantined."""

    collector: CollectorId
    readings: int
    ours: bool
    """Whether we captured them."""


@dataclass(frozen=True)
class Sidecar:
    """Why a file is in quarantine."""

    file: str = ""
    """The path where the file was."""
    cause: str = ""
    time: str = ""
    """When the file was moved here, in UTC."""
    damaged: tuple[tuple[int, int], ...] = ()
    """The byte ranges [from, to) that were not delivered, damaged or refused, if the rest was. A crash during a
    retry may leave ranges of before the file was rewritten; their total length is right (`contents`)."""
    held: QuarantinedReadings | None = None
    """What counts as quarantined; None for an arbitrary file, or if it is not known whose readings these are."""
    foreign: bool = False
    """Whether the builtin or another user put the file here: it is in no count."""

    def counts_as(self, kind: MoveKind, origin: str) -> Move:
        """Returns what counts when the file that is, or was, at `origin` moves: its readings, if they are known, or
        the file itself if it is an arbitrary one."""
        if self.foreign:
            return uncounted(kind)
        if layout.kind_of(origin) is FileKind.ARBITRARY:
            return Move(kind, None)
        if self.held is None:
            return uncounted(kind)
        return Move(kind, self.held.collector, self.held.readings, self.held.ours)


def read_sidecar(files: FileSystem, failed: str) -> Sidecar:
    """Returns the sidecar of the file at `failed`; a foreign one if there is none, or if another user may have made
    it.

    Raises StorageError, or DamagedFileError if our sidecar can't be understood.
    """
    path = layout.cause_path(failed)
    try:
        return _parsed(json.loads(files.read_own(path, MAX_SIDECAR_BYTES)))
    except StorageError as error:
        if error.reason == "no_such_file":
            return Sidecar(foreign=True)
        if error.reason == "no_permission" or _is_no_file(files, path):
            return _foreign(path, error)
        raise
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise misunderstood(failed, shortened(str(error) or type(error).__name__, _MAX_WHY_CHARS)) from error


def _is_no_file(files: FileSystem, path: str) -> bool:
    """Whether a link, a pipe or the like has the name; False also when that can't be found out."""
    try:
        return bool(files.link_target(path)) or not stat.S_ISREG(files.stat(path).st_mode)
    except StorageError:
        return False


def misunderstood(failed: str, why: str) -> DamagedFileError:
    """Returns the error for a sidecar of ours that makes no sense."""
    path = layout.cause_path(failed)
    return DamagedFileError(f"{path} can't be understood: {why}; without it the file would be sent again whole")


def _foreign(path: str, error: StorageError) -> Sidecar:
    logger.warning(
        "%s; it is not believed, and the file beside it is in no count", error, extra=once(os.path.dirname(path))
    )
    return Sidecar(cause=str(error), foreign=True)


def _parsed(note: dict[str, Any]) -> Sidecar:
    held = note.get("held")
    if note.get("taken_out"):  # its ranges would be sent twice
        raise ValueError("an earlier build was interrupted while it put the file back")
    return Sidecar(
        text(note.get("file", "")),
        shortened(text(note.get("cause", "")), MAX_CAUSE_CHARS),
        shortened(text(note.get("time", "")), _MAX_TIME_CHARS),
        tuple(sorted((whole_number(start), whole_number(end)) for start, end in note.get("damaged", ()))),
        None
        if held is None
        else QuarantinedReadings(_collector(held["collector"]), whole_number(held["readings"]), flag(held["ours"])),
    )


def _collector(value: Sequence[Any]) -> CollectorId:
    api, resource, method = map(text, value)
    return api, resource, method
