"""The limits of one capture folder: when files are deleted, which ones, and in which order.

There are two reasons to delete:

- The disk, by the builtin's rule. Every `DISK_CHECK_S` while capture is on: if the file system is fuller than one
  threshold, and our folders take up more of it than the other threshold, one nth of the complete capture files
  goes.
- The plain limits of bytes and age. When the limit of bytes is passed, files go until `LOW_SHARE` of it is left.

Invariants:

- Only complete capture files are deleted, by `Deletion`; never an arbitrary file, a file in progress, or one that
  is being sent. In memory mode the quarantine has a limit too, which `QuarantineLimit` keeps.
- Files of the lowest priority go first, in the order that `when_full` names.
- A folder is listed only when a limit may have been passed since the last listing, judged by what capture wrote and
  sync removed since then, and never for more than `MOST_LISTING` of the time.
- When the wall clock is set forward, no file is old because of it before that has lasted a while (`CautiousClock`).
- Capture and sync wait for none of this: `check` runs on a worker thread.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ...base.clock import Clock
from ...base.filesystem import FileSystem
from ...base.intervals import rest_s
from ...base.log_limit import once
from ...base.problems import Kind, Problem
from ...base.words import duration, number_of
from ...config import DEFAULT_PRIORITY, SpaceLimits, WhenFull
from ...errors import StorageError
from ..quarantine.limit import QuarantineLimit
from .cautious_clock import CautiousClock
from .census import Amount, Census, StoredFile, complete_files
from .deletion import Deletion, Freed
from .local_copy import LocalCopy
from .usage import SpaceUsage

CHECK_S = 1.0
DISK_CHECK_S = 30.0
LOW_SHARE = 0.9
RECOUNT_S = 600.0
"""A folder with a plain limit is listed at least this often, for files that other processes put there."""
MOST_LISTING = 0.05
MAX_CHOSEN = 10_000
"""How many files are remembered at once to find the oldest or the newest."""
SAY_S = 60.0
"""How often the log says at most what was deleted."""
DELETING_S = 900.0
"""For so long after a deletion a person has to know of it, in the past tense."""
_CLOSE_TIMEOUT_S = 2.0
_AGE_STEP = 0.01  # of the limit: files need not go to the second
_LEAST_AGE_STEP_S = 1.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rules:
    """What a configuration says about one folder."""

    limits: SpaceLimits = field(default_factory=SpaceLimits)
    check_disk: bool = False
    """Whether capture is on: only then are the builtin's thresholds checked."""
    priorities: Mapping[str, int] = field(default_factory=dict)
    """The priorities of capture files, by their folder inside the capture folder."""
    most_failed_bytes: int | None = None
    """How many bytes the quarantine may hold; None when it has no limit and is left to the user."""


@dataclass(frozen=True)
class Surroundings:
    """What a capture folder shares with our other capture folders. Folders come and go, so each of these is a
    function, which is called when the answer is needed, from any thread."""

    local_copy: Callable[[], LocalCopy | None] = lambda: None
    """Returns the local copy; None when there is none."""
    neighbours: Callable[[], Iterable[Limits]] = lambda: ()
    """Returns the limits of all our capture folders, this one included."""
    roots: Callable[[], Iterable[str]] = lambda: ()
    """Returns the folders that are synced."""


class WhyDeleted(NamedTuple):
    """Which limit something was deleted for, in the past tense, and what helps."""

    why: str
    do: str


