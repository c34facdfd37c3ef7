"""The spool: readings that wait on the disk, in `.holdfast/mongo/`, while MongoDB may be away.

The event loop appends to memory, and the spool's thread writes to the newest of a series of files. The writer reads
them through `Spool.reader`, on a thread of its own. Invariants:

- `append` never waits, neither for the disk nor for the reader. Beyond `MAX_PENDING_BYTES` in memory readings are
  dropped and counted as "disk_too_slow".
- A crash of the process costs what was in memory, at most `flush_interval_s`. A power cut costs what the operating
  system had not written, as for the capture files: `wrote` asks for the same sync.
- The disk holds at most `segments.MAX_BYTES`. Beyond it the oldest file is given up, counted as "spool_full".
- Each reading keeps its name (life and number), however often it is read. The order is that of `append`.
- A disk that fails costs readings, which are counted by its reason. The next flush tries again.
- Files are private, and their names end in `.prog`, so that the builtin data manager leaves them alone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import NamedTuple

from ..base import unforeseen
from ..base.clock import Clock
from ..base.filesystem import FileSystem
from ..base.intervals import LONGEST_WAIT_S, due_s
from ..base.log_limit import once
from ..base.noted import Noted
from ..base.threads import SupervisedThread
from ..errors import StorageError
from ..storage.ledger.counts import CollectorId
from . import records
from .records import Header
from .segments import MAX_BYTES, Segment, Segments, SpoolCounts, folder_of, place_of, segment_path
from .spool_reader import SpoolReader

MAX_READING_BYTES = 24 * 1024 * 1024
"""Larger readings are not taken: no form of them fits into a document of MongoDB, whose limit is 16 MiB."""
MAX_PENDING_BYTES = 32 * 1024 * 1024
SEGMENT_BYTES = 1024 * 1024
_WAKE_EARLY_BYTES = 256 * 1024
_JOIN_TIMEOUT_S = 4.0

logger = logging.getLogger(__name__)


class _Pending(NamedTuple):
    origin: CollectorId
    time_ns: int
    message: bytes


class InSpool(NamedTuple):
    """What is in the spool, in memory and on the disk, and not done."""

    readings: int
    size_bytes: int
    oldest_ns: int | None
    """The wall time at which the oldest reading was taken, or earlier; None when none waits."""


class Spool:
    """The spool of one capture folder, with a thread that writes and starts at once. `close` must be called.

    `wrote` is called on that thread after each write.
    """

    def __init__(
        self,
        files: FileSystem,
        clock: Clock,
        capture_dir: str,
        flush_interval_s: float,
        wrote: Callable[[], None],
    ) -> None:
        self.folder = folder_of(capture_dir)
        self._flush_interval_s = flush_interval_s
        self.last_error: Noted | None = None
        self._files = files
        self._clock = clock
        self._wrote = wrote
        self._life = os.urandom(records.LIFE_BYTES)
        self._segments = Segments()
        self._changed = threading.Condition()
        self._pending: list[_Pending] = []
        self._taken: deque[_Pending] = deque()
        """What the thread took of them and has not written yet."""
        self._pending_since_s = 0.0
        """When the first of `_pending` was taken, on the monotonic clock."""
        self._pending_bytes = self._pending_count = 0
        self._flush_wanted = self._stopping = self._ended = False
        self._flushes: list[Future[None]] = []
        self._served: list[Future[None]] = []
        """Those of `_flushes` that end when what was taken is written."""
        self._number = 0
        self._place: int | None = None
        self._current: Segment | None = None
        self._descriptor = -1
        self._origins: dict[CollectorId, int] = {}
        self.reader = SpoolReader(files, self.folder, self._life, self._segments)
        self._thread = SupervisedThread("holdfast-spool", "the spool for MongoDB", self._run)

    @property
    def counts(self) -> SpoolCounts:
        return self._segments.counts

    def counted(self) -> SpoolCounts:
        """Returns a copy of the counts, all as of one moment. May be called from any thread."""
        return self._segments.counted()

    def configure(self, flush_interval_s: float) -> None:
        """Sets how long readings may stay in memory, from now on. May be called from any thread."""
        with self._changed:
            self._flush_interval_s = flush_interval_s
            self._changed.notify()

    def waiting(self) -> InSpool:
        """Returns what waits now. Touches no disk. May be called from any thread."""
        readings, size_bytes, oldest_ns = self._segments.waiting()
        with self._changed:
            if oldest_ns is None and self._pending:
                oldest_ns = self._pending[0].time_ns
            return InSpool(readings + self._pending_count, size_bytes + self._pending_bytes, oldest_ns)

    def append(self, origin: CollectorId, message: bytes) -> None:
        """Takes one reading, a serialized `SensorData`. Never waits for the disk and never raises."""
        size_bytes = len(message) + records.READING_OVERHEAD_BYTES
        reason = ""
        with self._changed:
            if self._stopping:
                reason = "stopped"
            elif size_bytes > MAX_READING_BYTES:
                reason = "too_large"
            elif self._pending_bytes + size_bytes > MAX_PENDING_BYTES:
                reason = "disk_too_slow"
            else:
                self._pending.append(_Pending(origin, self._clock.time_ns(), message))
                self._pending_bytes += size_bytes
                self._pending_count += 1
                early = self._pending_bytes > _WAKE_EARLY_BYTES and not self._flush_wanted
                if len(self._pending) == 1:
                    self._pending_since_s = self._clock.monotonic()
                if early or len(self._pending) == 1:
                    self._flush_wanted |= early
                    self._changed.notify()
        with self._segments.changed:
            self.counts.taken += 1
        if reason:
            self._drop(reason, 1)

    async def flush(self) -> None:
        """Returns when all readings appended so far are handed to the operating system or dropped.

        When cancelled, they are written all the same.
        """
        done: Future[None] = Future()
        with self._changed:
            if self._ended:
                return
            self._flushes.append(done)
            self._changed.notify()
        await asyncio.shield(asyncio.wrap_future(done))

    def close(self) -> None:
        """Writes what is in memory and ends the thread. Safe to call twice.

        Blocks, at most for `_JOIN_TIMEOUT_S`: a disk that stalls for longer may lose what is in memory.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if not self._thread.join(_JOIN_TIMEOUT_S):
            logger.error("the last readings for MongoDB can't be written to disk; MongoDB does not get them")

    def _run(self) -> None:
        while self._taken or self._served or not self._ended:
            if not (self._taken or self._served):  # otherwise an unforeseen error left it
                self._take()
            self._write_all()
            while self._served:
                self._served.pop().set_result(None)
        self._end_segment()

    def _take(self) -> None:
        """Waits until something is to be written, and takes it."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._hurries)
            while not self._hurries and (left_s := self._left_s()) > 0:
                self._changed.wait(min(left_s, LONGEST_WAIT_S))
            self._flush_wanted = False
            self._taken.extend(self._pending)
            self._pending = []
            self._served, self._flushes = self._flushes, []
            self._ended = self._stopping

    def _left_s(self) -> float:
        """Returns the seconds until the next flush is due, counted from when its first reading was taken."""
        return due_s(self._pending_since_s, self._flush_interval_s) - self._clock.monotonic()

    @property
    def _hurries(self) -> bool:
        """Whether the readings in memory should be written now, before the flush interval is over."""
        return self._flush_wanted or bool(self._flushes) or self._stopping

    def _write_all(self) -> None:
        """Writes what was taken from memory; what can't be written is dropped and counted, whatever the reason."""
        taken = self._taken
        while taken:
            size_bytes, part = 0, list[_Pending]()
            while taken and size_bytes <= SEGMENT_BYTES:
                part.append(taken.popleft())
                size_bytes += len(part[-1].message) + records.READING_OVERHEAD_BYTES
            try:
                self._write(part)
            except Exception as error:  # noqa: BLE001 - a StorageError, or something unforeseen
                self._failed(error, len(part))
            with self._changed:
                self._pending_bytes -= size_bytes
                self._pending_count -= len(part)
            if self._current is not None and self._current.end_bytes > SEGMENT_BYTES:
                self._end_segment()
            self._give_up_the_oldest()
            if not taken:
                self._wrote()

    def _write(self, readings: list[_Pending]) -> None:
        segment = self._current or self._begin(readings[0].time_ns)
        encoded, number = [], self._number
        for reading in readings:
            encoded.append(self._encode(reading, number))
            number += 1
        data = b"".join(encoded)
        self._files.write(self._descriptor, segment.path, data)
        self._number = number
        with self._segments.changed:
            if not segment.waiting:
                segment.oldest_ns = readings[0].time_ns
            segment.next_number = number  # before the end: the reader looks at them without the lock
            segment.end_bytes += len(data)
            self._segments.changed.notify_all()

    def _encode(self, reading: _Pending, number: int) -> bytes:
        origin = self._origins.get(reading.origin)
        record = b""
        if origin is None:
            origin = self._origins[reading.origin] = len(self._origins)
            record = records.encode_origin(origin, reading.origin, self._life)
        return record + records.encode_reading(origin, number, reading.time_ns, reading.message, self._life)

    def _begin(self, time_ns: int) -> Segment:
        self._files.make_private_folder(os.path.dirname(self.folder))
        self._files.make_private_folder(self.folder)
        if self._place is None:
            places = (place_of(entry.name) for entry in self._files.list_folder(self.folder))
            self._place = max((place for place in places if place is not None), default=0)
        self._place += 1
        path = segment_path(self.folder, self._place, self._life)
        header = Header(self._life, self._number, time_ns)
        frame = records.encode_header(header)
        descriptor = self._files.create(path)
        try:
            self._files.write(descriptor, path, frame)
        except Exception:
            with suppress(StorageError):
                self._files.close(descriptor, path)
            with suppress(StorageError):
                self._files.remove(path)
            raise
        self._descriptor = descriptor
        self._origins = {}
        size_bytes = len(frame)
        segment = Segment(
            path, self._place, header, size_bytes, size_bytes, size_bytes, header.first, header.first, time_ns
        )
        self._current = segment
        self._segments.add(segment)
        return segment

    def _end_segment(self) -> None:
        segment, self._current = self._current, None
        if segment is None:
            return
        try:
            with suppress(StorageError):
                self._files.close(self._descriptor, segment.path)
        finally:
            with self._segments.changed:
                segment.complete = True
                self._segments.changed.notify_all()

    def _failed(self, error: Exception, lost: int) -> None:
        """Counts readings that a failed write lost, and cuts off what it left in the file.

        If the disk does not allow that either, the file is closed and the next write begins another.
        """
        self._origins = {}
        if (segment := self._current) is not None:
            try:
                self._files.truncate(segment.path, segment.end_bytes)
            except Exception:  # noqa: BLE001 - the first error is the one that is reported
                self._end_segment()
        self._number += lost if self._current is None else 0
        self._drop(error.reason if isinstance(error, StorageError) else unforeseen.REASON, lost)
        if not isinstance(error, StorageError):
            self.last_error = Noted(unforeseen.in_words(error), self._clock.monotonic())
            consequence = f"{lost} readings do not go to MongoDB, and are counted"
            unforeseen.note("the spool for MongoDB", error, consequence)
            return
        self.last_error = Noted(str(error), self._clock.monotonic())
        logger.error(
            "%s; readings do not go to MongoDB, and are counted; the next flush tries again",
            error,
            extra=once(f"{self.folder} {error.reason}"),
        )

    def _give_up_the_oldest(self) -> None:
        while (segment := self._segments.give_up_one()) is not None:
            logger.error(
                "MongoDB is behind by %d MiB, the most that is kept for it: the oldest readings are dropped "
                "there and counted; they still go to the cloud",
                MAX_BYTES >> 20,
            )
            try:
                self._files.remove(segment.path)
            except StorageError as error:
                self.last_error = Noted(str(error), self._clock.monotonic())

    def _drop(self, reason: str, count: int) -> None:
        with self._segments.changed:
            self.counts.dropped[reason] += count
