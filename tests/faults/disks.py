"""Real disks for the fault tests: a small tmpfs, and ext4 in a file, which can be filled, refused and taken away.

Mounting needs root. Where it can't be, `problem` says why.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

MEBIBYTE = 1024 * 1024


def problem() -> str | None:
    """Why no disk can be mounted here; None when it can."""
    if os.geteuid() != 0:
        return "mounting a small disk needs root"
    for tool in ("mount", "umount", "mkfs.ext4", "losetup"):
        if shutil.which(tool) is None:
            return f"there is no {tool} to make a small disk"
    with tempfile.TemporaryDirectory() as folder:
        tried = _run("mount", "-t", "tmpfs", "-o", "size=1m", "none", folder, check=False)
        if tried.returncode == 0:
            _run("umount", folder)
            return None
        return f"nothing may be mounted here: {tried.stderr.strip()}"


class Disk:
    """A mounted disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self) -> None:
        """Leaves not one block."""
        with (self.folder / "filler").open("ab", buffering=0) as filler:
            for size_bytes in (MEBIBYTE, 4096, 1):
                with contextlib.suppress(OSError):
                    while filler.write(b"\xff" * size_bytes):
                        pass

    def free(self) -> None:
        (self.folder / "filler").unlink()

    def refuse(self) -> None:
        """Makes it read-only for whoever comes by its path; what is open stays writable."""
        _run("mount", "--bind", str(self.folder), str(self.folder))
        _run("mount", "-o", "remount,bind,ro", str(self.folder))

    def permit(self) -> None:
        _run("umount", str(self.folder))


@contextlib.contextmanager
def tmpfs(parent: Path, size_bytes: int) -> Iterator[Disk]:
    with _mounted(parent, "-t", "tmpfs", "-o", f"size={size_bytes}", "none") as folder:
        yield Disk(folder)


@contextlib.contextmanager
def ext4(parent: Path, size_bytes: int) -> Iterator[Disk]:
    image = parent / "disk.img"
    with image.open("wb") as file:
        file.truncate(size_bytes)
    _run("mkfs.ext4", "-q", "-m", "0", str(image))
    device = _run("losetup", "--find", "--show", str(image)).stdout.strip()
    try:
        with _mounted(parent, device) as folder:
            yield Disk(folder)
    finally:
        _run("losetup", "--detach", device)


@contextlib.contextmanager
def _mounted(parent: Path, *arguments: str) -> Iterator[Path]:
    folder = parent / "disk"
    folder.mkdir()
    _run("mount", *arguments, str(folder))
    try:
        yield folder
    finally:
        _run("umount", "--lazy", str(folder))


def _run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=check, capture_output=True, text=True, timeout=60)
