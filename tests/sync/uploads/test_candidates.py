"""What may be uploaded on request: files below the roots after links are resolved, and none of our own."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from holdfast.base.filesystem import FileSystem
from holdfast.errors import CommandError, StorageError
from holdfast.sync.delivery.open_file import OpenFile
from holdfast.sync.uploads.candidates import Candidate, Candidates


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path in ("capture/deep/a.txt", "capture/.holdfast/ledger.prog", "capture/failed/b.txt", "secret/shadow"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    (tmp_path / "outside").mkdir()
    return tmp_path


def candidates(folder: Path, *roots: str) -> Candidates:
    named = [str(folder / root) for root in roots or ("capture",)]
    return Candidates(FileSystem(), named, [str(folder / "capture")])


def found(folder: Path, path: str, *roots: str) -> dict[str, str]:
    """Returns by path relative to `folder` why each candidate is passed over."""
    return {
        os.path.relpath(candidate.path, folder): candidate.why
        for candidate in candidates(folder, *roots).find(str(folder / path))
    }


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("secret/shadow", "is not in one of upload_roots, which are: {root}/capture"),
        ("capture/../secret/shadow", "is not in one of upload_roots"),
        ("capture/link", "is not in one of upload_roots"),
        ("capture/out/shadow", "is not in one of upload_roots"),
        ("capture2", "is not in one of upload_roots"),
        ("capture/.holdfast", "lies in .holdfast/, which is the data manager's own"),
        ("capture/.holdfast/ledger.prog", "lies in .holdfast/"),
        ("capture/failed/b.txt", "lies in failed/"),
        ("capture/state/ledger.prog", "lies in .holdfast/"),
        ("capture/absent", "is not there"),
    ],
)
def test_what_may_not_be_read_is_an_error_that_says_why(folder: Path, path: str, message: str) -> None:
    (folder / "capture/link").symlink_to(folder / "secret/shadow")
    (folder / "capture/out").symlink_to(folder / "secret")
    (folder / "capture/state").symlink_to(folder / "capture/.holdfast")
    (folder / "capture2").mkdir()
    with pytest.raises(CommandError) as refused:
        candidates(folder).find(str(folder / path))
    assert message.format(root=folder) in str(refused.value)


def test_a_relative_path_is_no_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / "capture")
    with pytest.raises(CommandError, match="upload_roots"):
        candidates(folder).find("deep/a.txt")


def test_a_folder_is_what_is_in_it_but_for_what_is_captured_and_what_leads_out(folder: Path) -> None:
    capture = folder / "capture"
    (capture / "x.capture").write_text("x")
    (capture / "x.prog").write_text("x")
    (capture / "leads-out").symlink_to(folder / "secret/shadow")
    (capture / "leads-in").symlink_to(capture / "deep/a.txt")
    (capture / "folder").symlink_to(folder / "secret")
    os.mkfifo(capture / "pipe")
    assert found(folder, "capture") == {
        "capture/deep/a.txt": "",
        "capture/x.capture": "it is captured data, which sync sends",
        "capture/x.prog": "it is captured data, which sync sends",
        "secret/shadow": "it leads out of upload_roots",
        "capture/leads-in": "it is a link to a file in the same folder",
        "capture/folder": "it is not a file",
        "capture/pipe": "it is not a file",
    }


def test_a_link_to_a_file_in_another_root_is_that_file(folder: Path) -> None:
    (folder / "outside/note.txt").write_text("x")
    (folder / "capture/note").symlink_to(folder / "outside/note.txt")
    (candidate,) = candidates(folder, "capture", "outside").find(str(folder / "capture/note"))
    assert candidate == Candidate(str(folder / "outside/note.txt"), str(folder / "outside"), is_synced=False)
    assert found(folder, "capture", "capture", "outside")["outside/note.txt"] == ""


def test_a_root_may_be_a_link_and_a_file_under_a_sync_path_is_known_as_such(folder: Path) -> None:
    (folder / "short").symlink_to(folder / "capture")
    (candidate,) = candidates(folder, "short").find(str(folder / "short/deep/a.txt"))
    assert candidate == Candidate(str(folder / "capture/deep/a.txt"), str(folder / "capture"), is_synced=True)


def test_a_link_that_is_put_there_after_the_check_is_not_followed(folder: Path) -> None:
    root, secret = folder / "capture", folder / "secret"
    (candidate,) = candidates(folder).find(str(root / "deep/a.txt"))
    (root / "deep/a.txt").unlink()
    (root / "deep/a.txt").symlink_to(secret / "shadow")
    with pytest.raises(StorageError):
        OpenFile(FileSystem(), candidate.path, candidate.root)
    (root / "deep/a.txt").unlink()
    (root / "deep").rmdir()
    (secret / "a.txt").write_text("a secret")
    (root / "deep").symlink_to(secret)
    with pytest.raises(StorageError):
        OpenFile(FileSystem(), candidate.path, candidate.root)


@pytest.mark.parametrize("path", ["../secret/shadow", "deep/../../secret/shadow", "."])
def test_nothing_above_the_root_is_opened_whatever_the_path_says(folder: Path, path: str) -> None:
    with pytest.raises(StorageError):
        FileSystem().open_beneath(str(folder / "capture"), str(folder / "capture" / path))


def test_a_pipe_and_a_socket_are_no_files_and_block_nobody(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder / "capture"
    os.mkfifo(root / "pipe")
    listening = socket.socket(socket.AF_UNIX)
    monkeypatch.chdir(root)  # the name of a socket must be short
    listening.bind("socket")
    before = len(os.listdir("/proc/self/fd"))
    for name in ("pipe", "socket"):
        with pytest.raises(StorageError):
            FileSystem().open_beneath(str(root), str(root / name))
    assert len(os.listdir("/proc/self/fd")) == before, "nothing stays open"
    listening.close()
