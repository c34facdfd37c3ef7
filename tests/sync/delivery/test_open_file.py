from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.base.filesystem import FileSystem
from holdfast.errors import StorageError
from holdfast.sync.delivery.open_file import OpenFile


def test_an_open_file_knows_whether_it_changed_and_whether_it_has_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("content")
    file = OpenFile(FileSystem(), str(path), str(tmp_path))
    assert file.is_unchanged() and file.has_its_name()
    assert b"".join(file.chunks(3)) == b"content"
    (tmp_path / "other").write_text("content")
    os.rename(tmp_path / "other", path)
    assert file.is_unchanged() and not file.has_its_name()
    path.unlink()
    assert not file.has_its_name()
    file.close()
    with pytest.raises(StorageError):
        next(file.chunks(3))
    again = tmp_path / "again.txt"
    again.write_text("x")
    changing = OpenFile(FileSystem(), str(again), str(tmp_path))
    again.write_text("xy")
    assert not changing.is_unchanged()
    changing.close()
