"""`config check` says of each path which folder it means, and what is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.base.filesystem import FileSystem
from holdfast.cli.check import check
from holdfast.cli.path_findings import findings_on_paths, machines_host
from holdfast.config import ConfiguredPath
from holdfast.machine_config import is_fine


def said(environment: dict[str, str], path: str) -> str:
    (finding,) = check({"capture_dir": path}, machines_host(environment))
    assert is_fine([finding])
    return finding.text


def test_a_relative_path_is_in_viam_servers_working_folder_which_only_the_machine_knows() -> None:
    text = said({"HOME": "/home/user"}, "data/cap")
    assert text.startswith(
        "capture_dir: 'data/cap' is /<viam-server's working folder>/data/cap; viam-server's working folder is"
    )


def test_a_tilde_is_the_home_of_whoever_runs_viam_server(tmp_path: Path) -> None:
    text = said({"HOME": str(tmp_path)}, "~/data")
    assert f"'~/data' is {tmp_path}/data, if viam-server has the HOME of this command; on this" in text
    assert "'~/data' is /<viam-server's HOME>/data; viam-server's HOME is that of its user" in said({}, "~/data")


def test_what_is_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert said({}, str(tmp_path)).endswith("; on this computer it is a folder")
    assert said({}, f"{tmp_path}/a/b").endswith("; on this computer it is not there")
    assert said({}, f"{tmp_path}/a/../file").endswith(f" is {tmp_path}/file; on this computer it is a file")
    (tmp_path / "link").symlink_to("nowhere")
    assert "on this computer it is not known: cannot read" in said({}, f"{tmp_path}/link")


def test_a_capture_folder_that_leads_to_a_home_is_said(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    config = {"capture_dir": str(tmp_path / "link")}
    *_, finding = check(config, machines_host({"HOME": str(tmp_path)}))
    assert finding.text.startswith(f"on this computer {tmp_path}/link leads to {tmp_path}, a home folder: nothing")


class Forbidden(FileSystem):
    def is_writable(self, path: str) -> bool:
        return False


def test_what_can_not_be_written_is_said(tmp_path: Path) -> None:
    for name, end in (("", " that this user cannot write"), ("/a/b", f", and cannot be made in {tmp_path}")):
        (note,) = findings_on_paths(Forbidden(), [ConfiguredPath("capture_dir", "x", f"{tmp_path}{name}")])
        assert note.text.endswith(end)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_of_another_user_can_not_be_written() -> None:
    assert not FileSystem().is_writable("/")


def test_every_path_in_a_config_is_named(tmp_path: Path) -> None:
    path = str(tmp_path / "x")
    method = {"name": "a", "method": "Readings", "capture_frequency_hz": 1, "capture_directory": path}
    config = {
        "capture_dir": path,
        "capture_methods": [method],
        "additional_sync_paths": [f"{path}-1", f"{path}-2"],
        "upload_roots": [path],
        "local_copy": {"dir": f"{path}-3"},
    }
    found = [finding.text.partition(":")[0] for finding in check(config, machines_host({}))]
    assert sorted(found) == [
        "additional_sync_paths", "additional_sync_paths", "capture_dir", "capture_directory of Readings of a",
        "capture_methods[0] (a Readings).capture_directory", "local_copy.dir", "upload_roots",
    ]  # fmt: skip
