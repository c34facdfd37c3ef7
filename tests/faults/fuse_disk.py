"""A real file system in user space (FUSE), which can be told to refuse locks.

It passes everything else on to a folder. Run as a program it serves until it is unmounted; `fuse_disk` runs it.
Mounting needs root; where it is not possible, `problem` says why.
"""

from __future__ import annotations

import ctypes.util
import errno
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_ATTRIBUTES = ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size")
_TIMES = ("st_atime", "st_mtime", "st_ctime")
_USAGE = ("f_bavail", "f_bfree", "f_blocks", "f_bsize", "f_favail", "f_ffree", "f_files", "f_frsize", "f_namemax")
_MOUNT_TIMEOUT_S = 20.0
_POLL_S = 0.02


def problem() -> str | None:
    """Returns why there can be no such file system here; None if there can."""
    if os.geteuid() != 0:
        return "only root may mount a file system in user space"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "there is no /dev/fuse"
    if ctypes.util.find_library("fuse") is None:
        return "there is no libfuse: apt-get install libfuse2"
    if importlib.util.find_spec("mfusepy") is None:
        return "there is no mfusepy: pip install -r requirements-dev.txt"
    return None


@contextmanager
def fuse_disk(folder: Path, *, flock: str = "", fcntl: str = "") -> Iterator[None]:
    """Mounts at `folder`, which is created, what is kept in another folder beside it.

    `flock` and `fcntl` are the errors, such as "ENOLCK", with which it refuses locks of that kind; without one, the
    kernel has such locks for it.
    """
    behind = folder.with_suffix(".behind")
    for each in (folder, behind):
        each.mkdir(mode=0o700)
    with subprocess.Popen([sys.executable, __file__, str(behind), str(folder), flock, fcntl]) as server:
        try:
            deadline_s = time.monotonic() + _MOUNT_TIMEOUT_S
            while not os.path.ismount(folder):
                assert server.poll() is None, f"the file system ended with {server.returncode}"
                assert time.monotonic() < deadline_s, "the file system is not mounted"
                time.sleep(_POLL_S)
            yield
        finally:
            if os.path.ismount(folder):
                subprocess.run(["umount", "--lazy", str(folder)], check=False)
            server.terminate()


def _serve(behind: str, folder: str, flock: str, fcntl: str) -> None:
    import mfusepy  # type: ignore[import-untyped]

    class Disk(mfusepy.Operations):  # type: ignore[misc]
        use_ns = True

        def getattr(self, path: str, fh: int | None = None) -> Mapping[str, Any]:
            status = os.lstat(behind + path)
            values = {name: getattr(status, name) for name in _ATTRIBUTES}
            return values | {name: getattr(status, f"{name}_ns") for name in _TIMES}

        def readdir(self, path: str, fh: int) -> list[str]:
            return [".", "..", *os.listdir(behind + path)]

        def statfs(self, path: str) -> Mapping[str, int]:
            usage = os.statvfs(behind + path)
            return {name: getattr(usage, name) for name in _USAGE}

        def mkdir(self, path: str, mode: int) -> None:
            os.mkdir(behind + path, mode)

        def rmdir(self, path: str) -> None:
            os.rmdir(behind + path)

        def unlink(self, path: str) -> None:
            os.unlink(behind + path)

        def rename(self, old: str, new: str) -> None:
            os.rename(behind + old, behind + new)

        def create(self, path: str, mode: int, fi: object = None) -> int:
            return os.open(behind + path, os.O_RDWR | os.O_CREAT, mode)

        def open(self, path: str, flags: int) -> int:
            return os.open(behind + path, flags & ~os.O_APPEND)

        def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
            return os.pread(fh, size, offset)

        def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
            return os.pwrite(fh, data, offset)

        def truncate(self, path: str, length: int, fh: int | None = None) -> None:
            os.truncate(behind + path, length)

        def utimens(self, path: str, times: tuple[int, int]) -> None:
            os.utime(behind + path, ns=times)

        def release(self, path: str, fh: int) -> None:
            os.close(fh)

    def refusal(name: str) -> Any:
        def refuse(self: Disk, path: str, *rest: object) -> None:
            raise mfusepy.FuseOSError(getattr(errno, name))

        return refuse

    refusals = {call: refusal(name) for call, name in (("flock", flock), ("lock", fcntl)) if name}
    mfusepy.FUSE(type("Disk", (Disk,), refusals)(), folder, foreground=True)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
