"""Recovery makes the `.prog` files that a crash left ready for their final names, so that sync sends them.

It runs while we hold the folder's lock, beside capture. Invariants:

- It never touches a file that a process of ours is writing, this one included, nor one that any program has
  written to within the last `QUIET_S`.
- An unfinished reading at the end of a file is cut off and counted. A file without a readable header is
  quarantined. Damage inside a file is left for sync, which delivers the good readings around it.
- A file is read a window at a time, whatever its size.

Blocks on the disk: belongs on a worker thread.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..base import unforeseen
from ..base.clock import Clock
from ..base.filesystem import EntryKind, FileSystem
from ..errors import DamagedFileError, StorageError
from . import layout
from .capture_files.capture_file import final_name
from .capture_files.reader import CaptureReader, is_blank
from .ledger.counts import CollectorId, collector_of
from .ledger.ledger import Ledger
from .quarantine.quarantine import quarantine, readings_in_unreadable

QUIET_S = 2.0
"""How long a file must not have been written to, so that no other program is still writing it."""

logger = logging.getLogger(__name__)


@dataclass
class RecoveryReport:
    """What one pass found."""

    files: int = 0
    """Files that are ready for their final names."""
    readings: int = 0
    torn_readings: int = 0
    """Unfinished readings that were cut off."""
    quarantined: int = 0
    """Files that were moved into quarantine."""
    waiting: int = 0
    """Files that were written to a moment ago, for which another pass is needed."""


@dataclass
class RecoveredFile:
    """A file that a crash left, which is whole again and whose readings are counted."""

    files: FileSystem
    collector: CollectorId
    path: str
    readings: int
    size_bytes: int
    ours: bool

    def complete(self) -> str:
        """Gives the file its final name, and returns it. Raises StorageError; the caller may then try again."""
        final = final_name(self.files, self.path)
        self.files.rename(self.path, final)
        return final


class Recovery:
    """One pass over the `.prog` files under `capture_dir`. `is_ours` says whether this process is writing a file.

    Iterating over it runs the pass, and yields the files that are ready for their final names. It never raises: a
    file that can't be recovered is logged and stays where it is.
    """

    def __init__(
        self, files: FileSystem, clock: Clock, ledger: Ledger, capture_dir: str, is_ours: Callable[[str], bool]
    ) -> None:
        self.result = RecoveryReport()
        self._files = files
        self._clock = clock
        self._ledger = ledger
        self._capture_dir = capture_dir
        self._is_ours = is_ours

    def __iter__(self) -> Iterator[RecoveredFile]:
        for path in _in_progress(self._files, self._capture_dir):
            try:
                if self._is_ours(path) or self._files.is_being_written(path):
                    continue
                if 0 <= self._clock.time_ns() / 1e9 - self._files.stat(path).st_mtime < QUIET_S:
                    self.result.waiting += 1
                    continue
                left = self._recover(path)
            except StorageError as error:
                logger.error("%s; it stays where it is until the next start", error)
                continue
            except Exception as error:  # the last resort: one file never stops the others
                logger.exception(
                    "%s: recovery failed unexpectedly; it stays where it is until the next start", path
                )
                unforeseen.remember("recovery", error)
                continue
            if left is not None:
                self.result.files += 1
                yield left

    def _recover(self, path: str) -> RecoveredFile | None:
        if is_blank(self._files, path):
            self._lost(path)
            return None
        try:
            reader = CaptureReader(self._files, path)
        except DamagedFileError as error:
            self._quarantine(path, str(error))
            return None
        try:
            for _ in reader:
                pass
        finally:
            reader.close()
        collector = collector_of(reader.metadata)
        if reader.torn_bytes:
            self._files.truncate(path, reader.good_end)
        readings = reader.readings + reader.damaged_readings
        self._ledger.count_recovered(collector, path, readings, reader.torn_readings, ours=reader.checked)
        self.result.readings += reader.readings
        self.result.torn_readings += reader.torn_readings
        if readings:
            size_bytes = reader.good_end if reader.torn_bytes else reader.size_bytes
            return RecoveredFile(self._files, collector, path, readings, size_bytes, reader.checked)
        self._gone(path)
        return None

    def _gone(self, path: str) -> None:
        self._files.remove(path)
        self._ledger.note_completed([path])

    def _lost(self, path: str) -> None:
        """Removes a file of which a power cut left nothing, and counts as torn what the journal says it held."""
        collector = self._ledger.collector_in(os.path.dirname(path))
        if collector is not None:
            self._ledger.count_recovered(collector, path, 0, 0, ours=True)
        self._gone(path)

    def _quarantine(self, path: str, cause: str) -> None:
        held = readings_in_unreadable(self._files, self._ledger, path)
        if held is not None:
            self._ledger.count_recovered(held.collector, path, held.readings, 0, ours=held.ours)
        quarantine(self._files, self._ledger, self._capture_dir, path, cause, held=held)
        self._ledger.note_completed([path])
        self.result.quarantined += 1


def _in_progress(files: FileSystem, folder: str) -> Iterator[str]:
    """Yields the `.prog` files under a folder, except in `SKIPPED_FOLDERS` and behind symbolic links."""
    try:
        for entry in files.list_folder(folder):
            if entry.kind is EntryKind.FOLDER:
                if entry.name not in layout.SKIPPED_FOLDERS:
                    yield from _in_progress(files, entry.path)
            elif entry.kind is EntryKind.FILE and layout.kind_of(entry.path) is layout.FileKind.IN_PROGRESS:
                yield entry.path
    except StorageError as error:
        logger.warning("%s; its contents are not recovered", error)
