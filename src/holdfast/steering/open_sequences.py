"""The open sequences: periods of time, chosen by the control sensor or a user, whose data the cloud groups.

Belongs to the event loop. One task writes each change to the disk on a worker thread, and notes in the files of the
open sequences every `ALIVE_S` that they are still open. Invariants:

- A sequence's file is at most `ALIVE_S` old, if the disk takes it. After a crash the sequence ends at the time that
  its file notes (`finish_left`).
- When the service goes away (`suspend`), each sequence is on the disk as ended, since no successor may come. It
  continues when one comes (`resume`) before its file was delivered.
- Open sequences, and those on the disk, are bounded in number and size (`sequence_limits`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, TypeVar

from ..base.clock import Clock, first_done
from ..base.filesystem import FileSystem
from ..base.log_limit import once
from ..base.tasks import begin, supervised, unheard
from ..errors import BusyError, RequestError, StorageError
from ..storage.sequence_files import FilesKept, Sequence, SequenceFiles
from .pair import Pair
from .sequence_limits import SequenceLimits

ALIVE_S = 5.0
_RETRY_S = 1.0
_OWNED_POLL_S = 0.5

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True)
class SequenceSpec:
    """The resources and tags of a sequence. Their order has no meaning."""

    resources: tuple[Pair, ...]
    tags: tuple[str, ...]

    @property
    def key(self) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
        """The same for all that differ in their order only."""
        return tuple(sorted(self.resources)), tuple(sorted(self.tags))


class _Phase(Enum):
    OPEN = "open"
    SUSPENDED = "suspended"
    """On the disk as ended. Continues when a successor of the service comes."""
    RESUMED = "resumed"
    """Open again, unless its file was delivered while it was suspended."""
    ENDED = "ended"


@dataclass(eq=False)
class OpenSequence:
    """A sequence of this process, until its end is on the disk."""

    identity: str
    sequence: Sequence
    by_sensor: bool
    phase: _Phase = _Phase.OPEN
    saved: bool = field(default=False, repr=False)
    """Whether its file has its last change."""
    saved_s: float = field(default=0.0, repr=False)
    """The monotonic time of the last write of its file."""
    at: SequenceFiles | None = field(default=None, repr=False)
    """The folder of its file; None before the first write."""
    says_ended: bool = field(default=False, repr=False)
    """Whether its file was last written as ended."""
    size_bytes: int = field(default=0, repr=False)


class OpenSequences:
    """See the module's docstring. `place` comes before the first sequence; `close` must be called."""

    def __init__(self, files: FileSystem, clock: Clock) -> None:
        self._disk = files
        self._clock = clock
        self._known: dict[str, OpenSequence] = {}
        self._files: SequenceFiles | None = None
        self._owned: Callable[[], bool] = lambda: False
        self._finished_left = False
        self._limits = SequenceLimits()
        self._recount = True
        """Whether the next pass counts what is on the disk."""
        self._changed = asyncio.Event()
        self._saved = asyncio.Condition()
        self._passes = 0
        self._writing = False
        self._work: asyncio.Future[Any] | None = None
        """The disk work of a thread, under way or done last."""
        self._task: asyncio.Task[None] | None = None

    @property
    def open(self) -> list[OpenSequence]:
        """The sequences that have not ended, oldest first, suspended ones too."""
        return [each for each in self._known.values() if each.phase is not _Phase.ENDED]

    def is_open(self, path: str) -> bool:
        """Returns whether the sequence in the file at `path` may continue, so that sync must not send the file."""
        known = self._known.get(os.path.splitext(os.path.basename(path))[0])
        return known is not None and known.phase is not _Phase.ENDED

    def place(self, capture_dir: str, owned: Callable[[], bool]) -> None:
        """Makes `capture_dir` the folder of all files, those of open sequences too, and starts the task.

        `owned` tells whether this process holds the folder's lock. As soon as it does, the task ends the sequences
        that a crash left there.
        """
        if self._files is None or self._files.capture_dir != capture_dir:
            self._files, self._finished_left = SequenceFiles(self._disk, capture_dir), False
            self._recount = True
            for known in self._known.values():
                known.saved = False
        self._owned = owned
        if self._task is None:
            self._task = begin(supervised("sequences", self._run), "holdfast-sequences")
        self._changed.set()

    def start(self, spec: SequenceSpec, *, by_sensor: bool = False) -> str:
        """Starts a sequence now and returns its id.

        Raises CommandError when it is too large, and BusyError when there are too many already.
        """
        identity = str(uuid.uuid4())
        sequence = Sequence(spec.resources, spec.tags, self._clock.time_ns())
        open_bytes = sum(known.size_bytes for known in self._known.values())
        try:
            size_bytes = self._limits.admit(sequence, len(self._known), open_bytes)
        except BusyError:
            self._recount = True  # some may have been sent meanwhile
            self._changed.set()
            raise
        self._known[identity] = OpenSequence(identity, sequence, by_sensor, size_bytes=size_bytes)
        self._changed.set()
        logger.info("the sequence %s of %s starts", identity, _in_words(sequence))
        return identity

    def end(self, identity: str) -> Sequence | None:
        """Ends a sequence now and returns it; None when none with this id is open."""
        known = self._known.get(identity)
        if known is None or known.phase is _Phase.ENDED:
            return None
        known.phase, known.saved = _Phase.ENDED, False
        known.sequence = _until(known.sequence, self._clock.time_ns())
        self._recount = True  # what was sent since is no longer there
        self._changed.set()
        logger.info("the sequence %s of %s ends", identity, _in_words(known.sequence))
        return known.sequence

    def follow(self, specs: Iterable[SequenceSpec]) -> None:
        """Starts and ends sequences so that those of the sensor are exactly `specs`."""
        wanted: dict[object, SequenceSpec] = {}
        for spec in specs:
            wanted.setdefault(spec.key, spec)
        for known in self.open:
            if known.by_sensor:
                key = SequenceSpec(known.sequence.resources, known.sequence.tags).key
                if wanted.pop(key, None) is None:
                    self.end(known.identity)
        for spec in wanted.values():
            try:
                self.start(spec, by_sensor=True)
            except RequestError as error:
                logger.error("a sequence of the capture control sensor does not start: %s", error, extra=once())

    def end_all(self) -> None:
        for known in self.open:
            self.end(known.identity)

    async def suspend(self) -> None:
        """Suspends every sequence, since the service goes away. Returns as `settled` does."""
        now_ns = self._clock.time_ns()
        for known in self.open:
            known.phase, known.saved = _Phase.SUSPENDED, False
            known.sequence = _until(known.sequence, now_ns)
        await self.settled()

    def resume(self) -> None:
        """Continues the suspended sequences, since a service came."""
        for known in self.open:
            if known.phase is _Phase.SUSPENDED:
                known.phase, known.saved = _Phase.RESUMED, False
        self._changed.set()

    async def settled(self) -> None:
        """Returns when every change up to now is on the disk, or the disk has refused it, or the task has ended."""
        if self._task is None:
            return
        passes = self._passes + (2 if self._writing else 1)
        self._recount = True
        self._changed.set()
        await first_done(self._passed(passes), asyncio.wait([self._task]))

    async def _passed(self, passes: int) -> None:
        async with self._saved:
            await self._saved.wait_for(lambda: self._passes >= passes)

    async def close(self) -> None:
        """Ends every sequence, and returns when the disk has that, or refused it, and the task has ended.

        When cancelled, it does not wait for the disk, and ends the task all the same. Safe to call twice.
        """
        for known in self.open:
            if known.phase is _Phase.SUSPENDED:
                del self._known[known.identity]  # its file has the time at which its service went away
            else:
                self.end(known.identity)
        task = self._task
        try:
            await self.settled()
        finally:
            self._finished_left, self._task = False, None
            if task is not None:
                task.cancel()
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            self._writing = True
            try:
                failed = not await self._pass()
            finally:
                self._writing = False
            async with self._saved:
                self._passes += 1
                self._saved.notify_all()
            wait_s = self._alive_in_s()
            if not self._finished_left:
                wait_s = _OWNED_POLL_S
            elif failed:
                wait_s = _RETRY_S
            if self._finished_left and not self._known:
                await self._changed.wait()
            else:
                await first_done(self._clock.sleep(wait_s), self._changed.wait())

    def _alive_in_s(self) -> float:
        """Returns the seconds until the first file of an open sequence has to be written again."""
        now_s = self._clock.monotonic()
        saved_s = (known.saved_s for known in self._known.values() if known.phase is _Phase.OPEN)
        return min(saved_s, default=now_s) + ALIVE_S - now_s

    async def _pass(self) -> bool:
        """Writes every file that is due. Returns False when the disk refused some of it."""
        assert self._files is not None
        files = self._files
        if not self._finished_left and self._owned():
            await self._on_disk(files.finish_left, self._known.__contains__)
            self._finished_left = files is self._files
        good = True
        now_ns, now_s = self._clock.time_ns(), self._clock.monotonic()
        for known in list(self._known.values()):
            alive_due = known.phase is _Phase.OPEN and now_s - known.saved_s >= ALIVE_S
            if not known.saved or alive_due:
                good &= await self._save(files, known, now_ns, now_s)
        return await self._count(files) and good if self._recount else good

    async def _count(self, files: SequenceFiles) -> bool:
        """Counts what is on the disk. Returns False when the disk does not say it."""
        try:
            self._recount = False
            kept = await self._on_disk(files.kept)
            unwritten = [known.size_bytes for known in self._known.values() if known.at is None]
            self._limits.note_count(kept, FilesKept(len(unwritten), sum(unwritten)))
        except StorageError as error:
            logger.warning("%s; the sequences there are not counted", error, extra=once(error.reason))
            self._recount = True
            return False
        return True

    async def _on_disk(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Calls `function` on a worker thread, after the call before it has ended.

        A call can outlast the task that made it, on a disk that stalls.
        """
        if self._work is not None:
            await asyncio.wait([self._work])
        self._work = work = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
        work.add_done_callback(unheard)
        return await asyncio.shield(work)

    async def _save(self, files: SequenceFiles, known: OpenSequence, now_ns: int, now_s: float) -> bool:
        phase = known.phase
        goes_on = phase in (_Phase.OPEN, _Phase.RESUMED)
        sequence = _until(known.sequence, now_ns) if goes_on else known.sequence
        try:
            lives = await self._on_disk(_write, files, known.at, known.identity, sequence, phase, known.says_ended)
        except StorageError as error:
            logger.error(
                "%s; the sequence %s is kept in memory until it can be written",
                error,
                known.identity,
                extra=once(error.reason),
            )
            return False
        known.at, known.says_ended = files, not goes_on
        if phase is _Phase.ENDED or not lives:
            self._known.pop(known.identity, None)
        elif known.phase is phase:  # otherwise it changed during the write, and is written again
            known.phase = _Phase.OPEN if phase is _Phase.RESUMED else phase
            known.saved, known.saved_s = files is self._files, now_s
        return True


def _write(
    files: SequenceFiles,
    at: SequenceFiles | None,
    identity: str,
    sequence: Sequence,
    phase: _Phase,
    says_ended: bool,
) -> bool:
    """Writes one sequence to `files`, and removes its file from `at` if that is another folder.

    Returns False when a resumed sequence can't continue: its file, which `says_ended`, was delivered. Raises
    StorageError, after which it may be called again. Blocks on the disk.
    """
    place = at or files
    if phase is _Phase.RESUMED and says_ended and not place.has_ended(identity):
        return False
    if phase in (_Phase.OPEN, _Phase.RESUMED):
        files.write_open(identity, sequence)
        place.forget_end(identity)
    else:
        files.write_ended(identity, sequence)
    if place is not files:
        place.forget(identity)
    return True


def _until(sequence: Sequence, end_ns: int) -> Sequence:
    """Returns the sequence with the end `end_ns`, or just after its start if the clock was set back since."""
    return replace(sequence, end_ns=max(end_ns, sequence.start_ns + 1))


def _in_words(sequence: Sequence) -> str:
    return ", ".join(f"{method} of {name}" for name, method in sequence.resources)
