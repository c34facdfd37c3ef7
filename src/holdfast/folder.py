"""One capture folder and its way to the cloud: a store, a link, and rounds of sync between them.

Belongs to the event loop. Sync waits until the store is ours; `state` says for whom. Ends by `leave`, or by
`drain`, which sends what is there first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from .clock import Clock, first_done
from .filesystem import FileSystem
from .storage.store import Store
from .sync.cloud import Cloud, CloudSettings
from .sync.delivery import Delivery
from .sync.link import Link
from .sync.scheduler import SyncScheduler
from .throttle import Throttle

RUNNING = "running"
_RESTART_S = 5.0

logger = logging.getLogger(__name__)


class Folder:
    """Runs from its construction on; `leave` or `drain` must be called."""

    def __init__(
        self,
        files: FileSystem,
        clock: Clock,
        throttle: Throttle,
        store: Store,
        cloud_settings: CloudSettings,
        predecessor: asyncio.Task[None] | None = None,
    ) -> None:
        """`predecessor` is what must come to its end before the first file is sent."""
        self.store = store
        self.cloud_settings = cloud_settings
        self._predecessor = predecessor
        self._serving = False
        self._cloud = Cloud(cloud_settings)
        self.link = Link(self._cloud, cloud_settings, clock)
        self.delivery = Delivery(files, clock, throttle, store.ledger, store.capture_dir, self._cloud, self.link)
        self.sync = SyncScheduler(files, clock, self.link, self.delivery, store)
        self._gave_up = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._serve(), name="holdfast-folder")

    @property
    def state(self) -> str:
        return self.store.waiting_for or (RUNNING if self._serving else "starting")

    async def leave(self) -> None:
        """Ends everything but the store; files stay as they are. Safe to call twice."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._predecessor is not None:
            await self._predecessor
        await self.sync.stop()
        await self._cloud.close()

    async def drain(self, complete: Callable[[], Awaitable[None]]) -> None:
        """Leaves, and closes the store, when scheduled sync has sent all that is there after `complete`, or when
        `give_up` is called."""
        await complete()
        await first_done(self.sync.drained(), self._gave_up.wait())
        if not self._gave_up.is_set():
            logger.info("%s is drained", self.store.capture_dir)
        await self.leave()
        await self.store.close()

    def give_up(self) -> None:
        """Lets `drain` leave with what is not sent yet still there."""
        self._gave_up.set()

    async def _serve(self) -> None:
        """The folder's tasks, from its lock on, until cancelled."""
        if self._predecessor is not None:
            await asyncio.wait([self._predecessor])
        await self.store.own()
        self._serving = True
        await asyncio.gather(
            _supervised("link", self.link.run),
            _supervised("sync", self.sync.run),
            _supervised("recovery", self.store.recover),
        )


async def _supervised(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Runs a part until it returns. An error that nobody foresaw must not end sync for good: it begins anew."""
    while True:
        try:
            return await run()
        except Exception:  # the last resort: everything foreseen is a HoldfastError and handled
            logger.exception("%s failed unexpectedly; it begins anew in %g s", name, _RESTART_S)
        await asyncio.sleep(_RESTART_S)
