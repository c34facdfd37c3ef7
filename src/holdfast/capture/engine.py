"""The collectors that run, and the change from one set of them to another.

Runs on the event loop. A collector whose spec does not change is left alone: it misses no deadline.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from weakref import WeakValueDictionary

from ..base.clock import Clock
from ..base.problems import Kind, Problem
from ..base.tasks import all_done, begin, supervised
from ..base.words import number_of, some
from ..storage.writing.disk_writer import Appender, DiskWriter
from .answers import Answers
from .causes import Absence, Cause, Conditions
from .collector import Collector, CollectorSpec, Occupancy, Tee
from .gap_book import GapBook
from .methods import BinaryMethod
from .rates import RateWindow, Totals
from .scheduler import Scheduler, Ticker
from .shortfall import Load, Shortfall, largest_in_words, missing_in_words, parts_of
from .watch import Watch, cpu_seconds

MOST_TOLD = 20
"""So many collectors that read less than they should are a problem each; the others are one together."""
_STARTS_S = 15.0
"""How long a resource may fail after the start before that is a problem."""

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class RunningCollector:
    """A collector with its ticker, the appender that it writes to, and its figures."""

    collector: Collector
    ticker: Ticker
    appender: Appender
    window: RateWindow
    slow: Shortfall | None = None
    """Set by `Watch`: by what the collector reads less than it should, as of the last look; None if it does not."""
    slow_since_s: float = 0.0
    """Set by `Watch`: when the first reading was missing since the collector is slow, on the monotonic clock."""

    @property
    def name(self) -> str:
        return f"{self.collector.spec.method.method} of {self.collector.spec.method.name}"

    @property
    def hz(self) -> float:
        return self.collector.spec.method.frequency_hz

    @property
    def has_only_failed(self) -> bool:
        """Whether all calls since the start have failed."""
        collector = self.collector
        return bool(collector.errors) and not collector.readings and not collector.filtered

    @property
    def problem(self) -> Problem | None:
        """What is wrong now, if anything is: it reads less than it should, or has read nothing yet.

        Its key is the same for both, so that it is one problem for as long as it lasts.
        """
        key, slow, errors = self.collector.spec.key, self.slow, self.collector.errors
        began_s, patience_s = (self.slow_since_s, 0.0) if slow else (None, _STARTS_S)
        if self.has_only_failed:
            what = f"{self.name} has read nothing yet: {self.collector.last_error}"
            cost = f"{number_of(errors, 'call')} failed"
            return Problem(Kind.CAPTURE, what, "fix the resource", cost, key, patience_s, began_s)
        if slow is None:
            return None
        parts = parts_of(slow)
        what = f"{self.name} reads less than it should: {largest_in_words(parts)}"
        return Problem(Kind.CAPTURE, what, parts[0].do, missing_in_words(slow), key, patience_s, began_s)

    def totals(self) -> Totals:
        collector = self.collector
        unknown = collector.unused[Cause.UNKNOWN] + collector.unexpected_errors
        unused = {**collector.unused, Cause.ERROR: collector.errors, Cause.UNKNOWN: unknown}
        return Totals(collector.readings, collector.filtered, unused, self.appender.dropped.by_reason)

    @property
    def missed(self) -> int:
        """How many deadlines passed without a call."""
        return self.collector.unused.total()

    def take_longest_s(self) -> float:
        return self.collector.take_longest_s()

    def shortfall(self, now_s: float, load: Load) -> Shortfall:
        """Returns the figures of the window, to say why the collector is slow."""
        collector, window = self.collector, self.window
        return Shortfall(
            now_s,
            window.until(self.totals()),
            window.lasted_s(now_s),
            collector.max_in_flight,
            window.longest_s,
            load,
            collector.last_error or "",
        )


class Capture:
    """Runs collectors. `stop` must be called; after it nothing is read.

    `tee` is applied to the appender of each collector. `cpu` is that of `Watch`.
    """

    def __init__(self, clock: Clock, tee: Tee, cpu: Callable[[], tuple[float, float]] = cpu_seconds) -> None:
        self._clock = clock
        self._tee = tee
        self.gaps = GapBook(clock)
        """When readings were missing."""
        self._conditions = Conditions()
        self._scheduler = Scheduler(clock, self._conditions)
        self._running: dict[str, RunningCollector] = {}
        self._stopping: set[asyncio.Task[None]] = set()
        self.answers = Answers()
        """What calls share; `capture_once` shares it too."""
        self._occupancies: WeakValueDictionary[str, Occupancy] = WeakValueDictionary()
        self._watch = Watch(clock, self._running.values, self._may_warn, self._conditions, cpu)
        self._watching: asyncio.Task[None] | None = None
        self._muted = False

    @property
    def running(self) -> list[RunningCollector]:
        return list(self._running.values())

    @property
    def load(self) -> Load:
        """How busy the process and the computer were in the last minute."""
        return self._watch.load()

    @property
    def problems(self) -> Iterator[Problem]:
        """Which collectors read less than they should, as of the last look at each, and which nothing at all."""
        bad = [each for each in self._running.values() if each.slow or each.has_only_failed]
        yield from filter(None, (each.problem for each in bad[:MOST_TOLD]))
        if more := bad[MOST_TOLD:]:
            slow = [each for each in more if each.slow]
            names = some([each.name for each in more])
            all_of = number_of(len(self._running), "collector")
            lost = number_of(sum(each.slow.totals.missed for each in slow if each.slow), "reading")
            yield Problem(
                Kind.CAPTURE,
                f"beside these, {len(more)} of {all_of} read less than they should: {names}",
                "see bounded_why and last_error of the collectors in the status",
                f"{lost} missing in their windows" if slow else "",
                "more",
                0.0 if slow else _STARTS_S,
                min((each.slow_since_s for each in slow), default=None),
            )

    def configure(self, specs: Iterable[CollectorSpec]) -> None:
        """Starts and stops collectors so that exactly those of `specs` run. Returns at once.

        Those that end finish their readings and files in the background; `settled` waits for that.
        """
        wanted = {spec.key: spec for spec in specs}
        ended = [r for key, r in self._running.items() if wanted.get(key) != r.collector.spec]
        for running in ended:
            del self._running[running.collector.spec.key]
            running.collector.history.stops(Absence.NOT_RUNNING)
        if ended:
            self._scheduler.remove(*(running.ticker for running in ended))
            task = begin(self._end(ended), "holdfast-end-collectors")
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)
        for key, spec in wanted.items():
            if key not in self._running:
                self._running[key] = self._start(spec)
        if self._running and self._watching is None:
            watch = supervised("the watch over rates", self._watch.run)
            self._watching = begin(watch, "holdfast-capture-watch")

    def mute_warnings(self) -> None:
        """Counts failures without logging them, from now on: without a service, resources are going away too."""
        self._muted = True

    def unmute_warnings(self) -> None:
        """Logs failures again."""
        self._muted = False

    async def settled(self) -> None:
        """Returns when all collectors that `configure` stopped so far have ended and their files are complete.

        When cancelled, they end all the same.
        """
        if self._stopping:
            await asyncio.wait(self._stopping)

    async def stop(self) -> None:
        """Ends all collectors, and returns when their files are complete."""
        self.configure(())
        await self._scheduler.stop()
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        await self.settled()

    def _start(self, spec: CollectorSpec) -> RunningCollector:
        appender = spec.writer.open(spec.metadata(), spec.max_file_bytes)
        sink = self._tee(spec.collector_id, appender)
        occupancy = self._occupancies.setdefault(spec.full_name, Occupancy())
        history = self.gaps.starts(spec.key, spec.collector_id, spec.method.frequency_hz, appender.dropped)
        collector = Collector(
            spec, self._clock, sink, self._may_warn, occupancy, self.answers, self._conditions, history
        )
        large = isinstance(spec.table, BinaryMethod)
        ticker = self._scheduler.add(spec.key, spec.method.interval_s, collector.read, collector.fail, large=large)
        logger.info("capturing %s of %s at %g Hz", spec.method.method, spec.method.name, spec.method.frequency_hz)
        window = RateWindow(spec.method.interval_s, self._clock.monotonic(), Totals())
        return RunningCollector(collector, ticker, appender, window)

    def _may_warn(self) -> bool:
        return not self._muted

    async def _end(self, ended: list[RunningCollector]) -> None:
        await all_done("the end of collectors", *(running.collector.stop() for running in ended))
        by_writer: dict[DiskWriter, list[Appender]] = {}
        for running in ended:
            by_writer.setdefault(running.collector.spec.writer, []).append(running.appender)
        releases = (writer.release(appenders) for writer, appenders in by_writer.items())
        await all_done("the end of collectors", *releases)
        for running in ended:
            self.gaps.ends(running.collector.history, running.appender.dropped)
