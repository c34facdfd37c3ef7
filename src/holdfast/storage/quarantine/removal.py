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
from .listing import FailedFile
from .quarantine import NAMES, Held, Sidecar, read_sidecar, write_sidecar

BATCH = 64
_COPY_BYTES = 1024 * 1024
_DEPARTING = threading.Lock()
_CAPTURED = (FileKind.CAPTURE, FileKind.IN_PROGRESS)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """What became of one file. `why` it stays where it is; empty when it went."""

    file: FailedFile
    readings: int = 0
    size_bytes: int = 0
    why: str = ""


@dataclass(frozen=True)
class _Departure:
    """`source` goes to `target`, or for good where that is empty; `after` is what is then said of what stays."""

    file: FailedFile
    source: str
    target: str
    counts: Move
    size_bytes: int
    after: Sidecar | None = None


class _Stays(Exception):
    """A file can't be put back; the message says why."""


class Departures:
    """Takes files out of quarantine; `ledger_of` tells where one counts. Thread-safe: whoever comes second finds
    that a file is gone."""

    def __init__(self, files: FileSystem, ledger_of: Callable[[FailedFile], Ledger]) -> None:
        self._files = files
        self._ledger_of = ledger_of

    def put_back(self, batch: Sequence[FailedFile]) -> list[Result]:
        """Puts a batch back, so that the next sync sends it."""
        taken: set[str] = set()
        return self._depart(batch, lambda file: self._way_back(file, taken))

    def discard(self, batch: Sequence[FailedFile]) -> list[Result]:
        """Deletes a batch for good."""
        return self._depart(batch, lambda file: self._way_out(file, MoveKind.DISCARDED))

    def free(self, batch: Sequence[FailedFile]) -> list[Result]:
        """Deletes a batch to free space."""
        return self._depart(batch, lambda file: self._way_out(file, MoveKind.FREED))

    def _depart(self, batch: Sequence[FailedFile], plan: Callable[[FailedFile], _Departure]) -> list[Result]:
        with _DEPARTING:
            return self._depart_alone(batch, plan)

    def _depart_alone(self, batch: Sequence[FailedFile], plan: Callable[[FailedFile], _Departure]) -> list[Result]:
        departures: list[_Departure] = []
        results: list[Result] = []
        for file in batch:
            try:
                departures.append(plan(file))
            except (_Stays, DamagedFileError, StorageError) as error:
                results.append(Result(file, why=str(error)))
        ledgers = {self._ledger_of(departure.file) for departure in departures}
        for departure in departures:
            self._ledger_of(departure.file).begin_move(departure.source, departure.counts, departure.target)
        for ledger in ledgers:
            ledger.save()
        for departure in departures:
            try:
                self._carry_out(departure)
            except StorageError as error:
                results.append(Result(departure.file, why=str(error)))
            else:
                results.append(Result(departure.file, departure.counts.readings, departure.size_bytes))
        for ledger in ledgers:
            ledger.end_moves(
                departure.source for departure in departures if self._ledger_of(departure.file) is ledger
            )
        return results

    def _carry_out(self, departure: _Departure) -> None:
        failed = departure.file.path
        with NAMES:
            if not departure.target:
                self._files.remove_if_there(layout.taken_out_path(failed))
                self._files.remove(failed)
                self._files.remove_if_there(layout.cause_path(failed))
                return
            self._files.make_folder(os.path.dirname(departure.target))
            if self._files.exists(departure.target):
                raise StorageError(
                    "put back", departure.target, FileExistsError(17, "another file has its name by now")
                )
            self._files.rename(departure.source, departure.target)
            try:
                self._settle(failed, departure.after)
            except StorageError as error:
                logger.warning("%s; what was put back stays put back, the rest is counted next time", error)

    def _settle(self, failed: str, after: Sidecar | None) -> None:
        """Something was put back: the rest of it stays with what is then said of it, or goes when there is none."""
        if after is not None and after.damaged:
            write_sidecar(self._files, failed, after)
            return
        self._files.remove_if_there(failed)
        self._files.remove_if_there(layout.cause_path(failed))

    def _way_out(self, file: FailedFile, kind: MoveKind) -> _Departure:
        sidecar, size_bytes = self._known(file), self._files.stat(file.path).st_size
        return _Departure(file, file.path, "", sidecar.counts_as(kind, file.origin(sidecar)), size_bytes)

    def _way_back(self, file: FailedFile, taken: set[str]) -> _Departure:
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
        return _Departure(file, source, target, counts, self._files.stat(source).st_size, after)

    def _known(self, file: FailedFile) -> Sidecar:
        """The sidecar. What it says was taken out and is not there was put back, and the crash came then."""
        sidecar = read_sidecar(self._files, file.path)
        if sidecar.taken_out and not self._files.exists(layout.taken_out_path(file.path)):
            sidecar = replace(sidecar, taken_out=0)
            self._settle(file.path, sidecar)
            if not sidecar.damaged:
                raise _Stays("it was put back already")
        return sidecar

    def _without_what_is_damaged(self, file: FailedFile, sidecar: Sidecar) -> Sidecar:
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
            held = sidecar.held or Held(collector_of(reader.metadata), readings, reader.checked)
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
