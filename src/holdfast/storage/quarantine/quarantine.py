"""Quarantine keeps files that can't be delivered, in `failed/`, with the cause of each beside it.

The cause is in a JSON file of its own (`sidecar`). The ledger counts before the file is moved.

Blocks on the disk: belongs on a worker thread.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict

from ...base.at import Identity
from ...base.filesystem import NEW_EXTENSION, FileSystem
from .. import layout, names
from ..capture_files.reader import count_checks
from ..ledger.ledger import Ledger
from ..ledger.moves import MoveKind
from .sidecar import QuarantinedReadings, Sidecar

_BESIDE = (layout.CAUSE_EXTENSION, NEW_EXTENSION)
"""How the names of what lies beside a file in quarantine end: no file there may have such a name."""

NAMES_LOCK = threading.Lock()
"""Held while a file and its sidecar are moved into quarantine or out of it: the two change as one."""

logger = logging.getLogger(__name__)


def quarantine(
    files: FileSystem,
    ledger: Ledger,
    capture_dir: str,
    path: str,
    cause: str,
    damaged: Sequence[tuple[int, int]] = (),
    held: QuarantinedReadings | None = None,
    torn: int = 0,
    identity: Identity | None = None,
) -> str:
    """Counts `path` as quarantined, moves it into `failed/`, and writes its cause beside it. Returns the new path.

    `damaged` are the byte ranges [from, to) that were not delivered, if the rest was. `held` are the readings that
    were not delivered. `torn` is the number of unfinished readings at the end of the file, which count as dropped.
    `identity` is the file that is meant; None for whatever has the name.

    Raises StorageError; then the file is where it was, and counts as before. Blocks on the disk.
    """
    sidecar = _sidecar(path, cause, tuple(damaged), held)
    with ledger.counting(path, sidecar.counts_as(MoveKind.QUARANTINED, path)._replace(torn=torn)):
        return _move(files, capture_dir, path, sidecar, identity)


def readings_in_unreadable(files: FileSystem, ledger: Ledger, path: str) -> QuarantinedReadings | None:
    """Returns what a file of ours with a damaged header holds, judged by its folder and its checksums.

    Returns None if no file of that folder was ever counted. The number of readings is an estimate. Raises
    StorageError. Blocks on the disk.
    """
    collector = ledger.collector_in(os.path.dirname(path))
    return None if collector is None else QuarantinedReadings(collector, count_checks(files, path), True)


def quarantine_sequence(files: FileSystem, capture_dir: str, path: str, cause: str) -> str:
    """Moves the file of a sequence into `failed/`, and writes its cause beside it. Returns the new path.

    A sequence is in no count. Raises StorageError; then the file is where it was. Blocks on the disk.
    """
    return _move(files, capture_dir, path, _sidecar(path, cause))


def _sidecar(
    path: str, cause: str, damaged: tuple[tuple[int, int], ...] = (), held: QuarantinedReadings | None = None
) -> Sidecar:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time()))
    return Sidecar(path, cause, now, damaged, held)


def _move(
    files: FileSystem, capture_dir: str, path: str, sidecar: Sidecar, identity: Identity | None = None
) -> str:
    with NAMES_LOCK:
        wanted = layout.failed_path(path, capture_dir)
        files.make_folder(os.path.dirname(wanted))
        target = names.named_to_fit(lambda most_chars: _write_sidecar(files, wanted, sidecar, most_chars))
        files.rename(path, target, identity)
    logger.error("%s: %s; kept as %s", path, sidecar.cause, target)
    return target


def _write_sidecar(files: FileSystem, wanted: str, sidecar: Sidecar, most_chars: float) -> str:
    """Writes the sidecar of a file that is to be at `wanted`, atomically, and returns the path where it can be."""
    target = names.free_name(wanted, lambda path: path.endswith(_BESIDE) or files.exists(path), most_chars)
    note = {name: value for name, value in asdict(sidecar).items() if value}
    files.replace(layout.cause_path(target), json.dumps(note, indent=1).encode())
    return target
