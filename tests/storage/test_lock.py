"""The lock of a capture folder: one data manager at a time, never a stale one."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.base.filesystem import FileSystem
from holdfast.errors import StorageError
from holdfast.storage.lock import FolderLock

_HOLD = """
import sys, time
from holdfast.base.filesystem import FileSystem
from holdfast.storage.lock import FolderLock
lock = FolderLock(FileSystem(), sys.argv[1])
print(lock.try_acquire(), flush=True)
sys.stdin.read()
"""


@contextmanager
def another_process(folder: Path) -> Iterator[tuple[subprocess.Popen[str], bool]]:
    """Starts a process that tries to take the lock and then sleeps; yields it, and whether it got the lock."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip() == "True"
        finally:
            process.kill()


def lock_of(folder: Path) -> FolderLock:
    return FolderLock(FileSystem(), str(folder))


def test_a_second_process_is_refused_and_can_read_who_has_the_lock(tmp_path: Path) -> None:
    with another_process(tmp_path) as (process, got_it):
        assert got_it
        lock = lock_of(tmp_path)
        assert not lock.try_acquire()
        assert lock.owner() == str(process.pid)
        lock.release()
        assert not lock_of(tmp_path).try_acquire()


def test_the_lock_is_free_when_its_owner_was_killed(tmp_path: Path) -> None:
    lock = lock_of(tmp_path)
    with another_process(tmp_path) as (process, _):
        assert not lock.try_acquire()
        process.kill()
        process.wait()
    assert lock.try_acquire()
    assert lock.owner() == str(os.getpid())
    lock.release()


def test_another_process_gets_the_lock_when_it_is_released(tmp_path: Path) -> None:
    lock = lock_of(tmp_path)
    assert lock.try_acquire()
    with another_process(tmp_path) as (_, got_it):
        assert not got_it
    lock.release()
    with another_process(tmp_path) as (_, got_it):
        assert got_it


def test_taking_and_freeing_may_be_repeated(tmp_path: Path) -> None:
    lock = lock_of(tmp_path)
    lock.release()
    before = len(os.listdir("/proc/self/fd"))
    assert lock.try_acquire()
    assert lock.try_acquire()
    lock.release()
    lock.release()
    assert lock.try_acquire()
    lock.release()
    other = lock_of(tmp_path)
    assert other.try_acquire()
    assert not lock.try_acquire()
    other.release()
    assert len(os.listdir("/proc/self/fd")) == before


def test_two_folders_have_two_locks(tmp_path: Path) -> None:
    locks = [lock_of(tmp_path / name) for name in "ab"]
    assert [lock.try_acquire() for lock in locks] == [True, True]
    for lock in locks:
        lock.release()


def test_the_lock_is_a_private_file_that_the_builtin_leaves_alone(tmp_path: Path) -> None:
    lock = lock_of(tmp_path / "capture")
    assert lock.try_acquire()
    path = tmp_path / "capture" / ".holdfast" / "lock.prog"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    lock.release()
    assert path.exists()


def test_an_owner_that_can_not_be_read_is_unknown(tmp_path: Path) -> None:
    assert lock_of(tmp_path).owner() == "unknown"


def test_a_folder_that_can_not_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        lock_of(tmp_path / "file").try_acquire()


def test_a_full_disk_does_not_keep_the_lock_from_being_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    first = lock_of(tmp_path)
    assert first.try_acquire()
    first.release()
    lock = lock_of(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", no_space)
        assert lock.try_acquire()
    lock.release()
