from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.storage.layout import FileKind, capture_file_stem
from holdfast.sync.walk import walk
from holdfast.sync.walk.order import Key, KeyWindow, Order
from holdfast.sync.walk.walk import Walk

from ..conftest import write_old_file

KEYS = st.lists(st.builds(Key, st.integers(-9, 1), st.text("ab", max_size=3), st.just("/f"), st.text("ab")))


@given(KEYS, st.booleans(), st.integers(1, 5))
def test_passes_show_every_key_once_in_order_and_remember_few(keys: list[Key], newest: bool, most: int) -> None:
    keys = list(dict.fromkeys(keys))
    window = KeyWindow(newest, most)
    taken: list[Key] = []
    while True:
        for key in keys:
            window.add(key)
        some = window.take_all()
        assert len(some) < 2 * most
        taken += some
        if not window.begin_next_pass():
            break
    assert taken == sorted(keys, reverse=newest)


@given(KEYS, st.booleans())
def test_what_was_taken_early_does_not_come_again(keys: list[Key], newest: bool) -> None:
    keys = list(dict.fromkeys(keys))
    window = KeyWindow(newest, 4)
    taken: list[Key] = []
    for key in keys:
        window.add(key)
        taken += window.take_first(1)
    assert sorted(taken) == sorted(keys) and window.take_all() == [] and not window.begin_next_pass()


def walked(folder: Path, order: Order) -> list[str]:
    clock = SystemClock()
    found = Walk(FileSystem(), clock, [str(folder)], 0.0, order)
    return [os.path.relpath(each.path, folder) for each in found]


def capture(folder: Path, second: int) -> str:
    name = f"2023-11-14T22_13_{second:02d}.5Z.capture"
    write_old_file(folder / name, b"x")
    return os.path.join(folder.name, name)


@pytest.mark.parametrize("newest", [False, True])
def test_files_of_a_folder_go_by_the_time_in_their_names(
    tmp_path: Path, newest: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "KeyWindow", partial(KeyWindow, most=3))
    names = [capture(tmp_path / "a", second) for second in (5, 3, 9, 1, 7, 30, 2, 8, 4, 6)]
    assert walked(tmp_path, Order(newest)) == sorted(names, reverse=newest)


@pytest.mark.parametrize("newest", [False, True])
def test_a_higher_priority_goes_first_and_sequences_last(tmp_path: Path, newest: bool) -> None:
    priorities = {"low": 0, "high": 9}
    order = Order(newest, lambda folder: priorities.get(os.path.basename(folder), 5))
    last = "sequences/1.seq"
    write_old_file(tmp_path / last, b"x")
    low, middle, high = (capture(tmp_path / name, second) for name, second in (("low", 2), ("b", 3), ("high", 1)))
    assert walked(tmp_path, order) == [high, middle, low, last]


@pytest.mark.parametrize("newest", [False, True])
def test_other_files_go_by_their_time_of_change_among_captured_ones(
    tmp_path: Path, newest: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "_SLICE_FILES", 1)
    names = []
    for time_s in (1_700_000_000, 1_700_000_010, 1_700_000_020):
        names.append(capture_file_stem(time_s * 1_000_000_000) + ".capture")
        write_old_file(tmp_path / names[-1], b"x")
    between = write_old_file(tmp_path / "a.txt", b"x")
    os.utime(between, (1_700_000_015, 1_700_000_015))
    names.insert(2, "a.txt")
    assert walked(tmp_path, Order(newest)) == (names[::-1] if newest else names)


def test_within_a_slice_the_files_of_a_folder_go_together(tmp_path: Path) -> None:
    names = {folder: [capture(tmp_path / folder, second) for second in seconds] for folder, seconds in
             (("a", (1, 4, 6)), ("b", (2, 3, 5)))}  # fmt: skip
    assert walked(tmp_path, Order()) == [*names["a"], *names["b"]]


def test_a_time_that_no_calendar_has_is_no_error() -> None:
    assert Order().key("/f", "a.txt", FileKind.ARBITRARY, 10**30).when == ""
