"""The delivery of one file: its calls, what their errors mean, and what becomes of the file.

A file is deleted only after the cloud said yes to all of it. What the cloud took is in the ledger before anything
else happens, so it is never sent again: not the parts of a file that was interrupted, and not a file that could not
be deleted, after a restart neither. Everything is bounded: `MAX_REMEMBERED` files wait for their next attempt.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..clock import Clock
from ..errors import CloudError, DamagedFileError, NotConnectedError, StorageError, printable
from ..filesystem import FileSystem
from ..storage.counts import CollectorId, collector_of
from ..storage.layout import FileKind
from ..storage.ledger import WHOLE, Acknowledged
from ..storage.quarantine import quarantine
from ..storage.scan import CaptureReader, count_checks
from ..storage.store import Store
from ..throttle import Throttle
from .cloud import Cloud
from .link import Link
from .outcomes import Outcome
from .planner import CHUNK_BYTES, Part, UnaryPart, capture_parts, file_contents, file_metadata
from .retry import Backoff, unit_backoff
from .sequences import SequenceDelivery
from .verdicts import Verdict
from .walker import Found

MAX_REMEMBERED = 10_000
_MOST_PLACES = 10

logger = logging.getLogger(__name__)


@dataclass
class _Retry:
    """When a file that failed is tried again."""

    backoff: Backoff
    at_s: float = 0.0


class _Transfer:
    """A capture file on its way: its parts, and how many of its readings the cloud has. Blocks."""

    def __init__(self, files: FileSystem, found: Found, acknowledged: int, part_id: str) -> None:
        self.reader = CaptureReader(files, found.path)
        self.collector = collector_of(self.reader.metadata)
        self.acknowledged = acknowledged
        rest = itertools.islice(self.reader, acknowledged, None)
        self.parts = capture_parts(self.reader.metadata, rest, part_id)


class Delivery:
    """Sends files, one attempt at a time. Several files may be under way at once, one file only once."""

    def __init__(
        self,
        files: FileSystem,
        clock: Clock,
        throttle: Throttle,
        stores: Callable[[], Sequence[Store]],
        cloud: Cloud,
        link: Link,
    ) -> None:
        self._files = files
        self._clock = clock
        self._throttle = throttle
        self._stores = stores
        self._cloud = cloud
        self._link = link
        self._retries: OrderedDict[str, _Retry] = OrderedDict()
        self.last_error: str | None = None
        self.tags: tuple[str, ...] = ()
        self.sequences = SequenceDelivery(files, cloud, link)

    @property
    def retrying(self) -> int:
        """Files that failed and wait for their next attempt."""
        return len(self._retries)

    def is_due(self, found: Found) -> bool:
        """Whether the scheduled sync should try `found` now."""
        retry = self._retries.get(found.path)
        return retry is None or self._clock.monotonic() >= retry.at_s

    async def attempt(self, found: Found, *, wait: bool) -> Outcome:
        """One attempt. With `wait` false, a link that is down is a failure instead of something to wait for.

        When cancelled, the file is where it was; what the cloud took meanwhile may be sent again.
        """
        try:
            if found.kind is FileKind.CAPTURE:
                outcome = await self._capture_file(found, wait)
            elif found.kind is FileKind.ENDED_SEQUENCE:
                outcome = await self.sequences.deliver(found, self._store_of(found).root, wait=wait)
            else:
                outcome = await self._arbitrary_file(found, wait)
        except CloudError as error:
            return await self._failed(found, error)
        except NotConnectedError as error:
            self.last_error = str(error)
            return Outcome.WAITING
        except StorageError as error:
            return self._unreadable(found, error)
        self._retries.pop(found.path, None)
        return outcome

    async def _capture_file(self, found: Found, wait: bool) -> Outcome:
        try:
            transfer, part = await asyncio.to_thread(self._begin, found)
        except DamagedFileError as error:
            await asyncio.to_thread(self._quarantine_unreadable, found, str(error))
            return Outcome.QUARANTINED
        try:
            while part is not None:
                await self._link.admit(wait=wait)
                await self._send(part)
                self._link.succeeded()
                part = await asyncio.to_thread(self._took, found, transfer, part)
            return await asyncio.to_thread(self._close_capture_file, found, transfer)
        finally:
            transfer.reader.close()

    def _begin(self, found: Found) -> tuple[_Transfer, Part | None]:
        acknowledged = self._store_of(found).ledger.acknowledged(found.path, found.modified_ns)
        transfer = _Transfer(self._files, found, acknowledged, self._cloud.part_id)
        return transfer, next(transfer.parts, None)

    async def _send(self, part: Part) -> None:
        if isinstance(part, UnaryPart):
            await self._cloud.upload_capture(part.request)
        else:
            await self._cloud.upload_stream("StreamingDataCaptureUpload", part.messages)

    def _took(self, found: Found, transfer: _Transfer, part: Part) -> Part | None:
        """Notes that the cloud has `part`; returns the next one."""
        transfer.acknowledged += part.readings
        self._store_of(found).ledger.delivered(
            transfer.collector,
            found.path,
            Acknowledged(transfer.acknowledged, found.modified_ns),
            part.readings,
            ours=transfer.reader.checked,
        )
        return next(transfer.parts, None)

    def _close_capture_file(self, found: Found, transfer: _Transfer) -> Outcome:
        """Every good reading is delivered: the file goes, or to quarantine where some of it was not good."""
        reader = transfer.reader
        if reader.damaged:
            places = ", ".join(f"{start} to {end}" for start, end in reader.damaged[:_MOST_PLACES])
            cause = f"damaged at bytes {places}; the {reader.readings} readings around it are delivered"
            quarantine(self._files, self._store_of(found).root, found.path, cause, reader.damaged)
            self._store_of(found).ledger.quarantined(
                transfer.collector, reader.damaged_readings, ours=reader.checked
            )
        else:
            self._files.remove(found.path)
        if reader.torn_readings:
            self._store_of(found).ledger.torn(transfer.collector, reader.torn_readings, ours=reader.checked)
        self._store_of(found).ledger.forget(found.path)
        return Outcome.QUARANTINED if reader.damaged else Outcome.DELIVERED

    def _quarantine_unreadable(self, found: Found, cause: str) -> None:
        readings = count_checks(self._files, found.path)
        collector = self._store_of(found).ledger.collector_in(os.path.dirname(found.path))
        quarantine(self._files, self._store_of(found).root, found.path, cause)
        if collector is not None:
            self._store_of(found).ledger.quarantined(collector, readings, ours=True)

    async def _arbitrary_file(self, found: Found, wait: bool) -> Outcome:
        if self._store_of(found).ledger.acknowledged(found.path, found.modified_ns) != WHOLE:
            await self._link.admit(wait=wait)
            await self._cloud.upload_stream("FileUpload", lambda: self._file_messages(found))
            self._link.succeeded()
            if not await asyncio.to_thread(self._is_unchanged, found):
                logger.info("%s changed while it was sent; it is sent again whole", printable(found.path))
                return Outcome.WAITING
        return await asyncio.to_thread(self._close_arbitrary_file, found)

    def _close_arbitrary_file(self, found: Found) -> Outcome:
        if self._store_of(found).ledger.acknowledged(found.path, found.modified_ns) != WHOLE:
            self._store_of(found).ledger.file_delivered(found.path, found.size_bytes, found.modified_ns)
        self._files.remove(found.path)
        self._store_of(found).ledger.forget(found.path)
        return Outcome.DELIVERED

    def _file_messages(self, found: Found) -> Iterator[bytes]:
        yield file_metadata(found, self._cloud.part_id, self.tags)
        for chunk in self._files.chunks(found.path, CHUNK_BYTES):
            yield file_contents(chunk)

    def _is_unchanged(self, found: Found) -> bool:
        status = self._files.stat(found.path)
        return (status.st_size, status.st_mtime_ns) == (found.size_bytes, found.modified_ns)

    async def _failed(self, found: Found, error: CloudError) -> Outcome:
        self.last_error = f"{printable(found.path)}: {error}"
        verdict = self._link.failed(found.path, error)
        if verdict is Verdict.QUARANTINE:
            try:
                return await asyncio.to_thread(self._quarantine, found, str(error))
            except StorageError as refused:
                return self._unreadable(found, refused)
        if verdict is Verdict.RETRY:
            wait_s = self._retry_later(found)
            if self._throttle.allows(f"{os.path.dirname(found.path)} {error.code}"):
                logger.warning("%s was not taken: %s; tried again in %.1f s", printable(found.path), error, wait_s)
        return Outcome.WAITING

    def _quarantine(self, found: Found, cause: str) -> Outcome:
        if found.kind is FileKind.ENDED_SEQUENCE:
            self.sequences.refuse(found, self._store_of(found).root, f"refused by the cloud: {cause}")
            self._retries.pop(found.path, None)
            return Outcome.QUARANTINED
        readings = self._count(found) if found.kind is FileKind.CAPTURE else None
        quarantine(self._files, self._store_of(found).root, found.path, f"refused by the cloud: {cause}")
        self._retries.pop(found.path, None)
        if readings is None:
            self._store_of(found).ledger.file_quarantined()
        else:
            collector, undelivered, ours = readings
            self._store_of(found).ledger.quarantined(collector, undelivered, ours=ours)
        return Outcome.QUARANTINED

    def _count(self, found: Found) -> tuple[CollectorId, int, bool]:
        """Whose readings a capture file holds, how many the cloud does not have, and whether we wrote them."""
        reader = CaptureReader(self._files, found.path)
        try:
            readings = sum(1 for _ in reader) + reader.damaged_readings
        finally:
            reader.close()
        acknowledged = self._store_of(found).ledger.acknowledged(found.path, found.modified_ns)
        return collector_of(reader.metadata), readings - acknowledged, reader.checked

    def _unreadable(self, found: Found, error: StorageError) -> Outcome:
        if error.reason == "no_such_file":
            self._retries.pop(found.path, None)
            if found.kind is FileKind.ARBITRARY:
                self._store_of(found).ledger.file_vanished()
            return Outcome.GONE
        self.last_error = str(error)
        wait_s = self._retry_later(found)
        if self._throttle.allows(str(error)):
            logger.warning("%s; tried again in %.1f s", error, wait_s)
        return Outcome.WAITING

    def _store_of(self, found: Found) -> Store:
        """The store in which a file lies; what lies elsewhere belongs to that of `capture_dir`."""
        stores = self._stores()
        inside = [store for store in stores if store.holds(found.path)]
        return max(inside, key=lambda store: len(store.root), default=stores[0])

    def _retry_later(self, found: Found) -> float:
        retry = self._retries.get(found.path)
        if retry is None:
            retry = self._retries[found.path] = _Retry(unit_backoff())
            if len(self._retries) > MAX_REMEMBERED:
                self._retries.popitem(last=False)
        wait_s = retry.backoff.next_s()
        retry.at_s = self._clock.monotonic() + wait_s
        return wait_s
