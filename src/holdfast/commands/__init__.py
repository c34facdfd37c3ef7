"""The commands of DoCommand: an object {"command": NAME, …} comes in, and a result or an error goes out.

`COMMANDS` is the one table: the help, the checks of arguments and the dispatch come from it. A new command is a
`Command` in the module of its family, and a line here.

| term | meaning |
|---|---|
| command | a name, a text for the help, its arguments, and the function that carries it out |
| argument | a name, a check of the given value, and a default |
| job | work that a command starts and that continues when its caller no longer waits |

A command asks the manager for work: except for jobs, nothing here runs between two commands. Others import what
this file lists and nothing from the modules of the package: `run_command` for DoCommand, and `start_sync` and
`start_upload` for the RPCs that do the same work. Belongs to the event loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..base.words import shown
from ..errors import CommandError
from ..manager import Manager
from ..status import status
from . import capturing, failed, job, pausing, sequencing, syncing, uploading
from .command import Arguments, Command, did_you_mean
from .syncing import start_sync
from .uploading import start_upload

__all__ = ["COMMANDS", "HELP", "run_command", "start_sync", "start_upload"]


async def _status(manager: Manager, arguments: Arguments) -> dict[str, Any]:
    return status(manager)


_STATUS = Command(
    "status",
    "returns what is captured, what waits, what was delivered, and what is wrong; the same as GetStatus",
    _status,
)

COMMANDS: Mapping[str, Command] = {
    command.name: command
    for command in (
        _STATUS,
        syncing.SYNC,
        job.JOB,
        uploading.UPLOAD,
        failed.FAILED,
        pausing.PAUSE,
        pausing.RESUME,
        pausing.SET_FREQUENCY,
        capturing.CAPTURE_NOW,
        sequencing.START_SEQUENCE,
        sequencing.STOP_SEQUENCE,
    )
}
HELP = "help"


async def run_command(manager: Manager, command: Mapping[str, Any]) -> dict[str, Any]:
    """Carries out one command and returns its result.

    Raises CommandError when there is no such command or an argument is wrong, NotReadyError while sync can't start,
    NotConnectedError without a connection to the cloud, BusyError when too much is under way, ResourceCallError
    when a resource gives no reading, and StorageError when the disk refuses what the command needs. When cancelled,
    a job that it started continues.
    """
    name = command.get("command")
    if name == HELP:
        return {"commands": {each.name: each.help() for each in COMMANDS.values()}}
    found = COMMANDS.get(name) if isinstance(name, str) else None
    if found is None:
        hint = did_you_mean(str(name), (HELP, *COMMANDS))
        raise CommandError(f'no such command: {shown(name)}; {hint} Send {{"command": "help"}} for the list')
    given = {key: value for key, value in command.items() if key != "command"}
    try:
        return await found.run(manager, found.arguments_from(given))
    except CommandError as error:
        raise CommandError(f"{found.name}: {error}") from error
