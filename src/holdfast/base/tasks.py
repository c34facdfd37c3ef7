"""Tasks that run as long as the program, the end of tasks, and work on threads that is not abandoned.

A function on a thread keeps running when the task that waits for it is cancelled. A function that changes the disk,
counts, or opens something that must be closed is therefore run by `in_thread`: its claim or lock is released, and
the next step begins, only after it has ended. Only functions that read may be run by `asyncio.to_thread`;
`tests/test_threads.py` checks this.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

Result = TypeVar("Result")

_RESTART_S = 5.0
_END_PATIENCE_S = 1.0

logger = logging.getLogger(__name__)


async def supervised(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Runs a part of the program until it returns. When it raises an unforeseen error, it is started again."""
    while True:
        try:
            return await run()
        except Exception:  # the last resort: everything foreseen is a HoldfastError and handled
            logger.exception("%s failed unexpectedly; it restarts in %g s", name, _RESTART_S)
        await asyncio.sleep(_RESTART_S)


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels `tasks` and waits for their end, for at most a second: a task that waits for a thread may hang on a
    stalled disk, and the caller must not hang with it."""
    pending = {task for task in tasks if not task.done()}
    for task in pending:
        task.cancel()
    if pending:
        await asyncio.wait(pending, timeout=_END_PATIENCE_S)


async def in_thread(function: Callable[..., Result], *arguments: Any) -> Result:
    """Runs a function on a worker thread and returns its result. When cancelled, waits for the function to end
    first; when cancelled again, does not wait, since a stalled disk may hold the function up without limit."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        unheard(work)
        raise


def unheard(work: asyncio.Future[Any]) -> None:
    """Marks the error of finished `work` as handled, if it has one: its caller may be gone, and the event loop
    would otherwise log it as never retrieved."""
    if not work.cancelled():
        work.exception()
