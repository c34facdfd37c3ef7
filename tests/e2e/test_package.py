"""The module's archive, alone on a machine: it runs in the real viam-server, and leaves nothing behind.

Alone means: unpacked into an empty folder, with the system's PATH only and no variable that leads to the checkout.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import psutil
import pytest

from .machines import CREDENTIALS, MODULE, Machine, Servers, Source, a_machine, collector, readings_of, until

ROOT = Path(__file__).parent.parent.parent
ENTRYPOINT = "module/run.sh"
ROOTS = "_credentials/roots.pem"
ALONE = {**CREDENTIALS, "PATH": "/usr/bin:/bin"}


@asynccontextmanager
async def a_machine_with(executable: Path, servers: Servers, folder: Path) -> AsyncIterator[tuple[Machine, Source]]:
    """A machine that captures from a counting sensor with that module; some of it has arrived."""
    async with a_machine(servers, folder, env=ALONE) as machine:
        machine.executable = executable
        source = machine.source("counting")
        await machine.start(components=[source.component], capture_methods=[readings_of("counting", 50)])
        await until(lambda: len(machine.of("counting")) >= 50, "readings arrive")
        yield machine, source


def module_process(machine: Machine) -> psutil.Process:
    [pid] = machine.server.module_pids(MODULE)
    return psutil.Process(pid)


def left_in(folder: Path) -> list[str]:
    """What lies in a folder for temporary files, but for viam-server's own sockets."""
    return [path.name for path in folder.iterdir() if not path.name.startswith("viam-module-")]


@pytest.mark.parametrize("unpacked_by", ["us", "viam-server"])
async def test_the_archive_alone_captures_and_syncs(
    viam_server: Servers, tmp_path: Path, archive: Path, unpacked: Path, unpacked_by: str
) -> None:
    executable = unpacked / ENTRYPOINT if unpacked_by == "us" else archive
    async with a_machine_with(executable, viam_server, tmp_path) as (machine, source):
        process = module_process(machine)
        home = unpacked if unpacked_by == "us" else machine.server.viam_home
        assert Path(process.exe()).is_relative_to(home)
        used = [Path(mapped.path) for mapped in process.memory_maps()]
        assert [path for path in used if path.is_relative_to(ROOT)] == []
        leading_here = {name for name, value in process.environ().items() if str(ROOT) in value}
        assert leading_here <= {"HOLDFAST_TEST_PYTHON"}  # for the sensors of the test alone
        await machine.stop_capture_and_sync()
        assert sorted(machine.seqs("counting")) == source.seqs


async def test_the_archive_alone_has_what_it_loads_later(
    viam_server: Servers, tmp_path: Path, unpacked: Path
) -> None:
    """MongoDB's client, and the certificates of the authorities that the cloud's is checked against."""
    async with a_machine_with(unpacked / ENTRYPOINT, viam_server, tmp_path) as (machine, _):
        machine.change(mongo_capture_config={"uri": "mongodb://127.0.0.1:1"})
        await machine.until_status(lambda status: status["mongo"]["state"] == "no connection", "MongoDB is tried")
    [roots] = unpacked.rglob("roots.pem")
    assert roots.read_bytes() == Path(grpc.__file__).with_name("_cython").joinpath(ROOTS).read_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_module_that_ends_leaves_no_process_and_no_file_behind(
    viam_server: Servers, tmp_path: Path, unpacked: Path, number: signal.Signals
) -> None:
    async with a_machine_with(unpacked / ENTRYPOINT, viam_server, tmp_path) as (machine, _):
        temporary = machine.server.parent_socket.parent.parent
        process = module_process(machine)
        assert process.children() == []
        os.kill(process.pid, number)
        status = await machine.until_status(
            lambda status: (
                status["process"]["pid"] != process.pid and collector(status, "counting")["readings"] > 0
            ),
            "the next process captures",
        )
        assert machine.server.module_pids(MODULE) == [status["process"]["pid"]]
        assert left_in(temporary) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_when_viam_server_ends_the_module_leaves_no_process_and_no_file_behind(
    viam_server: Servers, tmp_path: Path, unpacked: Path, number: signal.Signals
) -> None:
    async with a_machine_with(unpacked / ENTRYPOINT, viam_server, tmp_path) as (machine, _):
        temporary = machine.server.parent_socket.parent.parent
        await machine.disconnect()
        os.kill(machine.server.pid, number)
        await machine.server.wait_exit()
        await until(lambda: not machine.server.module_pids(MODULE), "the module ends by itself", timeout_s=4)
        assert left_in(temporary) == []


def test_the_archive_alone_checks_a_config_for_a_person(unpacked: Path) -> None:
    ran = subprocess.run(
        [str(unpacked / ENTRYPOINT), "config", "check"],
        input="{}",
        env={"PATH": ALONE["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, "fine\n"), ran.stderr
