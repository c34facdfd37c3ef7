"""What becomes of a file: it is counted in the ledger of its store, then removed or moved to quarantine.

A file is removed only after the cloud acknowledged all of it, and what the cloud took is in the journal before
anything else happens. Blocks: belongs on a worker thread. Only properties may be used on the event loop.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from typing import NamedTuple

from ...base.at import Identity
from ...base.bounded import Newest
from ...base.filesystem import FileSystem, is_in
from ...base.log_limit import once
from ...errors import StorageError
from ...storage import layout
from ...storage.capture_files.reader import CaptureReader, places_of
from ...storage.ledger.counts import CollectorId, collector_of
from ...storage.ledger.known_files import WHOLE, Acknowledged
from ...storage.ledger.ledger import Delivered
from ...storage.ledger.moves import Move, MoveKind
from ...storage.quarantine.quarantine import quarantine, readings_in_unreadable
from ...storage.quarantine.sidecar import QuarantinedReadings
from ...storage.store import Store
from ..found import Found, Outcome

_MOST_PLACES = 10
_MAX_ENDED = 10_000

logger = logging.getLogger(__name__)


class Scanned(NamedTuple):
    """What a pass over a whole capture file has shown."""

    identity: Identity
    """Which file was read."""
    collector: CollectorId
    checked: bool
    """Whether the file is ours: its header has a check."""
    readings: int
    """How many readings are good."""
    damaged: tuple[tuple[int, int], ...]
    """Where the file is damaged: the first byte of each place, and the one behind it."""
    damaged_readings: int
    torn_readings: int

    @property
    def most_readings(self) -> int:
        """How many readings the file holds, with those that can't be read."""
        return self.readings + self.damaged_readings + self.torn_readings

    @classmethod
    def of(cls, reader: CaptureReader) -> Scanned:
        """Returns what `reader` has seen, which has read the file to its end."""
        return cls(
            reader.identity,
            collector_of(reader.metadata),
            reader.checked,
            reader.readings,
            tuple(reader.damaged),
            reader.damaged_readings,
            reader.torn_readings,
        )


