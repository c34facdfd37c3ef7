"""One capture folder with everything that belongs to it: writer, ledger, lock, recovery, limits.

Belongs to the event loop, except for methods that say otherwise. Capture may begin at once, since file names are
unique. The ledger's journal and recovery wait for the folder's lock as long as it takes, in a task of the store.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections.abc import Iterable, Iterator, Sequence

from ..base.at import Identity
from ..base.clock import Clock, first_done
from ..base.filesystem import FileSystem
from ..base.problems import Kind, Problem
from ..base.tasks import all_done, begin, end, in_thread, supervised
from ..config import Protected
from ..errors import StorageError
from . import layout
from .claims import Claims
from .ledger.ledger import Ledger
from .lock import FolderLock
from .quarantine.limit import QuarantineLimit
from .recovery import Recovery
from .space.deletion import DeletedFile, Deletion
from .space.limits import CHECK_S, Limits, Rules, Surroundings
from .space.usage import SpaceUsage
from .writing.completion import CompletedFile
from .writing.disk_writer import DiskWriter

_LOCK_POLL_S = 0.5
_FIRST_TRY_TIMEOUT_S = 5.0
_RECOVER_AGAIN_S = 30.0
_PATIENCE_S = 15.0
"""How long the folder may be waited for before that is a problem: viam-server kills a module after ten seconds."""
_BATCH = 64

logger = logging.getLogger(__name__)


class Store:
    """A capture folder in use. Its tasks and threads run from its construction on; `close` must be called."""

    def __init__(
        self,
        files: FileSystem,
        clock: Clock,
        capture_dir: str,
        flush_interval_s: float,
        fsync_interval_s: float,
        surroundings: Surroundings | None = None,
        protected: Protected | None = None,
    ) -> None:
        """Where a link leads from `capture_dir` to one of the `protected` folders, the folder is not ours."""
        self.capture_dir = capture_dir
        self.root = capture_dir
        """`capture_dir` without symbolic links, once the folder is ours."""
        self.recovery_state = "not begun"
        """How far recovery is, in words."""
        self.recovered_all = False
        """Whether no `.prog` file is known that a crash left."""
        self.waiting_for = f"starting: {capture_dir} has not been opened yet"
        """Why the folder is not ours, in words; empty when it is."""
        self._unusable: StorageError | None = None
        """Why the folder can't be made ours, if the disk prevents it."""
        self._owner = ""
        """The process that had the folder when it was tried last; empty if none had it yet."""
        self.place_problem = ""
        """To which protected folder `capture_dir` leads, in words; empty if it leads to none."""
        self.access_problem = ""
        """Who else may delete and exchange what is in the folder, in words; empty if nobody, or not known yet."""
        self._protected = protected
        self._files = files
        self._clock = clock
        self._lock = FolderLock(files, capture_dir)
        self._loop = asyncio.get_running_loop()
        self._tried = asyncio.Event()
        self._left_over = asyncio.Event()
        self._empty = asyncio.Event()
        self._rounds = self._empty_round = 0
        self.ledger = Ledger(files, capture_dir)
        self.writer = DiskWriter(files, clock, self.ledger, capture_dir, flush_interval_s, fsync_interval_s)
        self.claims = Claims()
        """The files that sync or the limits are working on."""
        self.space = SpaceUsage(files, clock, lambda: self.root, lambda: self.writer.written_bytes)
        self._deletion = Deletion(files, clock, self.ledger, self.claims)
        self._surroundings = surroundings or Surroundings()
        self.limits = Limits(
            files,
            clock,
            self._deletion,
            self.space,
            QuarantineLimit(files, clock, self.ledger, lambda: self.root),
            self._surroundings,
        )
        self._task = begin(supervised("recovery", self._serve), "holdfast-store")
        self._limits_task = begin(supervised("limits", self._keep_limits), "holdfast-limits")
        self._losses_task = begin(supervised("the account of losses", self.writer.losses.run), "holdfast-losses")

    def configure(self, flush_interval_s: float, fsync_interval_s: float, rules: Rules) -> None:
        """Makes these intervals and limits hold."""
        self.writer.configure(flush_interval_s, fsync_interval_s)
        self.limits.configure(rules)

    @property
    def counts_state(self) -> str:
        """Where the counts are kept, or why they are in memory until the folder is ours, in words."""
        return self.ledger.state or f"in memory so far: {self.waiting_for}"

    @property
    def lock_problem(self) -> str:
        """Whom the folder's lock can't keep out, and why; empty if there is nothing to say."""
        return self._lock.problem

    @property
    def problems(self) -> Iterator[Problem]:
        """What is wrong with the folder now, with what costs readings first."""
        yield from self.writer.losses.problems
        yield from self.limits.problems
        yield from self.writer.completion.problems
        if self.place_problem:
            yield Problem(Kind.CONFIG, self.place_problem)
        elif (error := self._unusable) is not None:
            what = f"{error}; nothing in {self.capture_dir} is sent until that works"
            yield Problem(Kind.DISK, what, error.remedy, key=f"{self.capture_dir} unusable")
        elif not self.owned and self._owner:
            what = f"process {self._owner} has {self.capture_dir}; nothing is sent from there until it ends"
            do = "end that process, unless it is a module that is just being replaced"
            yield Problem(Kind.STATE, what, do, key=f"{self.capture_dir} lock", patience_s=_PATIENCE_S)
        elif not self.owned:
            what = f"{self.capture_dir} does not answer; nothing is sent from there"
            yield Problem(Kind.DISK, what, "see whether its disk is there and works", patience_s=_PATIENCE_S)
        if self.lock_problem:
            yield Problem(Kind.STATE, self.lock_problem, "see to it that no other one uses the folder")
        if self.access_problem:
            yield Problem(Kind.DISK, self.access_problem)
        if self.ledger.problem is not None:
            yield self.ledger.problem

    @property
    def owned(self) -> bool:
        """Whether the folder is ours: locked, and its ledger attached. Only then may its files be sent."""
        return not self.waiting_for

    async def tried(self) -> None:
        """Returns when the lock has been tried for at least once, which takes milliseconds. Gives up after 5 s if
        the disk stalls, and from then on returns at once."""
        if not self._tried.is_set():
            await first_done(self._tried.wait(), self._clock.sleep(_FIRST_TRY_TIMEOUT_S))
            self._tried.set()

    def holds(self, path: str) -> bool:
        """Whether `path`, which must be free of symbolic links, lies in the folder."""
        return path.startswith(self.root.rstrip(os.sep) + os.sep)

    def let_go(self, path: str, identity: Identity, size_bytes: int) -> None:
        """Removes the file at `path`, all of which the cloud has, or moves it to the local copy.

        Raises StorageError when it can't be removed, or is not the file with this identity any more. Blocks on the
        disk. Safe to call from any thread.
        """
        copy = self._surroundings.local_copy()
        if copy is None or not copy.keep(path, identity, size_bytes, self.root, self._surroundings.roots()):
            self._files.remove(path, identity)
        if self.holds(path) and layout.kind_of(path) is layout.FileKind.CAPTURE:
            self.space.note_removed(size_bytes)

    @property
    def has_just_completed(self) -> bool:
        """Whether `take_just_completed` would return anything."""
        return bool(self.writer.completion.just_completed)

    def take_just_completed(self) -> list[CompletedFile]:
        """Returns the files that got their final names since the last call: a hint, as the oldest may be
        missing."""
        skipped = len(self.capture_dir)
        return [
            file._replace(path=self.root + file.path[skipped:])
            for file in self.writer.completion.just_completed.take()
        ]

    def take_just_deleted(self) -> list[DeletedFile]:
        """Returns the files that a limit deleted since the last call: a hint, as the oldest may be missing."""
        return self._deletion.just_deleted.take()

    def begin_round(self) -> int:
        """Notes that a walk of the folder begins; returns its number, for `found_empty`."""
        self._rounds += 1
        return self._rounds

    def found_empty(self, number: int) -> None:
        """Notes that the walk with this number found nothing in the folder. Safe to call from any thread."""
        self._empty_round = number
        self._loop.call_soon_threadsafe(self._empty.set)

    async def emptied(self) -> None:
        """Returns when a walk that began after this call has found nothing in the folder."""
        rounds = self._rounds
        while self._empty_round <= rounds:
            self._empty.clear()
            await self._empty.wait()

    async def _serve(self) -> None:
        await self._own()
        await self._recover()

    async def _keep_limits(self) -> None:
        while not self.owned:
            await self._clock.sleep(CHECK_S)
        await self.limits.run()

    async def _own(self) -> None:
        while True:
            try:
                self.waiting_for, self._unusable = await self._try_to_own(), None
            except StorageError as error:
                self.waiting_for, self._unusable = f"waiting: {error}", error
            self._tried.set()
            if self.owned:
                if self.lock_problem:
                    logger.warning("%s; see to it that no other one uses the folder", self.lock_problem)
                return
            if self._unusable is None:
                logger.warning("%s; sync waits until then", self.waiting_for)
            else:
                logger.warning("%s; sync waits until that works", self._unusable)
            await self._clock.sleep(_LOCK_POLL_S)

    async def _try_to_own(self) -> str:
        """Tries to lock the folder and attach its journal; returns why the folder is not ours, empty when it is.

        Raises StorageError when the disk prevents that.
        """
        self.place_problem = await asyncio.to_thread(self._why_protected)
        if self.place_problem:
            return f"waiting: {self.place_problem}"
        if await in_thread(self._lock.try_acquire):
            await in_thread(self.ledger.attach, self.writer.completion.wrote)
            self.root, self.access_problem = await asyncio.to_thread(self._look_at_root)
            return ""
        self._owner = await asyncio.to_thread(self._lock.owner)
        return f"waiting for process {self._owner}, which has the lock of {self.capture_dir}"

    def _look_at_root(self) -> tuple[str, str]:
        """Returns the folder without symbolic links, and who else may write there, as `access_problem`."""
        root = self._files.real_path(self.capture_dir)
        who = self._files.who_else_writes(root)
        return root, who and (
            f"{root} may be written by {who}, who can delete or exchange what is captured before it is sent; give "
            "the folder to viam-server's user, and the right to write there to nobody else (chmod 700)"
        )

    def _why_protected(self) -> str:
        where = self._protected.where_it_leads(self.capture_dir) if self._protected is not None else ""
        return where and (
            f"{self.capture_dir} leads to {where}, and sync deletes what it delivers; nothing is synced from "
            "there, and what is captured stays there; name a folder of its own, and move it there"
        )

    async def _recover(self) -> None:
        """Recovers the `.prog` files that a crash left, in passes until none is left that was written to a moment
        before, and again whenever the walk finds one. Never returns."""
        while True:
            self._left_over.clear()
            self.recovery_state, self.recovered_all = "running", False
            total = 0
            while True:
                recovery = Recovery(self._files, self._clock, self.ledger, self.capture_dir, self.writer.is_open)
                await self._pass(recovery)
                total += recovery.result.files
                if not recovery.result.waiting:
                    break
                await self._clock.sleep(_LOCK_POLL_S)
            self.recovery_state, self.recovered_all = f"done, {total} files", True
            await self._clock.sleep(_RECOVER_AGAIN_S)
            await self._left_over.wait()

    def found_in_progress(self, paths: Iterable[str]) -> None:
        """Starts recovery again if one of these `.prog` files, which a walk found, is not being written by us.

        Safe to call from any thread. Blocks.
        """
        ours = (self.capture_dir + path[len(self.root) :] for path in paths if self.holds(path))
        if not all(map(self.writer.is_open, ours)):
            self._loop.call_soon_threadsafe(self._left_over.set)

    async def complete(self) -> bool:
        """Completes all files, and deletes nothing from now on; returns False when the disk prevented that. Safe to
        call twice."""
        complete, _ = await all_done("closing a folder", self.writer.close(), self.limits.close())
        return bool(complete)

    async def close(self) -> bool:
        """Completes all files and frees the lock; returns False when the disk prevented that. Safe to call
        twice."""
        tasks = end((self._task, self._limits_task, self._losses_task))
        _, complete = await all_done("closing a folder", tasks, self.complete())
        self.writer.losses.close()
        self.waiting_for = self.waiting_for or "closed"
        self._tried.set()
        if complete:
            await in_thread(self.ledger.close)
        self._lock.release()
        return bool(complete)

    async def _pass(self, recovery: Recovery) -> None:
        left = iter(recovery)
        while batch := await in_thread(lambda: list(itertools.islice(left, _BATCH))):
            for file in batch:
                self.writer.completion.hand(file.collector, file, counted=True, ours=file.ours)
            await self.writer.completion.settled()
        found = recovery.result
        if found.files or found.quarantined:
            logger.info(
                "recovered %d files with %d readings that a crash left; %d readings were cut off, "
                "%d files are in quarantine",
                found.files,
                found.readings,
                found.torn_readings,
                found.quarantined,
            )


def store_of(stores: Sequence[Store], path: str) -> Store:
    """Returns the store that a file or folder belongs to; `path` has no symbolic links in it.

    That is the one with the deepest root above `path`. What lies in no store belongs to the first of `stores`, that
    of `capture_dir`.
    """
    inside = [store for store in stores if store.holds(path)]
    return max(inside, key=lambda store: len(store.root), default=stores[0])
