"""A disk that can be full: a small tmpfs of its own, mounted here and gone with the block.

Its name in the list of mounts tells whose it is: what a run left that was killed before it could unmount, the next
one unmounts.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE = "16m"
_NAME = "holdfast-test-of-"
_CHUNK_BYTES = 64 * 1024
_SMALLEST_BYTES = 64
_REFILL_S = 0.02


def problem() -> str | None:
    """Why there can be none here; None when there can."""
    if os.geteuid() != 0:
        return "only root may mount a tmpfs, which is the disk that fills up"
    if shutil.which("mount") is None or shutil.which("umount") is None:
        return "there is no mount to make a disk that fills up: apt-get install mount"
    folder = tempfile.mkdtemp(prefix="holdfast-disk-")
    try:
        tried = _mount(Path(folder))
        if tried.returncode == 0:
            _unmount(Path(folder))
            return None
        return f"no tmpfs can be mounted here: {tried.stderr.strip()}"
    finally:
        os.rmdir(folder)


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """Mounts a tmpfs at `folder`, which is made, and unmounts it whatever happens."""
    _unmount_what_is_nobodys()
    folder.mkdir(mode=0o700)
    mounted = _mount(folder)
    if mounted.returncode != 0:
        raise RuntimeError(f"no tmpfs at {folder}: {mounted.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        _unmount(folder)


class SmallDisk:
    """`fill` and `free` it as often as you like."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"
        self._refilling: asyncio.Task[None] | None = None

    def fill(self) -> None:
        """Leaves no room, and keeps it so when somebody deletes something."""
        self._take_all()
        self._refilling = asyncio.get_running_loop().create_task(self._refill())

    async def free(self) -> None:
        task, self._refilling = self._refilling, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._ballast.unlink(missing_ok=True)

    async def _refill(self) -> None:
        while True:
            await asyncio.sleep(_REFILL_S)
            self._take_all()

    def _take_all(self) -> None:
        with self._ballast.open("ab", buffering=0) as file:
            size_bytes = _CHUNK_BYTES
            while size_bytes >= _SMALLEST_BYTES:
                try:
                    file.write(bytes(size_bytes))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size_bytes //= 2


def _mount(folder: Path) -> subprocess.CompletedProcess[str]:
    options = f"size={SIZE},mode=0700,nosuid,nodev,noexec"
    return subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, f"{_NAME}{os.getpid()}", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )


def _unmount(folder: Path) -> None:
    """At once, or as soon as the last process lets go of it."""
    if subprocess.run(["umount", str(folder)], capture_output=True, check=False).returncode != 0:
        with contextlib.suppress(subprocess.CalledProcessError):
            subprocess.run(["umount", "-l", str(folder)], check=True)


def _unmount_what_is_nobodys() -> None:
    for line in Path("/proc/mounts").read_text().splitlines():
        name, folder = line.split()[:2]
        pid = name.removeprefix(_NAME)
        if pid != name and not Path("/proc", pid).exists():
            _unmount(Path(folder))
