"""Removal takes files out of quarantine: it puts them back to be sent again, or deletes them.

Invariants:

- What the cloud has is not sent again. A capture file of which the cloud has part is first rewritten in place, so
  that it holds only what was not delivered, and then goes back as a whole.
- A capture file with damage among what was not delivered stays as it is.
- The ledger counts a file before it goes, and takes that back after a crash if the file is still there (`moves`).
  So each reading counts once, wherever a crash comes.
- No file that exists outside of quarantine is overwritten.

The rewriting is needed since most files come here for one refused reading among many that were delivered. To send
such a file as it is would deliver those twice; to keep it would leave the refused one no way to the cloud.

Files are taken a batch at a time: one batch costs two writes of the journal.
Blocks on the disk: belongs on a worker thread.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ...base.at import Identity
from ...base.filesystem import FileSystem
from ...errors import DamagedFileError, StorageError
from .. import layout, names
from ..capture_files.reader import CaptureReader
from ..layout import FileKind
from ..ledger.ledger import Ledger
from ..ledger.moves import Move, MoveKind, uncounted
from .contents import check_places, check_readings, held_by_size, held_in, readings_in
from .listing import QuarantinedFile
from .quarantine import NAMES_LOCK
from .sidecar import QuarantinedReadings, Sidecar, read_sidecar

BATCH = 64
_COPY_BYTES = 1024 * 1024
_REMOVAL_LOCK = threading.Lock()
_CAPTURED = (FileKind.CAPTURE, FileKind.IN_PROGRESS)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RemovalResult:
    """What became of one file."""

    file: QuarantinedFile
    readings: int = 0
    size_bytes: int = 0
    why: str = ""
    """Why the file is still in quarantine; empty if it has left."""


@dataclass(frozen=True)
class _Removal:
    """One file that is going to leave quarantine."""

    file: QuarantinedFile
    target: str
    """Where it is put back; empty if it is deleted."""
    counts: Move
    identity: Identity
    """Which file it was when this was planned."""
    size_bytes: int


class _Stays(Exception):
    """A file can't be put back; the message says why."""


