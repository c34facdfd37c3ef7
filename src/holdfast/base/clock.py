"""Time, as one seam: tests give another clock, the program uses `SystemClock`.

Wall time (`time_ns`) stamps readings and files; `monotonic` measures and schedules, since the wall clock may jump.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Protocol


class Clock(Protocol):
    """What the program needs to know of time. `sleep` must be cancellable."""

    def time_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary point; never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Returns after `seconds` (at once when not positive)."""


async def first_done(*waits: Coroutine[Any, Any, object]) -> None:
    """Returns when one of `waits` is done; the others are cancelled, as all are when this is."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


class SystemClock:
    """The computer's clocks and the event loop's timer."""

    time_ns = staticmethod(time.time_ns)
    monotonic = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
