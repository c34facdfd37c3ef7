"""The way to one cloud: a connection, and the rounds of sync that send what lies in the stores.

Belongs to the event loop. Ends by `leave`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from ..base.clock import Clock
from ..base.filesystem import FileSystem
from ..base.tasks import end, supervised
from ..storage.store import Store
from .cloud.cloud import Cloud, CloudSettings
from .cloud.link import Link
from .delivery.delivery import Delivery
from .failed_count import FailedCount
from .rounds import STOP_PATIENCE_S, Rounds
from .uploads.uploads import Uploads


class Uplink:
    """Runs from its construction on; `leave` must be called."""

    def __init__(
        self,
        files: FileSystem,
        clock: Clock,
        stores: Callable[[], Sequence[Store]],
        settings: CloudSettings,
        predecessor: asyncio.Task[None] | None = None,
    ) -> None:
        """`stores` gives those to send from, that of `capture_dir` first. `predecessor` is what must come to its
        end before the first file is sent."""
        self.settings = settings
        self._predecessor = predecessor
        self._cloud = Cloud(settings)
        self.link = Link(self._cloud, settings, clock)
        self.delivery = Delivery(files, clock, stores, self._cloud, self.link)
        self.sync = Rounds(files, clock, self.link, self.delivery, stores)
        self.failed = FailedCount(files, clock, stores, lambda: self.sync.additional_paths)
        self.uploads = Uploads(
            files, clock, self._cloud, self.link, self.delivery.settlement, self.sync.until_resumed
        )
        self._task = asyncio.get_running_loop().create_task(self._serve(), name="holdfast-uplink")

    def limit_bytes_per_s(self, limit: float) -> None:
        """Caps all uploads together from now on; 0: no cap."""
        self._cloud.bandwidth.limit_bytes_per_s = limit

    async def leave(self, patience_s: float = STOP_PATIENCE_S) -> None:
        """Ends everything; files stay as they are. Uploads under way may take `patience_s`. Safe to call twice."""
        await end([self._task])
        if self._predecessor is not None:
            await self._predecessor
        await asyncio.gather(self.sync.stop(patience_s), self.uploads.stop())
        await self._cloud.close()

    async def _serve(self) -> None:
        if self._predecessor is not None:
            await asyncio.wait([self._predecessor])
        await asyncio.gather(
            supervised("link", self.link.run),
            supervised("sync", self.sync.run),
            supervised("summary", self.sync.summary.run),
            supervised("failed", self.failed.run),
        )
