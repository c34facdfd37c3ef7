"""The thread that sends what is in a spool to a MongoDB collection. Invariants:

- A reading is written once: its `_id` is its name in the spool, and a document that is already there counts as
  written. Readings are written in the order in which they were taken.
- What can't be written now is tried again for as long as it takes. A document that the server refuses for its
  content, and a reading that can't become one, are dropped and counted by reason.
- When a batch gets no answer in time, half as many readings are tried at once.
- The thread uses at most half a core, so that sending a backlog does not make capture miss its deadlines.

Bounds: one batch is in memory, of at most `BATCH_READINGS` and `BATCH_BYTES`, or a single larger reading.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable

from ..base import unforeseen
from ..base.clock import Clock
from ..base.log_limit import once
from ..base.noted import Noted
from ..base.threads import SupervisedThread
from ..config import MongoSettings
from ..errors import StorageError
from .documents import NoDocumentError, document
from .spool import Spool
from .spool_reader import Batch
from .target import Connect, MongoError, MongoTarget

BATCH_READINGS = 500
BATCH_BYTES = 1024 * 1024
RETRY_FIRST_S, RETRY_MOST_S = 0.5, 15.0
REFUSED = "refused"
_LAST_WORDS_S = 0.4
"""How long `stop` lets the thread send what is left."""
_POLL_S = 0.2
_IDLE_S = 5.0
WAITING, CONNECTING, UP = "waiting for the capture folder", "connecting", "up"

logger = logging.getLogger(__name__)


class MongoWriter:
    """Sends what is in `spool` on a thread of its own, which starts at once. `stop` must be called.

    `owned` says whether this process holds the capture folder's lock; nothing is sent before. The other methods may
    be called from any thread.
    """

    def __init__(
        self, spool: Spool, clock: Clock, settings: MongoSettings, owned: Callable[[], bool], connect: Connect
    ) -> None:
        self.spool = spool
        self.state = CONNECTING
        """`WAITING`, `CONNECTING`, `UP`, or the value of a `MongoErrorKind`."""
        self.why = ""
        """The error behind the state; empty when there is none."""
        self.tried_s: float | None = None
        """When the last attempt to write ended, on the monotonic clock; None before the first."""
        self.last_error: Noted | None = None
        self._settings = settings
        self._owned = owned
        self._connect = connect
        self._clock = clock
        self._target: MongoTarget | None = None
        self._target_settings: MongoSettings | None = None
        self.adopted = False
        """Whether what earlier runs left in the spool is counted."""
        self._failures = 0
        self._most_readings = BATCH_READINGS
        self._hurry = threading.Event()
        self._ends_at_s: float | None = None
        self._abandoned = False
        self._thread = SupervisedThread("holdfast-mongo", "the thread for MongoDB", self._run_or_pause)

    def configure(self, settings: MongoSettings) -> None:
        """Sends readings to the collection of `settings`, from the next call on."""
        if settings != self._settings:
            self._settings = settings
            self._hurry.set()

    def stop(self) -> None:
        """Sends what can be sent at once, and ends the thread.

        Blocks for well under a second, whatever the server does. A call that is still without an answer then is
        abandoned: its readings stay in the spool, and what the server wrote of them is recognized by its `_id`.
        """
        self._ends_at_s = self._clock.monotonic() + _LAST_WORDS_S
        self._hurry.set()
        self.spool.reader.wake()
        if not self._thread.join(_LAST_WORDS_S + _POLL_S):
            self._abandoned = True
            if (target := self._target) is not None:  # closing ends the session, which waits for the server too
                SupervisedThread("holdfast-mongo-close", "the end of MongoDB's session", target.close)
            return
        self.spool.reader.close()

    def _run_or_pause(self) -> None:
        try:
            self._run()
        except Exception as error:
            self.last_error = Noted(unforeseen.in_words(error), self._clock.monotonic())
            if not self._must_end:
                self._pause(RETRY_MOST_S)
            raise

    def _run(self) -> None:
        try:
            while not self._must_end:
                if not self.adopted and not self._adopt():
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
            self.last_error = Noted(str(error), self._clock.monotonic())
            extra = self._once(error.reason)
            logger.error("%s; readings that an earlier run left for MongoDB wait", error, extra=extra)
            return False
        self.adopted, self.state = True, CONNECTING
        return True

    def _deliver(self, batch: Batch) -> None:
        """Sends a batch and marks it as done. When the writer ends before, the next run sends the batch again."""
        refused: Counter[str] = Counter()
        documents: list[bytes] = []
        for reading in batch.readings:
            try:
                documents.append(document(reading))
            except NoDocumentError as error:
                self._refuse(refused, error.reason, str(error))
            except Exception as error:  # noqa: BLE001 - one reading never stops the others
                self._refuse(refused, unforeseen.REASON, unforeseen.in_words(error))
                unforeseen.remember("a reading for MongoDB", error)
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
        self.last_error = Noted(why, self._clock.monotonic())
        logger.error(
            "a reading can't be stored in MongoDB: %s; it is dropped there and counted, others continue",
            why,
            extra=self._once(reason),
        )

    def _failed(self, error: MongoError) -> bool:
        """Waits until it is time to try again; returns True when the writer ends instead."""
        self.state, self.why, self.tried_s = error.kind.value, str(error), self._clock.monotonic()
        self.last_error = Noted(str(error), self._clock.monotonic())
        if error.slow:
            self._most_readings = max(1, self._most_readings // 2)
        if self._ends_at_s is not None:
            return True
        logger.warning(
            "MongoDB: %s: %s; readings wait on disk until it accepts them",
            error.kind.value,
            error,
            extra=self._once(error.kind.value),
        )
        wait_s = min(RETRY_MOST_S, RETRY_FIRST_S * 2 ** min(self._failures, 16)) * random.uniform(0.9, 1.1)
        self._failures += 1
        self._pause(wait_s)
        return False

    def _once(self, key: str) -> dict[str, str]:
        """Returns what `once` returns, apart for each writer."""
        return once(f"{self.spool.folder} {key}")

    def _worked(self) -> None:
        self._most_readings = min(BATCH_READINGS, self._most_readings * 2)
        if self._failures:
            logger.info("MongoDB accepts readings again; %d wait", self.spool.waiting().readings)
        self._failures = 0
        self.state, self.why, self.tried_s = UP, "", self._clock.monotonic()
