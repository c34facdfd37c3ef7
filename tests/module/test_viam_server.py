"""What the process sees of the viam-server that started it, whatever stands between the two."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from module.viam_server import ViamServer

ROOT = Path(__file__).parent.parent.parent
FIND = (
    f"import sys; sys.path[:0] = {[str(ROOT / 'src'), str(ROOT)]}; "
    "from module.viam_server import find_viam_server as found; "
)
SHOW = f'{sys.executable} -c "{FIND}print(found().working_folder)"'


def run(command: str, server_folder: Path, own_folder: Path, **environment: str) -> str:
    """Returns what a module prints that a stand-in of viam-server starts, as viam-server starts it: from its own
    working folder in another one, with an address of its own."""
    program = (
        "import subprocess, sys; "
        f"subprocess.run(['sh', '-c', sys.argv[1]], cwd={str(own_folder)!r}, check=True, env={environment!r})"
    )
    parent = [sys.executable, "-c", program, command, "-config", "machine.json"]
    its_own = {**os.environ, "SENSOR": "a", "LINES": "one\ntwo"}
    done = subprocess.run(parent, cwd=server_folder, capture_output=True, text=True, check=True, env=its_own)
    return done.stdout.strip()


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("server", "package"):
        (tmp_path / name).mkdir()
    return tmp_path / "server", tmp_path / "package"


@pytest.mark.parametrize("command", [f"exec {SHOW}", f"{SHOW}; true", f"({SHOW}; true); true"])
def test_the_working_folder_is_viam_servers_also_behind_scripts(command: str, folders: tuple[Path, Path]) -> None:
    assert run(command, *folders, VIAM_MODULE_ADDRESS="/tmp/a.sock") == str(folders[0])


def test_a_working_folder_that_was_deleted_is_not_known(folders: tuple[Path, Path]) -> None:
    assert run(f"rmdir {folders[0]}; exec {SHOW}", *folders, VIAM_MODULE_ADDRESS="/tmp/a.sock") == ""


def test_its_environment_is_its_own_and_not_the_module_s(folders: tuple[Path, Path]) -> None:
    its = "e = found().environment; print(e['SENSOR'], e['LINES'].split(), 'VIAM_MODULE_ADDRESS' in e)"
    show = f'exec {sys.executable} -c "{FIND}{its}"'
    assert run(show, *folders, VIAM_MODULE_ADDRESS="/tmp/a.sock", SENSOR="b") == "a ['one', 'two'] False"


def test_it_was_started_before_its_module(folders: tuple[Path, Path]) -> None:
    show = f'exec {sys.executable} -c "{FIND}import time; print(0 < time.time_ns() - found().started_ns < 60e9)"'
    assert run(show, *folders, VIAM_MODULE_ADDRESS="/tmp/a.sock") == "True"


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become another user")
def test_what_the_system_does_not_show_is_not_known(folders: tuple[Path, Path]) -> None:
    as_nobody = (
        "import os; os.setuid(65534); it = found(); print(it.working_folder, it.environment, it.config_file)"
    )
    show = f'exec {sys.executable} -c "{FIND}{as_nobody}"'
    assert run(show, *folders, VIAM_MODULE_ADDRESS="/tmp/a.sock") == "None"


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["-config", "/etc/viam.json"], "/etc/viam.json"),
        (["--config", "/etc/viam.json"], "/etc/viam.json"),
        (["-config=/etc/viam.json"], "/etc/viam.json"),
        (["--config=/etc/viam.json", "-debug"], "/etc/viam.json"),
        (["-debug", "-webrtc=false", "-config", "machine.json"], "/started/here/machine.json"),
        (["-log-file", "-config", "-config", "../machine.json"], "/started/machine.json"),
        (["-config", "/first.json", "-config", "/last.json"], "/last.json"),
        (["-config="], ""),
        (["-config"], ""),
        (["-debug"], ""),
        (["extra", "-config", "/etc/viam.json"], ""),
        (["--", "-config", "/etc/viam.json"], ""),
        ([], ""),
    ],
)
def test_the_config_s_file_is_read_from_the_command_line_as_go_reads_it(arguments: list[str], found: str) -> None:
    assert ViamServer("/started/here", None, arguments).config_file == found


def test_a_relative_file_in_an_unknown_folder_is_not_known() -> None:
    assert ViamServer("", None, ["-config", "machine.json"]).config_file == ""
