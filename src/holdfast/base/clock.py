"""The seam to time: the program uses `SystemClock`, tests pass another `Clock`.

Readings and files are stamped with wall time (`time_ns`). Whatever is measured or scheduled uses `monotonic`, since
the wall clock may jump.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Protocol


class Clock(Protocol):
    """Everything that the program needs to know about time."""

    def time_ns(self) -> int:
        """Returns the nanoseconds since the Unix epoch."""

    def monotonic(self) -> float:
        """Returns the seconds since an arbitrary point in time; never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Returns after `seconds`, at once when that is not positive. Can be cancelled."""


async def first_done(*waits: Coroutine[Any, Any, object]) -> None:
    """Returns when one of `waits` is done, and cancels the others. When cancelled, cancels all of them."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


class SystemClock:
    """The clocks of the computer and the timer of the event loop."""

    time_ns = staticmethod(time.time_ns)
    monotonic = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
