"""Sync by hand, and jobs: what was begun and goes on by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

from ..base.jobs import Job
from ..base.words import shown
from ..config import short_name
from ..errors import CommandError
from ..manager import Manager
from ..sync.manual import SyncReport, folders_of, select
from .command import Argument, Arguments, Command, did_you_mean, flag, seconds, text, texts
from .resources import known_to


async def start_sync(
    manager: Manager, paths: Sequence[str] = (), resources: Sequence[str] = ()
) -> tuple[Job, SyncReport]:
    """Begins a manual sync, of everything or of what is named, which goes on whoever waits for it.

    Raises NotReadyError, CommandError for what can't be sent, and BusyError.
    """
    await manager.ready_engine()
    report = SyncReport()
    selected = None
    if paths or resources:
        names = [short_name(name) for name in resources]
        selected = partial(select, manager.files, paths, names, manager.capture_roots, manager.other_roots)
        await asyncio.to_thread(selected)
        for name in names:
            if not await asyncio.to_thread(list, folders_of(manager.files, name, manager.capture_roots)):
                (await known_to(manager, name)).resource("resources", name)
    job = manager.jobs.start("sync", lambda: manager.sync(selected, report), lambda: _figures(report))
    return job, report


def _figures(report: SyncReport) -> dict[str, Any]:
    return {
        "files": report.files,
        "bytes": report.bytes,
        "quarantined": report.quarantined,
        "pending": report.pending,
        "failed_count": report.failed.count,
        "failed": report.failed.first,
        "too_recent": report.too_recent,
        "last_error": report.last_error,
    }


async def told(job: Job, arguments: Arguments) -> dict[str, Any]:
    """What a job did, or how far it is when the caller does not want to wait so long. Raises what it raised."""
    if arguments["wait"]:
        await job.wait(arguments["timeout_s"])
        job.check()
    return job.tell()


async def _sync(manager: Manager, arguments: Arguments) -> dict[str, Any]:
    job, _ = await start_sync(manager, arguments["paths"], arguments["resources"])
    return await told(job, arguments)


async def _job(manager: Manager, arguments: Arguments) -> dict[str, Any]:
    jobs, identity = manager.jobs, arguments["id"]
    if identity is None:
        return {"jobs": [job.tell() for job in jobs.all()]}
    job = jobs.find(identity)
    if job is None:
        hint = did_you_mean(identity, [each.identity for each in jobs.all()])
        raise CommandError(f"id: {shown(identity)} is not known (any more); {hint}")
    return job.tell()


WAIT = (
    Argument("wait", flag, "true, the default: answers when it is done; false: answers with a job", default=True),
    Argument("timeout_s", seconds, "how many seconds to wait at most; the job continues"),
)
SYNC = Command(
    "sync",
    "sends everything that is there now, waits for it, and returns files, bytes, failures and seconds",
    _sync,
    (
        *WAIT,
        Argument("paths", texts, "only these files and folders; they must be under a sync path", default=()),
        Argument("resources", texts, "only what was captured from these resources", default=()),
    ),
)
JOB = Command(
    "job",
    "returns the progress and the result of a job",
    _job,
    (Argument("id", text, "the job in the answer of the command that started it; all jobs if left out"),),
)
