"""`Neighbour` is another user of this computer: a process without any right of root, which acts as it is told.

Run as a program, this file is that process. It imports everything as root, gives up all rights for good, and then
reads commands from its standard input, one JSON list a line: a function's name and its arguments. It answers each
with a line: `[true, result]`, or `[false, errno]` when the operating system refused.
"""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401 - before the rights to read it are given up
import ctypes
import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.storage.store import Store
from tests.storage import samples

UID = 64_133
"""A user that no computer is likely to have."""
THIRD_UID = 64_134
"""One more, who owns what neither root nor the neighbour owns."""
_ROOT = Path(__file__).parent.parent.parent.parent
_AT_FDCWD = -100
_EXCHANGE = 2


class Neighbour:
    """The other user. Each method raises OSError when the operating system refuses what it does."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def link(self, target: str | Path, path: str | Path) -> Path:
        """Makes a symbolic link."""
        self.do("symlink", target, path)
        return Path(path)

    def folder(self, path: str | Path, mode: int = 0o755) -> Path:
        self.do("folder", path, mode)
        return Path(path)

    def file(self, path: str | Path, text: str = "the neighbour's", mode: int = 0o644) -> Path:
        self.do("file", path, text, mode)
        return Path(path)

    def do(self, what: str, *arguments: object) -> Any:
        """Calls one of `_COMMANDS`."""
        assert self._process.stdin and self._process.stdout
        print(json.dumps([what, *arguments], default=str), file=self._process.stdin, flush=True)
        succeeded, result = json.loads(self._process.stdout.readline())
        if not succeeded:
            raise OSError(result, f"{what} {arguments}: {os.strerror(result)}")
        return result

    @contextmanager
    def swapping(self, one: Path, other: Path) -> Iterator[None]:
        """While this lasts, the two change places all the time, each time at once."""
        self.do("begin_swapping", one, other)
        try:
            yield
        finally:
            swaps = self.do("end_swapping")
        assert swaps > 10, "hardly anything was swapped"


@contextmanager
def a_neighbour() -> Iterator[Neighbour]:
    process = subprocess.Popen(
        [sys.executable, "-m", __spec__.name, str(UID)],
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": f"{_ROOT / 'src'}{os.pathsep}{_ROOT}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield Neighbour(process)
        assert process.stdin
        process.stdin.close()


def problem() -> str | None:
    """Returns why there can be no other user here; None if there can."""
    return None if os.geteuid() == 0 else "only root can act as another user: run this as root"


def exchange(one: str, other: str) -> None:
    """Lets two paths change places in one step. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")


class _Swapper:
    def __init__(self) -> None:
        self._swaps = 0
        self._goes_on = False
        self._thread: threading.Thread | None = None

    def begin(self, one: str, other: str) -> None:
        self._swaps, self._goes_on = 0, True
        self._thread = threading.Thread(target=self._run, args=(one, other))
        self._thread.start()

    def end(self) -> int:
        self._goes_on = False
        assert self._thread
        self._thread.join()
        return self._swaps

    def _run(self, one: str, other: str) -> None:
        while self._goes_on or self._swaps % 2:  # in the end all is as it was
            exchange(one, other)
            self._swaps += 1


def _folder(path: str, mode: int) -> None:
    os.mkdir(path)
    os.chmod(path, mode)


def _file(path: str, text: str, mode: int) -> None:
    Path(path).write_text(text)
    os.chmod(path, mode)
    os.utime(path, (1, 1))


def _deep_folders(path: str, count: int) -> None:
    """Makes a folder "deep", a folder in it, and so on."""
    here = os.open(path, os.O_RDONLY)
    for name in ("deep", *"d" * (count - 1)):
        os.mkdir(name, dir_fd=here)
        inner = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)


_held: list[int] = []


def _flock(path: str) -> None:
    """Locks a file, for as long as the process lives."""
    descriptor = os.open(path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    _held.append(descriptor)


def _socket(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path)


async def _capture(folder: str) -> dict[str, Any]:
    """Captures a reading, as a module without the rights of root does. Returns what is said, and the files."""
    store = Store(FileSystem(), SystemClock(), folder, 0.01, 0.01)
    try:
        await store.tried()
        store.writer.open(samples.metadata(), 1 << 20).append(samples.message(0))
        await store.writer.flush()
        said = {"waiting_for": store.waiting_for, "problem": store.access_problem}
    finally:
        await store.close()
    return {**said, "files": sorted(str(path) for path in Path(folder).rglob("*.capture"))}


def _commands() -> dict[str, Callable[..., Any]]:
    swapper = _Swapper()
    return {
        "symlink": os.symlink,
        "hard_link": os.link,
        "pipe": os.mkfifo,
        "socket": _socket,
        "folder": _folder,
        "file": _file,
        "read": lambda path: Path(path).read_text(),
        "rename": os.rename,
        "exchange": exchange,
        "chmod": os.chmod,
        "flock": _flock,
        "unlink": os.unlink,
        "deep_folders": _deep_folders,
        "capture": lambda folder: asyncio.run(_capture(folder)),
        "begin_swapping": swapper.begin,
        "end_swapping": swapper.end,
    }


def main() -> None:
    uid = int(sys.argv[1])
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    os.umask(0o022)
    os.chdir("/")
    commands = _commands()
    for line in sys.stdin:
        what, *arguments = json.loads(line)
        try:
            answer = [True, commands[what](*arguments)]
        except OSError as error:
            answer = [False, error.errno]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
