"""Capture to MongoDB: tabular readings go into a spool beside the capture files, and from there to a collection.

`MongoCapture` belongs to the event loop and never waits: a reading is put into the spool's memory, everything else
happens on threads. `MongoWriter` is one such thread for one spool. Invariants:

- A reading is written once: its `_id` is its name in the spool, and a document that is there already counts as
  written. Readings of one capture folder are written in the order in which they were taken.
- What can't be written now is tried again for as long as it takes; only what the server refuses for what it is, and
  what there is no room for, is dropped, counted by reason. A batch of which nothing is heard is tried in halves.
- Without a configuration nothing is taken, and what waits stays where it is, for the next one.
- The thread uses at most half a core, so that a backlog does not cost capture its deadlines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..base.clock import Clock
from ..base.filesystem import Buffer, FileSystem
from ..base.tasks import in_thread
from ..config import MongoSettings
from ..storage.ledger.counts import CollectorId
from ..storage.writing.sink import Sink
from .segments import SpoolCounts
from .spool import Spool, Waiting
from .target import Connect, MongoTarget
from .writer import MongoWriter

OFF = "off"
_POLL_S = 0.2


def _connect(settings: MongoSettings) -> MongoTarget:
    """Loads pymongo at the first use: it is a fifth of the module's start, and most machines have no MongoDB."""
    from .mongo_client import MongoClient

    return MongoClient(settings)


_NOTHING = Waiting(0, 0, None)


@dataclass(frozen=True)
class MongoReport:
    """What is known of capture to MongoDB, of all capture folders."""

    state: str = OFF
    why: str = ""
    last_error: str = ""
    waiting: Waiting = _NOTHING
    counts: SpoolCounts = field(default_factory=SpoolCounts)


@dataclass(frozen=True)
class SpoolPlace:
    """Where readings wait: a capture folder, whether it is ours yet, and whom to tell of what was written."""

    capture_dir: str
    flush_interval_s: float
    owned: Callable[[], bool]
    wrote: Callable[[], None]


class MongoCapture:
    """Where collectors put what MongoDB is to have. `stop` must be called."""

    def __init__(self, files: FileSystem, clock: Clock, connect: Connect = _connect) -> None:
        self.spool: Spool | None = None
        """Of the configured folder; None while nothing goes to MongoDB."""
        self._files = files
        self._clock = clock
        self._connect = connect
        self._writers: dict[str, MongoWriter] = {}
        self._closing: dict[str, asyncio.Task[None]] = {}

    def configure(self, settings: MongoSettings | None, place: SpoolPlace) -> None:
        """Readings go there from now on, what waits in folders that were configured before too. Returns at once."""
        if settings is None:
            self.spool = None
            for capture_dir in list(self._writers):
                self._close(capture_dir)
            return
        for writer in self._writers.values():
            writer.configure(settings)
        writer = self._writers.get(place.capture_dir) or self._open(settings, place)
        writer.spool.configure(place.flush_interval_s)
        self.spool = writer.spool

    def tee(self, collector: CollectorId, sink: Sink) -> Sink:
        """`sink`, with each tabular reading put into the spool too while there is one."""
        return _Tee(self, collector, sink)

    def report(self) -> MongoReport:
        """Takes no disk and no call."""
        writers = list(self._writers.values())
        if not writers:
            return MongoReport()
        active = next((each for each in writers if each.spool is self.spool), writers[0])
        waiting, counts = [each.spool.waiting() for each in writers], SpoolCounts()
        for writer in writers:
            counts.add(writer.spool.counts)
        return MongoReport(
            active.state,
            active.why,
            active.last_error or active.spool.last_error,
            Waiting(
                sum(each.readings for each in waiting),
                sum(each.size_bytes for each in waiting),
                min((each.oldest_ns for each in waiting if each.oldest_ns is not None), default=None),
            ),
            counts,
        )

    async def flush(self) -> None:
        """Returns when what was taken so far is handed to the operating system or dropped."""
        if self.spool is not None:
            await self.spool.flush()

    async def drained(self, capture_dir: str) -> None:
        """Returns when nothing waits in a folder that is configured no more, or nothing is to be sent."""
        while (writer := self._writers.get(capture_dir)) is not None and writer.spool.waiting().readings:
            await self._clock.sleep(_POLL_S)

    async def release(self, capture_dir: str) -> None:
        """Leaves a folder; what waits there stays."""
        self._close(capture_dir)
        if (closing := self._closing.get(capture_dir)) is not None:
            await closing

    async def stop(self) -> None:
        """Leaves all folders. Takes under a second where the disk does."""
        self.spool = None
        await asyncio.gather(*(self.release(capture_dir) for capture_dir in [*self._writers, *self._closing]))

    def _open(self, settings: MongoSettings, place: SpoolPlace) -> MongoWriter:
        spool = Spool(self._files, self._clock, place.capture_dir, place.flush_interval_s, place.wrote)
        predecessor = self._closing.get(place.capture_dir)

        def owned() -> bool:
            return place.owned() and (predecessor is None or predecessor.done())

        writer = self._writers[place.capture_dir] = MongoWriter(spool, self._clock, settings, owned, self._connect)
        return writer

    def _close(self, capture_dir: str) -> None:
        writer = self._writers.pop(capture_dir, None)
        if writer is None:
            return
        predecessor = self._closing.get(capture_dir)

        async def close() -> None:
            if predecessor is not None:
                await predecessor
            await in_thread(writer.spool.close)
            await in_thread(writer.stop)

        task = asyncio.get_running_loop().create_task(close(), name="holdfast-close-mongo")
        self._closing[capture_dir] = task

        def closed(done: asyncio.Task[None]) -> None:
            if self._closing.get(capture_dir) is done:
                del self._closing[capture_dir]

        task.add_done_callback(closed)


class _Tee:
    """A sink that gives tabular readings to the spool as well."""

    def __init__(self, mongo: MongoCapture, origin: CollectorId, sink: Sink) -> None:
        self._mongo = mongo
        self._origin = origin
        self._sink = sink

    def append(self, message: bytes) -> None:
        self._sink.append(message)
        if (spool := self._mongo.spool) is not None:
            spool.append(self._origin, message)

    def append_binary(self, head: bytes, payload: Sequence[Buffer], mime_type: str) -> None:
        self._sink.append_binary(head, payload, mime_type)
