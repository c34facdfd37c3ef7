"""Whatever stands at an additional sync path is told apart, on the real disk and as another user."""

from __future__ import annotations

import os
import pickle
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.base.filesystem import FileSystem
from holdfast.config import Protected
from holdfast.sync.path_check import CheckedPath, PathKind, check_path

NOBODY = 65534
NOTHING = Protected()


def checked(path: Path, protected: Protected = NOTHING) -> CheckedPath:
    found = check_path(FileSystem(), str(path), protected)
    assert found.path == str(path)
    return found


def as_nobody(check: Callable[[], CheckedPath]) -> CheckedPath:
    """Runs `check` in a process of a user without rights, since root may do everything."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        os.write(theirs, pickle.dumps(check()))
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as answer:
        found = pickle.loads(answer.read())
    os.waitpid(pid, 0)
    assert isinstance(found, CheckedPath)
    return found


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may look into, unlike pytest's."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["logs", "lögs [1]", "line\nbreak", "*", "failed.d"])
def test_a_folder_or_a_file_is_fine_whatever_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "a.log").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / name)
    (tmp_path / "link.log").symlink_to(tmp_path / name / "a.log")
    for folder in (tmp_path / name, tmp_path / "link"):
        assert checked(folder) == CheckedPath(str(folder), PathKind.FOLDER)
    for file in (tmp_path / name / "a.log", tmp_path / "link.log"):
        assert checked(file) == CheckedPath(str(file), PathKind.FILE)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("later", "later is not there; it is synced as soon as it is"),
        ("later/inside", "inside is not there; it is synced as soon as it is"),
        ("file/inside", "inside is not there; it is synced as soon as it is"),
        ("*.log", "*.log is not there: * ? and [ mean themselves"),
        ("cam[12]", "cam[12] is not there: * ? and [ mean themselves"),
        ("dangling", "dangling is a link to nowhere, which is not there"),
    ],
)
def test_what_is_not_there_is_said_and_walked_when_it_comes(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    found = checked(tmp_path / name)
    is_pattern = "mean themselves" in why
    assert (found.kind, found.is_synced) == (PathKind.PATTERN if is_pattern else PathKind.MISSING, True)
    assert why in found.problem


def test_pipes_sockets_devices_and_loops_are_never_synced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    handle = os.open(tmp_path, os.O_RDONLY)  # a socket's path has at most 107 bytes, pytest's folders are longer
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{handle}/socket")
    os.close(handle)
    (tmp_path / "loop").symlink_to("loop")
    said = {name: checked(tmp_path / name) for name in ("pipe", "socket", "loop")}
    assert not any(found.is_synced for found in said.values())
    assert "is a pipe" in said["pipe"].problem and said["pipe"].kind is PathKind.OTHER
    assert "is a socket" in said["socket"].problem
    assert "Too many levels of symbolic links" in said["loop"].problem


@pytest.mark.parametrize("name", ["failed", "datasetUpload", ".holdfast", "a.prog", "sequences/open.progseq"])
def test_a_name_that_is_never_synced_is_said(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.touch() if "." in name[1:] else path.mkdir()
    found = checked(path)
    assert not found.is_synced and found.is_readable and "is never synced" in found.problem


@pytest.mark.parametrize("target", ["/etc", "/", "home", "home/..", "/dev/null", "/etc/passwd"])
def test_a_link_to_a_protected_folder_is_not_synced(tmp_path: Path, target: str) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "innocent").symlink_to(target)
    found = checked(tmp_path / "innocent", Protected(str(tmp_path / "home")))
    assert not found.is_synced
    assert "innocent leads to " in found.problem and "sync deletes what it delivers" in found.problem


def test_what_may_not_be_read_is_not_synced_and_what_may_not_be_deleted_is_said(open_folder: Path) -> None:
    for name in ("locked", "listable"):
        (open_folder / name).mkdir()
        (open_folder / name / "a.log").write_bytes(b"x")
    (open_folder / "secret.log").write_bytes(b"x")
    (open_folder / "locked").chmod(0)
    (open_folder / "listable").chmod(0o555)
    (open_folder / "secret.log").chmod(0)
    said = {
        name: as_nobody(lambda name=name: checked(open_folder / name))  # type: ignore[misc]
        for name in ("locked", "locked/a.log", "listable", "listable/a.log", "secret.log")
    }
    assert [name for name, found in said.items() if found.is_synced] == ["listable", "listable/a.log"]
    assert [name for name, found in said.items() if found.is_readable] == ["listable", "listable/a.log"]
    assert "Permission denied" in said["locked"].problem and "Permission denied" in said["locked/a.log"].problem
    assert "can't be read" in said["secret.log"].problem
    for name in ("listable", "listable/a.log"):
        assert "may not delete anything in" in said[name].problem and "listable" in said[name].problem


def test_a_link_to_a_file_keeps_its_own_name_and_a_folder_is_where_it_really_is(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a.log").touch()
    (tmp_path / "folder").symlink_to("real")
    (tmp_path / "folder/b.log").symlink_to("a.log")
    assert FileSystem().place_of(str(tmp_path / "folder")) == str(tmp_path / "real")
    assert FileSystem().place_of(str(tmp_path / "folder/b.log")) == str(tmp_path / "real/b.log")
    assert FileSystem().place_of(str(tmp_path / "folder/gone")) == str(tmp_path / "real/gone")
