"""Jobs: work that a caller asked for and need not wait for. Belongs to the event loop.

A job keeps running when no caller waits for it any more: a caller whose deadline expires breaks nothing. Bounds: at
most `MAX_RUNNING` jobs run at once; of those that have ended, the last `MAX_ENDED` are remembered.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

from ..errors import BusyError, HoldfastError
from .clock import Clock, first_done
from .tasks import begin, end

MAX_RUNNING = 32
MAX_ENDED = 100

Figures = dict[str, Any]


class Job:
    """A piece of work with an identity. `figures` returns how far it has come and, once it is done, what it did."""

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
        """Notes the time of its end."""
        self._end_s = self._clock.monotonic()

    def tell(self) -> Figures:
        """Returns everything that is known about the job, as plain values."""
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
        """The reason why the job failed; empty while it runs and when it succeeded."""
        if not self.done:
            return ""
        if self.task.cancelled():
            return "the data manager was stopped"
        error = self.task.exception()
        return "" if error is None else str(error)

    def check(self) -> None:
        """Raises the HoldfastError with which the job failed, or one that says that it was cancelled."""
        if self.done and self.task.cancelled():
            raise HoldfastError(self.error)
        if self.done:
            self.task.result()

    async def wait(self, timeout_s: float | None) -> None:
        """Returns when the job is done, or after `timeout_s`. When cancelled, the job keeps running."""
        if timeout_s is None:
            await asyncio.wait([self.task])
        else:
            await first_done(self._clock.sleep(timeout_s), asyncio.wait([self.task]))


class Jobs:
    """The jobs of one process. `stop` must be called."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._numbers = itertools.count(1)
        self._jobs: dict[str, Job] = {}

    def start(self, kind: str, run: Callable[[], Awaitable[object]], figures: Callable[[], Figures]) -> Job:
        """Starts a job that is done when `run` returns and has failed when it raises a HoldfastError.

        Raises BusyError when `MAX_RUNNING` jobs are running already.
        """
        running = sum(not job.done for job in self._jobs.values())
        if running >= MAX_RUNNING:
            raise BusyError(f'{running} jobs are running already: wait for one; {{"command": "job"}} lists them')

        async def complete() -> None:
            await run()

        identity = f"{kind}-{next(self._numbers)}"
        task = begin(complete(), f"holdfast-{identity}")
        job = self._jobs[identity] = Job(identity, kind, figures, task, self._clock)
        task.add_done_callback(job.ended)
        ended = [name for name, each in self._jobs.items() if each.done]
        for name in ended[: max(0, len(ended) - MAX_ENDED)]:
            del self._jobs[name]
        return job

    def find(self, identity: str) -> Job | None:
        return self._jobs.get(identity)

    def all(self) -> list[Job]:
        """Returns the jobs that are running or remembered, oldest first."""
        return list(self._jobs.values())

    async def stop(self) -> None:
        """Cancels the jobs that run, and waits for at most a second: a stalled disk may hold one up."""
        await end(job.task for job in self._jobs.values())
