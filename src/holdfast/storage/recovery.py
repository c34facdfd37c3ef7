"""Recovery: makes the `.prog` files that a crash left complete, so that sync takes them.

Runs once per capture folder, under its lock, beside capture. It never touches a file that this process or another
of ours writes, and leaves one of the builtin's alone until nobody has written to it for `QUIET_S`. A torn end is
cut off and counted; a file without a readable header is quarantined; damage inside a file is left for sync, which
delivers the good readings around it.
Blocks: belongs on a worker thread.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..clock import Clock
from ..errors import DamagedFileError, StorageError
from ..filesystem import EntryKind, FileSystem
from . import layout
from .frames import scan
from .ledger import Ledger, collector_of
from .quarantine import quarantine

QUIET_S = 2.0

logger = logging.getLogger(__name__)


@dataclass
class Recovered:
    """What one pass found. `waiting` files were written to a moment ago: another pass is due."""

    files: int = 0
    readings: int = 0
    torn_readings: int = 0
    quarantined: int = 0
    waiting: int = 0


def recover(
    files: FileSystem, clock: Clock, ledger: Ledger, capture_dir: str, is_ours: Callable[[str], bool]
) -> Recovered:
    """One pass over the `.prog` files under `capture_dir`; `is_ours` tells which this process is writing."""
    result = Recovered()
    for path in _in_progress(files, capture_dir):
        if is_ours(path) or files.exists(_final_path(path)):
            continue
        try:
            if files.is_being_written(path):
                continue
            if 0 <= clock.time_ns() / 1e9 - files.stat(path).st_mtime < QUIET_S:
                result.waiting += 1
                continue
            _recover_file(files, ledger, capture_dir, path, result)
        except StorageError as error:
            logger.error("%s; it stays where it is until the next start", error)
    return result


def _recover_file(files: FileSystem, ledger: Ledger, capture_dir: str, path: str, result: Recovered) -> None:
    data = files.read(path)
    if not data.rstrip(b"\x00"):
        files.remove(path)
        return
    try:
        found = scan(data)
    except DamagedFileError as error:
        quarantine(files, capture_dir, path, str(error))
        result.quarantined += 1
        return
    if found.torn_bytes:
        files.truncate(path, found.good_end)
        ledger.lost_in_crash(collector_of(found.metadata), found.torn_readings)
        result.torn_readings += found.torn_readings
    if found.readings or found.damaged:
        files.rename(path, _final_path(path))
        result.files += 1
        result.readings += len(found.readings)
    else:
        files.remove(path)


def _final_path(path: str) -> str:
    return os.path.splitext(path)[0] + layout.CAPTURE_EXTENSION


def _in_progress(files: FileSystem, folder: str) -> Iterator[str]:
    """The `.prog` files under a folder, `.holdfast/`, `failed/` and symbolic links left out."""
    try:
        for entry in files.list_folder(folder):
            if entry.kind is EntryKind.FOLDER:
                if entry.name not in layout.SKIPPED_FOLDERS:
                    yield from _in_progress(files, entry.path)
            elif entry.kind is EntryKind.FILE and layout.kind_of(entry.path) is layout.FileKind.IN_PROGRESS:
                yield entry.path
    except StorageError as error:
        logger.warning("%s; what lies in there is not recovered", error)
