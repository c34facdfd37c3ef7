"""Out of quarantine: put back, to be sent again, or discarded. Batch by batch; blocks.

Of a file whose other readings are delivered only those are sent again that were not and that can be read: they are
taken out into a file of their own, and what is damaged stays. At any moment a crash leaves each reading in one
place: first the file of its own is written, then the sidecar says that it is there, then the ledger counts, then it
gets its name; the next time goes on from there. What was counted as leaving and is still there after a crash is
taken back by the ledger (`moves`).
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ...base.filesystem import FileSystem
from ...errors import DamagedFileError, StorageError
from .. import layout
from ..capture_files.reader import CaptureReader
from ..layout import FileKind
from ..ledger.counts import collector_of
from ..ledger.ledger import Ledger
from ..ledger.moves import Move, MoveKind
from .listing import QuarantinedFile
from .quarantine import NAMES_LOCK, QuarantinedReadings, Sidecar, read_sidecar, write_sidecar

BATCH = 64
_COPY_BYTES = 1024 * 1024
_REMOVAL_LOCK = threading.Lock()
_CAPTURED = (FileKind.CAPTURE, FileKind.IN_PROGRESS)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RemovalResult:
    """What became of one file. `why` it stays where it is; empty when it went."""

    file: QuarantinedFile
    readings: int = 0
    size_bytes: int = 0
    why: str = ""


@dataclass(frozen=True)
class _Removal:
    """`source` goes to `target`, or for good where that is empty; `after` is what is then said of what stays."""

    file: QuarantinedFile
    source: str
    target: str
    counts: Move
    size_bytes: int
    after: Sidecar | None = None


class _Stays(Exception):
    """A file can't be put back; the message says why."""


