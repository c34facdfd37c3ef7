"""Looks at every collector each `SAMPLE_S` and says when one falls short of its rate, and why.

A collector that reads less than `bottleneck.ENOUGH` of what was due in its window is *slow*, until it reads
`_RECOVERED` of it again. All that become slow in one look with the same bottleneck share one warning. `Watch.run`
is a task of the engine; everything here runs on the event loop.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import psutil

from ..base.clock import Clock
from .bottleneck import ENOUGH, Bottleneck, Load, Shortfall, advice, bottleneck_of
from .rates import SAMPLE_S, WINDOW_S, RateWindow, Totals

_RECOVERED = 0.97  # above ENOUGH, so that a collector at the border is not logged again and again
_NAMED = 3

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Slow:
    """Why a collector is slow: its bottleneck, and as a sentence with what helps."""

    bottleneck: Bottleneck
    why: str


class Watched(Protocol):
    """A running collector, as far as `Watch` looks at it and sets `slow`."""

    window: RateWindow
    slow: Slow | None

    @property
    def name(self) -> str:
        """The collector's method and resource, as the log names them."""

    @property
    def hz(self) -> float:
        """The configured frequency."""

    def totals(self) -> Totals:
        """Returns the present totals."""

    def shortfall(self, totals: Totals, now_s: float, load: Load) -> Shortfall:
        """Returns the figures to judge the collector by. `totals` are those of the window."""


def cpu_seconds() -> tuple[float, float]:
    """Returns the CPU seconds used so far: by this process, and by the whole computer, on average per core."""
    times = psutil.cpu_times()
    idle_s = times.idle + getattr(times, "iowait", 0.0)
    busy_s = sum(times[:8]) - idle_s  # the rest of Linux's fields are counted in the first ones
    return time.process_time(), busy_s / (psutil.cpu_count() or 1)


class Watch:
    """Looks at the collectors that `running` returns, for as long as `run` runs.

    `cpu` returns the CPU seconds used so far (see `cpu_seconds`). `may_warn` says whether a warning may be logged.
    """

    def __init__(
        self,
        clock: Clock,
        running: Callable[[], Iterable[Watched]],
        may_warn: Callable[[], bool],
        cpu: Callable[[], tuple[float, float]] = cpu_seconds,
    ) -> None:
        self._clock = clock
        self._running = running
        self._may_warn = may_warn
        self._cpu = cpu
        self._used: deque[tuple[float, float, float]] = deque(maxlen=round(WINDOW_S / SAMPLE_S) + 1)

    async def run(self) -> None:
        """Looks every `SAMPLE_S` until cancelled."""
        self._sample()
        while True:
            await self._clock.sleep(SAMPLE_S)
            self._look()

    def _sample(self) -> None:
        with suppress(OSError):  # no descriptor is free to read it
            self._used.append((self._clock.monotonic(), *self._cpu()))

    def load(self) -> Load:
        """Returns how busy the process and the computer were in the last minute."""
        if len(self._used) < 2:
            return Load()
        (then_s, process, computer), (now_s, process_now, computer_now) = self._used[0], self._used[-1]
        elapsed_s = max(now_s - then_s, SAMPLE_S / 2)
        return Load((process_now - process) / elapsed_s, (computer_now - computer) / elapsed_s)

    def _look(self) -> None:
        now_s = self._clock.monotonic()
        self._sample()
        load = self.load()
        fell: dict[Bottleneck, list[tuple[Watched, float]]] = {}
        for watched in self._running():
            totals = watched.totals()
            if not watched.window.sample(now_s, totals):
                continue
            within = watched.window.until(totals)
            share = within.share
            if share is None or not watched.window.is_long_enough(now_s):
                continue
            if share < ENOUGH or (watched.slow is not None and share < _RECOVERED):
                found = watched.shortfall(within, now_s, load)
                bottleneck = bottleneck_of(found)
                if watched.slow is None:
                    fell.setdefault(bottleneck, []).append((watched, share))
                watched.slow = Slow(bottleneck, advice(bottleneck, found))
            elif watched.slow is not None:
                watched.slow = None
                logger.info("%s reaches its %g Hz again", watched.name, watched.hz)
        for bottleneck, slow in fell.items():
            self._say(bottleneck, slow)

    def _say(self, bottleneck: Bottleneck, slow: list[tuple[Watched, float]]) -> None:
        names = [f"{watched.name} ({watched.hz * share:.4g} of {watched.hz:g} Hz)" for watched, share in slow]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        first = slow[0][0].slow
        if first is not None and self._may_warn():
            logger.warning(
                "fewer than %.0f %% of the readings that were due came in the last minute: %s%s. "
                "The bottleneck: %s; %s",
                ENOUGH * 100,
                ", ".join(names[:_NAMED]),
                more,
                bottleneck.value,
                first.why,
            )
