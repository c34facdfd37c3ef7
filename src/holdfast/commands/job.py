"""The command `job`, and what commands that start jobs share: their answer, and the arguments about waiting.

A job continues when its caller no longer waits. `base.jobs` bounds how many run and how many are remembered.
"""

from __future__ import annotations

from typing import Any

from ..base.jobs import END_PATIENCE_S, Job
from ..base.words import shown
from ..errors import CommandError
from ..manager import Manager
from .command import Argument, Arguments, Command, did_you_mean, flag, seconds, text


async def answer_of(job: Job, arguments: Arguments) -> dict[str, Any]:
    """Returns what the job did, or how far it is when `wait` is false or the time `timeout_s` is over.

    Raises what the job raised, if it was waited for. When cancelled, the job continues.
    """
    if arguments["wait"]:
        await job.wait(arguments["timeout_s"])
        job.check()
    return job.tell()


async def _job(manager: Manager, arguments: Arguments) -> dict[str, Any]:
    jobs, identity = manager.jobs, arguments["id"]
    if identity is None and arguments["cancel"]:
        raise CommandError("cancel ends one job: name its id")
    if identity is None:
        return {"jobs": [job.tell() for job in jobs.all()]}
    job = jobs.find(identity)
    if job is None:
        hint = did_you_mean(identity, [each.identity for each in jobs.all()])
        raise CommandError(f"id: there is no job {shown(identity)}, or it ended too long ago; {hint}")
    if arguments["cancel"]:
        job.cancel("cancelled by command")
        await job.wait(END_PATIENCE_S)
    return job.tell()


WAIT = (
    Argument("wait", flag, "true, the default: answers when it is done; false: at once, with a job", default=True),
    Argument("timeout_s", seconds, "how many seconds to wait at most; the job continues"),
)
JOB = Command(
    "job",
    "returns the progress and the result of a job, or cancels it",
    _job,
    (
        Argument("id", text, "the job in the answer of the command that started it; all jobs if left out"),
        Argument("cancel", flag, "true: ends the job; it has no effect on one that has ended", default=False),
    ),
)
