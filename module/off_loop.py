"""`off_loop` runs what only computes on a thread beside the event loop, on which capture runs.

It has a thread of its own: the process's worker threads may all wait for a disk that stalls, and the status must be
told then too. Python switches between the threads every half a millisecond (`event_loop`), so the loop is not held
up by Python code, however long it runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")

_THREAD = ThreadPoolExecutor(1, "holdfast-off-loop")


def start_thread() -> None:
    """Starts the thread, so that it need not be started when the system allows no further one."""
    _THREAD.submit(int)


async def off_loop(function: Callable[..., Result], *arguments: Any) -> Result:
    """Returns what `function` returns, or raises what it raises. It must not wait for anything. When cancelled, it
    runs to its end all the same, and its result is lost."""
    return await asyncio.get_running_loop().run_in_executor(_THREAD, function, *arguments)
