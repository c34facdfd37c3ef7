"""The completion of finished files: a thread that syncs the disk and gives files their final names.

It is not the disk thread, since a sync may take seconds on a slow card, and readings must not wait for it. One sync
covers the whole file system, files and folders alike. Invariants:

- What was handed to the operating system is on the disk `interval_s` later, as long as the disk keeps up.
- A file gets its final name only after its readings are counted, and after a sync that came after its last byte.
- A file that the disk refuses to rename is tried again every `_RETRY_S`, and by the recovery at the next start.

Bounds: at most `_MAX_STRANDED` files are tried again, and `MAX_JUST_COMPLETED` completed files are remembered.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ...base import unforeseen
from ...base.bounded import NotTaken
from ...base.clock import Clock
from ...base.filesystem import FileSystem
from ...base.intervals import LONGEST_WAIT_S, due_s
from ...base.log_limit import once
from ...base.noted import Noted
from ...base.problems import Kind, Problem
from ...base.threads import SupervisedThread
from ...base.words import number_of
from ...errors import StorageError
from ..ledger.counts import CollectorId
from ..ledger.ledger import Ledger

MAX_JUST_COMPLETED = 10_000
_MANY = 64  # so many finished files make a sync due before its interval is over, since each of them is open
_MAX_STRANDED = 1000
_RETRY_S = 1.0

logger = logging.getLogger(__name__)


class FinishedFile(Protocol):
    """A file to which nothing is written any more, and which does not have its final name yet."""

    path: str
    readings: int
    size_bytes: int

    def complete(self) -> str | None:
        """Gives the file its final name and returns it; removes an empty file and returns None.

        Raises StorageError; it may be called again then.
        """


@dataclass(eq=False)
class _Finished:
    collector: CollectorId
    file: FinishedFile
    counted: bool
    ours: bool
    is_refused: bool = False
    """Whether the disk has refused to give it its name."""


class CompletedFile(NamedTuple):
    """A file that got its final name, and when it did, by the wall clock and by the monotonic one."""

    path: str
    size_bytes: int
    at_ns: int
    at_s: float


class Completion:
    """Completes the finished files of one capture folder. Its thread runs from the construction on; `stop` must be
    called. `tried_again` and `settled` belong to the event loop, the rest to any thread."""

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
        self.last_error: Noted | None = None
        """The last failure of the disk."""
        self._not_synced: StorageError | None = None
        """Why the last sync failed."""
        self._not_named: StorageError | None = None
        """Why the disk refused the last file that it did not give its name."""
        self.just_completed: NotTaken[CompletedFile] = NotTaken(MAX_JUST_COMPLETED)
        """The files that got their final names."""
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
        self._thread = SupervisedThread("holdfast-sync-disk", "syncing the disk", self._run)

    @property
    def problems(self) -> Iterator[Problem]:
        """What the disk refuses now. Safe to call from any thread."""
        error, files = self._not_named, sum(each.is_refused for each in set(self._waiting()))
        if error is not None and files:
            what = f"{error}; finished files are not sent before the disk gives them their names"
            cost = f"{number_of(files, 'file')} waiting"
            yield Problem(Kind.DISK, what, error.remedy, cost, f"{self._capture_dir} names")
        if (error := self._not_synced) is not None:
            what = f"{error}; a power cut now may cost what was captured since the last good sync of the disk"
            yield Problem(Kind.DISK, what, error.remedy, key=f"{self._capture_dir} sync")

    def configure(self, interval_s: float) -> None:
        """Sets the longest time that anything waits for a sync. A shorter interval
        holds after the wait that has begun."""
        self.interval_s = interval_s

    def wrote(self) -> None:
        """Notes that something was handed to the operating system, and is to be synced within `interval_s`."""
        with self._condition:
            if not self._unsynced:
                self._unsynced_since_s = self._clock.monotonic()
                self._condition.notify()
            self._unsynced = True

    def hand(self, collector: CollectorId, file: FinishedFile, *, counted: bool = False, ours: bool = True) -> None:
        """Takes a finished file, which gets its final name after the next sync, within `interval_s`.

        `counted` says that the ledger has counted its readings already, `ours` that Holdfast wrote it.
        """
        with self._condition:
            self.wrote()
            self._handed.append(_Finished(collector, file, counted, ours))
            if len(self._handed) >= _MANY:
                self._condition.notify()

    def holds(self, path: str) -> bool:
        """Whether the file at `path` waits for its final name."""
        return any(finished.file.path == path for finished in self._waiting())

    @property
    def waiting(self) -> int:
        """How many files wait for their final names."""
        return len(self._waiting())

    def collectors(self) -> set[CollectorId]:
        """Returns the collectors whose files wait for their final names."""
        return {finished.collector for finished in self._waiting()}

    def _waiting(self) -> list[_Finished]:
        with self._condition:
            return [*self._handed, *self._working, *self._stranded]

    async def tried_again(self) -> None:
        """Returns when the files that the disk refused to rename have been tried again. When cancelled, they still
        are."""
        if self._stranded:
            await self.settled()

    async def settled(self) -> None:
        """Returns when every file that was handed over so far, or refused before, has been tried. When cancelled,
        they still are."""
        done: Future[None] = Future()
        with self._condition:
            if self._ended:
                return
            self._retry()
            self._settled.append(done)
            self._condition.notify()
        await asyncio.shield(asyncio.wrap_future(done))

    def stop(self, timeout_s: float) -> bool:
        """Ends the thread after all files have been tried; returns False when that took longer than `timeout_s`.
        Blocks."""
        with self._condition:
            self._stopping = True
            self._retry()
            self._condition.notify()
        return self._thread.join(timeout_s)

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
                self._name_all()
            finally:
                with self._condition:
                    self._handed[:0] = self._working  # what an unforeseen error left
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
        """Returns the seconds until the next sync or retry is due."""
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
        """Counts the readings of the files in work, before sync can find any of them."""
        for finished in self._working:
            if not finished.counted:
                self._ledger.note_completing(finished.collector, finished.file.path, finished.file.readings)
                finished.counted = True
        self._ledger.save()

    def _sync(self) -> None:
        with self._condition:
            self._unsynced = False
        renamed = len(self._renamed)
        try:
            self._files.sync(self._capture_dir)
        except StorageError as error:
            self.last_error, self._not_synced = Noted(str(error), self._clock.monotonic()), error
            logger.error(
                "%s; a power cut now may cost what was captured since the last good sync",
                error,
                extra=once(f"{self._capture_dir} {error.reason}"),
            )
            self.wrote()  # so that it is tried again
        except Exception:
            self.wrote()
            raise
        else:
            self._not_synced = None
        self._ledger.note_completed(self._renamed[:renamed])
        del self._renamed[:renamed]

    def _name_all(self) -> None:
        """Gives the files in work their final names. One that fails stops no other; an unforeseen error is raised
        at the end, and leaves its file in work."""
        failure: Exception | None = None
        for finished in list(self._working):
            try:
                self._name(finished)
            except Exception as error:  # noqa: BLE001 - it is raised below
                self.last_error, failure = Noted(unforeseen.in_words(error), self._clock.monotonic()), error
                continue
            with self._condition:
                self._working.remove(finished)
        if failure is not None:
            raise failure

    def _strand(self, finished: _Finished) -> None:
        """Keeps a file that could not be named, to try again."""
        with self._condition:
            if len(self._stranded) < _MAX_STRANDED:
                self._stranded.append(finished)
                self._retry_at_s = self._clock.monotonic() + _RETRY_S

    def _name(self, finished: _Finished) -> None:
        file = finished.file
        now_ns, now_s = self._clock.time_ns(), self._clock.monotonic()
        try:
            path = file.complete()
        except StorageError as error:
            self.last_error = Noted(str(error), self._clock.monotonic())
            if error.reason == "no_such_file":
                self._ledger.count_vanished(finished.collector, file.readings, ours=finished.ours)
                self._renamed.append(file.path)
                logger.error(
                    "%s: another program or a person removed it; its %d readings are lost", error, file.readings
                )
                return
            self._not_named, finished.is_refused = error, True
            self._strand(finished)
            logger.error(
                "%s; it is tried again, at the latest by the recovery at the next start",
                error,
                extra=once(self._capture_dir),
            )
        else:
            self._renamed.append(file.path)
            if path is not None:
                self.just_completed.add(CompletedFile(path, file.size_bytes, now_ns, now_s))
