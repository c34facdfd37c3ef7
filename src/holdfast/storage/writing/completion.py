"""The thread that makes what was written survive a power cut, and gives complete files their final names.

Beside the disk thread, since a sync may take seconds on a slow card and readings must not wait for it. One sync is
for everything on the file system, files and folders alike. Invariants:

- What was handed to the operating system is on the disk `interval_s` later, while the disk takes it.
- A file has its final name only after a sync that came after its last byte, and after its readings are counted.
- A file that the disk refuses to rename is tried again each `_RETRY_S`, and by the recovery of the next start.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from ...base.clock import Clock
from ...base.filesystem import FileSystem
from ...base.intervals import LONGEST_WAIT_S, due_s
from ...base.log_limit import once
from ...errors import StorageError
from ..ledger.counts import CollectorId
from ..ledger.ledger import Ledger

_MANY = 64  # files that wait for their names make a sync due before its interval is over: each is open
_MAX_STRANDED = 1000
_RETRY_S = 1.0

logger = logging.getLogger(__name__)


class FinishedFile(Protocol):
    """A file in progress to which nothing is written any more."""

    path: str
    readings: int

    def complete(self) -> str | None:
        """Gives it its final name, which is returned. On StorageError it may be called again."""


@dataclass
class _Finished:
    collector: CollectorId
    file: FinishedFile
    counted: bool
    ours: bool


class Completion:
    """Files of one capture folder on their way to their final names. `stop` must be called."""

    def __init__(
        self,
        files: FileSystem,
        clock: Clock,
        ledger: Ledger,
        capture_dir: str,
        interval_s: float,
    ) -> None:
        self._files = files
        self._clock = clock
        self._ledger = ledger
        self._capture_dir = capture_dir
        self.interval_s = interval_s
        self.last_error: str | None = None
        self.just_completed = JustCompleted()
        """The files that have their final names."""
        self._condition = threading.Condition()
        self._handed: list[_Finished] = []
        self._working: list[_Finished] = []
        self._stranded: list[_Finished] = []
        self._renamed: list[str] = []
        self._unsynced = False
        self._unsynced_since_s = 0.0
        self._retry_at_s = 0.0
        self._settled: list[Future[None]] = []
        self._stopping = False
        self._ended = False
        self._thread = threading.Thread(target=self._run_for_ever, name="holdfast-sync-disk", daemon=True)
        self._thread.start()

    def configure(self, interval_s: float) -> None:
        """Makes this interval hold. A wait that has begun keeps its end."""
        self.interval_s = interval_s

    def wrote(self) -> None:
        """Something was handed to the operating system."""
        with self._condition:
            if not self._unsynced:
                self._unsynced_since_s = self._clock.monotonic()
                self._condition.notify()
            self._unsynced = True

    def hand(self, collector: CollectorId, file: FinishedFile, *, counted: bool = False, ours: bool = True) -> None:
        """Takes a file to which nothing is written any more; it gets its name after the next sync, within
        `interval_s`. `counted` when the ledger knows its readings, `ours` when we wrote it."""
        with self._condition:
            self._handed.append(_Finished(collector, file, counted, ours))
            self.wrote()
            if len(self._handed) >= _MANY:
                self._condition.notify()

    def holds(self, path: str) -> bool:
        """Whether the file at `path` waits for its final name."""
        return any(finished.file.path == path for finished in self._waiting())

    def collectors(self) -> set[CollectorId]:
        """Whose files wait for their final names."""
        return {finished.collector for finished in self._waiting()}

    def _waiting(self) -> list[_Finished]:
        with self._condition:
            return [*self._handed, *self._working, *self._stranded]

    async def tried_again(self) -> None:
        """Returns when the files that the disk refused to rename have been tried again."""
        if self._stranded:
            await self.settled()

    async def settled(self) -> None:
        """Returns when every file that was handed over so far, or refused before, has been tried."""
        done: Future[None] = Future()
        with self._condition:
            if self._ended:
                return
            self._retry()
            self._settled.append(done)
            self._condition.notify()
        await asyncio.shield(asyncio.wrap_future(done))

    def stop(self, timeout_s: float) -> bool:
        """Ends the thread when all files have been tried; False when the disk does not let it. Blocks."""
        with self._condition:
            self._stopping = True
            self._retry()
            self._condition.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run_for_ever(self) -> None:
        while not self._ended:
            try:
                self._run()
            except Exception:  # the last resort: everything foreseen is a StorageError and handled
                logger.exception("syncing the disk failed unexpectedly; it continues")

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._is_urgent() and (left := self._left_s()) > 0:
                    self._condition.wait(min(left, LONGEST_WAIT_S))
                if self._stranded and self._clock.monotonic() >= self._retry_at_s:
                    self._retry()
                settled, self._settled = self._settled, []
                self._working, self._handed = self._handed, []
                stopping = self._stopping
            try:
                self._count()
                if self._working or (self._unsynced and (stopping or self._is_due())):
                    self._sync()
                for finished in self._working:
                    self._name(finished)
            finally:
                with self._condition:
                    self._working = []
                    self._ended = stopping and not self._handed
                    settled += self._settled if self._ended else []
                for done in settled:
                    done.set_result(None)
            if self._ended:
                return

    def _is_urgent(self) -> bool:
        return len(self._handed) >= _MANY or bool(self._settled) or self._stopping

    def _is_due(self) -> bool:
        return self._clock.monotonic() >= due_s(self._unsynced_since_s, self.interval_s)

    def _left_s(self) -> float:
        """Seconds until something is to be done without being told."""
        next_s = self._clock.monotonic() + LONGEST_WAIT_S
        if self._unsynced:
            next_s = due_s(self._unsynced_since_s, self.interval_s)
        if self._stranded:
            next_s = min(next_s, self._retry_at_s)
        return next_s - self._clock.monotonic()

    def _retry(self) -> None:
        self._handed += self._stranded
        self._stranded = []

    def _count(self) -> None:
        """Counts the readings of the files at hand, before any of them can be found by sync."""
        for finished in self._working:
            if not finished.counted:
                self._ledger.note_completing(finished.collector, finished.file.path, finished.file.readings)
                finished.counted = True
        self._ledger.save()

    def _sync(self) -> None:
        with self._condition:
            self._unsynced = False
        renamed, self._renamed = self._renamed, []
        try:
            self._files.sync(self._capture_dir)
        except StorageError as error:
            self.last_error = str(error)
            logger.error(
                "%s; a power cut now may cost what was captured since the last good sync",
                error,
                extra=once(f"{self._capture_dir} {error.reason}"),
            )
        self._ledger.note_completed(renamed)

    def _name(self, finished: _Finished) -> None:
        file = finished.file
        try:
            path = file.complete()
        except StorageError as error:
            self.last_error = str(error)
            if error.reason == "no_such_file":
                self._ledger.count_vanished(finished.collector, file.readings, ours=finished.ours)
                self._renamed.append(file.path)
                logger.error("%s: somebody removed it; its %d readings are lost", error, file.readings)
                return
            with self._condition:
                if len(self._stranded) < _MAX_STRANDED:
                    self._stranded.append(finished)
                    self._retry_at_s = self._clock.monotonic() + _RETRY_S
            logger.error(
                "%s; it is tried again, at the latest by the recovery at the next start",
                error,
                extra=once(self._capture_dir),
            )
        else:
            self._renamed.append(file.path)
            if path is not None:
                self.just_completed.add(path)


MAX_JUST_COMPLETED = 10_000


class JustCompleted:
    """Paths in the order of their completion, the last `MAX_JUST_COMPLETED` of them. Thread-safe."""

    def __init__(self) -> None:
        self._paths: deque[str] = deque(maxlen=MAX_JUST_COMPLETED)

    def __len__(self) -> int:
        return len(self._paths)

    def add(self, path: str) -> None:
        self._paths.append(path)

    def take(self) -> list[str]:
        """What has been added since the last time."""
        return [self._paths.popleft() for _ in range(len(self._paths))]
