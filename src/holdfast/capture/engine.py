"""The collectors that run, and the change from one set of them to another.

Belongs to the event loop. A collector whose spec did not change goes on untouched: it misses no deadline.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from ..clock import Clock
from ..storage.disk_writer import Appender, DiskWriter
from ..throttle import Throttle
from .collector import Collector, CollectorSpec
from .methods import BinaryMethod
from .mongo import MongoCapture
from .scheduler import Scheduler, Ticker

_LOG_INTERVAL_S = 60.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunningCollector:
    collector: Collector
    ticker: Ticker
    appender: Appender


class Capture:
    """Runs collectors. `stop` must be called; afterwards nothing is read any more."""

    def __init__(self, clock: Clock, mongo: MongoCapture) -> None:
        self._clock = clock
        self._mongo = mongo
        self._scheduler = Scheduler(clock)
        self._throttle = Throttle(clock, _LOG_INTERVAL_S)
        self._running: dict[str, RunningCollector] = {}
        self._stopping: set[asyncio.Task[None]] = set()
        self.orphaned = False
        """While no service stands in front of us, resources go away too: their failures are counted in silence."""

    @property
    def running(self) -> list[RunningCollector]:
        return list(self._running.values())

    def apply(self, specs: Iterable[CollectorSpec]) -> None:
        """Makes exactly `specs` run. Returns at once; those that end finish their reading and files behind it."""
        wanted = {spec.key: spec for spec in specs}
        ended = [r for key, r in self._running.items() if wanted.get(key) != r.collector.spec]
        for running in ended:
            del self._running[running.collector.spec.key]
            self._scheduler.remove(running.ticker)
        if ended:
            task = asyncio.get_running_loop().create_task(self._end(ended), name="holdfast-end-collectors")
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)
        for key, spec in wanted.items():
            if key not in self._running:
                self._running[key] = self._start(spec)

    async def settled(self) -> None:
        """Returns when the collectors that were ended so far have, and their files are complete."""
        await asyncio.gather(*self._stopping)

    async def stop(self) -> None:
        """Ends all collectors; returns when their files are complete."""
        self.apply(())
        await self._scheduler.stop()
        await self.settled()

    def _start(self, spec: CollectorSpec) -> RunningCollector:
        appender = spec.writer.open(spec.metadata(), spec.max_file_bytes)
        collector = Collector(spec, self._clock, self._mongo.tee(spec, appender), self._may_warn)
        large = isinstance(spec.table, BinaryMethod)
        ticker = self._scheduler.add(spec.key, spec.method.interval_s, collector.read, large=large)
        logger.info("capturing %s of %s at %g Hz", spec.method.method, spec.resource, spec.method.frequency_hz)
        return RunningCollector(collector, ticker, appender)

    def _may_warn(self, failure: str) -> bool:
        return not self.orphaned and self._throttle.allows(failure)

    async def _end(self, ended: list[RunningCollector]) -> None:
        await asyncio.gather(*(running.collector.stop() for running in ended))
        by_writer: dict[DiskWriter, list[Appender]] = {}
        for running in ended:
            by_writer.setdefault(running.collector.spec.writer, []).append(running.appender)
        await asyncio.gather(*(writer.release(appenders) for writer, appenders in by_writer.items()))
