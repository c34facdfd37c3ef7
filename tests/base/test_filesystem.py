"""The seam to the disk: what it leaves behind where the disk fails, and what it takes from other users."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.base import openat
from holdfast.base.at import Identity
from holdfast.base.filesystem import NEW_EXTENSION, FileSystem
from holdfast.errors import StorageError
from tests.fakes import FaultyFileSystem
from tests.users import ROOT, THEM, file_of, folder_of, link_of, needs_root, open_place


@pytest.mark.parametrize("operation", ["write", "rename"])
def test_a_file_that_could_not_be_replaced_is_as_it_was_and_alone(tmp_path: Path, operation: str) -> None:
    files, path = FaultyFileSystem(), tmp_path / "state"
    files.replace(str(path), b"old")
    with files.failing(operation, code=errno.ENOSPC, partial_bytes=2), pytest.raises(StorageError):
        files.replace(str(path), b"new content")
    assert [each.name for each in tmp_path.iterdir()] == ["state"] and path.read_bytes() == b"old"


@pytest.fixture
def place() -> Iterator[Path]:
    with open_place() as folder:
        yield folder


@needs_root
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775])
@pytest.mark.parametrize("plant", ["a folder", "a link to a folder", "a link to a private folder", "a file"])
def test_a_folder_that_another_user_may_have_put_there_is_not_used(place: Path, mode: int, plant: str) -> None:
    here = folder_of(ROOT, place / "here", mode)
    os.chown(here, ROOT, THEM)
    if plant == "a folder":
        folder_of(THEM, here / "failed")
    elif plant == "a file":
        file_of(THEM, here / "failed")
    else:
        link_of(THEM, here / "failed", folder_of(ROOT if "private" in plant else THEM, place / "elsewhere"))
    for make in (FileSystem().make_folder, FileSystem().make_private_folder):
        with pytest.raises(StorageError):
            make(str(here / "failed"))
    (here / "failed").rmdir() if plant == "a folder" else (here / "failed").unlink()
    FileSystem().make_private_folder(str(here / "failed"))


@needs_root
def test_a_users_own_folder_in_that_users_folder_is_used(place: Path) -> None:
    folder_of(THEM, place / "home")
    folder_of(THEM, place / "home/failed")
    FileSystem().make_folder(str(place / "home/failed"))
    with pytest.raises(StorageError, match="belongs to the user with the id 65502"):
        FileSystem().make_private_folder(str(place / "home/failed"))
    assert stat.S_IMODE((place / "home/failed").stat().st_mode) == 0o755
    link_of(THEM, place / "home/link", "failed")
    with pytest.raises(StorageError, match="a symbolic link that another user may have put there"):
        FileSystem().make_folder(str(place / "home/link"))


@pytest.mark.parametrize("owner, mode", [(65534, 0o600), (ROOT, 0o777), (1000, 0o755)])
def test_a_file_system_that_gives_all_files_one_owner_or_mode_can_hold_our_state(
    place: Path, monkeypatch: pytest.MonkeyPatch, owner: int, mode: int
) -> None:
    """As NFS does for root, and vfat."""
    status_of = os.fstat

    def said(descriptor: int) -> os.stat_result:
        status = [int(each) for each in status_of(descriptor)]
        status[stat.ST_UID] = owner
        status[stat.ST_MODE] = stat.S_IFMT(status[stat.ST_MODE]) | mode
        return os.stat_result(status)

    files, state = FileSystem(), place / ".holdfast"
    monkeypatch.setattr(os, "fstat", said)
    monkeypatch.setattr(os, "fchmod", refused)
    files.make_private_folder(str(state))
    files.replace(str(state / "ledger.prog"), b"counts")
    assert files.read_own(str(state / "ledger.prog")) == b"counts"
    first, again = (files.open_to_lock(str(state / "lock.prog")) for _ in range(2))
    assert status_of(first).st_ino == status_of(again).st_ino
    for descriptor in (first, again):
        os.close(descriptor)
    assert sorted(os.listdir(state)) == ["ledger.prog", "lock.prog"]


def refused(descriptor: int, mode: int) -> None:
    raise PermissionError(errno.EPERM, "this file system keeps no permissions")


def test_a_file_that_is_exchanged_while_it_is_copied_is_not_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log").write_text("sent")
    (tmp_path / "new").write_text("not sent")
    rename, path = os.rename, str(tmp_path / "log")

    def to_another_file_system(source: str, target: str, **folders: int) -> None:
        if target == "kept":
            os.replace(tmp_path / "new", path)
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(source, target, **folders)

    identity = Identity.of(os.stat(path))
    monkeypatch.setattr(os, "rename", to_another_file_system)
    with pytest.raises(StorageError, match="another file has its name"):
        FileSystem().move(path, str(tmp_path / "kept"), identity)
    assert Path(path).read_text() == "not sent" and not (tmp_path / "kept").exists()


def test_a_path_ends_where_it_ends(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for action in (FileSystem().stat, FileSystem().open, FileSystem().real_path, FileSystem().make_folder):
        with pytest.raises(StorageError, match="NUL"):
            action(str(tmp_path / "folder") + "\0/file")
        with pytest.raises(StorageError, match="NUL"):
            action(str(tmp_path / "folder\0file"))


@needs_root
def test_a_folder_that_the_file_system_gives_to_another_user_than_us_is_used(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As NFS does with what root makes."""
    here = folder_of(ROOT, place / "here", 0o777)
    folder_of(THEM, here / "capture")
    monkeypatch.setattr(openat, "_is_given", lambda user, folder: user == THEM)
    FileSystem().make_folder(str(here / "capture"))


