"""The sequences that are open: stretches of time that a sensor or a user marks.

Belongs to the event loop; one task, `run`'s, brings what changed to the disk on a worker thread, in the background,
and says each `ALIVE_S` that the open ones go on. Invariants:

- What is known of a sequence is in its file `ALIVE_S` later at most: a crash ends it there (`finish_left`).
- A sequence whose service went away (`suspend`) is on the disk as ended, since nobody may come back for it; it goes
  on where a successor comes (`resume`) before somebody delivered it.
- At most `MAX_OPEN` are open or wait for a disk that does not take them; beyond, none is begun.
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
from ..base.tasks import supervised, unheard
from ..errors import StorageError
from ..storage.sequence_files import Sequence, SequenceFiles
from .pair import Pair

MAX_OPEN = 1_000
ALIVE_S = 5.0
_RETRY_S = 1.0
_OWNED_POLL_S = 0.5

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Marked:
    """What a sequence is of; the order of resources and of tags means nothing."""

    resources: tuple[Pair, ...]
    tags: tuple[str, ...]

    @property
    def key(self) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
        return tuple(sorted(self.resources)), tuple(sorted(self.tags))


class _Phase(Enum):
    OPEN = "open"
    SUSPENDED = "suspended"
    """On the disk as ended; goes on when a successor comes."""
    RESUMED = "resumed"
    """Open again, unless its file was delivered meanwhile."""
    ENDED = "ended"


@dataclass(eq=False)
class OpenSequence:
    """A sequence of this process."""

    identity: str
    sequence: Sequence
    by_sensor: bool
    phase: _Phase = _Phase.OPEN
    saved: bool = field(default=False, repr=False)
    saved_s: float = field(default=0.0, repr=False)
    at: SequenceFiles | None = field(default=None, repr=False)
    """Where its file is."""
    says_ended: bool = field(default=False, repr=False)
    """Whether its file says that it has ended."""


class OpenSequences:
    """See the module's docstring. `place` before the first sequence; `close` must be called."""

    def __init__(self, files: FileSystem, clock: Clock) -> None:
        self._disk = files
        self._clock = clock
        self._known: dict[str, OpenSequence] = {}
        self._files: SequenceFiles | None = None
        self._owned: Callable[[], bool] = lambda: False
        self._finished_left = False
        self._changed = asyncio.Event()
        self._saved = asyncio.Condition()
        self._passes = 0
        self._writing = False
        self._work: asyncio.Future[Any] | None = None
        """What a thread does on the disk, or did last."""
        self._task: asyncio.Task[None] | None = None

    @property
    def open(self) -> list[OpenSequence]:
        """Those that have not ended, oldest first."""
        return [each for each in self._known.values() if each.phase is not _Phase.ENDED]

    def is_open(self, path: str) -> bool:
        """Whether the sequence in the file at `path` may go on, so that the file must not be sent."""
        known = self._known.get(os.path.splitext(os.path.basename(path))[0])
        return known is not None and known.phase is not _Phase.ENDED

    def place(self, capture_dir: str, owned: Callable[[], bool]) -> None:
        """Files lie in `capture_dir` from now on, those of open sequences too. `owned` tells whether its lock is
        ours: then what a crash left there is finished."""
        if self._files is None or self._files.capture_dir != capture_dir:
            self._files, self._finished_left = SequenceFiles(self._disk, capture_dir), False
            for known in self._known.values():
                known.saved = False
        self._owned = owned
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(
                supervised("sequences", self._run), name="holdfast-sequences"
            )
        self._changed.set()

    def start(self, marked: Marked, *, by_sensor: bool = False) -> str | None:
        """Begins a sequence now and returns its id; None when too many are open."""
        if len(self._known) >= MAX_OPEN:
            logger.error("%d sequences are open: no new one starts until one ends", len(self._known), extra=once())
            return None
        identity = str(uuid.uuid4())
        sequence = Sequence(marked.resources, marked.tags, self._clock.time_ns())
        self._known[identity] = OpenSequence(identity, sequence, by_sensor)
        self._changed.set()
        logger.info("the sequence %s of %s begins", identity, _in_words(sequence))
        return identity

    def end(self, identity: str) -> Sequence | None:
        """Ends a sequence now; None when there is none of that id."""
        known = self._known.get(identity)
        if known is None or known.phase is _Phase.ENDED:
            return None
        known.phase, known.saved = _Phase.ENDED, False
        known.sequence = _until(known.sequence, self._clock.time_ns())
        self._changed.set()
        logger.info("the sequence %s of %s ends", identity, _in_words(known.sequence))
        return known.sequence

    def follow(self, marks: Iterable[Marked]) -> None:
        """Makes exactly `marks` the sequences of the sensor: new ones begin, those that are gone end."""
        wanted: dict[object, Marked] = {}
        for marked in marks:
            wanted.setdefault(marked.key, marked)
        for known in self.open:
            if known.by_sensor:
                key = Marked(known.sequence.resources, known.sequence.tags).key
                if wanted.pop(key, None) is None:
                    self.end(known.identity)
        for marked in wanted.values():
            self.start(marked, by_sensor=True)

    def end_all(self) -> None:
        for known in self.open:
            self.end(known.identity)

    async def suspend(self) -> None:
        """The service goes away. Returns when every sequence is on the disk as ended, if the disk takes it."""
        now_ns = self._clock.time_ns()
        for known in self.open:
            known.phase, known.saved = _Phase.SUSPENDED, False
            known.sequence = _until(known.sequence, now_ns)
        await self.settled()

    def resume(self) -> None:
        """A service came: what was suspended goes on."""
        for known in self.open:
            if known.phase is _Phase.SUSPENDED:
                known.phase, known.saved = _Phase.RESUMED, False
        self._changed.set()

    async def settled(self) -> None:
        """Returns when everything that changed so far has been brought to the disk, or the disk has refused it; or
        when nobody does that any more."""
        if self._task is None:
            return
        passes = self._passes + (2 if self._writing else 1)
        self._changed.set()
        await first_done(self._passed(passes), asyncio.wait([self._task]))

    async def _passed(self, passes: int) -> None:
        async with self._saved:
            await self._saved.wait_for(lambda: self._passes >= passes)

    async def close(self) -> None:
        """Ends every sequence, brings that to the disk, and stops, which it does also when it is cancelled. Safe to
        call twice."""
        for known in self.open:
            if known.phase is _Phase.SUSPENDED:
                del self._known[known.identity]  # its file says when its service went away
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
        """Seconds until the file of an open sequence is to say again that it goes on."""
        now_s = self._clock.monotonic()
        saved_s = (known.saved_s for known in self._known.values() if known.phase is _Phase.OPEN)
        return min(saved_s, default=now_s) + ALIVE_S - now_s

    async def _pass(self) -> bool:
        """Brings everything that is due to the disk; False when some of it was refused."""
        assert self._files is not None
        files = self._files
        if not self._finished_left and self._owned():
            await self._on_disk(files.finish_left, self._known.__contains__)
            self._finished_left = files is self._files
        now_ns, now_s = self._clock.time_ns(), self._clock.monotonic()
        good = True
        for known in list(self._known.values()):
            alive_due = known.phase is _Phase.OPEN and now_s - known.saved_s >= ALIVE_S
            if not known.saved or alive_due:
                good &= await self._save(files, known, now_ns, now_s)
        return good

    async def _on_disk(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """One at a time: behind what is still held up by a stalled disk when its task was ended."""
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
                "%s; the sequence %s is kept in memory until it works",
                error,
                known.identity,
                extra=once(error.reason),
            )
            return False
        known.at, known.says_ended = files, not goes_on
        if phase is _Phase.ENDED or not lives:
            self._known.pop(known.identity, None)
        elif known.phase is phase:  # else it changed meanwhile, and is saved again
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
    """Brings one sequence to the disk; False when it goes on no more, since its file, which `says_ended`, was
    delivered. After a StorageError it may be called again. Blocks."""
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
    """The same, ending then, or just after its beginning where the clock was set back."""
    return replace(sequence, end_ns=max(end_ns, sequence.start_ns + 1))


def _in_words(sequence: Sequence) -> str:
    return ", ".join(f"{method} of {name}" for name, method in sequence.resources)