class Settlement:
    """What becomes of one found file. `store` is the one that the file belongs to when the settlement is made; it
    must stay open while the settlement is used.

    Methods raise StorageError when the disk refuses; the file is then where it was.
    """

    def __init__(self, files: FileSystem, store: Store, found: Found, ended: _EndedFiles) -> None:
        """`ended` is shared by all settlements."""
        self._files = files
        self._ended = ended
        self.store = store
        self.found = found

    @property
    def is_kept_upload(self) -> bool:
        """Whether the file is data that a user handed us to upload: it has tags of its own and gets no others."""
        return is_in(self.found.path, os.path.join(self.store.root, layout.UPLOADS_FOLDER))

    @property
    def acknowledged(self) -> int:
        """How many readings of the file the cloud has, or `WHOLE`."""
        return self.store.ledger.acknowledged_of(self.found.path, self.found.modified_ns)

    @property
    def refused(self) -> tuple[int, ...]:
        """The numbers of those acknowledged readings that the cloud refused for good."""
        return self.store.ledger.refused_of(self.found.path, self.found.modified_ns)

    def note_delivered(
        self, collector: CollectorId, acknowledged: Acknowledged, readings: int, *, ours: bool
    ) -> None:
        """Counts `readings` that the cloud has now; `acknowledged` says what it has of the file in all."""
        self.store.ledger.count_delivered(collector, self.found.path, acknowledged, readings, ours=ours)

    def settle_capture_file(self, scanned: Scanned, refused: Sequence[int] = (), why_refused: str = "") -> Outcome:
        """Removes a capture file whose good readings are all delivered, but for those that the cloud `refused`.

        It goes to quarantine instead when some of it is damaged or refused. It stays, to be sent whole, if the
        ledger knows more readings of it than it holds.
        """
        store, found = self.store, self.found
        if self.acknowledged > scanned.most_readings:
            logger.error(
                "%s: the ledger says that the cloud has %d readings of it, and it holds %d: it is sent again whole",
                found.path, self.acknowledged, scanned.most_readings, extra=once(found.folder),
            )  # fmt: skip
            store.ledger.forget_file(found.path)
            return Outcome.WAITING
        bad = (*scanned.damaged, *places_of(self._files, found.path, refused)) if refused else scanned.damaged
        if bad:
            causes = []
            good = scanned.readings - len(refused)
            if refused:
                causes.append(f"{len(refused)} of its readings are refused by the cloud: {why_refused}")
            if scanned.damaged:
                causes.append("damaged")
            places = ", ".join(f"{start} to {end}" for start, end in bad[:_MOST_PLACES])
            cause = f"{'; '.join(causes)} at bytes {places}; the {good} readings around it are delivered"
            held = QuarantinedReadings(scanned.collector, scanned.damaged_readings + len(refused), scanned.checked)
            torn, identity = scanned.torn_readings, scanned.identity
            quarantine(self._files, store.ledger, store.root, found.path, cause, bad, held, torn, identity)
        else:
            what = Move(MoveKind.DELIVERED, scanned.collector, 0, scanned.checked, scanned.torn_readings)
            with store.ledger.counting(found.path, what):
                store.let_go(found.path, scanned.identity, found.size_bytes)
        store.ledger.forget_file(found.path)
        return Outcome.QUARANTINED if bad else Outcome.DELIVERED

    def quarantine_unreadable(self, cause: str) -> Outcome:
        """Moves a capture file whose header is damaged into quarantine."""
        store, path = self.store, self.found.path
        held = readings_in_unreadable(self._files, store.ledger, path)
        quarantine(self._files, store.ledger, store.root, path, cause, held=held)
        return Outcome.QUARANTINED

    def quarantine_refused_file(self, identity: Identity, cause: str) -> Outcome:
        """Moves an arbitrary file that the cloud will never take into quarantine."""
        store, path, cause = self.store, self.found.path, f"refused by the cloud: {cause}"
        quarantine(self._files, store.ledger, store.root, path, cause, identity=identity)
        self._ended.add(self.found)
        return Outcome.QUARANTINED

    def is_held_open(self) -> bool:
        """Whether a process has the file open for writing, as far as that can be told."""
        return self._files.is_open_for_writing(self.found.path)

    def settle_file(self, identity: Identity) -> Outcome:
        """Counts and removes an arbitrary file that the cloud has; `identity` is the one that was opened.

        One that has changed since it was found stays, to be sent again. So does one that a process has open for
        writing; that the cloud has it is remembered.
        """
        store, found = self.store, self.found
        if self.acknowledged != WHOLE:
            if self._has_changed():
                return Outcome.WAITING
            store.ledger.count_file_delivered(found.path, found.size_bytes, found.modified_ns)
        if self.is_held_open():
            return Outcome.HELD_OPEN
        if self._has_changed():  # since it was found, or by a process that has closed it
            return Outcome.WAITING
        store.let_go(found.path, identity, found.size_bytes)
        store.ledger.forget_file(found.path)
        self._ended.add(self.found)
        return Outcome.DELIVERED

    def _has_changed(self) -> bool:
        status = self._files.stat(self.found.path)
        return (status.st_size, status.st_mtime_ns) != (self.found.size_bytes, self.found.modified_ns)

    def note_vanished(self) -> None:
        """Counts an arbitrary file that does not exist any more as vanished, unless it was settled a moment ago."""
        if self.found not in self._ended:
            self.store.ledger.count_file_vanished()


class _EndedFiles:
    """The last `_MAX_ENDED` arbitrary files that were settled, each with the time of its last change.

    A walk may still list such a file, and then it has not vanished. Safe to call from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: Newest[tuple[str, int], None] = Newest(_MAX_ENDED)

    def __contains__(self, found: Found) -> bool:
        with self._lock:
            return found.version in self._files

    def add(self, found: Found) -> None:
        with self._lock:
            self._files[found.version] = None


class Settlements:
    """Makes the settlement of each file."""

    def __init__(self, files: FileSystem) -> None:
        self._files = files
        self._ended = _EndedFiles()

    def of(self, store: Store, found: Found) -> Settlement:
        """Returns the settlement of `found`, which belongs to `store`; see `storage.store.store_of`."""
        return Settlement(self._files, store, found, self._ended)


def settle_together(files: Sequence[tuple[Settlement, Scanned]]) -> list[tuple[Settlement, Outcome | StorageError]]:
    """Settles capture files of one folder of which the cloud took all good readings in one call.

    The journal is written once for all of them; then each is removed. A file that the disk refuses to remove has
    the StorageError as its outcome, and holds up no other. Blocks.
    """
    files[0][0].store.ledger.count_delivered_together(
        Delivered(
            scanned.collector,
            settlement.found.path,
            Acknowledged(scanned.readings, settlement.found.modified_ns),
            scanned.readings,
            scanned.checked,
        )
        for settlement, scanned in files
    )
    outcomes: list[tuple[Settlement, Outcome | StorageError]] = []
    for settlement, scanned in files:
        try:
            outcomes.append((settlement, settlement.settle_capture_file(scanned)))
        except StorageError as error:
            outcomes.append((settlement, error))
    return outcomes
