"""Locks that fail: on real file systems in user space, and in real processes whose calls are made to fail."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.base.filesystem import FileSystem
from holdfast.storage.lock import MAX_FAILURES, FolderLock
from tests.e2e.machines import Servers, a_machine, all_but_in_flight, readings_of, until
from tests.sync.conftest import metadata, reading, write_capture_file

from .disks import MEBIBYTE, ext4
from .fuse_disk import fuse_disk

_HOLD = """
import sys
from holdfast.base.filesystem import FileSystem
from holdfast.errors import StorageError
from holdfast.storage.lock import FolderLock

lock, ours, tries = FolderLock(FileSystem(), sys.argv[1]), None, 0
while ours is None:
    tries += 1
    try:
        ours = lock.try_acquire()
    except StorageError:
        pass
print(ours, tries, lock.problem, flush=True)
sys.stdin.read()
"""
_MAKE = """
import sys
from holdfast.base.filesystem import FileSystem
FileSystem().create(sys.argv[1])
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def running(program: str, path: Path, under: Sequence[str] = ()) -> Iterator[str]:
    """Runs a process until the block ends, which ends it; yields the line that it says."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [*under, sys.executable, "-c", program, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.communicate()


def failing_flock(error: str) -> list[str]:
    """Runs what follows with every flock, or those that `error` picks, failing with an error."""
    return ["strace", "-f", "-qq", "-e", "trace=flock", "-e", f"inject=flock:error={error}", "-o", os.devnull]


def lock_of(folder: Path) -> FolderLock:
    return FolderLock(FileSystem(), str(folder))


@pytest.mark.usefixtures("needs_fuse")
@pytest.mark.parametrize("error", ["ENOLCK", "EOPNOTSUPP", "ENOSYS", "EINVAL"])
def test_on_a_file_system_without_any_locks_a_second_process_of_the_machine_is_kept_out(
    error: str, tmp_path: Path
) -> None:
    with fuse_disk(tmp_path / "disk", flock=error, fcntl=error):
        lock = lock_of(tmp_path / "disk")
        with running(_HOLD, tmp_path / "disk") as said:
            ours, tries, problem = said.split(maxsplit=2)
            assert (ours, tries) == ("True", "1")
            assert "has no locks" in problem and "only if it is on this machine" in problem
            assert not lock.try_acquire()
        assert lock.try_acquire()
        lock.release()


@pytest.mark.usefixtures("needs_fuse")
def test_where_only_flock_fails_the_other_lock_of_the_file_system_holds(tmp_path: Path) -> None:
    with fuse_disk(tmp_path / "disk", flock="EOPNOTSUPP"):
        lock = lock_of(tmp_path / "disk")
        with running(_HOLD, tmp_path / "disk") as said:
            assert said == "True 1"
            assert not lock.try_acquire()
        assert lock.try_acquire() and not lock.problem
        lock.release()


@pytest.mark.usefixtures("needs_fuse")
def test_without_any_lock_the_folder_is_used_and_the_problem_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.base.locks._PLACES", (str(tmp_path / "missing"),))
    with fuse_disk(tmp_path / "disk", flock="ENOLCK", fcntl="ENOLCK"):
        lock = lock_of(tmp_path / "disk")
        assert lock.try_acquire() and "nothing keeps a second data manager out" in lock.problem
        lock.release()


@pytest.mark.usefixtures("needs_fuse")
def test_where_files_can_not_be_locked_one_that_a_process_writes_is_known_all_the_same(tmp_path: Path) -> None:
    with fuse_disk(tmp_path / "disk", flock="ENOLCK", fcntl="ENOLCK"):
        path = tmp_path / "disk" / "a.prog"
        with running(_MAKE, path):
            assert FileSystem().is_being_written(str(path))
        assert not FileSystem().is_being_written(str(path))


@pytest.mark.usefixtures("needs_strace")
@pytest.mark.parametrize("error", ["ENOLCK", "EOPNOTSUPP", "ENOSYS", "EINVAL"])
def test_two_processes_exclude_each_other_if_flock_fails_in_one_of_them_alone(error: str, tmp_path: Path) -> None:
    with running(_HOLD, tmp_path, failing_flock(error)) as said:
        assert said == "True 1"
        assert not lock_of(tmp_path).try_acquire()
    lock = lock_of(tmp_path)
    assert lock.try_acquire()
    with running(_HOLD, tmp_path, failing_flock(error)) as said:
        assert said.startswith("False")
    lock.release()


@pytest.mark.usefixtures("needs_strace")
@pytest.mark.parametrize("error", ["EINTR", "EIO", "ESTALE"])
def test_an_error_that_passes_is_waited_for(error: str, tmp_path: Path) -> None:
    with running(_HOLD, tmp_path, failing_flock(f"{error}:when=1..3")) as said:
        assert said == ("True 1" if error == "EINTR" else "True 4")
        assert not lock_of(tmp_path).try_acquire()


@pytest.mark.usefixtures("needs_strace")
def test_an_error_that_does_not_pass_keeps_nobody_from_syncing(tmp_path: Path) -> None:
    with running(_HOLD, tmp_path, failing_flock("EIO")) as said:
        assert said.startswith(
            f"True {MAX_FAILURES} the file system of {tmp_path} has no locks (Input/output error)"
        )
        assert not lock_of(tmp_path).try_acquire()


@pytest.mark.usefixtures("needs_fuse")
async def test_on_a_file_system_without_locks_data_is_captured_and_delivered_and_the_status_says_what_is_missing(
    viam_server: Servers, tmp_path: Path
) -> None:
    with fuse_disk(tmp_path / "disk", flock="ENOLCK", fcntl="ENOLCK"):
        async with a_machine(viam_server, tmp_path) as machine:
            machine.capture_dir = tmp_path / "disk" / "captured"
            source = machine.source("counting")
            await machine.start(
                components=[source.component],
                capture_dir=str(machine.capture_dir),
                capture_methods=[readings_of("counting", 50)],
            )
            await machine.until_captured("counting", 100)
            await machine.stop_capture_and_sync()
            assert all_but_in_flight(machine.seqs("counting"), source.seqs)
            problem = (await machine.status())["sync"]["lock_problem"]
            assert problem.startswith(f"the file system of {machine.capture_dir} has no locks (No locks available)")
            assert f"{problem}; see to it that no other one uses the folder" in machine.server.log_text()


@pytest.mark.usefixtures("needs_disks")
async def test_on_a_disk_that_was_full_before_the_first_start_sync_frees_it(
    viam_server: Servers, tmp_path: Path
) -> None:
    """There is no room for anything of ours, not even a folder."""
    with ext4(tmp_path / "disk", 8 * MEBIBYTE) as disk:
        async with a_machine(viam_server, tmp_path) as machine:
            machine.capture_dir = disk.folder / "captured"
            numbers = [float(number) for number in range(1000)]
            left = write_capture_file(
                machine.capture_dir / "lidar", "9999-a", [reading(number) for number in numbers], metadata()
            )
            disk.fill()
            with pytest.raises(OSError, match="No space left"):
                (machine.capture_dir / ".holdfast").mkdir()
            await machine.start(capture_dir=str(machine.capture_dir))
            await until(lambda: not left.exists(), "the file is delivered and deleted")
            assert [each.data["readings"]["n"] for each in machine.of("lidar")] == numbers
            assert "has no room for a lock" in (await machine.status())["sync"]["lock_problem"]
            await disk.free()
            machine.capture_dir.joinpath("note.txt").write_text("x")
            await machine.until_status(
                lambda status: status["ledger"]["state"].startswith("kept in "), "the counts are on the disk"
            )
