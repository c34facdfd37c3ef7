"""Jobs need no caller that waits for them, and both running and remembered jobs are bounded."""

from __future__ import annotations

import asyncio

import pytest

from holdfast.base import unforeseen
from holdfast.base.clock import SystemClock
from holdfast.base.jobs import MAX_ENDED, Job, Jobs
from holdfast.errors import NotConnectedError

from ..fakes import FakeClock


async def nothing() -> None:
    pass


async def test_of_the_jobs_that_ended_the_last_ones_are_remembered() -> None:
    jobs = Jobs(SystemClock())
    for _ in range(MAX_ENDED + 20):
        await jobs.start("sync", nothing, dict).wait(None)
    assert len(jobs.all()) <= MAX_ENDED + 1
    assert jobs.find("sync-1") is None and jobs.find(f"sync-{MAX_ENDED + 20}") is not None


async def test_a_job_that_failed_says_why_and_raises_it_to_who_asks() -> None:
    async def fail() -> None:
        raise NotConnectedError("no way")

    job = Jobs(SystemClock()).start("sync", fail, lambda: {"files": 3})
    await job.wait(None)
    assert job.tell() == {**job.tell(), "done": True, "error": "no way", "files": 3}
    with pytest.raises(NotConnectedError, match="no way"):
        job.check()


async def test_the_time_of_a_job_ends_with_it_and_a_wait_ends_with_its_timeout() -> None:
    clock, go_on = FakeClock(), asyncio.Event()

    async def run() -> None:
        await go_on.wait()

    job: Job = Jobs(clock).start("sync", run, dict)
    waiting = asyncio.create_task(job.wait(5.0))
    await clock.advance(4.9)
    assert not waiting.done()
    await clock.advance(0.2)
    await waiting
    assert (job.tell()["done"], job.tell()["seconds"]) == (False, 5.1)
    go_on.set()
    await job.wait(None)
    await clock.advance(10.0)
    assert (job.tell()["done"], job.tell()["seconds"]) == (True, 5.1)


async def test_an_error_that_nobody_foresaw_is_noted() -> None:
    async def fail() -> None:
        raise ValueError("a mistake in the program")

    job = Jobs(SystemClock()).start("sync", fail, dict)
    await job.wait(None)
    await asyncio.sleep(0)
    assert job.error == "a mistake in the program"
    assert unforeseen.all_found()[-1].what == "holdfast-sync-1"


async def test_a_job_that_does_not_end_holds_up_no_stop() -> None:
    begun, let_go = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            await let_go.wait()

    jobs = Jobs(SystemClock())
    job = jobs.start("sync", hang, dict)
    await begun.wait()
    await asyncio.wait_for(jobs.stop(), 30)
    assert not job.done
    let_go.set()
    await job.wait(None)
