"""The seam to time: the program uses `SystemClock`, tests pass another `Clock`.

Readings and files are stamped with wall time (`time_ns`). Whatever is measured or scheduled uses `monotonic`, since
the wall clock may jump.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import time
from collections.abc import Coroutine
from typing import Any, Protocol

_NS = 1_000_000_000
_LATEST_NS = (1 << 63) - 365 * 86_400 * _NS
"""2261: the time when the clock is out of range from the beginning on; the earliest is as far from 1970."""
_DAY_NS = 86_400 * _NS
EARLIEST_NS = 1_672_531_200 * _NS
"""2023: this program is younger."""

logger = logging.getLogger(__name__)


class Clock(Protocol):
    """Everything that the program needs to know about time."""

    def time_ns(self) -> int:
        """Returns the nanoseconds since the Unix epoch, which may be negative. They fit into 64 bits: the time is
        between 1678 and 2261."""

    def monotonic(self) -> float:
        """Returns the seconds since an arbitrary point in time; never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Returns after `seconds`, at once when that is not positive. Can be cancelled."""


async def first_done(*waits: Coroutine[Any, Any, object]) -> None:
    """Returns when one of `waits` is done, and cancels the others. Raises what one raised. When cancelled, cancels
    all of them."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()


class _WallClock:
    """The computer's wall clock. When it shows a time that does not fit into 64 bits, it goes on from the last one
    that did."""

    def __init__(self) -> None:
        self._computers_ns = time.time_ns
        self._good: tuple[int, int] | None = None
        """The last good time, and the monotonic one of the same moment, in ns."""
        self._is_good = True

    def time_ns(self) -> int:
        try:
            now_ns = self._computers_ns()
        except OverflowError:
            return self._continued_ns()
        self._good, self._is_good = (now_ns, time.monotonic_ns()), True
        return now_ns

    def _continued_ns(self) -> int:
        shown_ns = shown_time_ns()
        was_good, self._is_good = self._is_good, False
        if was_good:
            logger.error(
                "the computer's clock is wrong (%.0f years from 1970): readings get the last good time and what "
                "passed since; set the clock",
                shown_ns / _NS / 31_556_952,
            )
        if self._good is None:
            return max(-_LATEST_NS, min(shown_ns, _LATEST_NS))
        good_ns, then_ns = self._good
        return good_ns + time.monotonic_ns() - then_ns

    @property
    def is_good(self) -> bool:
        """Whether the computer's clock showed a possible time when it was last asked."""
        return self._is_good


_wall_clock = _WallClock()


def why_wrong(now_ns: int) -> str:
    """Returns why the time `now_ns` of the wall clock can't be right, in words; empty if it can."""
    if not _wall_clock.is_good:
        return (
            "the computer's clock shows an impossible time: readings get the last good time and what passed since"
        )
    if now_ns < EARLIEST_NS:
        return f"the computer's clock is {(EARLIEST_NS - now_ns) // _DAY_NS + 1} days slow or more: so are readings"
    return ""


class SystemClock:
    """The clocks of the computer and the timer of the event loop. Safe to use from any thread."""

    time_ns = staticmethod(_wall_clock.time_ns)
    monotonic = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def shown_time_ns() -> int:
    """Returns what the wall clock shows, in nanoseconds since the epoch, however far from it that is."""
    now = _Timespec()
    ctypes.CDLL(None).clock_gettime(time.CLOCK_REALTIME, ctypes.byref(now))
    return int(now.seconds) * _NS + int(now.nanoseconds)


def let_time_never_fail() -> None:
    """Replaces Python's `time.time` and `time.time_ns`, in the whole process, by functions that show the time of
    `SystemClock` when the computer's does not fit into 64 bits.

    Python's own raise OverflowError then, and with them fails whatever asks for the time, such as each line that is
    logged and each call of gRPC.
    """
    original = time.time

    def total() -> float:
        try:
            return original()
        except OverflowError:
            return SystemClock.time_ns() / _NS

    time.time, time.time_ns = total, SystemClock.time_ns