class QuarantineRemoval:
    """Takes files out of quarantine; `ledger_of` tells where one counts. Thread-safe: whoever comes second finds
    that a file is gone."""

    def __init__(self, files: FileSystem, ledger_of: Callable[[QuarantinedFile], Ledger]) -> None:
        self._files = files
        self._ledger_of = ledger_of

    def put_back(self, batch: Sequence[QuarantinedFile]) -> list[RemovalResult]:
        """Puts a batch back, so that the next sync sends it."""
        taken: set[str] = set()
        return self._remove(batch, lambda file: self._plan_put_back(file, taken))

    def discard(self, batch: Sequence[QuarantinedFile]) -> list[RemovalResult]:
        """Deletes a batch for good."""
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
            self._ledger_of(removal.file).begin_move(removal.source, removal.counts, removal.target)
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
            ledger.end_moves(removal.source for removal in removals if self._ledger_of(removal.file) is ledger)
        return results

    def _carry_out(self, removal: _Removal) -> None:
        failed = removal.file.path
        with NAMES_LOCK:
            if not removal.target:
                self._files.remove_if_there(layout.taken_out_path(failed))
                self._files.remove(failed)
                self._files.remove_if_there(layout.cause_path(failed))
                return
            self._files.make_folder(os.path.dirname(removal.target))
            if self._files.exists(removal.target):
                raise StorageError(
                    "put back", removal.target, FileExistsError(17, "another file has its name by now")
                )
            self._files.rename(removal.source, removal.target)
            try:
                self._settle(failed, removal.after)
            except StorageError as error:
                logger.warning("%s; what was put back stays put back, the rest is counted next time", error)

    def _settle(self, failed: str, after: Sidecar | None) -> None:
        """Something was put back: the rest of it stays with what is then said of it, or goes when there is none."""
        if after is not None and after.damaged:
            write_sidecar(self._files, failed, after)
            return
        self._files.remove_if_there(failed)
        self._files.remove_if_there(layout.cause_path(failed))

    def _plan_deletion(self, file: QuarantinedFile, kind: MoveKind) -> _Removal:
        sidecar, size_bytes = self._known(file), self._files.stat(file.path).st_size
        return _Removal(file, file.path, "", sidecar.counts_as(kind, file.origin(sidecar)), size_bytes)

    def _plan_put_back(self, file: QuarantinedFile, taken: set[str]) -> _Removal:
        sidecar = self._known(file)
        origin = file.origin(sidecar)
        kind = layout.kind_of(origin)
        if kind is FileKind.SEQUENCE:
            raise _Stays("it is a sequence that never ended")
        if kind is FileKind.IN_PROGRESS:
            origin = os.path.splitext(origin)[0] + layout.CAPTURE_EXTENSION
        stem, extension = os.path.splitext(origin)
        target = layout.free_name(stem, lambda path: path in taken or self._files.exists(path), extension)
        if kind in _CAPTURED and not sidecar.taken_out:
            sidecar = self._without_what_is_damaged(file, sidecar)
        if sidecar.taken_out:
            assert sidecar.held is not None
            source, after = layout.taken_out_path(file.path), replace(sidecar, taken_out=0)
            counts = Move(MoveKind.PUT_BACK, sidecar.held.collector, sidecar.taken_out, sidecar.held.ours)
        else:
            source, after = file.path, None
            counts = sidecar.counts_as(MoveKind.PUT_BACK, file.origin(sidecar))
        taken.add(target)
        return _Removal(file, source, target, counts, self._files.stat(source).st_size, after)

    def _known(self, file: QuarantinedFile) -> Sidecar:
        """The sidecar. What it says was taken out and is not there was put back, and the crash came then."""
        sidecar = read_sidecar(self._files, file.path)
        if sidecar.taken_out and not self._files.exists(layout.taken_out_path(file.path)):
            sidecar = replace(sidecar, taken_out=0)
            self._settle(file.path, sidecar)
            if not sidecar.damaged:
                raise _Stays("it was put back already")
        return sidecar

    def _without_what_is_damaged(self, file: QuarantinedFile, sidecar: Sidecar) -> Sidecar:
        """Takes what can be sent out of a file that is not to be sent as a whole."""
        reader = CaptureReader(self._files, file.path)
        try:
            if not sidecar.damaged:
                return sidecar
            good = {place: reader.good_readings(*place) for place in sidecar.damaged}
            if not any(good.values()):
                raise _Stays("what is left of it is damaged")
            undelivered = sum(end - start for start, end in sidecar.damaged)
            if all(good.values()) and reader.header_end + undelivered == reader.size_bytes:
                return sidecar
            places = [place for place, readings in good.items() if readings]
            self._take_out(file.path, [(0, reader.header_end), *places])
            readings = sum(good.values())
            held = sidecar.held or QuarantinedReadings(collector_of(reader.metadata), readings, reader.checked)
            sidecar = replace(
                sidecar,
                damaged=tuple(place for place, found in good.items() if not found),
                held=replace(held, readings=max(0, held.readings - readings)),
                taken_out=readings,
            )
            write_sidecar(self._files, file.path, sidecar)
            return sidecar
        finally:
            reader.close()

    def _take_out(self, failed: str, places: Sequence[tuple[int, int]]) -> None:
        """Copies parts of a file into one of its own."""
        path = layout.taken_out_path(failed)
        self._files.remove_if_there(path)  # of a crash before the sidecar said that it is there
        source = self._files.open(failed)
        try:
            target = self._files.create(path)
            try:
                for chunk in self._chunks(source, failed, places):
                    self._files.write(target, path, chunk)
            finally:
                self._files.close(target, path)
        finally:
            self._files.close(source, failed)
        self._files.sync(os.path.dirname(path))

    def _chunks(self, source: int, path: str, places: Sequence[tuple[int, int]]) -> Iterator[bytes]:
        for start, end in places:
            while start < end:
                chunk = self._files.read_at(source, path, start, min(_COPY_BYTES, end - start))
                if not chunk:
                    raise self._files.shortened(path)
                yield chunk
                start += len(chunk)
