"""These are the fixtures of the fault tests: viam-server, and the check of what this computer must have."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import viam_server, viam_server_binary

from . import disks, faked_clock, fuse_disk, networks, strace

__all__ = ["viam_server", "viam_server_binary"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Limits pytest-timeout to the tests themselves: building viam-server before may take minutes."""
    if config.pluginmanager.hasplugin("timeout"):
        for item in items:
            if item.path.is_relative_to(Path(__file__).parent):
                item.add_marker(pytest.mark.timeout(func_only=True))


@pytest.fixture(scope="session")
def needs_strace() -> None:
    """Skips the test where strace is missing or may not attach; in CI the test fails."""
    skip_for(strace.problem())


@pytest.fixture(scope="session")
def needs_faked_clock() -> None:
    """Skips the test where libfaketime is missing; in CI the test fails."""
    skip_for(faked_clock.problem())


def skip_for(reason: str | None) -> None:
    if reason and strace.IS_CI:
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def needs_stalled_disk() -> None:
    """Skips the test where no file system that stalls can be mounted; in CI the test fails."""
    skip_for(disks.why_none_stalls())


@pytest.fixture(scope="session")
def needs_disks() -> None:
    """Skips the test where no disk can be mounted; in CI the test fails."""
    skip_for(disks.problem())


@pytest.fixture(scope="session")
def needs_fuse() -> None:
    """Skips the test where no file system in user space can be mounted; in CI the test fails."""
    skip_for(fuse_disk.problem())


@pytest.fixture(scope="session")
def needs_networks() -> None:
    """Skips the test where no network can be made; in CI the test fails."""
    skip_for(networks.problem())
