"""The demo says in one line what it can't use, and touches nothing that is not its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from demo.viam_server import NoViamServerError, find_viam_server

ROOT = Path(__file__).parent.parent.parent


def demo(*arguments: str) -> tuple[int, str]:
    """Runs the demo; returns its exit code and all of its output."""
    ran = subprocess.run(
        [sys.executable, "-m", "demo.main", *arguments],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PATH": "/usr/bin:/bin", "COLUMNS": "1000"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return ran.returncode, ran.stdout


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "cloud" / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("x")
    said = f"{tmp_path} contains something other than a demo; choose another --output\n"
    assert demo("--output", str(tmp_path)) == (2, said)
    assert precious.exists() and [path.name for path in tmp_path.iterdir()] == ["cloud"]


def test_an_output_that_can_not_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = f"{tmp_path}/file can't be used for the results (File exists); choose another --output\n"
    assert demo("--output", str(tmp_path / "file")) == (2, said)


def test_without_a_viam_server_it_says_so_and_ends_what_it_began(tmp_path: Path) -> None:
    code, said = demo("--output", str(tmp_path), "--machine", "viam-server")
    assert code == 2 and said.startswith("no program viam-server found") and said.count("\n") == 1


def test_a_viam_server_is_found_wherever_it_is_started_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "viam-server"
    program.touch(0o600)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIAM_SERVER", "./viam-server")
    with pytest.raises(NoViamServerError, match=r"no program \./viam-server found"):
        find_viam_server()
    program.chmod(0o700)
    assert find_viam_server() == program
