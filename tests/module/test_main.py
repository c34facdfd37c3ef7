"""The module's program as viam-server uses it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from viam.proto.app.robot import ComponentConfig
from viam.proto.module import AddResourceRequest, RemoveResourceRequest
from viam.utils import dict_to_struct

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

    async def add(**attributes: object) -> None:
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


def test_the_module_s_program_converts_and_checks_configs_for_a_person() -> None:
    root = Path(__file__).parent.parent.parent
    ran = subprocess.run(
        [sys.executable, "-m", "module.main", "config", "check"],
        input="{}",
        env={"PYTHONPATH": f"{root / 'src'}:{root}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, "fine\n"), ran.stderr


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

async def stopped():
    asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)

main.main = stopped
main.run()
"""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, timeout=30, check=False)
    assert ended.returncode == 0


def test_what_holdfast_logs_goes_through_the_limit_to_the_sdk_whatever_it_does_to_its_handlers() -> None:
    """In a process of its own, where the SDK takes its own loggers' handlers away and adds others."""
    program = """
import logging
from viam import logging as sdk
from module.main import _limit_the_log

_limit_the_log()
sdk.setLevel(logging.INFO)
for _ in range(3):
    logging.getLogger("holdfast.sync.link").error("no connection")
logging.getLogger("holdfast.sync.link").debug("a detail")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == "" and ended.stderr.count("no connection") == 1
    assert "holdfast.sync.link" in ended.stderr
