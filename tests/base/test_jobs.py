"""Jobs need no caller that waits for them, and both running and remembered jobs are bounded."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

from holdfast.base import unforeseen
from holdfast.base.clock import SystemClock
from holdfast.base.jobs import MAX_ENDED, MAX_RUNNING, STILL_S, Job, Jobs
from holdfast.errors import BusyError, HoldfastError, NotConnectedError

from ..fakes import FakeClock


async def nothing() -> None:
    pass


async def for_ever() -> None:
    await asyncio.Event().wait()


async def full(jobs: Jobs, kind: str = "sync") -> list[Job]:
    return [await jobs.start(kind, for_ever, dict) for _ in range(MAX_RUNNING[kind])]


async def test_of_the_jobs_that_ended_the_last_ones_are_remembered() -> None:
    jobs = Jobs(SystemClock())
    for _ in range(MAX_ENDED + 20):
        await (await jobs.start("sync", nothing, dict)).wait(None)
    assert len(jobs.all()) <= MAX_ENDED + 1
    assert jobs.find("sync-1") is None and jobs.find(f"sync-{MAX_ENDED + 20}") is not None


async def test_a_job_that_failed_says_why_and_raises_it_to_who_asks() -> None:
    async def fail() -> None:
        raise NotConnectedError("no way")

    job = await Jobs(SystemClock()).start("sync", fail, lambda: {"files": 3})
    await job.wait(None)
    assert job.tell() == {**job.tell(), "done": True, "cancelled": False, "error": "no way", "files": 3}
    for _ in range(2):
        with pytest.raises(NotConnectedError, match="no way"):
            job.check()


async def test_the_time_of_a_job_ends_with_it_and_a_wait_ends_with_its_timeout() -> None:
    clock, go_on = FakeClock(), asyncio.Event()

    async def run() -> None:
        await go_on.wait()

    job = await Jobs(clock).start("sync", run, dict)
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

    job = await Jobs(SystemClock()).start("sync", fail, dict)
    await job.wait(None)
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
    job = await jobs.start("sync", hang, dict)
    await begun.wait()
    await asyncio.wait_for(jobs.stop(), 30)
    assert not job.done
    let_go.set()
    await job.wait(None)


async def test_jobs_of_one_kind_keep_out_no_other() -> None:
    jobs = Jobs(SystemClock())
    for kind in MAX_RUNNING:
        await full(jobs, kind)
    for kind in MAX_RUNNING:
        with pytest.raises(BusyError, match=f"{MAX_RUNNING[kind]} jobs of the kind '{kind}' are running already"):
            await jobs.start(kind, nothing, dict)
    assert sum(MAX_RUNNING.values()) < 90, "of viam-server's 100 calls, some are left when all are waited for"
    await jobs.stop()


async def test_a_cancelled_job_ends_says_so_and_gives_its_place_up() -> None:
    jobs = Jobs(SystemClock())
    first, *_ = await full(jobs)
    for _ in range(2):
        first.cancel("cancelled by command")
        await first.wait(None)
        assert (first.done, first.cancelled, first.error) == (True, True, "cancelled by command")
        with pytest.raises(HoldfastError, match="cancelled by command"):
            first.check()
    await jobs.start("sync", nothing, dict)
    await jobs.stop()


async def test_a_job_that_ended_before_it_was_cancelled_succeeded() -> None:
    job = await Jobs(SystemClock()).start("sync", nothing, dict)
    await job.wait(None)
    job.cancel("cancelled by command")
    assert (job.done, job.cancelled, job.error) == (True, False, "")
    job.check()


async def test_when_all_stand_still_the_one_that_does_for_the_longest_gives_its_place_up() -> None:
    clock, figures = FakeClock(), {"bytes": 0}
    jobs = Jobs(clock)
    moving = await jobs.start("sync", for_ever, lambda: dict(figures))
    still = await jobs.start("sync", for_ever, dict)
    await clock.advance(1.0)
    others = [await jobs.start("sync", for_ever, dict) for _ in range(MAX_RUNNING["sync"] - 2)]
    await clock.advance(STILL_S - 2.0)
    figures["bytes"] += 1
    with pytest.raises(BusyError):
        await jobs.start("sync", for_ever, dict)
    await clock.advance(STILL_S - 1.0)
    with pytest.raises(BusyError):  # the others may be waiting for the one that moves
        await jobs.start("sync", for_ever, dict)
    assert not still.done
    await clock.advance(2.0)
    await jobs.start("sync", for_ever, dict)
    assert still.cancelled and "stood still for" in still.error
    assert not moving.done and not any(job.done for job in others)
    await jobs.stop()


class Large:
    """Something that a job works with."""


@pytest.mark.parametrize("fails", [False, True])
async def test_of_a_job_that_ended_nothing_is_left_that_it_worked_with(fails: bool) -> None:
    large = Large()
    gone = weakref.ref(large)

    async def run(held: Large = large) -> None:
        inner = held
        if fails:
            raise NotConnectedError("no way")
        del inner

    def figures(held: Large = large) -> dict[str, Any]:
        return {"kind of it": type(held).__name__}

    job = await Jobs(SystemClock()).start("upload", run, figures)
    del run, figures, large
    await job.wait(None)
    if fails:
        with pytest.raises(NotConnectedError):
            job.check()
    await asyncio.sleep(0)
    gc.collect()
    assert gone() is None
    assert job.tell()["kind of it"] == "Large"


async def test_jobs_of_one_kind_push_no_other_kind_out_of_memory_and_those_that_run_come_first() -> None:
    jobs = Jobs(SystemClock())
    sync = await jobs.start("sync", nothing, dict)
    running = await jobs.start("failed", for_ever, dict)
    for _ in range(MAX_ENDED + 20):
        await (await jobs.start("upload", nothing, dict)).wait(None)
    assert jobs.find(sync.identity) is sync
    listed = jobs.all()
    assert listed[0] is running and listed[1].identity == f"upload-{MAX_ENDED + 22}"
    await jobs.stop()


async def test_an_error_that_can_not_be_copied_is_told_all_the_same() -> None:
    error = UnicodeEncodeError("utf-8", "x", 0, 1, "why")

    async def fail() -> None:
        raise error

    job = await Jobs(SystemClock()).start("sync", fail, dict)
    await job.wait(None)
    assert job.error == str(error)
