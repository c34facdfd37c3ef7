"""The module's program as viam-server uses it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from viam.proto.app.robot import ComponentConfig
from viam.proto.module import AddResourceRequest, RemoveResourceRequest
from viam.utils import dict_to_struct

from holdfast import __version__
from module import durable
from module.durable import Process
from module.main import HoldfastModule

ROOT = Path(__file__).parent.parent.parent
NAME = "rdk:service:data_manager/data"


async def test_a_service_that_is_added_again_replaces_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process()
    monkeypatch.setattr(durable, "PROCESS", process)
    module = HoldfastModule(str(tmp_path / "socket"))

    async def add(**attributes: Any) -> None:
        attributes["capture_dir"] = str(tmp_path / "captured")
        service = ComponentConfig(
            name="data",
            api="rdk:service:data_manager",
            model=str(durable.Durable.MODEL),
            attributes=dict_to_struct(attributes),
        )
        await module.add_resource(AddResourceRequest(config=service))

    try:
        await add(tags=["first"])
        await add(tags=["second"])
        manager = process.manager
        assert manager.config is not None and manager.config.tags == ("second",)
        assert manager.engine is not None
        assert [name.name for name in module.server.resources] == ["data"]
        await module.remove_resource(RemoveResourceRequest(name=NAME))
        assert not module.server.resources
    finally:
        await process.end()


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
