"""What is known, and sync by hand."""

from __future__ import annotations

from typing import Any

from ..manager import Manager
from ..status import status
from .table import Arguments, Command


async def _status(manager: Manager, arguments: Arguments) -> dict[str, Any]:
    return status(manager)


async def _sync(manager: Manager, arguments: Arguments) -> dict[str, Any]:
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


STATUS = Command(
    "status",
    "tells what is captured, what waits, what was delivered, and what is wrong; the same as GetStatus",
    _status,
)
SYNC = Command(
    "sync",
    "sends everything that is there now, waits for it, and tells files, bytes, failures and seconds",
    _sync,
)
