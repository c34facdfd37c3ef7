"""Folders in folders without end, which another user can make, stop no walk through a folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import MAX_DEPTH, FileSystem
from holdfast.errors import StorageError
from holdfast.storage.ledger.ledger import Ledger
from holdfast.storage.quarantine.listing import quarantined_files
from holdfast.storage.recovery import Recovery
from holdfast.storage.space.census import complete_files
from holdfast.sync.walk.walk import Walk

from ..storage.samples import messages, metadata, our_file

ENDLESS = 1_200


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """Returns a folder with folders in it that are nested deeper than Python may call functions."""
    path = str(tmp_path / "root" / "a")
    os.makedirs(path)
    deepest = path
    for _ in range(ENDLESS):
        deepest += "/a"
        os.mkdir(deepest)
    yield tmp_path / "root"
    while deepest != path:  # what removes the folders of tests would call itself for each
        for entry in os.scandir(deepest):
            os.unlink(entry.path) if entry.is_file() else shutil.rmtree(entry.path)
        deepest = os.path.dirname(deepest)
    os.rmdir(path + "/a")


def at_depth(root: Path, count: int, name: str) -> Path:
    """Returns a path in a folder to which so many folders lead."""
    return Path(str(root) + "/a" * (count - len(root.parts) + 1), name)


def found_by_the_walk(root: Path) -> list[str]:
    return [found.path for found in Walk(FileSystem(), SystemClock(), [str(root)], 0.0)]


def found_by_recovery(root: Path) -> list[str]:
    ledger = Ledger(FileSystem(), str(root))
    return [left.path for left in Recovery(FileSystem(), SystemClock(), ledger, str(root), lambda path: False)]


def found_in_quarantine(root: Path) -> list[str]:
    return [file.path for file in quarantined_files(FileSystem(), [], [str(root)])]


def found_by_the_limits(root: Path) -> list[str]:
    return [file.path for file in complete_files(FileSystem(), str(root))]


WALKS: dict[Callable[[Path], list[str]], str] = {
    found_by_the_walk: "x.capture",
    found_by_recovery: "x.prog",
    found_in_quarantine: "failed/x.capture",
    found_by_the_limits: "x.capture",
}


@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: str(walk.__name__))
def test_folders_without_end_hide_nothing_beside_them(root: Path, walk: Callable[[Path], list[str]]) -> None:
    below = WALKS[walk].count("/")
    expected = [at_depth(root, MAX_DEPTH - below, WALKS[walk]), root / "z" / WALKS[walk]]
    for path in (*expected, at_depth(root, MAX_DEPTH + 1, WALKS[walk])):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(our_file(metadata(), messages(1)))
        os.utime(path, (1, 1))
    assert sorted(walk(root)) == sorted(map(str, expected))


def test_a_folder_that_is_too_deep_is_not_read(root: Path) -> None:
    with pytest.raises(StorageError, match=f"more than {MAX_DEPTH} folders deep"):
        list(FileSystem().list_folder(str(at_depth(root, MAX_DEPTH + 1, "x").parent)))