def test_a_folder_of_ours_that_others_may_enter_is_made_private(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o755)
    (tmp_path / "state").chmod(0o777)
    FileSystem().make_private_folder(str(tmp_path / "state"))
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    (tmp_path / "link").symlink_to("state")
    with pytest.raises(StorageError):
        FileSystem().make_private_folder(str(tmp_path / "link"))


@needs_root
@pytest.mark.parametrize("plant", ["another's file", "others may write it", "a second name", "a link", "a pipe"])
def test_state_that_another_user_may_have_written_is_not_read(place: Path, plant: str) -> None:
    path = place / "ledger.prog"
    if plant == "another's file":
        file_of(THEM, path)
    elif plant == "others may write it":
        file_of(ROOT, path, mode=0o620)
    elif plant == "a second name":
        os.link(file_of(ROOT, place / "private"), path)
    elif plant == "a link":
        link_of(ROOT, path, file_of(ROOT, place / "private"))
    else:
        os.mkfifo(path, 0o600)
    files = FileSystem()
    for action in (files.read_own, files.open_own, files.open_to_append):
        with pytest.raises(StorageError):
            action(str(path))
    path.unlink()
    file_of(ROOT, path)
    assert files.read_own(str(path)) == b"content"


@needs_root
@pytest.mark.parametrize("plant", ["another's file", "others may read it", "a link", "a pipe", "a socket"])
def test_a_lock_file_that_another_user_can_hold_is_made_anew(place: Path, plant: str) -> None:
    path, private = place / "lock.prog", file_of(ROOT, place / "private", mode=0o640)
    if plant == "another's file":
        file_of(THEM, path)
    elif plant == "others may read it":
        file_of(ROOT, path, mode=0o644)
    elif plant == "a link":
        link_of(ROOT, path, private)
    else:
        os.mknod(path, (stat.S_IFIFO if plant == "a pipe" else stat.S_IFSOCK) | 0o600)
    held = os.open(path, os.O_RDONLY | os.O_NONBLOCK) if plant != "a socket" else os.open(place, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_SH)
    descriptor = FileSystem().open_to_lock(str(path))
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    status = os.lstat(path)
    assert (status.st_uid, status.st_mode) == (ROOT, stat.S_IFREG | 0o600)
    assert private.read_text() == "content" and stat.S_IMODE(private.stat().st_mode) == 0o640
    again = FileSystem().open_to_lock(str(path))
    assert os.fstat(again).st_ino == status.st_ino
    for each in (held, descriptor, again):
        os.close(each)


@pytest.mark.parametrize("name", ["ledger.prog", f"ledger.prog{NEW_EXTENSION}"])
def test_nothing_is_written_through_a_link(tmp_path: Path, name: str) -> None:
    private = tmp_path / "private"
    private.write_text("content")
    (tmp_path / name).symlink_to("private")
    FileSystem().replace(str(tmp_path / "ledger.prog"), b"new")
    assert private.read_text() == "content"
    assert (tmp_path / "ledger.prog").read_text() == "new" and not (tmp_path / "ledger.prog").is_symlink()
    (tmp_path / "made.prog").symlink_to("not there")
    with pytest.raises(StorageError) as raised:
        FileSystem().create(str(tmp_path / "made.prog"))
    assert raised.value.reason == "exists"


@pytest.mark.parametrize("swap", ["the file", "its folder"])
def test_what_is_deleted_renamed_and_read_is_what_was_opened(tmp_path: Path, swap: str) -> None:
    for name in ("folder", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "log").write_text(name)
    path, files = str(tmp_path / "folder/log"), FileSystem()
    identity = Identity.of(files.stat(path))
    if swap == "the file":
        os.replace(tmp_path / "other/log", path)
    else:
        os.rename(tmp_path / "folder", tmp_path / "away")
        os.rename(tmp_path / "other", tmp_path / "folder")
    target = str(tmp_path / "target")
    actions: list[Callable[[], object]] = [
        lambda: files.remove(path, identity),
        lambda: files.rename(path, target, identity),
        lambda: files.move(path, target, identity),
        lambda: files.move(path, f"/dev/shm/holdfast-test-{os.getpid()}", identity),
        lambda: files.open(path, identity),
    ]
    for action in actions:
        with pytest.raises(StorageError, match="another file has its name"):
            action()
    assert Path(path).read_text() == "other" and not os.path.exists(target)
    files.remove(path, Identity.of(files.stat(path)))
    assert not os.path.exists(path)
