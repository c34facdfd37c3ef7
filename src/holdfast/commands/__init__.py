"""The commands of DoCommand: {"command": NAME, …} in, a result or an error out.

`COMMANDS` is the one table: from it come the help, the checks of arguments and the dispatch. A new command is a
`Command` in a module of its family, and a line here.
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
from .uploading import upload_data

__all__ = ["COMMANDS", "HELP", "run_command", "start_sync", "upload_data"]


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
    """Raises CommandError for what is no command or has an argument that can't be, NotReadyError where nothing is
    taken for sync yet, NotConnectedError where there is no link, BusyError when too much is under way, and
    ResourceCallError where a resource gives no reading."""
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
