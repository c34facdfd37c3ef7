"""A disk writer on a disk that can fail."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.base.clock import SystemClock
from holdfast.storage.ledger.ledger import Ledger
from holdfast.storage.writing.disk_writer import DiskWriter
from tests.fakes import FaultyFileSystem

NEVER_S = 3600.0


@pytest.fixture
def files() -> FaultyFileSystem:
    return FaultyFileSystem()


@pytest.fixture
def ledger(files: FaultyFileSystem, tmp_path: Path) -> Ledger:
    return Ledger(files, str(tmp_path))


@pytest.fixture
async def writer(files: FaultyFileSystem, ledger: Ledger, tmp_path: Path) -> AsyncIterator[DiskWriter]:
    """It flushes only when it is asked to, or when much waits in memory."""
    writer = DiskWriter(files, SystemClock(), ledger, str(tmp_path), NEVER_S)
    yield writer
    files.resume_writes()
    await writer.close()
