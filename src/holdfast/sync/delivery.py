"""The delivery of one file: its calls, what their errors mean, and what becomes of the file.

A file is deleted only after the cloud said yes to all of it. What the cloud took is never sent again while this
process lives: parts of a file that was interrupted are remembered, and so is a file that could not be deleted.
Everything is bounded: `MAX_REMEMBERED` files.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from ..clock import Clock
from ..errors import CloudError, DamagedFileError, NotConnectedError, StorageError, printable
from ..filesystem import FileSystem
from ..storage.frames import Scan, scan
from ..storage.layout import FileKind
from ..storage.ledger import CollectorId, Ledger, collector_of
from ..storage.quarantine import quarantine
from ..throttle import Throttle
from .cloud import Cloud
from .link import Link
from .planner import CHUNK_BYTES, StreamPart, UnaryPart, capture_parts, file_contents, file_metadata
from .retry import Backoff, unit_backoff
from .verdicts import Verdict
from .walker import Found

MAX_REMEMBERED = 10_000

logger = logging.getLogger(__name__)


class Outcome(Enum):
    """What became of a file at one attempt."""

    DELIVERED = "delivered"
    QUARANTINED = "quarantined"
    WAITING = "waiting"
    """It failed and is tried again."""
    GONE = "gone"
    """Somebody else removed it."""


@dataclass
class _Memory:
    """What is known of a file between attempts."""

    backoff: Backoff
    retry_at_s: float = 0.0
    acknowledged: int = 0
    """Readings of it, from its beginning, that the cloud has."""
    all_acknowledged: bool = False
    modified_ns: int = 0


class Delivery:
    """Sends files, one attempt at a time. Several files may be under way at once, one file only once."""

    def __init__(
        self, files: FileSystem, clock: Clock, ledger: Ledger, cloud: Cloud, link: Link, throttle: Throttle
    ) -> None:
        self._files = files
        self._clock = clock
        self._ledger = ledger
        self._cloud = cloud
        self._link = link
        self._throttle = throttle
        self._memory: OrderedDict[str, _Memory] = OrderedDict()
        self.last_error: str | None = None
        self.part_id = ""
        self.tags: tuple[str, ...] = ()
        self.capture_dir = ""

    @property
    def retrying(self) -> int:
        """Files that failed and wait for their next attempt."""
        return sum(1 for memory in self._memory.values() if memory.retry_at_s)

    def is_due(self, found: Found) -> bool:
        """Whether the scheduled sync should try `found` now."""
        memory = self._memory.get(found.path)
        return memory is None or self._clock.monotonic() >= memory.retry_at_s

    async def attempt(self, found: Found, *, wait: bool) -> Outcome:
        """One attempt. With `wait` false, a link that is down is a failure instead of something to wait for.

        When cancelled, the file is where it was; what the cloud took meanwhile may be sent again.
        """
        try:
            if found.kind is FileKind.CAPTURE:
                outcome = await self._capture_file(found, wait)
            else:
                outcome = await self._arbitrary_file(found, wait)
        except CloudError as error:
            return await self._failed(found, error)
        except NotConnectedError as error:
            self.last_error = str(error)
            return Outcome.WAITING
        except StorageError as error:
            return self._unreadable(found, error)
        self._memory.pop(found.path, None)
        return outcome

    async def _capture_file(self, found: Found, wait: bool) -> Outcome:
        try:
            content = await asyncio.to_thread(self._read, found.path)
        except DamagedFileError as error:
            await asyncio.to_thread(quarantine, self._files, self.capture_dir, found.path, str(error))
            return Outcome.QUARANTINED
        collector = collector_of(content.metadata)
        acknowledged = self._memory[found.path].acknowledged if found.path in self._memory else 0
        for part in capture_parts(content, self.part_id, acknowledged):
            await self._link.admit(wait=wait)
            await self._send(part)
            self._link.succeeded()
            acknowledged += part.readings
            self._remember(found).acknowledged = acknowledged
            self._ledger.delivered(collector, found.path, part.readings)
        return await self._close_capture_file(found, content, collector)

    def _read(self, path: str) -> Scan:
        return scan(self._files.read(path))

    async def _send(self, part: UnaryPart | StreamPart) -> None:
        if isinstance(part, UnaryPart):
            await self._cloud.upload_capture(part.request)
        else:
            await self._cloud.upload_stream("StreamingDataCaptureUpload", part.messages)

    async def _close_capture_file(self, found: Found, content: Scan, collector: CollectorId) -> Outcome:
        """Every good reading is delivered: the file goes, or to quarantine where some of it was not good."""
        if content.damaged:
            places = ", ".join(f"{start} to {end}" for start, end in content.damaged)
            cause = f"damaged at bytes {places}; the {len(content.readings)} readings around it are delivered"
            await asyncio.to_thread(quarantine, self._files, self.capture_dir, found.path, cause)
            return Outcome.QUARANTINED
        await asyncio.to_thread(self._files.remove, found.path)
        if content.torn_readings:
            self._ledger.lost_in_crash(collector, content.torn_readings)
        return Outcome.DELIVERED

    async def _arbitrary_file(self, found: Found, wait: bool) -> Outcome:
        memory = self._memory.get(found.path)
        if memory is None or not memory.all_acknowledged or memory.modified_ns != found.modified_ns:
            await self._link.admit(wait=wait)
            await self._cloud.upload_stream("FileUpload", lambda: self._file_messages(found))
            self._link.succeeded()
            if not await asyncio.to_thread(self._is_unchanged, found):
                logger.info("%s changed while it was sent; it is sent again whole", printable(found.path))
                return Outcome.WAITING
            self._remember(found).all_acknowledged = True
            self._ledger.file_delivered(found.size_bytes)
        await asyncio.to_thread(self._files.remove, found.path)
        return Outcome.DELIVERED

    def _file_messages(self, found: Found) -> Iterator[bytes]:
        yield file_metadata(found, self.part_id, self.tags)
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
        content = self._read(found.path) if found.kind is FileKind.CAPTURE else None
        quarantine(self._files, self.capture_dir, found.path, f"refused by the cloud: {cause}")
        memory = self._memory.pop(found.path, None)
        if content is None:
            self._ledger.file_quarantined()
        else:
            readings = len(content.readings) - (memory.acknowledged if memory else 0)
            self._ledger.quarantined(collector_of(content.metadata), found.path, readings)
        return Outcome.QUARANTINED

    def _unreadable(self, found: Found, error: StorageError) -> Outcome:
        if error.reason == "no_such_file":
            self._memory.pop(found.path, None)
            if found.kind is FileKind.ARBITRARY:
                self._ledger.file_vanished()
            return Outcome.GONE
        self.last_error = str(error)
        wait_s = self._retry_later(found)
        if self._throttle.allows(str(error)):
            logger.warning("%s; tried again in %.1f s", error, wait_s)
        return Outcome.WAITING

    def _retry_later(self, found: Found) -> float:
        memory = self._remember(found)
        wait_s = memory.backoff.next_s()
        memory.retry_at_s = self._clock.monotonic() + wait_s
        return wait_s

    def _remember(self, found: Found) -> _Memory:
        memory = self._memory.get(found.path)
        if memory is None:
            memory = self._memory[found.path] = _Memory(unit_backoff())
            if len(self._memory) > MAX_REMEMBERED:
                self._memory.popitem(last=False)
        memory.modified_ns = found.modified_ns
        return memory
