"""The module's program as viam-server uses it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from viam.proto.app.robot import ComponentConfig
from viam.proto.module import AddResourceRequest, RemoveResourceRequest
from viam.utils import dict_to_struct

from holdfast import __version__
from holdfast.base.filesystem import FileSystem
from holdfast.config import Host
from holdfast.storage.lock import FolderLock
from module import durable
from module.durable import Process
from module.main import HoldfastModule

ROOT = Path(__file__).parent.parent.parent
NAME = "rdk:service:data_manager/data"


@pytest.fixture
async def process(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Process]:
    process = Process()
    monkeypatch.setattr(durable, "PROCESS", process)
    yield process
    await process.end()


async def add(module: HoldfastModule, **attributes: Any) -> None:
    service = ComponentConfig(
        name="data",
        api="rdk:service:data_manager",
        model=str(durable.Durable.MODEL),
        attributes=dict_to_struct(attributes),
    )
    await module.add_resource(AddResourceRequest(config=service))


async def test_a_service_that_is_added_again_replaces_the_one_before(tmp_path: Path, process: Process) -> None:
    module = HoldfastModule(str(tmp_path / "socket"))
    for tag in ("first", "second"):
        await add(module, capture_dir=str(tmp_path / "captured"), tags=[tag])
    manager = process.manager
    assert manager.config is not None and manager.config.tags == ("second",)
    assert manager.engine is not None
    assert [name.name for name in module.server.resources] == ["data"]
    await module.remove_resource(RemoveResourceRequest(name=NAME))
    assert not module.server.resources


async def test_what_is_in_the_package_is_moved_out_once_before_the_first_service_is_there(
    tmp_path: Path, process: Process
) -> None:
    package, working_folder = tmp_path / "package", tmp_path / "server"
    process.host = Host(str(tmp_path), working_folder=str(working_folder), module_folders=(str(package),))

    def keep() -> None:
        for name in (".holdfast/lock.prog", "rdk_component_sensor/a/Readings/1.capture"):
            (package / "data" / name).parent.mkdir(parents=True, exist_ok=True)
            (package / "data" / name).touch()

    keep()
    other = FolderLock(FileSystem(), str(package / "own"))
    (package / "own").mkdir()
    (package / "own" / "x.capture").touch()
    assert other.try_acquire()
    entry = {"name": "a", "method": "Readings", "capture_frequency_hz": 1.0, "capture_directory": "own"}
    attributes = {"capture_dir": "data", "capture_methods": [entry], "sync_disabled": True}
    module = HoldfastModule(str(tmp_path / "socket"))
    await add(module, **attributes)
    assert not (package / "data").exists()
    assert [path.name for path in working_folder.rglob("*.capture")] == ["1.capture"]
    assert process.manager.config is not None
    (problem,) = process.manager.config.problems
    assert problem.startswith("capture_methods[0] (a Readings).capture_directory: an earlier version kept data in")

    other.release()
    keep()
    await add(module, **attributes)
    assert (package / "data").exists() and (package / "own").exists()
    assert process.manager.config.problems == (problem,)


@pytest.mark.parametrize(
    ("arguments", "code", "out", "said"),
    [
        (["config", "check"], 0, "fine\n", ""),
        (["confg", "check"], 2, "", "invalid choice: 'confg'"),
        ([], 2, "", "usage: holdfast"),
        (["--version"], 0, f"holdfast {__version__}\n", ""),
    ],
)
def test_without_a_socket_the_program_is_for_a_person(arguments: list[str], code: int, out: str, said: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "module.main", *arguments],
        input="{}",
        env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (code, out), ran.stderr
    assert said in ran.stderr and bool(said) == bool(ran.stderr)


@pytest.mark.parametrize("socket", ["{folder}/module.sock", "127.0.0.1:0"])
def test_with_a_socket_it_serves_the_module_until_it_is_told_to_end(socket: str, tmp_path: Path) -> None:
    arguments = [socket.format(folder=tmp_path), *(["--tcp-mode"] if ":" in socket else [])]
    with subprocess.Popen(
        [sys.executable, "-m", "module.main", *arguments],
        env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and "Serving on" in process.stdout.readline()
        process.terminate()
        assert process.wait(30) == 0


def test_the_start_loads_nothing_of_pymongo_which_few_need() -> None:
    code = "import sys, module.main; print([name for name in sys.modules if name.partition('.')[0] == 'pymongo'])"
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    loaded = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert loaded.stdout == "[]\n"


def test_the_end_of_the_process_waits_for_no_thread() -> None:
    program = """
import asyncio, threading
from module import main

async def stopped(ending):
    asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)

main.main = stopped
main.run()
"""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, timeout=30, check=False)
    assert ended.returncode == 0


@pytest.mark.parametrize("module_name", ["holdfast", "holdfast.sync", "data-manager"])
def test_what_holdfast_logs_goes_through_the_limit_to_the_sdk_whatever_it_does_to_its_handlers(
    module_name: str,
) -> None:
    """In a process of its own, where the SDK takes its own loggers' handlers away and adds others. One of these it
    names after the module in the machine's config."""
    program = f"""
import logging
from viam import logging as sdk
from module.main import _limit_the_log

sdk.getLogger({module_name!r})
_limit_the_log()
sdk.setLevel(logging.INFO)
for _ in range(3):
    logging.getLogger("holdfast.sync.cloud.link").error("no connection")
logging.getLogger("holdfast.sync.cloud.link").debug("a detail")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == "" and ended.stderr.count("no connection") == 1
    assert "holdfast.sync.cloud.link" in ended.stderr
