"""The seam to the disk: what it leaves behind where the disk fails."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from holdfast.errors import StorageError
from tests.fakes import FaultyFileSystem


@pytest.mark.parametrize("operation", ["write", "rename"])
def test_a_file_that_could_not_be_replaced_is_as_it_was_and_alone(tmp_path: Path, operation: str) -> None:
    files, path = FaultyFileSystem(), tmp_path / "state"
    files.replace(str(path), b"old")
    with files.failing(operation, code=errno.ENOSPC, partial_bytes=2), pytest.raises(StorageError):
        files.replace(str(path), b"new content")
    assert [each.name for each in tmp_path.iterdir()] == ["state"] and path.read_bytes() == b"old"
