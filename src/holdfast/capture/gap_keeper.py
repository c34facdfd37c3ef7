"""Keeps the gaps of collectors on the disk, so that they outlast a restart, and a restart becomes a gap.

Each second it says by the file's time that the process is alive; a gap that lasts when the process is killed ends
at that time. The file is written when a gap or an absence begins or ends: `WRITE_S` after it was written last,
and up to `RARELY_S` if that goes on and on. What else changes is written each `RARELY_S`. So no sensor that is
broken, or fails now and then, wears out flash, and SIGKILL moves the beginning of the gap that it makes itself by
a second at most. All that begins only when the capture folder is ours: until then, an earlier process may still
write there.

`run` is a task of the engine, on the event loop; files are read and written on worker threads, one at a time.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from contextlib import suppress

from ..base.clock import Clock
from ..base.filesystem import FileSystem
from ..base.problems import Kind, Problem
from ..base.tasks import begin, end, in_thread, supervised
from ..errors import DamagedFileError, HoldfastError, StorageError
from . import gap_file
from .gap_book import GapBook

LOOK_S = 1.0
WRITE_S = 5.0
RARELY_S = 60.0
_END_S = 1.0

logger = logging.getLogger(__name__)


class GapKeeper:
    """Reads and writes the gaps of `book`. `place` comes first; `stop` must be called."""

    def __init__(self, files: FileSystem, clock: Clock, book: GapBook) -> None:
        self.problem = ""
        """Why the gaps would not outlast a restart; empty if they would."""
        self._remedy = ""
        self._files = files
        self._clock = clock
        self._book = book
        self._capture_dir = ""
        self._owned: Callable[[], bool] = lambda: False
        self._former: list[str] = []
        """Folders that were the capture folder, and have a file of gaps that would tell of a gap without end."""
        self._is_read = False
        self._has_file = False
        """Whether the file in `_capture_dir` is ours, as it was read or written there."""
        self._wrote_s = -math.inf
        self._wait_s = WRITE_S
        """How long after a write the next gap that begins or ends is written."""
        self._task: asyncio.Task[None] | None = None

    @property
    def problems(self) -> list[Problem]:
        """Why the gaps would not outlast a restart."""
        if not self.problem:
            return []
        what = f"the record of gaps: {self.problem}; gaps are remembered only until the next restart"
        return [Problem(Kind.STATE, what, self._remedy, key="gaps")]

    def place(self, capture_dir: str, owned: Callable[[], bool]) -> None:
        """Makes `capture_dir` the folder of the file; `owned` tells whether it is ours."""
        if self._capture_dir not in ("", capture_dir) and self._has_file:
            self._former.append(self._capture_dir)
            self._has_file = False
        self._former = [folder for folder in self._former if folder != capture_dir]
        self._capture_dir, self._owned = capture_dir, owned
        if self._task is None:
            self._task = begin(supervised("the record of gaps", self._run), "holdfast-gaps")

    async def stop(self) -> None:
        """Writes what is not written yet, if the disk takes it within a second. To be called when nothing is
        captured any more, and while the folder is ours."""
        if self._task is not None:
            await end([self._task])
        if self._is_read and self._owned():
            self._book.look()
            await asyncio.wait([begin(self._write(), "holdfast-gaps-end")], timeout=_END_S)

    def give_up(self) -> None:
        """Ends like `stop`, and writes nothing, since the disk stalls. Waits for nothing."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            self._book.look()
            if self._owned():
                await self._keep()
            await self._clock.sleep(LOOK_S)

    async def _keep(self) -> None:
        if not self._is_read:
            await self._read()
        if self._is_read and self._is_due():
            await self._write()
        elif self._has_file:
            with suppress(StorageError):  # whoever removed it
                await in_thread(gap_file.note_alive, self._files, self._capture_dir, self._clock.time_ns())

    def _is_due(self) -> bool:
        waited_s = self._clock.monotonic() - self._wrote_s
        if self.problem or self._former:
            return waited_s >= WRITE_S
        if self._book.turned and waited_s >= self._wait_s:
            self._wait_s = min(RARELY_S, 2 * self._wait_s) if waited_s < 2 * RARELY_S else WRITE_S
            return True
        return self._book.changed and waited_s >= RARELY_S

    async def _read(self) -> None:
        """Takes over what an earlier process wrote. What can't be read is not overwritten, unless it is damaged."""
        try:
            kept = await in_thread(gap_file.read, self._files, self._capture_dir)
        except DamagedFileError as error:
            logger.error("%s; the record of gaps starts anew", error)
            kept = None
            with suppress(StorageError):
                await in_thread(gap_file.put_aside, self._files, self._capture_dir)
        except HoldfastError as error:
            self._say(error)
            return
        self._is_read = self._has_file = True
        if kept is not None:
            self._book.adopt(kept)

    async def _write(self) -> None:
        self._wrote_s = self._clock.monotonic()
        records, former, self._former = self._book.records(), self._former, []
        try:
            await in_thread(gap_file.write, self._files, self._capture_dir, records, self._clock.time_ns())
            for folder in former:
                await in_thread(gap_file.remove, self._files, folder)
        except HoldfastError as error:
            self._former = [*former, *self._former]
            self._say(error)
            return
        self.problem, self._has_file = "", True

    def _say(self, error: HoldfastError) -> None:
        if str(error) != self.problem:
            logger.error("%s; gaps in what is captured are remembered only until the next restart", error)
        self.problem, self._remedy = str(error), error.remedy
