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
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..base.clock import Clock
from ..base.filesystem import Buffer, FileSystem
from ..base.log_limit import once
from ..base.tasks import in_thread
from ..config import MongoSettings
from ..errors import StorageError
from ..storage.ledger.counts import CollectorId
from ..storage.writing.sink import Sink
from .documents import NoDocumentError, document
from .segments import SpoolCounts
from .spool import Spool, Waiting
from .spool_reader import Batch
from .target import MongoError, MongoTarget

BATCH_READINGS = 500
BATCH_BYTES = 1024 * 1024
RETRY_FIRST_S, RETRY_MOST_S = 0.5, 15.0
REFUSED = "refused"
_LAST_WORDS_S = 0.4
"""How long the end may take to send what is left."""
_POLL_S = 0.2
_IDLE_S = 5.0
OFF, WAITING, CONNECTING, UP = "off", "waiting for the capture folder", "connecting", "up"

logger = logging.getLogger(__name__)

Connect = Callable[[MongoSettings], MongoTarget]


def _connect(settings: MongoSettings) -> MongoTarget:
    """Loads pymongo at the first use: it is a fifth of the module's start, and most machines have no MongoDB."""
    from .mongo_client import MongoClient

    return MongoClient(settings)


class MongoWriter:
    """Sends what is in `spool`. Its thread runs from the construction on; `stop` must be called.

    `owned` says whether the capture folder is ours; until then nothing is sent.
    """

    def __init__(
        self, spool: Spool, clock: Clock, settings: MongoSettings, owned: Callable[[], bool], connect: Connect
    ) -> None:
        self.spool = spool
        self.state = CONNECTING
        self.why = ""
        self.last_error = ""
        self._settings = settings
        self._owned = owned
        self._connect = connect
        self._clock = clock
        self._target: MongoTarget | None = None
        self._target_settings: MongoSettings | None = None
        self._adopted = False
        self._failures = 0
        self._most_readings = BATCH_READINGS
        self._hurry = threading.Event()
        self._ends_at_s: float | None = None
        self._abandoned = False
        self._thread = threading.Thread(target=self._run_for_ever, name="holdfast-mongo", daemon=True)
        self._thread.start()

    def configure(self, settings: MongoSettings) -> None:
        """From the next call on, readings go there."""
        if settings != self._settings:
            self._settings = settings
            self._hurry.set()

    def stop(self) -> None:
        """Sends what can be sent at once, and ends. Blocks for well under a second, whatever the server does."""
        self._ends_at_s = self._clock.monotonic() + _LAST_WORDS_S
        self._hurry.set()
        self.spool.reader.wake()
        self._thread.join(_LAST_WORDS_S + _POLL_S)
        if self._thread.is_alive():  # in a call that has no answer: what it wrote is known by its `_id`
            self._abandoned = True
            if (target := self._target) is not None:  # that says farewell, which waits for the server too
                threading.Thread(target=target.close, name="holdfast-mongo-close", daemon=True).start()
            return
        self.spool.reader.close()

    def _run_for_ever(self) -> None:
        while True:
            try:
                self._run()
                return
            except Exception:  # the last resort: everything foreseen is a MongoError or StorageError and handled
                logger.exception("the thread for MongoDB failed unexpectedly; it continues in %g s", RETRY_MOST_S)
                self._pause(RETRY_MOST_S)

    def _run(self) -> None:
        try:
            while not self._must_end:
                if not self._adopted and not self._adopt():
                    self._pause(_POLL_S)
                    continue
                batch = self.spool.reader.next_batch(self._most_readings, BATCH_BYTES)
                if batch is not None:
                    began_s = time.thread_time()
                    self._deliver(batch)
                    self._pause(time.thread_time() - began_s)
                elif self._ends_at_s is not None:
                    return
                else:
                    self.spool.reader.wait_for_more(_IDLE_S)
        finally:
            if self._ends_at_s is not None:
                self._disconnect()

    @property
    def _must_end(self) -> bool:
        return self._abandoned or (self._ends_at_s is not None and self._clock.monotonic() >= self._ends_at_s)

    def _pause(self, seconds: float) -> None:
        self._hurry.wait(seconds)
        if self._ends_at_s is None:
            self._hurry.clear()

    def _adopt(self) -> bool:
        if not self._owned():
            self.state = WAITING
            return False
        try:
            self.spool.reader.adopt()
        except StorageError as error:
            self.last_error = str(error)
            logger.error("%s; what an earlier run left for MongoDB waits", error, extra=once(error.reason))
            return False
        self._adopted, self.state = True, CONNECTING
        return True

    def _deliver(self, batch: Batch) -> None:
        """Returns when the batch is done, or when all ends: then it comes again in another life."""
        refused: Counter[str] = Counter()
        documents: list[bytes] = []
        for reading in batch.readings:
            try:
                documents.append(document(reading))
            except NoDocumentError as error:
                self._refuse(refused, error.reason, str(error))
        while documents:
            if self._must_end:
                return
            part = documents[: self._most_readings]
            try:
                answer = self._connected().insert(part)
            except MongoError as error:
                if self._failed(error):
                    return
                continue
            if self._abandoned:
                return
            for each in answer:
                self._refuse(refused, REFUSED, each.why)
            self._worked()
            del documents[: len(part)]
        self.spool.reader.finish(batch, refused)

    def _connected(self) -> MongoTarget:
        settings = self._settings
        if self._target is None or self._target_settings != settings:
            self._disconnect()
            self._target, self._target_settings = self._connect(settings), settings
        return self._target

    def _disconnect(self) -> None:
        target, self._target = self._target, None
        if target is not None:
            target.close()

    def _refuse(self, refused: Counter[str], reason: str, why: str) -> None:
        refused[reason] += 1
        self.last_error = why
        logger.error(
            "a reading can't be a document in MongoDB: %s; it is dropped there and counted, others continue",
            why,
            extra=once(reason),
        )

    def _failed(self, error: MongoError) -> bool:
        """Waits for the next try; true when there is none."""
        self.state, self.why = error.kind.value, str(error)
        self.last_error = str(error)
        if error.slow:
            self._most_readings = max(1, self._most_readings // 2)
        if self._ends_at_s is not None:
            return True
        logger.warning(
            "MongoDB: %s: %s; readings wait on disk until it accepts them",
            error.kind.value,
            error,
            extra=once(error.kind.value),
        )
        wait_s = min(RETRY_MOST_S, RETRY_FIRST_S * 2 ** min(self._failures, 16)) * random.uniform(0.9, 1.1)
        self._failures += 1
        self._pause(wait_s)
        return False

    def _worked(self) -> None:
        self._most_readings = min(BATCH_READINGS, self._most_readings * 2)
        if self._failures:
            logger.info("MongoDB accepts readings again; %d wait", self.spool.waiting().readings)
        self._failures = 0
        self.state, self.why = UP, ""


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
        writer.spool.flush_interval_s = place.flush_interval_s
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
