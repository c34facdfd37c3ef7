"""What the paths of a config depend on is known when the process starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.config import Host
from module.host import find_host
from module.viam_server import ViamServer


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
    assert find_host(ViamServer("/server")).module_folders == tuple(map(str, inside.values()))
    monkeypatch.chdir(tmp_path)
    assert find_host(ViamServer("/server")).module_folders == (str(tmp_path),)


def test_the_environment_says_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("HOME", "/h"), ("VIAM_HOME", "/v"), ("VIAM_MACHINE_PART_ID", "p")):
        monkeypatch.setenv(name, value)
    found = find_host(ViamServer("/server"))
    assert found == Host("/h", "/v", "p", found.working_folder, found.module_folders, found.code_folders)
