"""Fixtures of the fault tests: the viam-server of the end-to-end tests, strace, disks that fill up."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import viam_server_binary

from . import disks, faked_clock, strace

__all__ = ["viam_server_binary"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Lets pytest-timeout look at the tests alone: viam-server may be built before, for minutes."""
    if config.pluginmanager.hasplugin("timeout"):
        for item in items:
            if item.path.is_relative_to(Path(__file__).parent):
                item.add_marker(pytest.mark.timeout(func_only=True))


@pytest.fixture(scope="session")
def needs_strace() -> None:
    """Without a strace that may attach the test is skipped; in CI it fails."""
    _skip_for(strace.problem())


@pytest.fixture(scope="session")
def needs_faked_clock() -> None:
    """Without libfaketime the test is skipped; in CI it fails."""
    _skip_for(faked_clock.problem())


def _skip_for(reason: str | None) -> None:
    if reason and strace.IS_CI:
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def needs_disks() -> None:
    """Where no disk can be mounted the test is skipped; in CI it fails."""
    _skip_for(disks.problem())
