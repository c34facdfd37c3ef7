"""Looks at every collector each `SAMPLE_S` and says when one falls short of its rate, and why.

A collector that reads less than `ENOUGH` of what was due in its window is *slow*, until it reads
`_RECOVERED` of it again. All that become slow in one look share one warning. `Watch.run` is a task of the engine;
everything here runs on the event loop.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple, Protocol

import psutil

from ..base.clock import Clock
from .causes import Conditions
from .rates import SAMPLE_S, WINDOW_S, RateWindow, Totals
from .shortfall import BUSY_COMPUTER, Load, Shortfall, sentence

ENOUGH = 0.95
"""A collector that reads less than this share of what is due is slow."""
_RECOVERED = 0.97  # above ENOUGH, so that a collector at the border is not logged again and again
_NAMED = 3

logger = logging.getLogger(__name__)


class Watched(Protocol):
    """A running collector, as far as `Watch` looks at it and sets `slow` and `slow_since_s`."""

    window: RateWindow
    slow: Shortfall | None
    slow_since_s: float

    @property
    def name(self) -> str:
        """The collector's method and resource, as the log names them."""

    @property
    def hz(self) -> float:
        """The configured frequency."""

    def totals(self) -> Totals:
        """Returns the present totals."""

    def take_longest_s(self) -> float:
        """Returns how long the longest call took since this was asked last."""

    def shortfall(self, now_s: float, load: Load) -> Shortfall:
        """Returns the figures of the window, to say why the collector is slow."""


def cpu_seconds() -> tuple[float, float]:
    """Returns the CPU seconds used so far: by this process, and by the whole computer, on average per core."""
    times = psutil.cpu_times()
    idle_s = times.idle + getattr(times, "iowait", 0.0)
    busy_s = sum(times[:8]) - idle_s  # the rest of Linux's fields are counted in the first ones
    return time.process_time(), busy_s / (psutil.cpu_count() or 1)


class Watch:
    """Looks at the collectors that `running` returns, for as long as `run` runs.

    `cpu` returns the CPU seconds used so far (see `cpu_seconds`). `may_warn` says whether a warning may be logged.
    Whether the computer is busy goes to `conditions`.
    """

    def __init__(
        self,
        clock: Clock,
        running: Callable[[], Iterable[Watched]],
        may_warn: Callable[[], bool],
        conditions: Conditions,
        cpu: Callable[[], tuple[float, float]] = cpu_seconds,
    ) -> None:
        self._clock = clock
        self._running = running
        self._may_warn = may_warn
        self._conditions = conditions
        self._cpu = cpu
        self._used: deque[_Used] = deque(maxlen=round(WINDOW_S / SAMPLE_S) + 1)

    async def run(self) -> None:
        """Looks every `SAMPLE_S` until cancelled."""
        self._sample()
        while True:
            await self._clock.sleep(SAMPLE_S)
            self._look()

    def _sample(self) -> None:
        with suppress(OSError):  # no descriptor is free to read it
            self._used.append(_Used(self._clock.monotonic(), *self._cpu(), self._conditions.late_s))
        if len(self._used) > 1:
            self._conditions.is_crowded = _load(self._used[-2], self._used[-1]).computer >= BUSY_COMPUTER

    def load(self) -> Load:
        """Returns how busy the process, the computer and the event loop were in the last minute."""
        return _load(self._used[0], self._used[-1]) if len(self._used) > 1 else Load()

    def _look(self) -> None:
        now_s = self._clock.monotonic()
        self._sample()
        load = self.load()
        fell: list[tuple[Watched, float, Shortfall]] = []
        for watched in self._running():
            window = watched.window
            if not window.is_due(now_s):
                continue
            totals = watched.totals()
            window.sample(now_s, totals, watched.take_longest_s())
            share = window.until(totals).share
            if share is None or not window.is_long_enough(now_s):
                continue
            was_slow = watched.slow is not None
            watched.slow = None if share >= (_RECOVERED if was_slow else ENOUGH) else watched.shortfall(now_s, load)
            if watched.slow is not None and not was_slow:
                watched.slow_since_s = window.missing_since_s
                fell.append((watched, share, watched.slow))
            elif was_slow and watched.slow is None:
                logger.info("%s reaches its %g Hz again", watched.name, watched.hz)
        if fell and self._may_warn():
            self._say(fell)

    def _say(self, fell: list[tuple[Watched, float, Shortfall]]) -> None:
        said = [
            f"{watched.name} ({watched.hz * share:.4g} of {watched.hz:g} Hz: {sentence(found)})"
            for watched, share, found in fell[:_NAMED]
        ]
        more = f" and {len(fell) - _NAMED} more, see bounded_why in the status" if len(fell) > _NAMED else ""
        logger.warning(
            "fewer than %.0f %% of the readings that were due came: %s%s", ENOUGH * 100, ", ".join(said), more
        )


class _Used(NamedTuple):
    """What was used until a moment: CPU seconds of the process and of the computer, and seconds of lateness of the
    event loop."""

    at_s: float
    process_s: float
    computer_s: float
    late_s: float


def _load(then: _Used, now: _Used) -> Load:
    elapsed_s = max(now.at_s - then.at_s, SAMPLE_S / 2)
    return Load(
        (now.process_s - then.process_s) / elapsed_s,
        (now.computer_s - then.computer_s) / elapsed_s,
        (now.late_s - then.late_s) / elapsed_s,
        now.at_s,
    )
