"""When to read: absolute deadlines on a common grid.

A wake-up of the event loop costs more than a call. So deadlines lie on slots of `SLOT_S`, and everything due in a
slot leaves together. A ticker's deadlines are start + n × interval: they do not drift. Those that pass while the
loop is busy are counted to the collector, and never made up in a burst. Intervals shorter than a slot keep their
own deadlines; they need an event loop with a fine timer (`module/event_loop.py`).

Runs on the event loop, as one task that the scheduler owns.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import zlib
from collections import Counter
from collections.abc import Callable

from ..base import unforeseen
from ..base.clock import Clock
from ..base.tasks import begin, supervised
from .causes import Conditions

SLOT_S = 0.005
_SPREAD_S = 1.0
_SHORTEST_WAIT_S = 0.0002  # more than 5 kHz would leave the event loop no time for anything else
_SHORTEST_INTERVAL_S = 1e-6
"""Shorter intervals are treated like this one, which no resource reaches: deadlines must stay countable."""
_EPSILON_S = 1e-6  # above the resolution of a float that counts the seconds of a year
_SPREAD_SLOTS = round(_SPREAD_S / SLOT_S)
MAX_CALLS_PER_SLOT = 32
TOGETHER_HZ = 10.0
"""From this frequency on, collectors share their phase, so that calls due together leave together.

Those with large answers do not, because their answers would all be in memory at once.
"""


Fire = Callable[[float, int], None]
"""Is called when a deadline has come, with its time on the grid and the monotonic clock, and with the number of
deadlines that passed before it was called."""
Fail = Callable[[float], None]
"""Is called with a deadline for which `Fire` raised an error that nobody foresaw."""


def _forget(due_s: float) -> None:
    pass


class Ticker:
    """The periodic deadlines of one collector."""

    __slots__ = ("_count", "_fire", "_interval_s", "_start_s", "due_s", "fail", "slots", "stopped")

    def __init__(
        self, fire: Fire, start_s: float, interval_s: float, slots: tuple[int, ...] = (), fail: Fail = _forget
    ) -> None:
        self._fire = fire
        self.fail = fail
        self._start_s = start_s
        self._interval_s = interval_s
        self._count = 0
        self.slots = slots
        """The slots of a second in which it is due; empty if it shares its phase with others."""
        self.stopped = False
        self.due_s = self._next_s(float("-inf"))
        """The next deadline, on the grid and the monotonic clock."""

    def tick(self, now_s: float) -> None:
        """Fires for the deadline that is due, once, even if others have passed with it."""
        due_s, reached_s = self.due_s, now_s
        if self._interval_s >= SLOT_S:
            reached_s = math.floor((now_s + _EPSILON_S) / SLOT_S) * SLOT_S
        passed = math.floor((reached_s - self._start_s + _EPSILON_S) / self._interval_s) + 1
        before = max(0, passed - self._count - 1)
        self._count += before + 1
        self.due_s = self._next_s(now_s)
        self._fire(due_s, before)

    def _next_s(self, ticked_s: float) -> float:
        deadline = self._start_s + self._count * self._interval_s
        if self._interval_s < SLOT_S:
            return max(deadline, ticked_s + _SHORTEST_WAIT_S)
        return math.ceil((deadline - _EPSILON_S) / SLOT_S) * SLOT_S


class Scheduler:
    """Calls the `fire` of each ticker with the deadline that has come.

    `fire` must not block. `stop` must be called. How late the event loop is goes to `conditions`.
    """

    def __init__(self, clock: Clock, conditions: Conditions) -> None:
        self._clock = clock
        self._conditions = conditions
        self._heap: list[tuple[float, int, Ticker]] = []
        self._order = itertools.count()
        self._slots: Counter[int] = Counter()
        self._task: asyncio.Task[None] | None = None

    def add(self, key: str, interval_s: float, fire: Fire, fail: Fail = _forget, *, large: bool = False) -> Ticker:
        """Starts a ticker. A deadline that `fire` fails by an error that nobody foresaw is told to `fail`.

        Its place within a second follows from `key` if it is slower than `TOGETHER_HZ` or its answers are `large`.
        """
        now = self._clock.monotonic()
        interval_s = max(interval_s, _SHORTEST_INTERVAL_S)
        if 1.0 / interval_s >= TOGETHER_HZ and not (large and interval_s > SLOT_S):
            slots: tuple[int, ...] = ()
            start = math.ceil(now / interval_s) * interval_s
        else:
            slots = self._free_slots(key, interval_s)
            self._slots.update(slots)
            start = math.ceil(now / _SPREAD_S) * _SPREAD_S + slots[0] * SLOT_S
        ticker = Ticker(fire, start, interval_s, slots, fail)
        heapq.heappush(self._heap, (ticker.due_s, next(self._order), ticker))
        if self._heap[0][2] is ticker or self._task is None or self._task.done():
            self._restart()
        return ticker

    def remove(self, *tickers: Ticker) -> None:
        """Stops tickers: none of their deadlines fires any more."""
        for ticker in tickers:
            ticker.stopped = True
            self._slots.subtract(ticker.slots)
        self._heap[:] = [entry for entry in self._heap if not entry[2].stopped]
        heapq.heapify(self._heap)

    async def stop(self) -> None:
        """Ends the scheduler's task."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _free_slots(self, key: str, interval_s: float) -> tuple[int, ...]:
        """Returns the slots of a second in which a ticker will be due.

        They are the first free place, counted from the one that `key` gives, or else the least crowded one. This is
        exact if the interval divides a second; tickers with other intervals move across the slots.
        """
        phases = min(_SPREAD_SLOTS, max(1, round(interval_s / SLOT_S)))
        first = zlib.crc32(key.encode("utf-8", "surrogateescape")) % phases
        best: tuple[int, ...] = (first,)
        best_calls = math.inf
        for offset in range(phases):
            places = tuple(range((first + offset) % phases, _SPREAD_SLOTS, phases))
            calls = max(self._slots[place] for place in places)
            if calls < MAX_CALLS_PER_SLOT:
                return places
            if calls < best_calls:
                best, best_calls = places, calls
        return best

    def _restart(self) -> None:
        """Starts the task anew, because it may be waiting for a later deadline than the first one now."""
        if self._task is not None:
            self._task.cancel()
        run = supervised("the scheduler of capture", self._run)
        self._task = begin(run, "holdfast-capture-scheduler")

    async def _run(self) -> None:
        heap, clock = self._heap, self._clock
        while heap:
            asleep, wanted = clock.monotonic(), heap[0][0]
            await clock.sleep(wanted - asleep)
            now = clock.monotonic()
            self._conditions.late_s += max(0.0, now - max(wanted, asleep))
            while heap and heap[0][0] <= now:
                due_s, order, ticker = heapq.heappop(heap)
                try:
                    ticker.tick(now)
                except Exception as error:  # noqa: BLE001 - one collector never stops the others
                    ticker.fail(due_s)
                    unforeseen.note("a deadline of capture", error, "it is missed")
                finally:
                    if not ticker.stopped:
                        heapq.heappush(heap, (ticker.due_s, order, ticker))
