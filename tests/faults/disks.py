"""This module mounts real disks, a tmpfs or ext4 in a file, that the fault tests fill or make read-only.

Each is mounted for a block and unmounted at its end, whatever happens. In the list of mounts, the name of a tmpfs
has the id of the process that mounted it: if that process was killed before it could unmount, the next run does it.
Mounting needs root; where it is not possible, `problem` says why.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEBIBYTE = 1024 * 1024
_NAME = "holdfast-test-of-"
_SMALLEST_BYTES = 64
_REFILL_S = 0.02


def problem() -> str | None:
    """Returns why no disk can be mounted here; None if it can."""
    if os.geteuid() != 0:
        return "only root may mount a disk that fills up"
    for tool in ("mount", "umount", "mkfs.ext4", "losetup"):
        if shutil.which(tool) is None:
            return f"there is no {tool} to make a disk that fills up: apt-get install mount e2fsprogs"
    with tempfile.TemporaryDirectory() as folder:
        tried = _run("mount", "-t", "tmpfs", "-o", "size=1m", "none", folder, check=False)
        if tried.returncode == 0:
            unmount(Path(folder))
            return None
        return f"nothing may be mounted here: {tried.stderr.strip()}"


def fuse_problem(tool: str, package: str) -> str | None:
    """Returns why a file system of FUSE can't be mounted here by `tool`; None if it can."""
    if shutil.which(tool) is None:
        return f"there is no {tool}: apt-get install {package}"
    if not os.access("/dev/fuse", os.W_OK):
        return "there is no /dev/fuse that this user may use"
    return problem()


class Disk:
    """A mounted disk, which can be filled and freed, and made read-only and writable again, any number of times."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"
        self._device = folder.stat().st_dev
        self._refilling: asyncio.Task[None] | None = None

    def fill(self) -> None:
        """Takes all room on the disk, and the room of what is deleted later too, until `free`."""
        self._take_all()
        self._refilling = asyncio.get_running_loop().create_task(self._refill())

    async def free(self) -> None:
        task, self._refilling = self._refilling, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._ballast.unlink(missing_ok=True)

    @property
    def is_full(self) -> bool:
        """Whether writing a file of one block fails for want of space."""
        probe = self.folder / "probe"
        try:
            probe.write_bytes(bytes(4096))
        except OSError as error:
            return error.errno == errno.ENOSPC
        finally:
            probe.unlink(missing_ok=True)
        return False

    def refuse(self) -> None:
        """Makes the disk read-only for everything that opens its path; open files stay writable."""
        _run("mount", "--bind", str(self.folder), str(self.folder))
        _run("mount", "-o", "remount,bind,ro", str(self.folder))

    def permit(self) -> None:
        _run("umount", str(self.folder))

    async def _refill(self) -> None:
        while True:
            await asyncio.sleep(_REFILL_S)
            self._take_all()

    def _take_all(self) -> None:
        with self._ballast.open("ab", buffering=0) as file:
            if os.fstat(file.fileno()).st_dev != self._device:  # it is unmounted: this is the computer's own disk
                self._ballast.unlink()
                return
            size_bytes = MEBIBYTE
            while size_bytes >= _SMALLEST_BYTES:
                try:
                    file.write(b"\xff" * size_bytes)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size_bytes //= 2


@contextmanager
def tmpfs(folder: Path, size_bytes: int) -> Iterator[Disk]:
    """Mounts a tmpfs at `folder`, which is created."""
    _unmount_what_is_nobodys()
    options = f"size={size_bytes},mode=0700,nosuid,nodev,noexec"
    with _mounted(folder, "-t", "tmpfs", "-o", options, f"{_NAME}{os.getpid()}"):
        yield Disk(folder)


@contextmanager
def ext4(folder: Path, size_bytes: int) -> Iterator[Disk]:
    """Mounts ext4 at `folder`, which is created, from an image beside it."""
    image = folder.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(size_bytes)
    _run("mkfs.ext4", "-q", "-m", "0", str(image))
    device = _run("losetup", "--find", "--show", str(image)).stdout.strip()
    try:
        with _mounted(folder, device):
            yield Disk(folder)
    finally:
        _run("losetup", "--detach", device)


class Stalled:
    """A mounted file system (FUSE) whose server never answers, until `die`: then each access fails."""

    def __init__(self, folder: Path, server: int) -> None:
        self.folder = folder
        self._server = server

    def die(self) -> None:
        os.close(self._server)
        self._server = -1

    @property
    def is_dead(self) -> bool:
        return self._server < 0


@contextmanager
def stalled(folder: Path) -> Iterator[Stalled]:
    """Mounts a file system that does not answer at `folder`, which is created; unmounted, the folder is empty."""
    folder.mkdir(mode=0o700)
    server = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={server},rootmode=40000,user_id=0,group_id=0"
    source = f"{_NAME}{os.getpid()}"
    command = ("mount", "-i", "-t", "fuse", "-o", options, source, str(folder))
    made = Stalled(folder, server)
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=60, pass_fds=(server,))
        yield made
    finally:
        if not made.is_dead:
            made.die()
        unmount(folder)


def why_none_stalls() -> str | None:
    """Returns why no file system that stalls can be mounted here; None if it can."""
    return problem() or (None if os.path.exists("/dev/fuse") else "there is no /dev/fuse")


@contextmanager
def encfs(folder: Path) -> Iterator[None]:
    """Mounts EncFS at `folder`, which is created. Its names are shorter than those below it, and than it says."""
    folder.mkdir(mode=0o700)
    below = folder.with_suffix(".encrypted")
    below.mkdir()
    _run("encfs", "--standard", "--stdinpass", str(below), str(folder), given="a password")
    try:
        yield
    finally:
        unmount(folder)


@contextmanager
def ntfs(folder: Path) -> Iterator[None]:
    """Mounts NTFS at `folder`, which is created, from an image beside it. Its names are counted in UTF-16 units."""
    image = folder.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(16 * MEBIBYTE)
    _run("mkntfs", "-q", "-F", str(image))
    folder.mkdir()
    _run("ntfs-3g", str(image), str(folder))
    try:
        yield
    finally:
        unmount(folder)


@contextmanager
def _mounted(folder: Path, *arguments: str) -> Iterator[None]:
    folder.mkdir(mode=0o700)
    _run("mount", *arguments, str(folder))
    try:
        yield
    finally:
        unmount(folder)


def unmount(folder: Path) -> None:
    """Unmounts a disk: at once, or as soon as the last process has closed its files there."""
    if _run("umount", str(folder), check=False).returncode != 0:
        _run("umount", "--lazy", str(folder), check=False)


def _unmount_what_is_nobodys() -> None:
    for line in Path("/proc/mounts").read_text().splitlines():
        name, folder = line.split()[:2]
        pid = name.removeprefix(_NAME)
        if pid != name and not Path("/proc", pid).exists():
            unmount(Path(folder))


def _run(*command: str, check: bool = True, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=check, capture_output=True, text=True, timeout=60, input=given)
