"""Jobs: what somebody asked for and need not wait for. Belongs to the event loop.

A job goes on when nobody waits for it any more: a caller whose deadline expires breaks nothing. At most
`MAX_RUNNING` run at once; of those that ended the last `MAX_ENDED` can be asked about. `stop` cancels what runs.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

from ..errors import BusyError, HoldfastError
from .clock import Clock, first_done
from .tasks import end

MAX_RUNNING = 32
MAX_ENDED = 100

Figures = dict[str, Any]


class Job:
    """One of them. `figures` tells how far it is and, when it is done, what it did."""

    def __init__(
        self, identity: str, kind: str, figures: Callable[[], Figures], task: asyncio.Task[None], clock: Clock
    ) -> None:
        self.identity = identity
        self.kind = kind
        self.task = task
        self._figures = figures
        self._clock = clock
        self._begin_s = self._end_s = clock.monotonic()

    def ended(self, _: object) -> None:
        self._end_s = self._clock.monotonic()

    def tell(self) -> Figures:
        """All that is known of it, as plain values."""
        seconds = (self._end_s if self.done else self._clock.monotonic()) - self._begin_s
        return {
            "job": self.identity,
            "kind": self.kind,
            "done": self.done,
            "error": self.error,
            "seconds": round(seconds, 3),
            **self._figures(),
        }

    @property
    def done(self) -> bool:
        return self.task.done()

    @property
    def error(self) -> str:
        """Why it could not be done; empty while it runs, and when it was."""
        if not self.done:
            return ""
        if self.task.cancelled():
            return "the data manager was stopped"
        error = self.task.exception()
        return "" if error is None else str(error)

    def check(self) -> None:
        """Raises the HoldfastError for which it could not be done."""
        if self.done and self.task.cancelled():
            raise HoldfastError(self.error)
        if self.done:
            self.task.result()

    async def wait(self, timeout_s: float | None) -> None:
        """Returns when it is done, or when the time is over. When this is cancelled, the job goes on."""
        if timeout_s is None:
            await asyncio.wait([self.task])
        else:
            await first_done(self._clock.sleep(timeout_s), asyncio.wait([self.task]))


class Jobs:
    """Those of one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._numbers = itertools.count(1)
        self._jobs: dict[str, Job] = {}

    def start(self, kind: str, run: Callable[[], Awaitable[object]], figures: Callable[[], Figures]) -> Job:
        """Runs `run`, which ends by itself or raises a HoldfastError. BusyError when too many run already."""
        running = sum(not job.done for job in self._jobs.values())
        if running >= MAX_RUNNING:
            raise BusyError(f'{running} jobs are running already: wait for one; {{"command": "job"}} lists them')

        async def complete() -> None:
            await run()

        identity = f"{kind}-{next(self._numbers)}"
        task = asyncio.get_running_loop().create_task(complete(), name=f"holdfast-{identity}")
        job = self._jobs[identity] = Job(identity, kind, figures, task, self._clock)
        task.add_done_callback(job.ended)
        task.add_done_callback(_noticed)
        ended = [name for name, each in self._jobs.items() if each.done]
        for name in ended[: max(0, len(ended) - MAX_ENDED)]:
            del self._jobs[name]
        return job

    def find(self, identity: str) -> Job | None:
        return self._jobs.get(identity)

    def all(self) -> list[Job]:
        """The ones that are known, oldest first."""
        return list(self._jobs.values())

    async def stop(self) -> None:
        """Cancels what runs; what a stalled disk holds up is not waited for long."""
        await end(job.task for job in self._jobs.values())


def _noticed(task: asyncio.Task[None]) -> None:
    """An error that nobody waits for stands in the job; one that nobody foresaw is the loop's to tell."""
    if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, HoldfastError):
        task.get_loop().call_exception_handler({"message": f"{task.get_name()} failed", "exception": error})
