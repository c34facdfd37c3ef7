"""The process's event loop: asyncio's own, with a timer as fine as the kernel's, and ahead of other threads.

epoll counts in milliseconds and asyncio rounds up, so a timer fires as much as a millisecond late: of 1,000
deadlines a second, 150 would pass unused. select counts in microseconds, and epoll's own descriptor can be waited
for like any other. Where there is no epoll, asyncio's default is fine enough.

Python lets a busy thread go on for 5 ms before another may run: with one that reads a backlog the loop is 6 ms late
at half of its deadlines, and misses half of 200 a second. With half a millisecond it is late by 1.5 and misses 1 %;
what the switches cost is too little to be measured.
"""

from __future__ import annotations

import asyncio
import select
import selectors
import sys
from collections.abc import Coroutine
from typing import Any

from holdfast.base.tasks import end

_COARSE_S = 0.002
"""From here on a millisecond is of little account, and one system call is cheaper than two."""
_MAX_DESCRIPTOR = 1024
"""select takes none from here on."""
_SWITCH_INTERVAL_S = 0.0005

if hasattr(selectors, "EpollSelector"):

    class FineSelector(selectors.EpollSelector):
        """epoll, and short waits by select."""

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if timeout is not None and 0 < timeout < _COARSE_S and self.fileno() < _MAX_DESCRIPTOR:
                select.select((self,), (), (), timeout)
                timeout = 0
            return super().select(timeout)

    def new_event_loop() -> asyncio.AbstractEventLoop:
        return asyncio.SelectorEventLoop(FineSelector())

else:
    new_event_loop = asyncio.new_event_loop


def run(main: Coroutine[Any, Any, None]) -> None:
    """As asyncio.run, which takes no loop before Python 3.12; but it does not wait for worker threads, which a disk
    may hold for as long as it likes."""
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    loop = new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(main)
    finally:
        loop.run_until_complete(end(asyncio.all_tasks(loop)))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
