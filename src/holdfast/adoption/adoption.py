"""`Adoption` holds the cards of now: those of the machine file, or those that were adopted last.

Belongs to the event loop; files are read and written by worker threads.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ..base.clock import Clock
from ..base.filesystem import FileSystem
from ..base.log_limit import once
from ..base.problems import Kind, Problem
from ..base.tasks import begin, in_thread
from ..config import Card
from ..errors import HoldfastError, NewerStateError, StorageError
from . import adopted_file, machine_file
from .adopted_file import Kept
from .machine_file import Content, MachineFile

LOOK_S = 5.0
"""How often the machine file is looked at, for what viam-server changes without a new service."""
_TIMEOUT_S = 3.0
"""viam-server gives a validation five seconds."""
_PATIENCE_S = 2 * LOOK_S
_MOST_NAMED = 20
_DO = (
    "see to it that viam-server's folder (VIAM_HOME, else ~/.viam) is not full or read-only, and that the module "
    "runs as viam-server's user"
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Adopted:
    """Where the cards of now come from."""

    path: str = ""
    """The machine file; empty while it is not known."""
    revision: str = ""
    """The config's revision in the cloud; empty for a local one."""
    read_ns: int | None = None
    """When the machine file was read last, in Unix time; None before the first time."""
    why_not_newer: str = ""
    """Why newer cards may not be known: the file can't be read since, or viam-server runs another revision. Empty
    if neither is so."""


class Adoption:
    """Reads the cards of the machine file that `locate` returns, which raises UnknownMachineFileError.

    `running` returns the revision of the config that viam-server runs; empty where it is not known. Both are called
    on the event loop, and given up after three seconds.
    """

    def __init__(
        self,
        files: FileSystem,
        clock: Clock,
        locate: Callable[[], Awaitable[MachineFile]],
        running: Callable[[], Awaitable[str]],
    ) -> None:
        self.cards: tuple[Card, ...] = ()
        """What components, services and remotes want captured."""
        self.findings: tuple[str, ...] = ()
        """What is wrong with them."""
        self._files = files
        self._clock = clock
        self._locate = locate
        self._running = running
        self._path = self._machine = self._revision = ""
        self._read_ns: int | None = None
        self._content: Content | None = None
        self._unreadable = ""
        """Why the last reading failed."""
        self._differs = ("", "")
        """The revisions of the file and of viam-server, if they differed at the last look."""
        self._is_stale = False
        self._written: tuple[str, Kept] | None = None
        """What is kept where, as far as this process knows."""
        self._reading: asyncio.Task[None] | None = None
        """The reading that is under way."""

    @property
    def adopted(self) -> Adopted:
        return Adopted(self._path, self._revision, self._read_ns, self._why_not_newer)

    @property
    def problem(self) -> Problem | None:
        """What keeps newer cards from being adopted; None if nothing does."""
        if not self._why_not_newer:
            return None
        what = f"capture settings of components, as set in Viam's app, can't be read: {self._why_not_newer}"
        follows = "none is known yet" if self._read_ns is None else "those that were adopted last hold"
        return Problem(Kind.CONFIG, f"{what}; {follows}", _DO, key="adoption", patience_s=_PATIENCE_S)

    async def look(self) -> None:
        """Reads the machine file, within three seconds. Never raises: `adopted` says what went wrong, and the cards
        stay."""
        reading = self._reading = self._reading or begin(self._read(), "the capture settings of components")
        done, _ = await asyncio.wait({reading}, timeout=_TIMEOUT_S)
        if not done:  # it goes on, and the next look waits for it again: a disk that hangs takes one thread
            self._failed(f"{self._path or 'viam-server'} does not answer")
            return
        if self._reading is reading:
            self._reading = None
        error = None if reading.cancelled() else reading.exception()
        if error is not None:
            self._failed(machine_file.why(error))

    async def look_again(self) -> None:
        """Looks for what changed without a new service, and whether viam-server runs what the file says. Never
        raises."""
        await self.look()
        if self._content is None or not self._content.revision or self._unreadable:
            return
        try:
            running = await asyncio.wait_for(self._running(), _TIMEOUT_S)
        except (HoldfastError, OSError, asyncio.TimeoutError):
            return
        # Two looks in a row have to agree, since viam-server replaces the file before it tells the revision.
        differs = (self._content.revision, running)
        if not running or running == self._content.revision:
            differs = ("", "")
        self._is_stale = bool(running) and differs == self._differs != ("", "")
        self._differs = differs

    async def use_kept(self, capture_dir: str) -> None:
        """Takes over what is kept in the capture folder, unless cards were read already. Never raises."""
        if self._read_ns is not None:
            return
        try:
            found = await in_thread(adopted_file.read, self._files, capture_dir)
        except (StorageError, NewerStateError) as error:
            logger.warning("%s; what was adopted before is not known", error, extra=once())
            return
        if found is None or (self._machine and found.machine != self._machine):
            return
        self._written = (capture_dir, found)
        self.cards, self._revision, self._read_ns = found.cards, found.revision, found.read_ns
        logger.warning(
            "%s; the capture settings of components that were adopted last hold",
            self._unreadable or "the machine's config is not read yet",
        )

    async def keep(self, capture_dir: str) -> None:
        """Keeps what was read, for a start at which it can't be read. Never raises."""
        if self._content is None or self._read_ns is None:
            return
        new = Kept(self._machine, self._content.revision, self._read_ns, self._content.cards)
        if self._written is not None and self._written[0] == capture_dir and _same(self._written[1], new):
            return
        try:
            before = await in_thread(adopted_file.read, self._files, capture_dir)
            if before is None or not _same(before, new):
                self._say_what_is_new(before, new)
                await in_thread(adopted_file.write, self._files, capture_dir, new)
            self._written = (capture_dir, new)
        except (StorageError, NewerStateError) as error:
            logger.error(
                "%s; capture settings of components are not known after a start at which they can't be read",
                error,
                extra=once(),
            )

    @property
    def _why_not_newer(self) -> str:
        if self._unreadable or not self._is_stale:
            return self._unreadable
        return f"{self._path} has revision {self._differs[0]}, and viam-server runs {self._differs[1]}"

    async def _read(self) -> None:
        file = await self._locate()
        self._path, self._machine = file.path, file.machine
        content = await in_thread(machine_file.read, self._files, file, self._content)
        self._content, self.cards, self.findings = content, content.cards, content.findings
        self._revision, self._read_ns, self._unreadable = content.revision, self._clock.time_ns(), ""

    def _failed(self, why: str) -> None:
        self._unreadable = why
        logger.warning("capture settings of components can't be read: %s; those that were adopted last hold", why)

    def _say_what_is_new(self, before: Kept | None, new: Kept) -> None:
        if before is None and new.cards:
            named = adopted_file.names(new.cards)
            more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
            logger.info(
                "capture settings of components, as set in Viam's app, are adopted from now on: %s%s",
                ", ".join(named[:_MOST_NAMED]),
                more,
            )


def _same(one: Kept, other: Kept) -> bool:
    return (one.machine, one.revision, one.cards) == (other.machine, other.revision, other.cards)
