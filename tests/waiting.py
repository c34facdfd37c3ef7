"""Waiting for what other threads, processes and connections do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


async def as_long_as_others_take() -> None:
    """Returns after as long as whatever else goes to a thread takes, unless it is held up there."""
    for _ in range(10):
        await asyncio.to_thread(int)


async def eventually(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Returns as soon as `condition` holds; fails after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        await asyncio.sleep(0.005)
