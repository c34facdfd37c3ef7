"""Sync of one capture folder with one cloud: its lock, its recovery, its link and its rounds.

Belongs to the event loop. Waits for the folder's lock as long as it takes; `state` says for whom. Ends by `leave`,
or by `drain`, which sends what is there first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from .clock import Clock, first_done
from .errors import StorageError
from .filesystem import FileSystem
from .storage.disk_writer import DiskWriter
from .storage.ledger import Ledger
from .storage.lock import FolderLock
from .storage.recovery import recover
from .sync.cloud import Cloud, CloudSettings
from .sync.delivery import Delivery
from .sync.link import Link
from .sync.scheduler import SyncScheduler
from .throttle import Throttle

RUNNING = "running"
_LOCK_POLL_S = 0.5
_RESTART_S = 5.0

logger = logging.getLogger(__name__)


class Folder:
    """Runs from its construction on; `leave` or `drain` must be called."""

    def __init__(
        self,
        files: FileSystem,
        clock: Clock,
        throttle: Throttle,
        ledger: Ledger,
        writer: DiskWriter,
        capture_dir: str,
        cloud_settings: CloudSettings,
    ) -> None:
        self.capture_dir = capture_dir
        self.cloud_settings = cloud_settings
        self.state = "starting"
        self.recovered = "not begun"
        self._files = files
        self._clock = clock
        self._throttle = throttle
        self._ledger = ledger
        self._writer = writer
        self._cloud = Cloud(cloud_settings)
        self._lock = FolderLock(files, capture_dir)
        self.link = Link(self._cloud, cloud_settings, clock)
        self.delivery = Delivery(files, clock, ledger, self._cloud, self.link, throttle)
        self.delivery.part_id, self.delivery.capture_dir = cloud_settings.part_id, capture_dir
        self.sync = SyncScheduler(files, clock, self.link, self.delivery, writer.complete)
        self._gave_up = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._serve(), name="holdfast-folder")

    async def leave(self) -> None:
        """Ends everything and frees the lock; files stay as they are. Safe to call twice."""
        self.state = "stopped"
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.sync.stop()
        await self._cloud.close()
        self._lock.release()

    async def drain(self, complete: Awaitable[None]) -> None:
        """Leaves when scheduled sync has sent all that is there after `complete`, or when `give_up` is called."""
        await complete
        await first_done(self.sync.drained(), self._gave_up.wait())
        if not self._gave_up.is_set():
            logger.info("%s is drained", self.capture_dir)
        await self.leave()

    def give_up(self) -> None:
        """Lets `drain` leave with what is not sent yet still there."""
        self._gave_up.set()

    async def _serve(self) -> None:
        """The folder's tasks, from its lock on, until cancelled."""
        await self._locked()
        self.state = RUNNING
        await asyncio.gather(
            _supervised("link", self.link.run),
            _supervised("sync", self.sync.run),
            _supervised("recovery", self._recover),
        )

    async def _locked(self) -> None:
        while True:
            try:
                if self._lock.try_acquire():
                    return
                self.state = f"waiting for process {self._lock.owner()}, which has the lock of {self.capture_dir}"
            except StorageError as error:
                self.state = f"waiting: {error}"
            if self._throttle.allows(self.state):
                logger.warning("%s; capture goes on, sync waits", self.state)
            await self._clock.sleep(_LOCK_POLL_S)

    async def _recover(self) -> None:
        """Passes over the `.prog` files of a crash until none is left to wait for."""
        self.recovered = "running"
        total = 0
        while True:
            found = await asyncio.to_thread(
                recover, self._files, self._clock, self._ledger, self.capture_dir, self._writer.is_open
            )
            total += found.files
            if found.files or found.quarantined:
                logger.info(
                    "recovered %d files with %d readings that a crash left; %d readings were cut off, "
                    "%d files are in quarantine",
                    found.files,
                    found.readings,
                    found.torn_readings,
                    found.quarantined,
                )
            if not found.waiting:
                break
            await self._clock.sleep(_LOCK_POLL_S)
        self.recovered = f"done, {total} files"


async def _supervised(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Runs a part until it returns. An error that nobody foresaw must not end sync for good: it begins anew."""
    while True:
        try:
            return await run()
        except Exception:  # the last resort: everything foreseen is a HoldfastError and handled
            logger.exception("%s failed unexpectedly; it begins anew in %g s", name, _RESTART_S)
        await asyncio.sleep(_RESTART_S)
