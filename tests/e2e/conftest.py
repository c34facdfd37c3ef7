"""Fixtures of the end-to-end tests: the viam-server binary, and servers that never outlive their test."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from .viam_server import ViamServer

_ROOT = Path(__file__).parent.parent.parent
_BUILD = _ROOT / "tests" / "viam_server" / "build.sh"
_BUILD_TIMEOUT_S = 1800
_SOURCES = ("*.sh", "*.md", "meta.json", "LICENSE", "requirements*.txt", "module", "src")
_PACKAGE_TIMEOUT_S = 600
_NO_GO = 3
_STOP_TIMEOUT_S = 45.0
_FAILED = pytest.StashKey[bool]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Lets pytest-timeout look at the tests alone: the first one's set-up may build viam-server for minutes.

    The fixtures have time limits of their own.
    """
    if config.pluginmanager.hasplugin("timeout"):
        for item in items:
            if item.path.is_relative_to(Path(__file__).parent):
                item.add_marker(pytest.mark.timeout(func_only=True))


@pytest.fixture(scope="session")
def needs_namespaces() -> None:
    """Skips the test where this user can't make mounts and process ids of its own."""
    try:
        made = subprocess.run(["unshare", "-m", "-p", "-f", "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no unshare: apt-get install util-linux")
    if made.returncode:
        pytest.skip(f"there are no namespaces for this user: {made.stderr.strip()}")


@pytest.fixture(scope="session")
def viam_server_binary() -> Path:
    """The real viam-server, built once. Without a Go to build it the test is skipped; in CI it fails."""
    return _built("viam-server")


@pytest.fixture(scope="session")
def viam_cli_binary() -> Path:
    """Viam's command line tool, as `viam_server_binary`."""
    return _built("viam-cli")


def _built(what: str) -> Path:
    try:
        build = subprocess.run(
            [str(_BUILD), what], capture_output=True, text=True, timeout=_BUILD_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.fail(f"{_BUILD} did not end in {_BUILD_TIMEOUT_S} s")
    if build.returncode == _NO_GO:
        reason = build.stderr.strip()
        if os.environ.get("CI", "").lower() in ("true", "1"):
            pytest.fail(reason)
        pytest.skip(reason)
    if build.returncode != 0:
        pytest.fail(f"{_BUILD} failed with {build.returncode}:\n{build.stderr}")
    return Path(build.stdout.strip())


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a build needs of the checkout, and nothing that was made there."""
    folder = tmp_path_factory.mktemp("clone")
    for name in _SOURCES:
        for path in _ROOT.glob(name):
            if path.is_dir():
                shutil.copytree(path, folder / path.name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(path, folder)
    return folder


@pytest.fixture(scope="session")
def archive(clone: Path) -> Path:
    """The module's archive, made in a fresh clone by the steps of meta.json, as Viam's cloud makes it."""
    steps = json.loads((clone / "meta.json").read_text())["build"]
    for step in (steps["setup"], steps["build"]):
        made = subprocess.run(
            ["bash", "-c", step], cwd=clone, capture_output=True, text=True, timeout=_PACKAGE_TIMEOUT_S, check=False
        )
        assert made.returncode == 0, f"{step}:\n{made.stdout}\n{made.stderr}"
    return clone / str(steps["path"])


@pytest.fixture
def unpacked(archive: Path, tmp_path: Path) -> Path:
    """A folder that holds what the archive holds, and nothing else."""
    folder = tmp_path / "unpacked"
    folder.mkdir()
    subprocess.run(["tar", "-xzf", str(archive), "-C", str(folder)], check=True)
    return folder


@pytest_asyncio.fixture
async def viam_server(
    request: pytest.FixtureRequest, viam_server_binary: Path, tmp_path: Path
) -> AsyncIterator[Callable[..., ViamServer]]:
    """`viam_server(name="server", env=None)` gives a ViamServer that is not started yet.

    All of them are stopped at the end of the test, at the same time. When it failed, the last lines of their
    logs are printed.
    """
    servers: list[ViamServer] = []

    def make(name: str = "server", env: Mapping[str, str | None] | None = None) -> ViamServer:
        server = ViamServer(viam_server_binary, tmp_path / name, env)
        servers.append(server)
        return server

    yield make
    stops = [server.stop(_STOP_TIMEOUT_S) for server in servers]
    outcomes = await asyncio.gather(*stops, return_exceptions=True)
    if request.node.stash.get(_FAILED, False):
        for server in servers:
            print(f"\nThe last lines of {server.log_path}:\n{server.log_tail(60)}")
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report
