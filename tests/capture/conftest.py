"""Fixtures for capture on a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .machine import Machine


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    """A machine without collectors, which ends with the test."""
    machine = Machine(tmp_path)
    yield machine
    await machine.capture.stop()
    await machine.writer.close()
