"""Capture to MongoDB: tabular readings go into a spool beside the capture files, and from there to a collection.

`MongoCapture` has a spool and a writer for each capture folder from which something is to be sent. Invariants:

- Nothing here waits on the event loop: a reading goes into the spool's memory, and threads do the rest.
- Readings go into the spool of the configured folder. While MongoDB is not configured nothing is taken, and what
  already waits stays on disk for the next configuration.
- A folder has one writer at a time: a successor starts to send when its predecessor has ended.

Runs on the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ..base.clock import Clock
from ..base.filesystem import Buffer, FileSystem
from ..base.noted import Noted
from ..base.problems import Kind, Problem
from ..base.tasks import all_done, begin, in_thread
from ..base.words import number_of
from ..config import MongoSettings
from ..storage.ledger.counts import CollectorId
from ..storage.writing.sink import Sink
from .segments import SpoolCounts
from .spool import InSpool, Spool
from .target import Connect, MongoErrorKind, MongoTarget
from .writer import MongoWriter

OFF = "off"
_POLL_S = 0.2
_REMEDIES = {
    MongoErrorKind.NO_CONNECTION.value: "see whether MongoDB runs, and check the network and the uri",
    MongoErrorKind.LOGIN_REFUSED.value: "correct the user and the password in the uri",
    MongoErrorKind.UNUSABLE.value: "correct mongo_capture_config (docs/mongo.md)",
    MongoErrorKind.REFUSED.value: "see what MongoDB's own log says, and give the user the right to write",
}
"""What a person can do about a state."""
_ENDS_S = 300.0
"""How long MongoDB may be away before that is a problem, since it often comes back."""
_DROPPING_S = 60.0
"""For so long after a reading was dropped that is taken to go on."""


def _connect(settings: MongoSettings) -> MongoTarget:
    """Opens a connection by pymongo.

    pymongo is imported here, at the first use: it takes a fifth of the module's start, and most machines have no
    MongoDB.
    """
    from .mongo_client import MongoClient

    return MongoClient(settings)


_NOTHING = InSpool(0, 0, None)


@dataclass(frozen=True)
class MongoReport:
    """The state of capture to MongoDB, over all capture folders.

    The states are `OFF` and those of `MongoWriter`. Counts are since the folders were opened.
    """

    state: str = OFF
    why: str = ""
    last_error: Noted | None = None
    tried_s: float | None = None
    """When the state was seen, on the monotonic clock: at the last attempt to write. None before the first."""
    adopted: bool = False
    """Whether what earlier runs left is counted, and with it all that waits."""
    waiting: InSpool = _NOTHING
    counts: SpoolCounts = field(default_factory=SpoolCounts)


@dataclass(frozen=True)
class SpoolPlace:
    """The capture folder in which readings wait for MongoDB."""

    capture_dir: str
    flush_interval_s: float
    """How long a reading may stay in memory."""
    owned: Callable[[], bool]
    """Says whether this process holds the folder's lock; nothing is sent before."""
    wrote: Callable[[], None]
    """Called after each write to the spool, on its thread: asks for a sync to disk."""


