"""Tasks that run for as long as the program does, tasks that end, and work on threads that comes to its end.

A function on a thread goes on when the task that waits for it is cancelled. So what changes the disk, counts, or
opens what must be closed goes by `in_thread`: whatever belongs to it (a claim, a lock, a place) is given back, and
whatever follows it begins, no earlier than it ends. Only what reads may go by `asyncio.to_thread`. A test looks.
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
    """Runs a part until it returns. An error that nobody foresaw must not end the part for good: it begins anew."""
    while True:
        try:
            return await run()
        except Exception:  # the last resort: everything foreseen is a HoldfastError and handled
            logger.exception("%s failed unexpectedly; it restarts in %g s", name, _RESTART_S)
        await asyncio.sleep(_RESTART_S)


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels `tasks` and waits for them, for a second at most: one that ends by something on a thread may hang on
    a stalled disk, and nothing else is to hang on that."""
    pending = {task for task in tasks if not task.done()}
    for task in pending:
        task.cancel()
    if pending:
        await asyncio.wait(pending, timeout=_END_PATIENCE_S)


async def in_thread(function: Callable[..., Result], *arguments: Any) -> Result:
    """As asyncio.to_thread, but returns only when the function does: when this is cancelled meanwhile, the function
    ends first. Cancelled once more, it is not waited for, as a stalled disk may hold it for as long as it likes."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        unheard(work)
        raise


def unheard(work: asyncio.Future[Any]) -> None:
    """Of work that is over: whoever would hear of its error may be gone, so the loop need not complain of it."""
    if not work.cancelled():
        work.exception()
