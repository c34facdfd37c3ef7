"""Several users of the computer, for tests that run as root: what they own, and acting as one of them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT, US, THEM, OTHERS = 0, 65501, 65502, 65503
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as several users")


@contextmanager
def acting_as(user: int) -> Iterator[None]:
    """Within it, this process has the rights of a user and of the group with the same id alone."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(user)
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(ROOT)
        os.setegid(ROOT)
        os.setgroups(groups)


@contextmanager
def open_place() -> Iterator[Path]:
    """Makes a folder of root that all users may pass, which pytest's own are not."""
    with tempfile.TemporaryDirectory(dir="/run") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def folder_of(owner: int, path: Path, mode: int = 0o755) -> Path:
    path.mkdir()
    path.chmod(mode)
    os.chown(path, owner, owner)
    return path


def file_of(owner: int, path: Path, content: str = "content", mode: int = 0o600) -> Path:
    path.write_text(content)
    path.chmod(mode)
    os.chown(path, owner, owner)
    return path


def link_of(owner: int, path: Path, target: Path | str) -> Path:
    path.symlink_to(target)
    os.chown(path, owner, owner, follow_symlinks=False)
    return path