class QuarantineRemoval:
    """Takes files out of quarantine. `ledger_of` returns the ledger in which a file counts.

    Safe to call from any thread: batches run one after the other, and a file that another batch took is reported as
    an error.
    """

    def __init__(self, files: FileSystem, ledger_of: Callable[[QuarantinedFile], Ledger]) -> None:
        self._files = files
        self._ledger_of = ledger_of

    def put_back(self, batch: Sequence[QuarantinedFile]) -> list[RemovalResult]:
        """Moves a batch back to where it was, so that the next sync sends it."""
        taken: set[str] = set()
        return self._remove(batch, lambda file: self._plan_put_back(file, taken))

    def discard(self, batch: Sequence[QuarantinedFile]) -> list[RemovalResult]:
        """Deletes a batch by the user's command."""
        return self._remove(batch, lambda file: self._plan_deletion(file, MoveKind.DISCARDED))

    def delete_for_space(self, batch: Sequence[QuarantinedFile]) -> list[RemovalResult]:
        """Deletes a batch to free space."""
        return self._remove(batch, lambda file: self._plan_deletion(file, MoveKind.FREED))

    def _remove(
        self, batch: Sequence[QuarantinedFile], plan: Callable[[QuarantinedFile], _Removal]
    ) -> list[RemovalResult]:
        with _REMOVAL_LOCK:
            return self._remove_locked(batch, plan)

    def _remove_locked(
        self, batch: Sequence[QuarantinedFile], plan: Callable[[QuarantinedFile], _Removal]
    ) -> list[RemovalResult]:
        removals: list[_Removal] = []
        results: list[RemovalResult] = []
        for file in batch:
            try:
                removals.append(plan(file))
            except (_Stays, DamagedFileError, StorageError) as error:
                results.append(RemovalResult(file, why=str(error)))
        ledgers = {self._ledger_of(removal.file) for removal in removals}
        for removal in removals:
            self._ledger_of(removal.file).begin_move(removal.file.path, removal.counts, removal.target)
        for ledger in ledgers:
            ledger.save()
        for removal in removals:
            try:
                self._carry_out(removal)
            except StorageError as error:
                results.append(RemovalResult(removal.file, why=str(error)))
            else:
                results.append(RemovalResult(removal.file, removal.counts.readings, removal.size_bytes))
        for ledger in ledgers:
            ledger.end_moves(removal.file.path for removal in removals if self._ledger_of(removal.file) is ledger)
        return results

    def _carry_out(self, removal: _Removal) -> None:
        failed, target = removal.file.path, removal.target
        with NAMES_LOCK:
            if target:
                if not self._files.is_folder(os.path.dirname(target)):  # else the rename opens it as it is
                    self._files.make_folder(os.path.dirname(target))
                if self._files.exists(target):
                    raise StorageError("put back", target, FileExistsError(17, "another file has its name by now"))
                self._files.rename(failed, target, removal.identity)
            else:
                self._files.remove_if_there(layout.rewritten_path(failed))
                self._files.remove(failed, removal.identity)
            try:
                self._files.remove_if_there(layout.cause_path(failed))
            except StorageError as error:
                logger.warning("%s; its file is no longer in quarantine", error)

    def _plan_deletion(self, file: QuarantinedFile, kind: MoveKind) -> _Removal:
        status = self._files.stat(file.path)
        identity, size_bytes = Identity.of(status), status.st_size
        try:
            sidecar = read_sidecar(self._files, file.path)
        except DamagedFileError as error:
            logger.warning("%s; the file is deleted all the same, and what it held stays in the counts", error)
            return _Removal(file, "", uncounted(kind), identity, size_bytes)
        if layout.kind_of(file.place) in _CAPTURED:
            sidecar = replace(sidecar, held=held_by_size(self._files, file.path, file.place, sidecar))
        return _Removal(file, "", sidecar.counts_as(kind, file.place), identity, size_bytes)

    def _plan_put_back(self, file: QuarantinedFile, taken: set[str]) -> _Removal:
        """Raises _Stays, DamagedFileError or StorageError if the file has to stay. `taken` are the targets of the
        batch so far."""
        sidecar = read_sidecar(self._files, file.path)
        origin = file.place
        kind = layout.kind_of(origin)
        if kind is FileKind.SEQUENCE:
            raise _Stays("it is a sequence that never ended")
        if kind is FileKind.IN_PROGRESS:
            origin = os.path.splitext(origin)[0] + layout.CAPTURE_EXTENSION
        most_chars = max(names.SHORT_NAME_CHARS, len(os.path.basename(file.place)))
        target = names.free_name(origin, lambda path: path in taken or self._files.exists(path), most_chars)
        if kind in _CAPTURED:
            sidecar = replace(sidecar, held=self._drop_what_is_delivered(file.path, sidecar))
        taken.add(target)
        counts, status = sidecar.counts_as(MoveKind.PUT_BACK, file.place), self._files.stat(file.path)
        return _Removal(file, target, counts, Identity.of(status), status.st_size)

    def _drop_what_is_delivered(self, failed: str, sidecar: Sidecar) -> QuarantinedReadings | None:
        """Rewrites a capture file so that it holds only what was not delivered. Returns what of it counts.

        A crash may leave the file rewritten with the ranges of before in its sidecar. Their total length still is
        that of the readings, so the next attempt finds that the file is as it has to be.
        """
        undelivered = sidecar.damaged
        reader = CaptureReader(self._files, failed)
        try:
            header_end, size_bytes = reader.header_end, reader.size_bytes
            if not undelivered:  # nothing was delivered
                return held_in(reader, sidecar, readings_in(reader)) if sidecar.held is not None else None
            check_places(reader, failed, sidecar)
            is_reduced = header_end + sum(end - start for start, end in undelivered) == size_bytes
            places = [(header_end, size_bytes)] if is_reduced else undelivered
            readings = [reader.good_readings(*place) for place in places]
            if not all(readings):
                raise _Stays("some of it is damaged")
            check_readings(failed, sidecar, sum(readings))
        finally:
            reader.close()
        if not is_reduced:
            self._rewrite(failed, [(0, header_end), *places])
        return held_in(reader, sidecar, sum(readings))

    def _rewrite(self, path: str, places: Sequence[tuple[int, int]]) -> None:
        """Replaces a file by these parts of it, atomically."""
        new = layout.rewritten_path(path)
        self._files.remove_if_there(new)  # a crash may have left one
        source = self._files.open(path)
        try:
            target = self._files.create(new)
            try:
                for chunk in self._chunks(source, path, places):
                    self._files.write(target, new, chunk)
            finally:
                self._files.close(target, new)
            self._files.sync(os.path.dirname(new))
            self._files.rename(new, path)
        except StorageError:
            self._files.remove_quietly(new)
            raise
        finally:
            self._files.close(source, path)

    def _chunks(self, source: int, path: str, places: Sequence[tuple[int, int]]) -> Iterator[bytes]:
        for start, end in places:
            while start < end:
                chunk = self._files.read_at(source, path, start, min(_COPY_BYTES, end - start))
                if not chunk:
                    raise self._files.shortened(path)
                yield chunk
                start += len(chunk)
