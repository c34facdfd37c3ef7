"""Jobs: work that a caller asked for and need not wait for. Belongs to the event loop.

A job keeps running when no caller waits for it any more: a caller whose deadline expires breaks nothing. It ends by
itself, or by `cancel`. Of a job that has ended, its last figures and its error are left, and nothing that it worked
with. Bounds: `MAX_RUNNING` jobs of each kind run at once, so that no kind keeps out another. When all places of a
kind are taken and none of its jobs has moved for `STILL_S`, the one that has stood still for the longest gives its
place up; while one moves, the others may be waiting for it. The last `MAX_ENDED` of each kind that have ended are
remembered.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..errors import BusyError, HoldfastError
from .clock import Clock, first_done
from .tasks import begin, end
from .words import duration

MAX_RUNNING: Mapping[str, int] = {"sync": 16, "upload": 48, "failed": 8}
"""By kind. Together they are fewer than the 100 calls to a resource that viam-server allows at once: when all are
waited for, there is room for the commands that list and cancel them."""
MAX_ENDED = 100
STILL_S = 600.0
END_PATIENCE_S = 1.0
"""How long a job that was cancelled is waited for. A disk that stalls may hold it up for longer."""
_STOPPED = "the data manager was stopped"

Figures = dict[str, Any]


class Job:
    """A piece of work with an identity. `figures` returns how far it has come and, once it is done, what it did."""

    def __init__(
        self, identity: str, kind: str, figures: Callable[[], Figures], task: asyncio.Task[None], clock: Clock
    ) -> None:
        self.identity = identity
        self.kind = kind
        self.cancelled = False
        """Whether `cancel` ended it."""
        self._figures = figures
        self._clock = clock
        self._begin_s = self._end_s = self._moved_s = clock.monotonic()
        self._moved = figures()
        self._why_cancelled = ""
        self._failure: BaseException | None = None
        self._ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = task
        task.add_done_callback(self._end)

    def tell(self) -> Figures:
        """Returns everything that is known about the job, as plain values."""
        seconds = (self._end_s if self.done else self._clock.monotonic()) - self._begin_s
        return {
            "job": self.identity,
            "kind": self.kind,
            "done": self.done,
            "cancelled": self.cancelled,
            "error": self.error,
            "seconds": round(seconds, 3),
            **self._figures(),
        }

    @property
    def done(self) -> bool:
        return self._ended.is_set()

    @property
    def error(self) -> str:
        """The reason why the job failed; empty while it runs and when it succeeded."""
        return "" if self._failure is None else str(self._failure)

    @property
    def is_cancelling(self) -> bool:
        """Whether `cancel` was called, and the job has not ended yet."""
        return bool(self._why_cancelled) and not self.done

    def check(self) -> None:
        """Raises the error with which the job failed, if it did."""
        if self._failure is not None:
            raise _like(self._failure)

    async def wait(self, timeout_s: float | None) -> None:
        """Returns when the job is done, or after `timeout_s`. When cancelled, the job keeps running."""
        if timeout_s is None:
            await self._ended.wait()
        else:
            await first_done(self._clock.sleep(timeout_s), self._ended.wait())

    def cancel(self, why: str) -> None:
        """Ends the job, which then fails with the error `why`. Does nothing when it has ended, or is ending."""
        if self._task is not None and not self._why_cancelled:
            self._why_cancelled = why
            self._task.cancel()

    def still_s(self) -> float:
        """Returns for how long the figures have been the same, as far as calls of this can tell."""
        now_s, figures = self._clock.monotonic(), self._figures()
        if figures != self._moved:
            self._moved, self._moved_s = figures, now_s
        return now_s - self._moved_s

    def _end(self, task: asyncio.Task[None]) -> None:
        self._end_s = self._clock.monotonic()
        if task.cancelled():
            self._failure = HoldfastError(self._why_cancelled or _STOPPED)
        elif (error := task.exception()) is not None:
            self._failure = _like(error)
        self.cancelled = self._failure is not None and bool(self._why_cancelled)
        last = self._moved = self._figures()
        self._figures, self._task = lambda: last, None
        self._ended.set()


def _like(error: BaseException) -> BaseException:
    """Returns the same error without its traceback, which holds everything that its work had in hand. One that is
    not foreseen becomes a HoldfastError, since not every class can be copied."""
    if not isinstance(error, HoldfastError):
        return HoldfastError(str(error) or type(error).__name__)
    same = error.__class__.__new__(error.__class__)
    same.args = error.args
    same.__dict__.update(error.__dict__)
    return same


class Jobs:
    """The jobs of one process. `stop` must be called."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._numbers = itertools.count(1)
        self._jobs: dict[str, Job] = {}

    async def start(self, kind: str, run: Callable[[], Awaitable[object]], figures: Callable[[], Figures]) -> Job:
        """Starts a job that is done when `run` returns and has failed when it raises a HoldfastError.

        Raises BusyError when no place for a job of this kind is free, and none is given up.
        """
        await self._have_place(kind)

        async def complete() -> None:
            await run()

        identity = f"{kind}-{next(self._numbers)}"
        task = begin(complete(), f"holdfast-{identity}")
        job = self._jobs[identity] = Job(identity, kind, figures, task, self._clock)
        ended = [name for name, each in self._jobs.items() if each.done and each.kind == kind]
        for name in ended[: max(0, len(ended) - MAX_ENDED)]:
            del self._jobs[name]
        return job

    def find(self, identity: str) -> Job | None:
        return self._jobs.get(identity)

    def all(self) -> list[Job]:
        """Returns the jobs that are running or remembered: those that run first, the newest first."""
        newest_first = list(self._jobs.values())[::-1]
        return sorted(newest_first, key=lambda job: job.done)

    async def stop(self) -> None:
        """Cancels the jobs that run, and waits for at most a second: a stalled disk may hold one up."""
        running = [job for job in self._jobs.values() if not job.done]
        for job in running:
            job.cancel(_STOPPED)
        await end(job._task for job in running if job._task is not None)

    async def _have_place(self, kind: str) -> None:
        running = self._running(kind)
        still_s = {job: job.still_s() for job in running if not job.is_cancelling}
        stillest = max(still_s, key=still_s.__getitem__, default=None)
        if len(running) >= MAX_RUNNING[kind] and stillest is not None and min(still_s.values()) >= STILL_S:
            stillest.cancel(f"it stood still for {duration(stillest.still_s())}, and gave its place to another job")
            await stillest.wait(END_PATIENCE_S)
        if len(self._running(kind)) >= MAX_RUNNING[kind]:
            raise BusyError(
                f"{len(running)} jobs of the kind {kind!r} are running already: wait for one, or cancel one; "
                '{"command": "job"} lists them'
            )

    def _running(self, kind: str) -> list[Job]:
        return [job for job in self._jobs.values() if job.kind == kind and not job.done]
