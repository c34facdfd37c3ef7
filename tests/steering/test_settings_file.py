"""The file of the settings that outlast a restart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast.base.filesystem import FileSystem
from holdfast.errors import NewerStateError
from holdfast.steering.settings_file import Setting, read, remove, write
from holdfast.storage.layout import state_path

SETTINGS = [Setting("sync"), Setting("lidar", "Readings", 5.0, 1_700_000_000_000_000_000, 60.0)]


def path_of(folder: Path) -> Path:
    return Path(state_path(str(folder), "control"))


def test_settings_are_what_they_were(tmp_path: Path) -> None:
    assert read(FileSystem(), str(tmp_path)) == []
    write(FileSystem(), str(tmp_path), SETTINGS)
    assert read(FileSystem(), str(tmp_path)) == SETTINGS
    assert path_of(tmp_path).name == "control.prog" and path_of(tmp_path).stat().st_mode & 0o777 == 0o600
    remove(FileSystem(), str(tmp_path))
    assert read(FileSystem(), str(tmp_path)) == []


def test_a_newer_version_is_neither_read_nor_overwritten_nor_removed(tmp_path: Path) -> None:
    write(FileSystem(), str(tmp_path), SETTINGS)
    content = json.dumps({"version": 2, "settings": {"new": "ways"}, "more": 1}).replace('{"new": "ways"}', "[]")
    path_of(tmp_path).write_text(content)
    for use in (
        lambda: read(FileSystem(), str(tmp_path)),
        lambda: write(FileSystem(), str(tmp_path), []),
        lambda: remove(FileSystem(), str(tmp_path)),
    ):
        with pytest.raises(NewerStateError):
            use()
    assert path_of(tmp_path).read_text() == content


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "5", '{"version": "1", "settings": []}', '{"version": 1}', '{"version": 1, "settings": 5}'],
)
def test_a_damaged_file_is_put_aside_and_costs_the_settings_alone(tmp_path: Path, content: str) -> None:
    write(FileSystem(), str(tmp_path), SETTINGS)
    path_of(tmp_path).write_text(content)
    assert read(FileSystem(), str(tmp_path)) == []
    assert Path(state_path(str(tmp_path), "control-damaged")).read_text() == content
    write(FileSystem(), str(tmp_path), SETTINGS)
    assert read(FileSystem(), str(tmp_path)) == SETTINGS


@pytest.mark.parametrize(
    "row",
    [
        5,
        {},
        {"what": ""},
        {"what": 5},
        {"what": "a", "hz": -1},
        {"what": "a", "hz": 10**400},
        {"what": "a", "hz": float("inf")},
        {"what": "a", "hz": float("nan")},
        {"what": "a", "hz": "1"},
        {"what": "a", "until_ns": 1.5},
        {"what": "a", "for_s": "x"},
        {"what": "a", "unheard": "of"},
    ],
)
def test_a_setting_that_can_not_be_understood_costs_itself(tmp_path: Path, row: object) -> None:
    write(FileSystem(), str(tmp_path), SETTINGS)
    document = json.loads(path_of(tmp_path).read_text())
    document["settings"].insert(1, row)
    path_of(tmp_path).write_text(json.dumps(document))
    assert read(FileSystem(), str(tmp_path)) == SETTINGS
