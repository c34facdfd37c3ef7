"""The disk thread: takes readings from the event loop and hands them to the operating system.

One thread serves all collectors of a capture folder. Invariants:

- The event loop only appends to memory: a slow or stalled disk never holds it up.
- At most `MAX_PENDING_BYTES` wait in memory. Beyond that, readings are dropped, counted as "disk_too_slow".
- A reading waits at most `flush_interval_s` before it is handed over.
- A write that fails drops its readings, counted by reason, and the next flush tries again: a disk never stops a
  collector. `Losses` keeps account of what that costs.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

from viam.proto.app.datasync import DataCaptureMetadata

from ...base import unforeseen
from ...base.clock import Clock
from ...base.filesystem import Buffer, FileSystem, occupied_bytes
from ...base.intervals import LONGEST_WAIT_S, due_s
from ...base.noted import Noted
from ...base.threads import SupervisedThread
from ...errors import StorageError
from .. import layout
from ..capture_files.capture_file import CaptureFile
from ..capture_files.frames import FrameEncoder
from ..ledger.counts import collector_of
from ..ledger.ledger import Ledger
from .completion import Completion
from .dropped import Dropped
from .losses import Losses, WhyDropped, why_dropped

MAX_PENDING_BYTES = 48 * 1024 * 1024
"""Room for one answer of 32 MiB, the largest that a module's resource can give, beside the others' answers."""
_TOO_SLOW = WhyDropped(
    "disk_too_slow",
    f"the disk takes readings too slowly: {MAX_PENDING_BYTES >> 20} MiB wait in memory",
    "capture less, or use a faster disk",
)
_WAKE_EARLY_BYTES = 1024 * 1024
_READING_BYTES, _PART_BYTES = 1024, 256
"""What a reading with a payload, and each part of it, takes in memory besides its bytes."""
DEFAULT_FSYNC_INTERVAL_S = 5.0
END_TIMEOUT_S = 6.5
"""How long `close` waits for a disk that stalls, in total: viam-server gives a module ten seconds to end."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _BinaryReading:
    """A reading with a payload: `parts` together are its serialized `SensorData`."""

    parts: Sequence[Buffer]
    mime_type: str

    def __len__(self) -> int:
        """Returns how much memory the reading takes."""
        return sum(map(len, self.parts)) + _READING_BYTES + _PART_BYTES * len(self.parts)


Reading = TypeVar("Reading", bytes, _BinaryReading)


class Appender:
    """Takes the readings of one collector. `append` and `append_binary` belong to the event loop, the rest to the
    disk thread."""

    def __init__(
        self, writer: DiskWriter, folder: str, metadata: DataCaptureMetadata, max_bytes: int, keep_files: int
    ) -> None:
        self.finished: deque[CaptureFile] = deque(maxlen=keep_files)
        """The newest finished files."""
        self.collector = collector_of(metadata)
        self.folder = folder
        self.max_bytes = max_bytes
        self.file: CaptureFile | None = None
        self.noted_bytes = 0
        """How much of the disk `file` takes up, as far as `DiskWriter.written_bytes` knows."""
        self.closed = False
        self.dropped = Dropped()
        self.refused_for = ""
        """Why the disk refused what was written last; empty if it took that. Set on the disk thread."""
        self.frames: deque[bytes] = deque()
        """The tabular readings that wait for the disk, as frames."""
        self.binary_readings: deque[_BinaryReading] = deque()
        """The binary readings that wait for the disk."""
        self.encoder = FrameEncoder(metadata)
        self._metadata = metadata
        self._writer = writer

    def append(self, message: bytes) -> None:
        """Takes one serialized `SensorData`. Never blocks and never raises."""
        self._writer.take(self, self.frames, self.encoder.encode(message))

    def append_binary(self, head: bytes, payload: Sequence[Buffer], mime_type: str) -> None:
        """Takes one `SensorData`: `head` is its serialization up to the payload. Never blocks and never raises.

        It becomes a file of its own, with `mime_type` in its header. The payload is kept as it is, not copied.
        """
        self._writer.take(self, self.binary_readings, _BinaryReading((head, *payload), mime_type))

    def encoder_of(self, mime_type: str) -> FrameEncoder:
        """Returns the encoder for a file with one payload of this type."""
        metadata = DataCaptureMetadata(mime_type=mime_type)
        metadata.MergeFrom(self._metadata)
        return FrameEncoder(metadata)


