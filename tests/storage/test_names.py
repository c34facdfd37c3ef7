"""A name that is taken or too long becomes another one that is readable, free, and fits on any file system."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import StorageError
from holdfast.storage import layout, names

NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0") | st.sampled_from("жй…🙂\udcff\udc80. ~2\n"), min_size=1
).filter(lambda name: name not in (".", ".."))


def utf16_units(name: str) -> int:
    return len(name.encode("utf-16-le", "surrogatepass")) // 2


@given(NAMES, st.sets(NAMES), st.integers(1, 60))
def test_a_name_is_free_and_no_longer_than_allowed(name: str, taken: set[str], most_chars: int) -> None:
    found = os.path.basename(names.free_name(f"/c/{name}", lambda path: path[3:] in taken, most_chars))
    assert found not in taken
    if found == name:
        assert len(name) <= most_chars
        return
    assert names.is_numbered(found)
    extension = os.path.splitext(name)[1]
    shortest = len("x~2") + (len(extension) if len(extension) <= 16 else 0)
    assert len(found) <= max(most_chars, shortest)


@given(NAMES, st.integers(1, 30))
def test_a_shorter_name_is_shorter_however_a_file_system_counts(name: str, shorter: int) -> None:
    """Also where a letter of the name that goes takes more bytes, or fewer units, than what comes for it."""
    found = os.path.basename(names.free_name(f"/c/{name}", lambda path: False, len(name) - shorter))
    if len(found) <= len(name) - shorter:
        assert len(os.fsencode(found)) <= len(os.fsencode(name)) - shorter
        assert utf16_units(found) <= utf16_units(name) - shorter


@given(NAMES)
def test_a_name_is_cut_between_two_characters(name: str) -> None:
    found = os.path.basename(names.free_name(f"/c/{name}", lambda path: False, 8))
    if found != name:
        assert name.startswith(found[: found.rindex("~2")])


@pytest.mark.parametrize(
    ("name", "most_chars", "found"),
    [
        ("photo.jpg", 200, "photo.jpg"),
        ("photo.jpg", 8, "ph~2.jpg"),
        ("a.long_end_that_is_no_extension", 8, "a.long~2"),
        (".hidden", 5, ".hi~2"),
        ("x.capture", 3, "x~2.capture"),
    ],
)
def test_a_name_keeps_its_extension(name: str, most_chars: int, found: str) -> None:
    assert names.free_name(f"/c/{name}", lambda path: False, most_chars) == f"/c/{found}"


def refusing(reason: int, calls: list[float]) -> Callable[[float], str]:
    def attempt(most_chars: float) -> str:
        calls.append(most_chars)
        raise StorageError("create", "/c/x", OSError(reason, "no"))

    return attempt


def test_only_a_name_that_is_too_long_is_made_shorter(tmp_path: Path) -> None:
    calls: list[float] = []
    with pytest.raises(StorageError):
        names.named_to_fit(refusing(28, calls))
    assert len(calls) == 1
    with pytest.raises(StorageError):
        names.named_to_fit(refusing(36, calls))
    assert sorted(calls[1:], reverse=True) == calls[1:] and calls[-1] == 27


@given(st.lists(NAMES.map(lambda name: name * 300), min_size=2, max_size=4, unique=True))
def test_collectors_with_names_too_long_for_a_folder_have_a_folder_each(resources: list[str]) -> None:
    folders = {layout.collector_folder("/c", "api", resource, "Readings") for resource in resources}
    plain = {resource.replace(":", "_") for resource in resources}
    assert len(folders) == len(plain)
    assert all(len(os.fsencode(part)) <= 255 for folder in folders for part in folder.split(os.sep))
