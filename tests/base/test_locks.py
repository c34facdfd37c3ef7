"""What the kernel knows of open files, asked with real ones; only errors of other file systems are made up."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from holdfast.base import locks
from holdfast.base.filesystem import FileSystem

NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="giving up root and taking it again needs root")


def opened(path: Path, flags: int, stack: ExitStack) -> int:
    descriptor = os.open(path, flags | os.O_CREAT, 0o600)
    stack.callback(os.close, descriptor)
    return descriptor


def refuse_flock(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refused(descriptor: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refused)


@pytest.fixture(params=["flock", "ENOLCK", "EOPNOTSUPP", "ENOSYS", "EINVAL"])
def with_or_without_flock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "flock":
        refuse_flock(monkeypatch, getattr(errno, request.param))


@pytest.mark.usefixtures("with_or_without_flock")
def test_of_two_open_files_one_gets_the_lock_until_it_is_closed(tmp_path: Path) -> None:
    with ExitStack() as later:
        second = opened(tmp_path / "file", os.O_RDWR, later)
        with ExitStack() as sooner:
            assert locks.try_lock(opened(tmp_path / "file", os.O_WRONLY, sooner))
            assert not locks.try_lock(second)
            assert not locks.try_lock(opened(tmp_path / "file", os.O_RDONLY, sooner), shared=True)
        assert locks.try_lock(second)


@pytest.mark.usefixtures("with_or_without_flock")
def test_a_living_process_is_seen_to_write_the_file_that_it_made(tmp_path: Path) -> None:
    files, path = FileSystem(), str(tmp_path / "file")
    descriptor = files.create(path)
    assert files.is_being_written(path)
    files.close(descriptor, path)
    assert not files.is_being_written(path)


def test_an_error_of_the_disk_is_not_taken_for_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_flock(monkeypatch, errno.EIO)
    with ExitStack() as stack, pytest.raises(OSError, match="Input/output") as raised:
        locks.try_lock(opened(tmp_path / "file", os.O_RDWR, stack))
    assert not locks.has_no_locks(raised.value)


def take_here(path: Path, stack: ExitStack) -> bool:
    return locks.try_lock_here(opened(path, os.O_RDWR, stack), stack)


def test_the_lock_of_the_machine_is_one_for_each_file_whatever_its_name(tmp_path: Path) -> None:
    with ExitStack() as second:
        with ExitStack() as first:
            assert take_here(tmp_path / "file", first)
            os.link(tmp_path / "file", tmp_path / "link")
            assert not take_here(tmp_path / "link", second)
            assert take_here(tmp_path / "other", second)
        assert take_here(tmp_path / "link", second)


def a_link(path: Path) -> None:
    target = path.with_name("target")
    target.touch(0o600)
    path.symlink_to(target)


def a_pipe(path: Path) -> None:
    os.mkfifo(path, 0o600)


def open_to_others(path: Path) -> None:
    path.touch(0o666)
    path.chmod(0o666)


def of_another_user(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("giving a file away needs root")
    path.touch(0o600)
    os.chown(path, NOBODY, NOBODY)


@pytest.mark.parametrize("put", [a_link, a_pipe, open_to_others, of_another_user, Path.mkdir])
def test_what_a_neighbour_put_in_its_place_neither_holds_the_lock_up_nor_stands_for_it(
    put: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, free = tmp_path / "taken", tmp_path / "free"
    for place in (taken, free):
        place.mkdir()
    put(taken / f"holdfast-{os.getuid()}.lock")
    monkeypatch.setattr(locks, "_PLACES", (str(taken),))
    with ExitStack() as stack, pytest.raises(OSError):
        take_here(tmp_path / "file", stack)
    for places in ((taken, free), (free, taken)):
        monkeypatch.setattr(locks, "_PLACES", tuple(map(str, places)))
        with ExitStack() as stack:
            assert take_here(tmp_path / "file", stack)
            assert not take_here(tmp_path / "file", stack)


def test_two_that_find_different_places_usable_exclude_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        monkeypatch.setattr(locks, "_PLACES", (str(tmp_path / "missing"), str(tmp_path)))
        assert take_here(tmp_path / "file", stack)
        (tmp_path / "missing").mkdir()
        assert not take_here(tmp_path / "file", stack)


@contextmanager
def another_process_with(path: Path, how: str) -> Iterator[int]:
    """Another process that holds what the expression `how` opens, until the block ends; yields its id."""
    program = f"import mmap, os, sys; path = sys.argv[1]; held = {how}; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.communicate()


@pytest.mark.parametrize(
    ("how", "for_writing"),
    [
        ("open(path, 'ab')", True),
        ("open(path, 'r+b')", True),
        ("mmap.mmap(os.open(path, os.O_RDWR), 0)", True),
        ("open(path, 'rb')", False),
        ("mmap.mmap(os.open(path, os.O_RDONLY), 0, prot=mmap.PROT_READ)", False),
    ],
)
def test_a_file_that_another_process_has_open_for_writing_is_told_from_others(
    how: str, for_writing: bool, tmp_path: Path
) -> None:
    path = tmp_path / "log"
    path.write_bytes(bytes(mmap.PAGESIZE))
    with another_process_with(path, how) as pid:
        assert FileSystem().is_open_for_writing(str(path)) is for_writing
        seen = FileSystem().writer_of(str(path))
        assert seen.endswith(f" ({pid})") if for_writing else not seen
    assert not FileSystem().is_open_for_writing(str(path))


def test_a_file_that_is_still_mapped_for_writing_counts_as_open(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(bytes(mmap.PAGESIZE))
    with path.open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)
    with mapped:
        assert FileSystem().is_open_for_writing(str(path))
    assert not FileSystem().is_open_for_writing(str(path))


@needs_root
def test_the_file_of_another_user_counts_as_closed_where_that_can_not_be_told() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to others
        path = Path(folder, "log")
        path.write_text("x")
        for each in (Path(folder), path):
            each.chmod(0o755)
        with path.open("ab"):
            assert FileSystem().is_open_for_writing(str(path))
            os.seteuid(NOBODY)
            try:
                assert not FileSystem().is_open_for_writing(str(path))
            finally:
                os.seteuid(0)


def test_where_the_server_decides_on_leases_a_refused_one_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    with path.open("ab"):
        assert FileSystem().is_open_for_writing(str(path))
        monkeypatch.setattr(locks, "file_system_of", lambda device: b"nfs4")
        assert not FileSystem().is_open_for_writing(str(path))


_LOOKS_WHILE_ANOTHER_OPENS = """
import fcntl, os, subprocess, sys
from holdfast.base import locks

path, take = sys.argv[1], fcntl.fcntl

def and_then_another_opens(descriptor, command, argument):
    take(descriptor, command, argument)
    if (command, argument) == (fcntl.F_SETLEASE, fcntl.F_RDLCK):
        opens = "import os, sys; os.open(sys.argv[1], os.O_WRONLY | os.O_NONBLOCK)"
        refused = subprocess.run([sys.executable, "-c", opens, path], stderr=subprocess.PIPE)
        assert b"BlockingIOError" in refused.stderr

fcntl.fcntl = and_then_another_opens
assert not locks.is_open_for_writing(os.open(path, os.O_RDONLY))
"""


def test_a_writer_that_comes_while_the_file_is_looked_at_does_not_end_the_process(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("x")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", _LOOKS_WHILE_ANOTHER_OPENS, str(path)], env=environment, check=True)
    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))


def test_the_type_of_a_file_system_is_that_of_its_mount() -> None:
    assert locks.file_system_of(os.stat("/proc").st_dev) == b"proc"
    assert locks.file_system_of(os.makedev(4095, 1_048_575)) == b""