class DiskWriter:
    """The disk thread and its appenders. The thread runs from the construction on. `close` must be called; readings
    that are appended after it are dropped."""

    def __init__(
        self,
        files: FileSystem,
        clock: Clock,
        ledger: Ledger,
        capture_dir: str,
        flush_interval_s: float,
        fsync_interval_s: float = DEFAULT_FSYNC_INTERVAL_S,
    ) -> None:
        self._files = files
        self._clock = clock
        self._ledger = ledger
        self._capture_dir = capture_dir
        self.flush_interval_s = flush_interval_s
        self._condition = threading.Condition()
        self._jobs: deque[Callable[[], None]] = deque()
        self._appenders: set[Appender] = set()
        self._pending_bytes = 0
        self._unwritten_since_s: float | None = None
        """When the oldest reading was taken that is not written yet."""
        self._written_since_s = clock.monotonic()
        """When the oldest reading was taken that is being written. Belongs to the disk thread."""
        self._early = False
        self._no_room_bytes = 0
        """The size of the last reading, if it found no room."""
        self._stopping = False
        self._ended = False
        self._ends_at_s: float | None = None
        self.completion = Completion(files, clock, ledger, capture_dir, fsync_interval_s)
        self.losses = Losses(clock, capture_dir, self._is_stuck)
        self._last_error: Noted | None = None
        self.written_bytes = 0
        """How much of the disk all files took up together that were written, those in progress included. Never
        falls."""
        self._thread = SupervisedThread("holdfast-disk", "the disk thread", self._run)

    def configure(self, flush_interval_s: float, fsync_interval_s: float) -> None:
        """Makes these intervals hold. A shorter interval holds after the wait that has begun."""
        self.flush_interval_s = flush_interval_s
        self.completion.configure(fsync_interval_s)

    @property
    def last_error(self) -> Noted | None:
        """The last failure of the disk."""
        return self._last_error or self.completion.last_error

    @property
    def pending_bytes(self) -> int:
        """How many bytes in memory are not yet handed to the operating system."""
        return self._pending_bytes

    def open(self, metadata: DataCaptureMetadata, max_bytes: int, keep_files: int = 0) -> Appender:
        """Returns an appender for one collector, which makes its first file when its first reading is written,
        begins a new one when a file is larger than `max_bytes`, and remembers the last `keep_files` finished
        files."""
        folder = layout.collector_folder(self._capture_dir, *collector_of(metadata))
        appender = Appender(self, folder, metadata, max_bytes, keep_files)
        with self._condition:
            self._appenders.add(appender)
        return appender

    def is_open(self, path: str) -> bool:
        """Whether `path` is a file that is being written here or waits for its final name. Safe to call from any
        thread."""
        with self._condition:
            written = any(a.file is not None and a.file.path == path for a in self._appenders)
        return written or self.completion.holds(path)

    @property
    def unfinished_files(self) -> int:
        """How many files with readings do not have their final names yet."""
        with self._condition:
            written = sum(a.file is not None and a.file.readings > 0 for a in self._appenders)
        return written + self.completion.waiting

    def take(self, appender: Appender, waiting: deque[Reading], reading: Reading) -> None:
        """Puts a reading of `appender` at the end of `waiting`, for the next flush. Drops and counts it when memory
        is full or the appender takes nothing more."""
        self._ledger.count_captured(appender.collector)
        size_bytes = len(reading)
        with self._condition:
            full = self._pending_bytes + size_bytes > MAX_PENDING_BYTES
            self._no_room_bytes = size_bytes if full else 0
            refused = full or self._stopping or appender.closed
            if not refused:
                self._pending_bytes += size_bytes
                waiting.append(reading)
                early = self._pending_bytes > _WAKE_EARLY_BYTES and not self._early
                if early or self._unwritten_since_s is None:
                    if self._unwritten_since_s is None:
                        self._unwritten_since_s = self._clock.monotonic()
                    self._early = early
                    self._condition.notify()
        if refused:
            self._drop(appender, _TOO_SLOW.reason if full else "stopped", 1, self._clock.monotonic())
            if full:
                self.losses.note(_TOO_SLOW, appender.collector, 1)

    def _drop(self, appender: Appender, reason: str, readings: int, since_s: float) -> None:
        self._ledger.count_dropped(appender.collector, reason, readings)
        appender.dropped.add(reason, readings, since_s, self._clock.monotonic())

    def _is_stuck(self, reason: str) -> bool:
        """Whether readings are still dropped for `reason` when they come."""
        with self._condition:
            if reason == _TOO_SLOW.reason:
                return bool(self._no_room_bytes) and self._pending_bytes + self._no_room_bytes > MAX_PENDING_BYTES
            return any(appender.refused_for == reason for appender in self._appenders)

    async def flush(self) -> None:
        """Returns when everything appended so far is handed to the operating system or dropped. When cancelled,
        that still happens."""
        await self._do(self._flush_all)
        await self.completion.tried_again()

    async def complete(self, appenders: Collection[Appender] | None = None) -> None:
        """Returns when all files with readings, or those of `appenders`, have their final names or the disk refused
        them. When cancelled, they are still completed."""
        await self._do(lambda: self._complete(appenders))
        await self.completion.settled()

    async def release(self, appenders: Collection[Appender]) -> None:
        """Completes the files of `appenders` like `complete`; the appenders take nothing more."""
        await self._do(lambda: self._release(appenders))
        await self.completion.settled()

    async def close(self) -> bool:
        """Completes all files and ends both threads; returns False when the disk prevented that for
        `END_TIMEOUT_S`. Safe to call twice."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        if self._ends_at_s is None:
            self._ends_at_s = time.monotonic() + END_TIMEOUT_S
        return await asyncio.to_thread(self._end, self._ends_at_s)

    def _end(self, ends_at_s: float) -> bool:
        if self._thread.join(ends_at_s - time.monotonic()) and self.completion.stop(ends_at_s - time.monotonic()):
            return True
        logger.error("the last readings can't be written to disk; the next start completes what was written")
        return False

    async def _do(self, job: Callable[[], None]) -> None:
        """Runs `job` on the disk thread. When cancelled, the job is still done."""
        done: Future[None] = Future()

        def run() -> None:
            try:
                job()
            except BaseException as error:
                done.set_exception(error)
                raise
            done.set_result(None)

        with self._condition:
            if self._ended:
                return
            self._jobs.append(run)
            self._condition.notify()
        await asyncio.shield(asyncio.wrap_future(done))

    def _run(self) -> None:
        while True:
            with self._condition:
                while not (self._jobs or self._stopping or self._early) and (left_s := self._left_s()) > 0:
                    self._condition.wait(left_s)
                job = self._jobs.popleft() if self._jobs else None
                stopping = self._stopping
            if job is not None:
                job()
                continue
            if stopping:
                self._complete(None)
                with self._condition:
                    self._ended = not self._jobs
                if self._ended:
                    return
                continue
            if self._early or self._left_s() <= 0:
                self._flush_all()

    def _left_s(self) -> float:
        """Returns the seconds until the next flush, counted from when the oldest reading was taken."""
        since_s = self._unwritten_since_s
        if since_s is None:
            return LONGEST_WAIT_S
        return min(due_s(since_s, self.flush_interval_s) - self._clock.monotonic(), LONGEST_WAIT_S)

    def _flush_all(self) -> None:
        with self._condition:
            self._begin_to_write()
            self._early = False
            appenders = list(self._appenders)
        for appender in appenders:
            self._write(appender)

    def _begin_to_write(self) -> None:
        if self._unwritten_since_s is not None:
            self._written_since_s, self._unwritten_since_s = self._unwritten_since_s, None

    def _write(self, appender: Appender) -> None:
        """Writes what waits at `appender`. What can't be written is dropped and counted, whatever the reason. One
        appender never stops the others."""
        try:
            self._write_frames(appender)
            self._write_binary_readings(appender)
        except Exception as error:  # noqa: BLE001 - the last resort
            unforeseen.note("the disk thread", error, "what still waits is written with the next readings")

    def _write_binary_readings(self, appender: Appender) -> None:
        """Writes each binary reading to a file of its own, which is finished with it. One that fails stops no
        other."""
        for _ in range(len(appender.binary_readings)):
            reading = appender.binary_readings.popleft()
            try:
                self._finish_file(appender)  # one that an unforeseen error left
                encoder = appender.encoder_of(reading.mime_type)
                appender.file = CaptureFile.create(
                    self._files, appender.folder, self._clock.time_ns(), encoder.header_frame
                )
                appender.file.append_whole(encoder.encode_parts(reading.parts))
                appender.refused_for = ""
            except Exception as error:  # noqa: BLE001 - a StorageError, or something unforeseen
                self._report(appender, error, 1)
            with self._condition:
                self._pending_bytes -= len(reading)
            self._finish_file(appender)

    def _write_frames(self, appender: Appender) -> None:
        frames = [appender.frames.popleft() for _ in range(len(appender.frames))]
        if not frames:
            return
        with self._condition:
            self._pending_bytes -= sum(map(len, frames))
        done = 0
        try:
            while done < len(frames):
                if appender.file is None:
                    appender.file = CaptureFile.create(
                        self._files, appender.folder, self._clock.time_ns(), appender.encoder.header_frame
                    )
                end = _fitting(frames, done, appender.max_bytes - appender.file.size_bytes)
                before = appender.file.readings
                try:
                    appender.file.append(frames[done:end])
                finally:
                    done += appender.file.readings - before
                if appender.file.size_bytes > appender.max_bytes:
                    self._finish_file(appender)
            appender.refused_for = ""
        except Exception as error:  # noqa: BLE001 - a StorageError, or something unforeseen
            self._report(appender, error, len(frames) - done)
            self._finish_file(appender)
        self._note_size(appender)
        self.completion.wrote()

    def _complete(self, appenders: Collection[Appender] | None) -> None:
        if appenders is None:
            with self._condition:
                self._begin_to_write()
                appenders = list(self._appenders)
        for appender in appenders:
            self._write(appender)
            self._finish_file(appender)

    def _release(self, appenders: Collection[Appender]) -> None:
        with self._condition:
            for appender in appenders:
                appender.closed = True
        self._complete(appenders)
        with self._condition:
            self._appenders.difference_update(appenders)

    def _finish_file(self, appender: Appender) -> None:
        if appender.file is not None:
            self._note_size(appender)
            self.completion.hand(appender.collector, appender.file)
            appender.finished.append(appender.file)
            appender.file, appender.noted_bytes = None, 0

    def _note_size(self, appender: Appender) -> None:
        """Adds what the file in progress has grown by. One without readings does not count: it is removed."""
        if appender.file is not None and appender.file.readings > 0:
            size_bytes = occupied_bytes(appender.file.size_bytes)
            self.written_bytes += size_bytes - appender.noted_bytes
            appender.noted_bytes = size_bytes

    def _report(self, appender: Appender, error: Exception, lost: int) -> None:
        cause = why_dropped(error)
        self._last_error = Noted(cause.why, self._clock.monotonic())
        appender.refused_for = cause.reason
        self._drop(appender, cause.reason, lost, self._written_since_s)
        if not isinstance(error, StorageError):
            unforeseen.note("writing readings to the disk", error, "its readings are dropped, others go on")
        self.losses.note(cause, appender.collector, lost)


def _fitting(frames: list[bytes], start: int, room_bytes: int) -> int:
    """Returns the end of the frames from `start` on that a file takes: the one that exceeds `room_bytes` is the
    last."""
    for end in range(start, len(frames)):
        room_bytes -= len(frames[end])
        if room_bytes < 0:
            return end + 1
    return len(frames)
