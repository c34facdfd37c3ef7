"""The limit of a quarantine that is kept in memory: beyond it, the files that failed first are deleted.

Their readings count as deleted to free space, arbitrary files as discarded. Listing the quarantine takes at most
`MOST_LISTING` of the time.

Blocks on the disk: belongs on one worker thread at a time.
"""

from __future__ import annotations

import itertools
import logging
import math
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ...base.clock import Clock
from ...base.filesystem import FileSystem, occupied_bytes
from ...base.intervals import rest_s
from ...base.log_limit import once
from ...base.problems import Kind, Problem
from ...base.words import number_of
from ...errors import StorageError
from .. import layout
from ..ledger.ledger import Ledger
from .listing import QuarantinedFile, quarantined_files_of
from .removal import BATCH, QuarantineRemoval

MOST_LISTING = 0.05
"""The largest share of the time that may go into listings."""

DELETING_S = 900.0
"""For so long after a deletion it is taken to go on."""

logger = logging.getLogger(__name__)


class _Failed(NamedTuple):
    """A file in quarantine. These sort by when they were moved there."""

    moved_ns: int
    path: str
    size_bytes: int
    """The size on disk, in whole blocks, with what lies beside the file."""
    file: QuarantinedFile


class QuarantineLimit:
    """The limit for one capture folder. `root` returns its path without symbolic links."""

    def __init__(self, files: FileSystem, clock: Clock, ledger: Ledger, root: Callable[[], str]) -> None:
        self.bytes: int | None = None
        """How much was in quarantine after the last check, in bytes on the disk; None before the first one."""
        self._deleted = (0, 0)
        """How many files, and readings in them, were deleted since the start."""
        self._deleted_at_s = -math.inf
        self._files = files
        self._clock = clock
        self._removal = QuarantineRemoval(files, lambda file: ledger)
        self._root = root
        self._list_at_s = 0.0

    @property
    def problems(self) -> Iterator[Problem]:
        """That something was deleted lately. Safe to call on the event loop."""
        if self._clock.monotonic() - self._deleted_at_s < DELETING_S:
            files, readings = self._deleted
            yield Problem(
                Kind.DISK,
                f"more can't be delivered than is kept in memory: the oldest of it is deleted from {self._root()}",
                'the command "failed" says why it can\'t be delivered',
                f"{number_of(readings, 'reading')} in {number_of(files, 'file')} deleted since the start",
                f"{self._root()} quarantine",
            )

    def check(self, most_bytes: int) -> None:
        """Deletes what exceeds `most_bytes`, unless the last listing was too short a time ago. Never raises
        StorageError: what can't be deleted stays."""
        begin_s = self._clock.monotonic()
        if begin_s < self._list_at_s:
            return
        found = [known for file in quarantined_files_of(self._files, self._root()) if (known := self._known(file))]
        self.bytes = sum(failed.size_bytes for failed in found)
        oldest_first = iter(sorted(found))
        files = readings = 0
        while self.bytes > most_bytes and (batch := self._too_much(oldest_first, self.bytes - most_bytes)):
            for result in self._removal.delete_for_space([failed.file for failed in batch]):
                files += not result.why
                readings += result.readings
            self.bytes -= sum(failed.size_bytes for failed in batch)
        now_s = self._clock.monotonic()
        self._list_at_s = now_s + rest_s(now_s - begin_s, MOST_LISTING)
        if files:
            self._deleted = (self._deleted[0] + files, self._deleted[1] + readings)
            self._deleted_at_s = now_s
            logger.warning(
                "more than %d bytes can't be delivered and would be kept in memory: the oldest, %d files with %d "
                "readings, were deleted from %s",
                most_bytes, files, readings, os.path.join(self._root(), layout.FAILED_FOLDER),
                extra=once(self._root()),
            )  # fmt: skip

    @staticmethod
    def _too_much(oldest_first: Iterator[_Failed], excess_bytes: int) -> list[_Failed]:
        """Returns the next files to delete: as many as are needed, at most a batch."""
        batch: list[_Failed] = []
        for failed in itertools.islice(oldest_first, BATCH):
            batch.append(failed)
            excess_bytes -= failed.size_bytes
            if excess_bytes <= 0:
                break
        return batch

    def _known(self, file: QuarantinedFile) -> _Failed | None:
        """Returns the file with its size and time, or None if it is gone."""
        try:
            status = self._files.stat(file.path)
        except StorageError:
            return None
        size_bytes = occupied_bytes(status.st_size)
        for beside in (layout.cause_path(file.path), layout.rewritten_path(file.path)):
            try:
                size_bytes += occupied_bytes(self._files.stat(beside).st_size)
            except StorageError:
                continue
        return _Failed(status.st_ctime_ns, file.path, size_bytes, file)
