"""The additional sync paths: what stands at each of them now, and which of them can be synced.

They are looked at when they change in the config, before each round, and every `LOOK_S`, whatever sync does. A
problem is logged when it begins, and its end too; the status has it meanwhile. A file system that does not answer
within `STALL_S` holds up nothing else: its path is left out until it answers, and only one thread waits for it.

Belongs to the event loop; the disk is looked at on threads. Bound: one such thread for each path.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

from ..base.clock import Clock, first_done
from ..base.filesystem import FileSystem
from ..base.tasks import all_done
from ..base.threads import in_own_thread
from ..config import ADDITIONAL_PATHS, Protected
from .path_check import CheckedPath, PathKind, check_path

LOOK_S = 15.0
STALL_S = 5.0

logger = logging.getLogger(__name__)


class AdditionalPaths:
    """The configured paths, each with what is known about it. The caller runs `run`."""

    def __init__(self, files: FileSystem, clock: Clock) -> None:
        self._files = files
        self._clock = clock
        self._protected = Protected()
        self._known: dict[str, CheckedPath] = {}
        self._hanging: dict[str, asyncio.Future[CheckedPath]] = {}
        self._checking = asyncio.Lock()
        self._changed = asyncio.Event()
        self._checked = asyncio.Event()

    def configure(self, paths: Sequence[str], protected: Protected) -> None:
        """Makes these paths hold. They are looked at soon."""
        self._protected = protected
        if list(self._known) != list(dict.fromkeys(paths)):
            self._known = {path: self._known.get(path) or CheckedPath(path) for path in paths}
            self._checked.clear()
        if not paths:
            self._checked.set()
        self._changed.set()

    @property
    def all(self) -> list[CheckedPath]:
        """What is known about each path."""
        return list(self._known.values())

    @property
    def synced(self) -> tuple[str, ...]:
        """The paths that are synced; what was not looked at yet is among them."""
        return tuple(known.path for known in self._known.values() if known.is_synced)

    @property
    def problems(self) -> list[str]:
        """What is wrong with the paths, in sentences."""
        return [f"{ADDITIONAL_PATHS}: {known.problem}" for known in self._known.values() if known.problem]

    async def run(self) -> None:
        """Looks at the paths whenever it is time. Runs until it is cancelled."""
        while True:
            self._changed.clear()
            await self.check()
            await first_done(self._clock.sleep(LOOK_S), self._changed.wait())

    async def checked(self) -> None:
        """Returns when each path of now was looked at, or does not answer."""
        await self._checked.wait()

    async def check(self) -> None:
        """Looks at all paths at once. Takes `STALL_S` if any has begun to stall, else milliseconds."""
        async with self._checking:
            paths = list(self._known)
            for found in await all_done("a look at a sync path", *map(self._look_at, paths)):
                if found is not None and found.path in self._known:  # else the config has changed
                    self._take(found)
            if paths == list(self._known):
                self._checked.set()

    async def _look_at(self, path: str) -> CheckedPath:
        look = self._hanging.get(path)
        if look is None:
            look = in_own_thread(
                "holdfast-look", "a look at a sync path", check_path, self._files, path, self._protected
            )
            await asyncio.wait([look], timeout=STALL_S)
        if look.done():
            self._hanging.pop(path, None)
            return look.result()
        self._hanging[path] = look
        problem = f"{path} does not answer: its file system hangs; it is synced again when it answers"
        return CheckedPath(path, PathKind.UNKNOWN, problem, is_synced=False, is_readable=False)

    def _take(self, found: CheckedPath) -> None:
        before = self._known[found.path]
        if (
            found.kind is PathKind.MISSING
            and before.kind in (PathKind.FILE, PathKind.MISSING)
            and not before.problem
        ):
            found = replace(found, problem="")  # a file is gone when it is delivered
        self._known[found.path] = found
        if found.problem and found.problem != before.problem:
            logger.warning("additional_sync_paths: %s", found.problem)
        elif before.problem and not found.problem:
            logger.info("additional_sync_paths: %s is a %s now, and synced", found.path, found.kind.value)
