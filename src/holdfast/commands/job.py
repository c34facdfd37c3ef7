"""Jobs: what was begun and goes on by itself."""

from __future__ import annotations

from typing import Any

from ..base.jobs import Job
from ..base.words import shown
from ..errors import CommandError
from ..manager import Manager
from .command import Argument, Arguments, Command, did_you_mean, flag, seconds, text


async def answer_of(job: Job, arguments: Arguments) -> dict[str, Any]:
    """What a job did, or how far it is when the caller does not want to wait so long. Raises what it raised."""
    if arguments["wait"]:
        await job.wait(arguments["timeout_s"])
        job.check()
    return job.tell()


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
JOB = Command(
    "job",
    "returns the progress and the result of a job",
    _job,
    (Argument("id", text, "the job in the answer of the command that started it; all jobs if left out"),),
)
