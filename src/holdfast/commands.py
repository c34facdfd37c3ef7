"""The commands of DoCommand: {"command": NAME, …} in, a result or a `CommandError` out."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from .errors import CommandError
from .manager import Manager
from .status import status

COMMANDS = {
    "help": "lists the commands",
    "status": "what is captured, what waits, what was delivered, and what is wrong; the same as GetStatus",
    "sync": "sends everything that is there now, waits for it, and tells files, bytes, failures and seconds",
}


async def run_command(manager: Manager, command: Mapping[str, Any]) -> dict[str, Any]:
    """Raises CommandError for what is no command, NotConnectedError where there is no link."""
    name = command.get("command")
    if name == "help":
        return {"commands": dict(COMMANDS)}
    if name == "status":
        return status(manager)
    if name == "sync":
        report = await manager.sync()
        return {
            "files": report.files,
            "bytes": report.bytes,
            "quarantined": report.quarantined,
            "failed_count": report.failed_count,
            "failed": report.failed,
            "too_recent": report.too_recent,
            "seconds": round(report.seconds, 3),
            "last_error": report.last_error,
        }
    close = difflib.get_close_matches(str(name), COMMANDS, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(COMMANDS)}"
    raise CommandError(f'no such command: {name!r}; {hint} Send {{"command": "help"}} for the list')
