"""The file of the settings that outlast a restart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.config import MOST_HZ
from holdfast.errors import NewerStateError
from holdfast.steering.settings_file import Setting, read, remove, write
from holdfast.steering.user_settings import UserSettings
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
        {"what": "a", "method": "b", "hz": 1e308},
        {"what": "a", "method": "b", "hz": 5001},
        {"what": "a", "until_ns": 10**400},
        {"what": "a", "until_ns": 1 << 63},
        {"what": "a", "until_ns": -1},
        {"what": "a", "for_s": 10**400},
        {"what": ["a"]},
        {"what": "a", "method": {"b": "x" * 100_000}},
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


ANY_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ROWS = st.fixed_dictionaries(
    {"what": st.text(max_size=3) | ANY_JSON},
    optional={"method": ANY_JSON, "hz": ANY_JSON, "until_ns": ANY_JSON, "for_s": ANY_JSON},
)


@given(document=ANY_JSON | st.fixed_dictionaries({"version": st.just(1), "settings": st.lists(ROWS, max_size=3)}))
async def test_whatever_the_file_says_settings_can_be_used_and_made(
    tmp_path_factory: pytest.TempPathFactory, document: Any
) -> None:
    folder = tmp_path_factory.mktemp("any")
    write(FileSystem(), str(folder), SETTINGS)
    path_of(folder).write_text(json.dumps(document))
    settings = UserSettings(FileSystem(), SystemClock(), lambda: None)
    settings.place(str(folder))
    await settings.stop()
    assert settings.loaded and all(0 <= hz <= MOST_HZ for hz in settings.frequencies.values())
    assert await settings.set(Setting("lidar", "Readings", 7.0), persist=True) and settings.problem == ""
    await settings.stop()
    assert Setting("lidar", "Readings", 7.0) in read(FileSystem(), str(folder))
