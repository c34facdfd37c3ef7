"""What becomes of a file: counted in the ledger of its folder, then deleted, or moved into quarantine.

Blocks: belongs on a worker thread. A file is deleted only after the cloud said yes to all of it, and what the cloud
took is in the journal before anything else happens.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ...base.filesystem import FileSystem, is_in
from ...base.newest import Newest
from ...errors import StorageError
from ...storage import layout
from ...storage.capture_files.reader import CaptureReader, places_of
from ...storage.ledger.counts import CollectorId, collector_of
from ...storage.ledger.known_files import WHOLE, Acknowledged
from ...storage.ledger.ledger import Delivered
from ...storage.ledger.moves import Move, MoveKind
from ...storage.quarantine.quarantine import QuarantinedReadings, quarantine, readings_in_unreadable
from ...storage.store import Store
from ..found import Found, Outcome

_MOST_PLACES = 10
_MAX_ENDED = 10_000

logger = logging.getLogger(__name__)


class Scanned(NamedTuple):
    """What a whole pass over a capture file has shown."""

    collector: CollectorId
    checked: bool
    readings: int
    damaged: tuple[tuple[int, int], ...]
    damaged_readings: int
    torn_readings: int

    @classmethod
    def of(cls, reader: CaptureReader) -> Scanned:
        return cls(
            collector_of(reader.metadata),
            reader.checked,
            reader.readings,
            tuple(reader.damaged),
            reader.damaged_readings,
            reader.torn_readings,
        )


class Settlement:
    """Over the stores that `stores` gives, that of `capture_dir` first."""

    def __init__(self, files: FileSystem, stores: Callable[[], Sequence[Store]]) -> None:
        self._files = files
        self._stores = stores
        self._ended: Newest[tuple[str, int], None] = Newest(_MAX_ENDED)
        """Arbitrary files that went a moment ago, and when they were last changed: a walk may still list them."""

    def store_of(self, found: Found) -> Store:
        """The store in which a file lies; what lies elsewhere belongs to that of `capture_dir`."""
        stores = self._stores()
        inside = [store for store in stores if store.holds(found.path)]
        return max(inside, key=lambda store: len(store.root), default=stores[0])

    def is_kept_upload(self, found: Found) -> bool:
        """Whether it is what somebody handed us to upload, with tags of its own and no others."""
        return is_in(found.path, os.path.join(self.store_of(found).root, layout.UPLOADS_FOLDER))

    def acknowledged(self, found: Found) -> int:
        """How many of its readings the cloud has, or `WHOLE`."""
        return self.store_of(found).ledger.acknowledged_of(found.path, found.modified_ns)

    def begun(self, founds: Sequence[Found]) -> set[str]:
        """The paths of those, all of one folder, of which the cloud has something."""
        ledger = self.store_of(founds[0]).ledger
        return {found.path for found in founds if ledger.acknowledged_of(found.path, found.modified_ns)}

    def refused(self, found: Found) -> tuple[int, ...]:
        """The numbers of those among them that the cloud refused for good."""
        return self.store_of(found).ledger.refused_of(found.path, found.modified_ns)

    def took(
        self, found: Found, collector: CollectorId, acknowledged: Acknowledged, readings: int, *, ours: bool
    ) -> None:
        """The cloud has `readings` more of a capture file, `acknowledged` in all."""
        self.store_of(found).ledger.count_delivered(collector, found.path, acknowledged, readings, ours=ours)

    def took_whole(self, files: Sequence[tuple[Found, Scanned]]) -> list[tuple[Found, Outcome | StorageError]]:
        """The cloud has all good readings of capture files of one folder, by one call: one write of the journal,
        then they go."""
        store = self.store_of(files[0][0])
        store.ledger.count_delivered_together(
            Delivered(
                scanned.collector,
                found.path,
                Acknowledged(scanned.readings, found.modified_ns),
                scanned.readings,
                scanned.checked,
            )
            for found, scanned in files
        )
        outcomes: list[tuple[Found, Outcome | StorageError]] = []
        for found, scanned in files:
            try:
                outcomes.append((found, self._close(store, found, scanned)))
            except StorageError as error:
                outcomes.append((found, error))
        return outcomes

    def close(self, found: Found, scanned: Scanned, refused: Sequence[int] = (), why_refused: str = "") -> Outcome:
        """Every good reading is delivered, but for those that the cloud `refused`: the file goes, or to quarantine
        where some of it was not good or refused."""
        return self._close(self.store_of(found), found, scanned, refused, why_refused)

    def _close(
        self, store: Store, found: Found, scanned: Scanned, refused: Sequence[int] = (), why_refused: str = ""
    ) -> Outcome:
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
            quarantine(self._files, store.ledger, store.root, found.path, cause, bad, held, scanned.torn_readings)
        else:
            what = Move(MoveKind.DELIVERED, scanned.collector, 0, scanned.checked, scanned.torn_readings)
            with store.ledger.counting(found.path, what):
                store.let_go(found.path, found.size_bytes)
        store.ledger.forget_file(found.path)
        return Outcome.QUARANTINED if bad else Outcome.DELIVERED

    def unreadable(self, found: Found, cause: str) -> Outcome:
        """A capture file whose header is damaged."""
        store = self.store_of(found)
        held = readings_in_unreadable(self._files, store.ledger, found.path)
        quarantine(self._files, store.ledger, store.root, found.path, cause, held=held)
        return Outcome.QUARANTINED

    def refused_file(self, found: Found, cause: str) -> Outcome:
        """An arbitrary file that the cloud will never take."""
        store = self.store_of(found)
        quarantine(self._files, store.ledger, store.root, found.path, f"refused by the cloud: {cause}")
        self._note_end(found)
        return Outcome.QUARANTINED

    def close_file(self, found: Found) -> Outcome:
        """The cloud has all of an arbitrary file."""
        store = self.store_of(found)
        if self.acknowledged(found) != WHOLE:
            store.ledger.count_file_delivered(found.path, found.size_bytes, found.modified_ns)
        store.let_go(found.path, found.size_bytes)
        store.ledger.forget_file(found.path)
        self._note_end(found)
        return Outcome.DELIVERED

    def is_unchanged(self, found: Found) -> bool:
        """Whether an arbitrary file is still as it was found."""
        status = self._files.stat(found.path)
        return (status.st_size, status.st_mtime_ns) == (found.size_bytes, found.modified_ns)

    def vanished(self, found: Found) -> None:
        """An arbitrary file is not there any more: somebody removed it, unless we did a moment ago."""
        if (found.path, found.modified_ns) not in self._ended:
            self.store_of(found).ledger.count_file_vanished()

    def _note_end(self, found: Found) -> None:
        self._ended[found.path, found.modified_ns] = None
