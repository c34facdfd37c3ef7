"""The uplink to one cloud: the connection, and the rounds of sync that send what lies in the stores.

Belongs to the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

from ..base.clock import Clock
from ..base.filesystem import FileSystem
from ..base.problems import Kind, Problem
from ..base.tasks import all_done, begin, end, supervised
from ..base.words import number_of, size
from ..storage.store import Store
from .cloud.cloud import Cloud, CloudSettings
from .cloud.link import Link
from .delivery.delivery import Delivery
from .delivery.sender import Sender
from .delivery.sequence_delivery import IsOpen, SequenceDelivery
from .quarantine_count import QuarantineCount
from .rounds import STOP_PATIENCE_S, Rounds, SyncSettings
from .uploads.uploads import Uploads

_TRIED_AGAIN_S = 600.0
"""How long files may be tried again before that is a problem."""


class Uplink:
    """Owns everything that sync needs for one cloud. It runs from its construction on; `leave` must be called."""

    def __init__(
        self,
        files: FileSystem,
        clock: Clock,
        stores: Callable[[], Sequence[Store]],
        settings: CloudSettings,
        predecessor: asyncio.Task[None] | None = None,
    ) -> None:
        """`stores` returns the stores to send from, that of `capture_dir` first. No file is sent before the task
        `predecessor` has ended."""
        self.settings = settings
        self._predecessor = predecessor
        self._cloud = Cloud(settings)
        self.link = Link(self._cloud, settings, clock)
        self.delivery = Delivery(files, clock, self._cloud, self.link)
        self.rounds = Rounds(files, clock, self.link, self.delivery, stores)
        self.quarantined = QuarantineCount(
            files,
            clock,
            lambda: [(store.root, store.ledger) for store in stores()],
            lambda: self.rounds.additional.synced,
        )
        self.uploads = Uploads(
            files,
            Sender(clock, self._cloud, self.link),
            self.link,
            self.delivery.settlements,
            stores,
            self.rounds.until_resumed,
        )
        self._task = begin(self._serve(), "holdfast-uplink")

    def configure(
        self, sync: SyncSettings, *, tags: tuple[str, ...], limit_bytes_per_s: float, is_open: IsOpen, pause: str
    ) -> None:
        """Makes a configuration hold from now on.

        `tags` are those of arbitrary files. `limit_bytes_per_s` caps all uploads together; 0 is no cap. `is_open`
        says whether the sequence in a file may still go on. `pause` is the reason why scheduled sync waits, empty
        when it does not; see `Rounds.hold`.
        """
        self._cloud.bandwidth.set_limit(limit_bytes_per_s)
        self.delivery.configure(tags, is_open)
        self.rounds.configure(sync)
        self.rounds.hold(pause)

    @property
    def problems(self) -> Iterator[Problem]:
        """What keeps data from the cloud now."""
        retrying = self.delivery.retrying
        if not self.rounds.is_disabled:
            waiting = None if self.link.up else self.rounds.backlog.waiting
            waits = ""
            if waiting and waiting.files:
                waits = f"{number_of(waiting.files, 'file')} ({size(waiting.bytes)}) waiting"
            yield from self.link.problems(waits)
        if retrying and self.link.usable:
            what = f"files that were not accepted are tried again (last: {self.delivery.last_error})"
            do = "see what the log says of them"
            yield Problem(Kind.SYNC, what, do, f"{number_of(retrying, 'file')} waiting", "retrying", _TRIED_AGAIN_S)
        yield from self.quarantined.problems
        for each in self.rounds.additional.problems:
            yield Problem(Kind.CONFIG, each)

    @property
    def bytes_per_s(self) -> float:
        """How fast uploads go."""
        return self._cloud.meter.bytes_per_s

    @property
    def sequences(self) -> SequenceDelivery:
        """Sends sequences and counts what became of them."""
        return self.delivery.sequences

    async def leave(self, patience_s: float = STOP_PATIENCE_S) -> None:
        """Ends everything; files that are not delivered stay. Uploads under way may take `patience_s`. Safe to call
        twice."""
        await end([self._task])
        if self._predecessor is not None:
            await asyncio.wait([self._predecessor])
        await all_done("the end of sync", self.rounds.stop(patience_s), self.uploads.stop())
        await self._cloud.close()

    async def _serve(self) -> None:
        if self._predecessor is not None:
            await asyncio.wait([self._predecessor])
        await asyncio.gather(
            supervised("link", self.link.run),
            supervised("additional sync paths", self.rounds.additional.run),
            supervised("sync", self.rounds.run),
            supervised("backlog", self.rounds.backlog.run),
            supervised("summary", self.rounds.summary.run),
            supervised("quarantine count", self.quarantined.run),
        )
