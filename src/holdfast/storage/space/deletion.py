"""Deletes a complete capture file to free space: claims it, reads it, counts its readings, removes it, in this
order.

So no file is deleted while it is being sent, no reading is lost without being counted, and each reading counts once
even after a crash at any instruction. A file that can't be read is left to sync. Blocks: belongs on a worker
thread.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import NamedTuple

from ...base.bounded import NotTaken
from ...base.clock import Clock
from ...base.filesystem import FileSystem
from ...base.log_limit import once
from ...errors import DamagedFileError, StorageError
from ..capture_files.reader import CaptureReader
from ..claims import Claims
from ..ledger.counts import collector_of
from ..ledger.ledger import Ledger
from ..ledger.moves import Move, MoveKind
from .census import Amount, StoredFile

logger = logging.getLogger(__name__)


MAX_JUST_DELETED = 10_000


class DeletedFile(NamedTuple):
    """A file that was deleted, and when, on the monotonic clock."""

    path: str
    size_bytes: int
    at_s: float


@dataclass
class Freed:
    """What a deletion achieved. `readings` counts those that the cloud does not have."""

    files: int = 0
    bytes: int = 0
    readings: int = 0
    tried: int = 0
    """How many files were chosen, whether they could be deleted or not."""

    @property
    def as_amount(self) -> Amount:
        """The files that were chosen, with the bytes that became free."""
        return Amount(self.tried, self.bytes)

    def add(self, other: Freed) -> None:
        self.files += other.files
        self.bytes += other.bytes
        self.readings += other.readings
        self.tried += other.tried


class Deletion:
    """Deletes complete files of one capture folder."""

    def __init__(self, files: FileSystem, clock: Clock, ledger: Ledger, claims: Claims) -> None:
        self._files = files
        self._clock = clock
        self._ledger = ledger
        self._claims = claims
        self.just_deleted: NotTaken[DeletedFile] = NotTaken(MAX_JUST_DELETED)

    def delete(self, file: StoredFile) -> Freed:
        """Deletes `file`, unless it is being sent, its header can't be read, or the disk refuses. None of these
        raises an error."""
        if not self._claims.try_claim(file.path):
            return Freed(tried=1)
        try:
            return self._delete(file)
        except DamagedFileError:
            return Freed(tried=1)
        except StorageError as error:
            if error.reason != "no_such_file":
                logger.warning("%s; it was to be deleted to free space", error, extra=once(error.reason))
            return Freed(tried=1)
        finally:
            self._claims.release(file.path)

    def _delete(self, file: StoredFile) -> Freed:
        reader = CaptureReader(self._files, file.path)
        try:
            readings = sum(1 for _ in reader) + reader.damaged_readings
        finally:
            reader.close()
        had = self._ledger.acknowledged_of(file.path, file.modified_ns)
        lost = max(0, readings + reader.torn_readings - had)
        with self._ledger.counting(
            file.path, Move(MoveKind.DELETED, collector_of(reader.metadata), lost, reader.checked)
        ):
            self._files.remove(file.path, reader.identity)
        self.just_deleted.add(DeletedFile(file.path, reader.size_bytes, self._clock.monotonic()))
        self._ledger.forget_file(file.path)
        return Freed(1, file.size_bytes, lost, 1)
