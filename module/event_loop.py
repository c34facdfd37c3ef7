"""`run` runs the process's event loop: asyncio's own, with a timer as fine as the kernel's and a faster switch from
other threads.

epoll counts in milliseconds and asyncio rounds up, so a timer fires up to a millisecond late: of 1,000 deadlines a
second, 150 would pass unused. select counts in microseconds, and can wait for epoll's own descriptor like for any
other. Where there is no epoll, asyncio's default is fine enough.

Python lets a busy thread run for 5 ms before another one may run. With a thread that reads a backlog, the loop is
then 6 ms late at half of its deadlines, and misses half of 200 a second. With half a millisecond it is 1.5 ms late
and misses 1 %; the additional switches cost too little to be measured.
"""

from __future__ import annotations

import asyncio
import os
import select
import selectors
import sys
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc.aio

from holdfast.base.tasks import end

_COARSE_S = 0.002
"""For waits of this length or more, a millisecond matters little, and one system call is cheaper than two."""
_MAX_DESCRIPTOR = 1024
"""select accepts only descriptors below this."""
_SWITCH_INTERVAL_S = 0.0005
_WORKERS = min(32, (os.cpu_count() or 1) + 4)
"""As many as asyncio has by default."""

if hasattr(selectors, "EpollSelector"):

    class FineSelector(selectors.EpollSelector):
        """Waits with epoll, and with select when the wait is short."""

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if timeout is not None and 0 < timeout < _COARSE_S and self.fileno() < _MAX_DESCRIPTOR:
                select.select((self,), (), (), timeout)
                timeout = 0
            return super().select(timeout)

    def new_event_loop() -> asyncio.AbstractEventLoop:
        return asyncio.SelectorEventLoop(FineSelector())

else:
    new_event_loop = asyncio.new_event_loop


def _started_workers() -> ThreadPoolExecutor:
    """Returns worker threads that all run already.

    An executor that can't start a further thread raises an error, and runs the function all the same, later and
    unseen, on a thread that it has. So it must never have to start one.
    """
    workers = ThreadPoolExecutor(_WORKERS, "holdfast-worker")
    all_there = threading.Barrier(_WORKERS + 1)
    for _ in range(_WORKERS):  # each waits, so that the next one needs a thread of its own
        workers.submit(all_there.wait)
    all_there.wait()
    return workers


async def _with_grpc(main: Coroutine[Any, Any, None]) -> None:
    """Runs `main`, and keeps gRPC's asyncio part alive until it ends.

    Otherwise that part ends with its last channel, and waits on the event loop for a thread of its own: over a dead
    way that takes until the kernel gives the connections up.
    """
    grpc.aio.init_grpc_aio()
    await main


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs `main` like asyncio.run, which accepts no loop before Python 3.12.

    Unlike asyncio.run, it does not wait for worker threads, which a disk may hold up for any time. Raises
    RuntimeError when the system allows no threads.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    loop = new_event_loop()
    loop.set_default_executor(_started_workers())
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(_with_grpc(main))
    finally:
        loop.run_until_complete(end(asyncio.all_tasks(loop)))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
