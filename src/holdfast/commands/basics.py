"""What is known."""

from __future__ import annotations

from typing import Any

from ..manager import Manager
from ..status import status
from .command import Arguments, Command


async def _status(manager: Manager, arguments: Arguments) -> dict[str, Any]:
    return status(manager)


STATUS = Command(
    "status",
    "returns what is captured, what waits, what was delivered, and what is wrong; the same as GetStatus",
    _status,
)
