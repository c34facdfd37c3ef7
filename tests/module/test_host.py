"""The process knows in which folder viam-server was started, whatever stands between the two."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.config import Host
from module.host import find_host

ROOT = Path(__file__).parent.parent.parent
FIND = f"import sys; sys.path[:0] = {[str(ROOT / 'src'), str(ROOT)]}; from module.host import find_host; "
SHOW = f'{sys.executable} -c "{FIND}print(find_host().working_folder)"'


def run(command: str, server_folder: Path, own_folder: Path, **environment: str) -> str:
    """Returns what a module prints that a stand-in of viam-server starts, as viam-server starts it: from its own
    working folder in another one, with an address of its own."""
    program = (
        "import subprocess, sys; "
        f"subprocess.run(['sh', '-c', sys.argv[1]], cwd={str(own_folder)!r}, check=True, env={environment!r})"
    )
    parent = [sys.executable, "-c", program, command]
    return subprocess.run(parent, cwd=server_folder, capture_output=True, text=True, check=True).stdout.strip()


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


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become another user")
def test_a_working_folder_that_the_system_does_not_show_is_not_known(folders: tuple[Path, Path]) -> None:
    as_nobody = "import os; os.setuid(65534); print(find_host().working_folder)"
    show = f'exec {sys.executable} -c "{FIND}{as_nobody}"'
    assert run(show, *folders, VIAM_MODULE_ADDRESS="/tmp/a.sock") == ""


def test_the_folders_of_other_versions_are_found_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "packages" / "data" / "module"
    inside = {name: packages / name / "module" for name in ("org-holdfast-1_2_0", "org-holdfast-0_9_0-rc_1")}
    for folder in (*inside.values(), packages / "org-holdfast-more-1_0_0" / "module", packages / "other-1_2_0"):
        folder.mkdir(parents=True)
    (packages / "org-holdfast-1_2_0.status.json").touch()
    (packages / "org-holdfast-1_1_0").touch()
    monkeypatch.chdir(inside["org-holdfast-1_2_0"])
    assert find_host().module_folders == tuple(map(str, inside.values()))
    monkeypatch.chdir(tmp_path)
    assert find_host().module_folders == (str(tmp_path),)


def test_the_environment_says_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("HOME", "/h"), ("VIAM_HOME", "/v"), ("VIAM_MACHINE_PART_ID", "p")):
        monkeypatch.setenv(name, value)
    found = find_host()
    assert found == Host("/h", "/v", "p", found.working_folder, found.module_folders, found.code_folders)
