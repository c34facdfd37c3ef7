"""`Adoption` holds the cards of now: those of the machine file, or those that were adopted last.

Belongs to the event loop; files are read and written by worker threads.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from ..base.clock import Clock
from ..base.filesystem import FileSystem
from ..base.log_limit import once
from ..base.problems import Kind, Problem
from ..base.tasks import begin, in_thread
from ..base.words import some
from ..config import Card
from ..errors import HoldfastError, NewerStateError, StorageError
from . import adopted_file, machine_file
from .adopted_file import Kept
from .machine_file import ConfigOfTheCloudError, Content, MachineFile

LOOK_S = 5.0
"""How often the machine file is looked at, for what viam-server changes without a new service."""
_LOOK_TIMEOUT_S, _KEPT_TIMEOUT_S = 2.5, 1.0
"""viam-server gives a validation five seconds."""
_PATIENCE_S = 2 * LOOK_S
_STALE_PATIENCE_S = 300.0
_MOST_NAMED = 500
_WHAT = "capture settings of components"
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
    """When they were read, in Unix time; None before the first time. Of cards that an earlier process kept, it is
    when that one read them first."""
    why_not_newer: str = ""
    """Why newer cards may not be known: the file can't be read since, or viam-server was given another revision.
    Empty if neither is so."""


class Adoption:
    """Reads the cards of the machine file that `locate` returns, which raises UnknownMachineFileError.

    `given` returns the revision of the config that viam-server was given last; empty where it is not known. Both
    are called on the event loop, and given up after some seconds.
    """

    def __init__(
        self,
        files: FileSystem,
        clock: Clock,
        locate: Callable[[], Awaitable[MachineFile]],
        given: Callable[[], Awaitable[str]],
    ) -> None:
        self.cards: tuple[Card, ...] = ()
        """What components, services and remotes want captured."""
        self.findings: tuple[str, ...] = ()
        """What is wrong with them."""
        self._files = files
        self._clock = clock
        self._locate = locate
        self._given = given
        self._path = self._machine = self._revision = ""
        self._is_of_cloud = False
        self._read_ns: int | None = None
        self._content: Content | None = None
        self._unreadable = ""
        """Why the last reading failed."""
        self._differs = ("", "")
        """The revisions of the file and of viam-server, if they differed at the last look."""
        self._is_stale = False
        self._kept: tuple[str, Kept] | None = None
        """What is kept where, as far as this process knows."""
        self._not_kept = ""
        """Why what was read is not kept."""
        self._reading: asyncio.Task[None] | None = None
        """The reading that began last."""

    @property
    def adopted(self) -> Adopted:
        return Adopted(self._path, self._revision, self._read_ns, self._unreadable or self._stale)

    @property
    def problems(self) -> Iterator[Problem]:
        """What keeps newer cards from being adopted, and what was adopted from being kept."""
        if self._unreadable:
            follows = "none is known yet" if self._read_ns is None else "those that were adopted last hold"
            what = f"{_WHAT} can't be read: {self._unreadable}; {follows}"
            yield Problem(Kind.CONFIG, what, _DO, key="unreadable cards", patience_s=_PATIENCE_S)
        elif self._stale:
            yield Problem(
                Kind.CONFIG,
                f"{_WHAT} may be older than in Viam's app: {self._stale}",
                "see in viam-server's log whether a module can't be downloaded or this file can't be written",
                key="stale cards",
                patience_s=_STALE_PATIENCE_S,
            )
        if self._not_kept:
            follows = (
                "if viam-server's config can't be read at the next start, what components want captured is not"
            )
            yield Problem(Kind.STATE, f"{self._not_kept}; {follows} known then", key="cards that are not kept")

    async def look(self) -> None:
        """Reads what the machine file has now, within some seconds. Never raises: `adopted` says what went wrong,
        and the cards stay."""
        before, until_s = self._reading, asyncio.get_running_loop().time() + _LOOK_TIMEOUT_S
        if before is not None and not before.done():  # it may have read what has been replaced since
            await asyncio.wait({before}, timeout=_LOOK_TIMEOUT_S)
        if self._reading is before and (before is None or before.done()):
            self._reading = begin(self._read(), "the capture settings of components")
        reading = self._reading
        if reading is None:
            return
        done, _ = await asyncio.wait({reading}, timeout=max(0.0, until_s - asyncio.get_running_loop().time()))
        if not done:  # it goes on, and the next look waits for it again: a disk that hangs takes one thread
            self._failed(f"{self._path or 'viam-server'} does not answer")
        elif not reading.cancelled() and (error := reading.exception()) is not None:
            self._failed(machine_file.why(error))

    async def look_again(self) -> None:
        """Looks for what changed without a new service, and whether the file has what viam-server was given. Never
        raises."""
        await self.look()
        if self._content is None or self._unreadable or not self._is_of_cloud:  # a local config has no revision
            return
        try:
            given = await asyncio.wait_for(self._given(), _LOOK_TIMEOUT_S)
        except (HoldfastError, OSError, asyncio.TimeoutError):
            return
        # viam-server tells a revision when it begins to apply it, and writes the file when it has what that needs.
        # A change between the two calls is no difference, so two looks in a row have to agree.
        differs = (self._content.revision, given)
        if not given or given == self._content.revision:
            differs = ("", "")
        was_stale, self._is_stale = self._is_stale, differs == self._differs != ("", "")
        self._differs = differs
        if self._is_stale and not was_stale:
            logger.warning("capture settings of components may be older than in Viam's app: %s", self._stale)

    async def use_kept(self, capture_dir: str) -> None:
        """Takes over what is kept in the capture folder, unless cards were read already. Never raises, and waits
        for a second at most: what the disk tells later is taken over then."""
        if self._read_ns is None:
            taking = begin(self._take_kept(capture_dir), "what was adopted last")
            await asyncio.wait({taking}, timeout=_KEPT_TIMEOUT_S)

    async def keep(self, capture_dir: str, brought: Sequence[str]) -> None:
        """Keeps what was read, for a start at which it can't be read. Never raises.

        The folder must be ours. `brought` are the names of all that only cards have captured, for the log line of
        the first time.
        """
        if self._content is None or self._read_ns is None:
            return
        new = Kept(self._machine, self._content.revision, self._read_ns, self._content.cards)
        if self._kept is not None and self._kept[0] == capture_dir and _same(self._kept[1], new):
            return
        try:
            before = await in_thread(adopted_file.read, self._files, capture_dir)
            if before is None or not _same(before, new):
                await in_thread(adopted_file.write, self._files, capture_dir, new)
        except (StorageError, NewerStateError) as error:
            self._not_kept = str(error)
            logger.error(
                "%s; if viam-server's config can't be read at the next start, what components want captured is not "
                "known then",
                error,
                extra=once(),
            )
            return
        self._kept, self._not_kept = (capture_dir, new), ""
        if before is None and brought:
            logger.info(
                "capture settings of components, as set in Viam's app, are adopted from now on: %s",
                some(brought, _MOST_NAMED),
            )

    def stop(self) -> None:
        """Ends a reading that is under way."""
        if self._reading is not None:
            self._reading.cancel()

    @property
    def _stale(self) -> str:
        if not self._is_stale:
            return ""
        of_file, given = self._differs
        return (
            f"viam-server was given revision {given}, and {self._path} has {of_file or 'none'}: it is still "
            "downloading what that needs, or failed to, or can't write the file"
        )

    async def _read(self) -> None:
        file = await self._locate()
        self._path, self._is_of_cloud = file.path, bool(file.part_id)
        if self._is_of_cloud:
            self._expect(file.machine)
        try:
            content = await in_thread(machine_file.read, self._files, file, self._content)
        except ConfigOfTheCloudError:
            raise
        except HoldfastError:
            self._expect(file.machine)
            raise
        self._content, self.cards, self.findings = content, content.cards, content.findings
        self._path, self._revision, self._machine = content.path, content.revision, file.machine
        self._read_ns, self._unreadable = self._clock.time_ns(), ""

    def _expect(self, machine: str) -> None:
        """Takes the machine for the one of which cards are to hold, until the first are read: what another one kept
        does not."""
        if self._content is None:
            self._machine = machine
            if self._kept is not None and self._kept[1].machine != machine:
                self.cards, self._read_ns, self._kept = (), None, None

    async def _take_kept(self, capture_dir: str) -> None:
        try:
            found = await in_thread(adopted_file.read, self._files, capture_dir)
        except (StorageError, NewerStateError) as error:
            logger.warning("%s; what was adopted before is not known", error, extra=once())
            return
        if found is None or self._read_ns is not None or (self._machine and found.machine != self._machine):
            return
        self._kept = (capture_dir, found)
        self.cards, self._revision, self._read_ns = found.cards, found.revision, found.read_ns
        logger.warning(
            "%s; the capture settings of components that were adopted last hold",
            self._unreadable or "the machine's config is not read yet",
        )

    def _failed(self, why: str) -> None:
        self._unreadable = why
        logger.warning("capture settings of components can't be read: %s; those that were adopted last hold", why)


def _same(one: Kept, other: Kept) -> bool:
    return (one.machine, one.revision, one.cards) == (other.machine, other.revision, other.cards)
