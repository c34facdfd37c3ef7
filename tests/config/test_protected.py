"""Folders of the system, homes and what viam-server needs are no sync paths; folders for data are."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.config import Host, Protected, parse

from .samples import READINGS

HOST = Host("/home/user", "/opt/viam", code_folders=("/opt/holdfast/module",))


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/", "the whole file system"),
        ("//", "the whole file system"),
        ("//etc/", "a system folder"),
        ("//home//user", "a home folder"),
        ("/etc", "a system folder"),
        ("/etc/app/logs", "a system folder"),
        ("/usr/share/app", "a system folder"),
        ("/usr/local/bin", "a system folder"),
        ("/lib64", "a system folder"),
        ("/dev/ttyUSB0", "a system folder"),
        ("/proc/1", "a system folder"),
        ("/var", "a system folder"),
        ("/var/log", "a system folder"),
        ("/var/log/journal/x", "a system folder"),
        ("/var/lib", "a system folder"),
        ("/run", "a system folder"),
        ("/tmp/", "a system folder"),
        ("/opt", "a system folder"),
        ("/root", "a home folder"),
        ("/home", "a system folder"),
        ("/home/user", "a home folder"),
        ("/home/other", "a home folder"),
        ("~", "/home/user, a home folder"),
        ("/home/user/logs/..", "a home folder"),
        ("/opt/viam", "viam-server's own folder"),
        ("/opt/viam/packages", "holds the programs"),
        ("/opt/viam/packages/data/module/x/logs", "holds the programs"),
        ("/opt/holdfast", "holds the programs"),
        ("/opt/holdfast/module/logs", "holds the programs"),
    ],
)
def test_a_protected_folder_is_not_synced_and_captured_to_and_the_others_are(path: str, what: str) -> None:
    entry = {**READINGS, "capture_directory": path}
    attributes = {"capture_dir": path, "additional_sync_paths": [path, "/logs"], "capture_methods": [entry]}
    found = parse(attributes, HOST)
    assert (found.capture_dir, found.additional_sync_paths) == ("/opt/viam/capture", ("/logs",))
    assert [method.capture_directory for method in found.methods] == [""]
    assert len(found.problems) == 3
    for problem in found.problems:
        assert f"{path!r} is " in problem and what in problem and "sync deletes what it delivers" in problem


@pytest.mark.parametrize(
    "path",
    [
        *("/home/user/logs", "/home/other/logs", "/root/logs", "/opt/app", "/opt/viam/capture", "/opt/viam/mine"),
        *("/srv", "/srv/x", "/mnt", "/media/usb", "/data", "/tmp/x", "/var/log/app", "/var/log/app.log", "/var/x"),
        *(
            "/run/user/1000/x",
            "/run/media/pi/usb",
            "/dev/shm/x",
            "/usr/local/share/x",
            "/etcetera",
            "/opt/holdfast/x",
        ),
    ],
)
def test_a_folder_for_data_may_be_a_sync_path(path: str) -> None:
    found = parse({"additional_sync_paths": [path], "capture_dir": path}, HOST)
    assert (found.capture_dir, found.additional_sync_paths, found.problems) == (path, (path,), ())


def test_what_is_around_a_home_or_viam_server_s_folder_is_protected() -> None:
    host = Host("/data/homes/pi", "/store/v/viam")
    found = parse({"additional_sync_paths": ["/data", "/data/homes", "/store", "/data/x"]}, host)
    assert found.additional_sync_paths == ("/data/x",)
    assert "is around the home folder /data/homes/pi" in found.problems[0]
    assert "is around viam-server's own folder /store/v/viam" in found.problems[2]


def test_a_home_at_the_root_protects_no_more_than_the_root() -> None:
    assert parse({"additional_sync_paths": ["/data"]}, Host("/")).problems == ()


@pytest.mark.parametrize("path", ["$HOME/logs", "${HOME}/logs", "/data/$USER/x", "$LOGS"])
def test_a_variable_is_not_expanded_and_that_is_said(path: str) -> None:
    attributes = {"additional_sync_paths": [path], "capture_dir": path, "upload_roots": [path]}
    found = parse({**attributes, "local_copy": {"dir": path}}, HOST)
    assert (found.additional_sync_paths, found.capture_dir, found.upload_roots) == ((), "/opt/viam/capture", ())
    assert len(found.problems) == 4
    assert all(f"{path!r}: variables are not expanded" in problem for problem in found.problems)


@pytest.mark.parametrize("path", ["/data/a$b", "/data/$", "/data/cash$", "/data/$1.50 off"])
def test_a_dollar_in_a_name_is_no_variable(path: str) -> None:
    assert parse({"additional_sync_paths": [path]}, HOST).additional_sync_paths == (path,)


def test_an_empty_path_is_named() -> None:
    (problem,) = parse({"additional_sync_paths": ["/a", " "]}, HOST).problems
    assert problem == "additional_sync_paths[1]: an empty path has no effect; remove it"


def test_a_link_to_a_home_is_a_home(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "home").symlink_to(tmp_path / "real")
    protected = Protected(str(tmp_path / "home"))
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert not protected.why(str(tmp_path / "link"))
    for path in ("real", "link", "home"):
        assert protected.where_it_leads(str(tmp_path / path)) == f"{tmp_path}/real, a home folder"
