"""The command `sync`: a manual sync of everything, or of the files, folders and resources that the caller names."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

from ..base.jobs import Job
from ..manager import Manager
from ..sync.manual import SyncReport, folders_of, select
from .command import Argument, Arguments, Command, texts
from .job import WAIT, answer_of
from .resources import known_resources


async def start_sync(
    manager: Manager, paths: Sequence[str] = (), resources: Sequence[str] = ()
) -> tuple[Job, SyncReport]:
    """Starts a manual sync of everything, or of what is named, and returns its job and its report.

    The job continues when nobody waits for it; it fails with NotConnectedError when there is no link. Raises
    NotReadyError, CommandError for a path or a resource that can't be sent, and BusyError.
    """
    await manager.ready_engine()
    report = SyncReport()
    selected = None
    if paths or resources:
        selected = partial(select, manager.files, paths, resources, manager.capture_roots, manager.other_roots)
        await asyncio.to_thread(selected)
        for name in resources:
            if not await asyncio.to_thread(list, folders_of(manager.files, name, manager.capture_roots)):
                (await known_resources(manager, name)).resource("resources", name)
    job = await manager.jobs.start("sync", lambda: manager.sync(selected, report), lambda: _figures(report))
    return job, report


def _figures(report: SyncReport) -> dict[str, Any]:
    return {
        "files": report.files,
        "bytes": report.bytes,
        "quarantined": report.quarantined,
        "pending": report.pending,
        "failed_count": report.failed.count,
        "failed": list(report.failed.first),
        "held_open": list(report.held_open.first),
        "too_recent": list(report.too_recent),
        "last_error": report.last_error,
    }


async def _sync(manager: Manager, arguments: Arguments) -> dict[str, Any]:
    job, _ = await start_sync(manager, arguments["paths"], arguments["resources"])
    return await answer_of(job, arguments)


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