class MongoCapture:
    """Takes the readings that are to go to MongoDB, and runs the threads that bring them there.

    `stop` must be called.
    """

    def __init__(self, files: FileSystem, clock: Clock, connect: Connect = _connect) -> None:
        self.spool: Spool | None = None
        """The spool of the configured folder; None while MongoDB is not configured."""
        self._files = files
        self._clock = clock
        self._connect = connect
        self._writers: dict[str, MongoWriter] = {}
        self._dropped = 0
        self._dropped_at_s = 0.0
        self._closing: dict[str, asyncio.Task[None]] = {}

    def configure(self, settings: MongoSettings | None, place: SpoolPlace) -> None:
        """Sends readings to the collection of `settings` from now on; with None, takes and sends no more of them.

        What waits in folders that were configured before goes to the same collection. Returns at once; writers that
        are no longer needed end in the background.
        """
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
        """Returns a sink that writes to `sink`, and puts each tabular reading into the spool too.

        It does so only while MongoDB is configured; a change of the configuration needs no new sink.
        """
        return _Tee(self, collector, sink)

    def report(self) -> MongoReport:
        """Returns the present state and counts. Touches no disk and makes no call."""
        writers = list(self._writers.values())
        if not writers:
            return MongoReport()
        active = next((each for each in writers if each.spool is self.spool), writers[0])
        waiting, counts = [each.spool.waiting() for each in writers], SpoolCounts()
        for writer in writers:
            counts.add(writer.spool.counted())
        return MongoReport(
            active.state,
            active.why,
            active.last_error or active.spool.last_error,
            active.tried_s,
            all(each.adopted for each in writers),
            InSpool(
                counts.waiting,  # not as counted by hand: so it agrees with the others while threads change them
                sum(each.size_bytes for each in waiting),
                min((each.oldest_ns for each in waiting if each.oldest_ns is not None), default=None),
            ),
            counts,
        )

    @property
    def problems(self) -> Iterator[Problem]:
        """What keeps readings from MongoDB now. It has to be looked at often to know when readings are dropped."""
        if not self._writers:
            return
        report, now_s = self.report(), self._clock.monotonic()
        waits = f"{number_of(report.waiting.readings, 'reading')} waiting" if report.waiting.readings else ""
        if report.state in _REMEDIES:
            what = f"MongoDB: {report.state}: {report.why}; readings for it wait on the disk"
            patience_s = _ENDS_S if report.state == MongoErrorKind.NO_CONNECTION.value else 0.0
            yield Problem(Kind.MONGO, what, _REMEDIES[report.state], waits, report.state, patience_s)
        dropped, before = report.counts.dropped, self._dropped
        self._dropped = sum(dropped.values())
        if self._dropped > before:  # there are fewer when a former folder is drained
            self._dropped_at_s = now_s
        if self._dropped and now_s - self._dropped_at_s < _DROPPING_S:
            reasons = ", ".join(f"{count} ({reason})" for reason, count in dropped.items())
            what = f"readings for MongoDB are dropped ({report.last_error or report.why}); the cloud gets them"
            yield Problem(Kind.MONGO, what, "see docs/mongo.md", f"readings dropped: {reasons}", "dropping")

    async def flush(self) -> None:
        """Returns when all readings taken so far are handed to the operating system or dropped.

        When cancelled, they are written all the same.
        """
        if self.spool is not None:
            await self.spool.flush()

    async def drained(self, capture_dir: str) -> None:
        """Returns when nothing waits in a folder any more, or MongoDB is not configured."""
        while (writer := self._writers.get(capture_dir)) is not None and writer.spool.waiting().readings:
            await self._clock.sleep(_POLL_S)

    async def release(self, capture_dir: str) -> None:
        """Closes a folder's spool and writer, and returns when they have ended. What waits there stays on disk.

        When cancelled, they end all the same.
        """
        self._close(capture_dir)
        if (closing := self._closing.get(capture_dir)) is not None:
            await asyncio.shield(closing)

    async def stop(self) -> None:
        """Releases all folders. Takes under a second, unless the disk stalls."""
        self.spool = None
        folders = [*self._writers, *self._closing]
        await all_done("the end of MongoDB's writers", *(self.release(folder) for folder in folders))

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
                await asyncio.wait([predecessor])
            await in_thread(writer.spool.close)
            await in_thread(writer.stop)

        task = begin(close(), "holdfast-close-mongo")
        self._closing[capture_dir] = task

        def closed(done: asyncio.Task[None]) -> None:
            if self._closing.get(capture_dir) is done:
                del self._closing[capture_dir]

        task.add_done_callback(closed)


class _Tee:
    """A sink that puts tabular readings into the spool as well."""

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
