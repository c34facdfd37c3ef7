"""`SupervisedThread`: a thread that no error ends unseen. Each thread of the program is one.

`threading.Thread.start` waits for a sign of the new thread, without end. When memory ends in that thread first, the
sign never comes, and the event loop would hang. So another thread calls it, and only the sign of a thread that runs
is waited for here.

What it works on must be in the hands of its owner while it runs, not of its function: when that raises, the owner
either still has the work, or counts it as lost.
"""

from __future__ import annotations

import _thread
import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from . import unforeseen

Result = TypeVar("Result")

_RETRY_FIRST_S, RETRY_MOST_S = 0.01, 1.0
_BEGIN_S = 5.0
"""How long a new thread may take to run. It takes a fraction of a millisecond unless the machine is very busy."""


class SupervisedThread:
    """Runs `run` until it returns, from the construction on. When it raises an unforeseen error, that is noted with
    the name `what`, and `run` is called again: at once, later after up to `RETRY_MOST_S`.

    The process does not wait for it. Raises RuntimeError when the system allows no further thread, or has no memory
    for what it needs to run; then it never runs.
    """

    def __init__(self, name: str, what: str, run: Callable[[], None]) -> None:
        self._what = what
        self._run = run
        self._decided = threading.Lock()
        """Taken by the first of two: the thread, which then runs, or the one who waited for it in vain."""
        self._settled = threading.Event()
        """Set when the thread runs, or when it is known that it never will."""
        self._refusal: Exception | None = None
        self._thread = threading.Thread(target=self._begin, name=name, daemon=True)
        _thread.start_new_thread(self._start, ())
        self._settled.wait(_BEGIN_S)
        if self._decided.acquire(blocking=False):
            raise RuntimeError(f"can't start new thread {name}: no memory for it") from self._refusal

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def join(self, timeout_s: float) -> bool:
        """Waits for the end of the thread; returns False when it did not come within `timeout_s`."""
        self._thread.join(max(0.0, timeout_s))
        return not self.is_alive

    def _start(self) -> None:
        """Starts the thread; hangs when memory ends in it."""
        try:
            self._thread.start()
        except (RuntimeError, MemoryError) as error:
            self._refusal = error
            self._settled.set()

    def _begin(self) -> None:
        if self._decided.acquire(blocking=False):
            self._settled.set()
            self._supervise()

    def _supervise(self) -> None:
        retry_s = _RETRY_FIRST_S
        while True:
            began_s = time.monotonic()
            try:
                return self._run()
            except Exception as error:  # noqa: BLE001 - the last resort
                unforeseen.note(self._what, error, "it goes on")
            if time.monotonic() - began_s > RETRY_MOST_S:
                retry_s = _RETRY_FIRST_S
            time.sleep(retry_s)
            retry_s = min(RETRY_MOST_S, 2 * retry_s)


def in_own_thread(name: str, what: str, function: Callable[..., Result], *arguments: Any) -> asyncio.Future[Result]:
    """Runs a function that may hang for ever, and so must not change the disk, on a thread of its own.

    The future may be cancelled or left alone; the thread goes on until the function returns. An unforeseen error is
    noted with the name `what`, and the function is called again. Raises RuntimeError when the system allows no
    further thread. Belongs to the event loop.
    """
    work: concurrent.futures.Future[Result] = concurrent.futures.Future()
    work.set_running_or_notify_cancel()
    SupervisedThread(name, what, lambda: work.set_result(function(*arguments)))
    return asyncio.wrap_future(work)
