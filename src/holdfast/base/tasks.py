"""Tasks that no error ends unseen, the end of tasks, and work on threads that is not abandoned.

Each task that nobody waits for at once is begun by `begin`; `tests/test_threads.py` checks this.

A function on a thread keeps running when the task that waits for it is cancelled. A function that changes the disk,
counts, or opens something that must be closed is therefore run by `in_thread`: its claim or lock is released, and
the next step begins, only after it has ended. Only functions that read may be run by `asyncio.to_thread`;
`tests/test_threads.py` checks this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from ..errors import HoldfastError
from . import unforeseen

Result = TypeVar("Result")

_RESTART_S = 5.0
_END_PATIENCE_S = 1.0


async def supervised(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Runs a part of the program until it returns. When it raises an unforeseen error, it is started again."""
    while True:
        try:
            return await run()
        except Exception as error:  # noqa: BLE001 - the last resort
            unforeseen.note(name, error, f"it restarts in {_RESTART_S:g} s")
        await asyncio.sleep(_RESTART_S)


def begin(work: Coroutine[Any, Any, Result], name: str) -> asyncio.Task[Result]:
    """Starts a task on the running event loop. An unforeseen error that ends it is noted by its name, whether
    somebody waits for the task or not."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    task.add_done_callback(_noted)
    return task


def _noted(task: asyncio.Task[Any]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, HoldfastError):
        unforeseen.note(task.get_name(), error, "what it had to do is left undone")


async def all_done(what: str, *work: Awaitable[Result]) -> list[Result | None]:
    """Returns the results when all of `work` has ended. What raises an error keeps no other from its end: its
    result is None, and the error is noted under the name `what`. When cancelled, cancels all.
    """
    results: list[Result | None] = []
    for result in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(result, Exception):
            unforeseen.note(what, result, "the rest is done all the same")
        results.append(None if isinstance(result, BaseException) else result)
    return results


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
    first; when cancelled again, does not wait, since a stalled disk may hold the function up without limit.

    What an error of the function holds in memory is gone with the error: no garbage collection has to find it.
    """
    work = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        unheard(work)
        raise
    finally:
        del work  # it has the error, whose traceback has this frame


def unheard(work: asyncio.Future[Any]) -> None:
    """Marks the error of finished `work` as handled, if it has one: its caller may be gone, and the event loop
    would otherwise log it as never retrieved."""
    if not work.cancelled():
        work.exception()