class Limits:
    """Keeps the limits of one capture folder. The owner calls `run` and, after its end, `close`; these and
    `configure` belong to the event loop, `check` to a worker thread."""

    def __init__(
        self,
        files: FileSystem,
        clock: Clock,
        deletion: Deletion,
        space: SpaceUsage,
        quarantine: QuarantineLimit,
        surroundings: Surroundings,
    ) -> None:
        self.space = space
        self.quarantine = quarantine
        self.surroundings = surroundings
        self._files = files
        self._clock = clock
        self._deletion = deletion
        self._wall_clock = CautiousClock(clock)
        self._rules = Rules()
        self.deleted_at_s: float | None = None
        """When a limit last deleted files, on the monotonic clock."""
        self._why_deleted = WhyDeleted("", "")
        self._unsaid = Freed()
        """What was deleted and is in no line of the log yet."""
        self._said_s = -math.inf
        self._full_of_others = ""
        """That the disk is full of what is not ours, in words; empty if it is not."""
        self._failed: dict[str, StorageError] = {}
        """The looks that failed when they were made last, each with why."""
        self._running: asyncio.Future[None] | None = None
        self._closing = False
        self._disk_check_at_s = self._age_check_at_s = self._list_at_s = self._recount_at_s = -math.inf
        self._oldest_ns = 0
        """No complete file is older than this, except for files that other processes put there."""

    @property
    def most_failed_bytes(self) -> int | None:
        return self._rules.most_failed_bytes

    @property
    def limits(self) -> SpaceLimits:
        return self._rules.limits

    @property
    def problems(self) -> Iterator[Problem]:
        """What is short of room now. Safe to call on the event loop."""
        root, deleted_at_s, gone = self.space.root, self.deleted_at_s, self.space.deleted
        ago_s = math.inf if deleted_at_s is None else self._clock.monotonic() - deleted_at_s
        if ago_s < DELETING_S:
            why, do = self._why_deleted
            yield Problem(
                Kind.DISK,
                "captured data that the cloud does not have was deleted from "
                f"{root}, last {duration(ago_s)} ago: {why}",
                f"{do} (docs/disks.md)",
                f"{number_of(gone.readings, 'reading')} in {number_of(gone.files, 'file')} deleted since the start",
                f"{root} deletion",
            )
        yield from self.quarantine.problems
        if self._full_of_others:
            yield Problem(Kind.DISK, self._full_of_others, "free this disk", key=f"{root} full")
        for error in list(self._failed.values())[:1]:
            what = f"{error}; the limits of {root} do not hold until that works"
            yield Problem(Kind.DISK, what, error.remedy, key=f"{root} limits")

    def configure(self, rules: Rules) -> None:
        """Sets what holds from the next check on."""
        if rules != self._rules:
            self._rules = rules
            self._age_check_at_s = self._disk_check_at_s = -math.inf

    async def run(self) -> None:
        """Checks every `CHECK_S` until `close`. When cancelled, a check may still be running: `close` waits for
        it."""
        while not self._closing:
            self._running = asyncio.ensure_future(asyncio.to_thread(self.check))
            await asyncio.shield(self._running)
            await self._clock.sleep(CHECK_S)

    async def close(self) -> None:
        """Stops deleting. The first call waits for a running check for `_CLOSE_TIMEOUT_S`; a stalled disk may
        delete its file later."""
        if self._closing:
            return
        self._closing = True
        if self._running is not None:
            await asyncio.wait([self._running], timeout=_CLOSE_TIMEOUT_S)
        if self._unsaid.files:
            self._say()

    def check(self) -> None:
        """Deletes what must go if a limit is passed. Costs next to nothing while none is near.

        Never raises StorageError. Blocks on the disk.
        """
        now_s = self._clock.monotonic()
        limits = self._rules.limits
        if now_s >= self._disk_check_at_s:
            self._disk_check_at_s = now_s + DISK_CHECK_S
            self._look("disk", self._check_disk)
        if (most_age_s := limits.most_age_s) is not None and now_s >= self._age_check_at_s:
            self._look("age", lambda: self._check_age(most_age_s))
        if (most_bytes := limits.most_bytes) is not None and self._may_exceed(most_bytes):
            self._look("bytes", lambda: self._check_bytes(most_bytes))
        self._look("failed", self._check_failed)
        if self._unsaid.files and now_s - self._said_s >= SAY_S:
            self._say()

    def _look(self, what: str, check: Callable[[], None]) -> None:
        """Calls `check`, and notes whether that failed."""
        try:
            check()
            self._failed.pop(what, None)
        except StorageError as error:
            self._failed[what] = error
            logger.warning("%s; the limits of %s are looked at later", error, self.space.root)

    def _check_disk(self) -> None:
        self._keep_thresholds()
        if (copy := self.surroundings.local_copy()) is not None:
            copy.tidy()

    def _check_failed(self) -> None:
        if self._rules.most_failed_bytes is not None:
            self.quarantine.check(self._rules.most_failed_bytes)

    def _keep_thresholds(self) -> None:
        usage = self._files.usage(self.space.root)
        self.space.note_usage(usage)
        limits = self._rules.limits
        full_of_others, self._full_of_others = self._full_of_others, ""
        if not self._rules.check_disk or usage.used_share < limits.disk_usage:
            return
        copy = self.surroundings.local_copy()
        if copy is not None and self._is_on_this_disk(copy):
            wanted = int((usage.used_share - limits.disk_usage) * usage.total_bytes) + 1
            if copy.free(wanted) >= wanted:
                logger.info(
                    "the disk is %.0f %% full: the oldest files of the local copy were deleted",
                    usage.used_share * 100,
                )
                return
        census = self._census()
        if census is None:
            self._full_of_others = full_of_others
            return
        ours = census.content_bytes + self._of_neighbours()
        if ours < limits.capture_dir_share * usage.total_bytes:
            share = limits.capture_dir_share
            self._full_of_others = (
                f"the disk of {self.space.root} is {usage.used_share:.0%} full, mostly of what is not captured data"
            )
            logger.warning(
                "the disk of %s is %.0f %% full, but captured data is less than the share of %g at which "
                "it is deleted: nothing is deleted",
                self.space.root, usage.used_share * 100, share, extra=once(),
            )  # fmt: skip
            return
        files = -(-census.files // limits.every_nth)
        why = WhyDeleted(
            f"the disk was {usage.used_share * 100:.0f} % full",
            "connect the machine, free the disk of other data, or raise disk_usage_deletion_threshold",
        )
        self._free(why, census, lambda amount: amount.files, files)

    def _of_neighbours(self) -> int:
        """Returns the bytes that our other folders on this disk hold."""
        here = self._files.device(self.space.root)
        total = 0
        for other in self.surroundings.neighbours():
            if other is not self and self._files.device(other.space.root) == here:
                total += other.space.census.content_bytes if other.space.census is not None else 0
        return total

    def _check_bytes(self, most_bytes: int) -> None:
        census = self._census()
        if census is not None and census.captured_bytes > most_bytes:
            wanted = census.captured_bytes - int(most_bytes * LOW_SHARE)
            why = WhyDeleted(
                f"more than {most_bytes} bytes were kept", "connect the machine, or raise capture_dir_limit_bytes"
            )
            self._free(why, census, lambda amount: amount.bytes, wanted)

    def _check_age(self, most_age_s: float) -> None:
        before_ns = self._wall_clock.time_ns() - int(most_age_s * 1e9)
        if self._oldest_ns >= before_ns and self._clock.monotonic() < self._recount_at_s:
            return
        if not self._may_list():
            return
        begin_s = self._clock.monotonic()
        self._age_check_at_s = begin_s + max(_LEAST_AGE_STEP_S, most_age_s * _AGE_STEP)
        oldest_ns, freed = self._wall_clock.time_ns(), Freed()
        for file in complete_files(self._files, self.space.root):
            if file.is_older(before_ns) and self._delete(file, freed):
                continue
            if file.is_older(oldest_ns):
                oldest_ns = file.time_ns
        self._oldest_ns = oldest_ns
        self._listed(begin_s)
        why = f"it was older than {most_age_s / 3600:g} hours"
        self._note(WhyDeleted(why, "connect the machine, or raise capture_dir_limit_age_hours"), freed)

    def _may_exceed(self, most_bytes: int) -> bool:
        captured = self.space.captured_bytes
        return captured is None or captured > most_bytes or self._clock.monotonic() >= self._recount_at_s

    def _census(self) -> Census | None:
        """Takes a census; returns None while the last listing took so long that the next one has to wait."""
        if not self._may_list():
            return None
        begin_s = self._clock.monotonic()
        census = self.space.count(self.priority)
        self._listed(begin_s)
        return census

    def _may_list(self) -> bool:
        return self._clock.monotonic() >= self._list_at_s

    def _listed(self, begin_s: float) -> None:
        now_s = self._clock.monotonic()
        self._list_at_s = now_s + rest_s(now_s - begin_s, MOST_LISTING)
        self._recount_at_s = now_s + RECOUNT_S

    def priority(self, folder: str) -> int:
        """Returns the priority of the capture files in a folder. Safe to call from any thread."""
        return self._rules.priorities.get(os.path.relpath(folder, self.space.root), DEFAULT_PRIORITY)

    def _free(self, why: WhyDeleted, census: Census, of: Callable[[Amount], int], wanted: int) -> None:
        """Deletes until `wanted` is gone or nothing more may go. `of` says what is counted: files or bytes."""
        freed = Freed()
        for priority, amount in sorted(census.complete.items()):
            missing = wanted - of(freed.as_amount)
            if missing <= 0:
                break
            self._free_of(priority, missing, of, of(amount), freed)
        self._note(why, freed)

    def _free_of(self, priority: int, missing: int, of: Callable[[Amount], int], there: int, freed: Freed) -> None:
        enough = of(freed.as_amount) + missing
        nth = max(self._rules.limits.every_nth, there // missing)
        while of(freed.as_amount) < enough:
            before = freed.files
            for file in self._in_order(priority, nth):
                self._delete(file, freed)
                if of(freed.as_amount) >= enough:
                    return
            if freed.files == before:
                return

    def _in_order(self, priority: int, nth: int) -> Iterator[StoredFile]:
        """Returns files of one priority in the order in which they are deleted, but not all of them."""
        files = (f for f in complete_files(self._files, self.space.root) if self.priority(f.folder) == priority)
        when_full = self._rules.limits.when_full
        if when_full is WhenFull.DROP_OLDEST:
            return iter(heapq.nsmallest(MAX_CHOSEN, files, key=_beginning))
        if when_full is WhenFull.DROP_NEWEST:
            return iter(heapq.nlargest(MAX_CHOSEN, files, key=_beginning))
        return itertools.islice(files, 0, None, nth)

    def _delete(self, file: StoredFile, freed: Freed) -> bool:
        if self._closing:
            return False
        gone = self._deletion.delete(file)
        freed.add(gone)
        self.space.deleted.add(gone)
        return gone.files > 0

    def _note(self, why: WhyDeleted, freed: Freed) -> None:
        if freed.files:
            self.deleted_at_s, self._why_deleted = self._clock.monotonic(), why
            self._unsaid.add(freed)

    def _say(self) -> None:
        """Logs what was deleted since the last line."""
        freed, self._unsaid, self._said_s = self._unsaid, Freed(), self._clock.monotonic()
        logger.warning(
            "%s: %d capture files with %d readings that the cloud does not have were deleted from %s (%s)",
            self._why_deleted.why, freed.files, freed.readings, self.space.root,
            (self._rules.limits.when_full or WhenFull.THIN).value,
        )  # fmt: skip

    def _is_on_this_disk(self, copy: LocalCopy) -> bool:
        try:
            return self._files.device(copy.settings.folder) == self._files.device(self.space.root)
        except StorageError:
            return False


def _beginning(file: StoredFile) -> tuple[int, str]:
    return file.time_ns, file.path
