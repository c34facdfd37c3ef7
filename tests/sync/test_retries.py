from __future__ import annotations

import itertools

import pytest

from holdfast.sync.retries import (
    HELD_OPEN_S,
    MAX_FILES,
    MAX_FILES_PER_CALL,
    MAX_UNITS,
    SUSPECT_AFTER_CUTS,
    Retries,
)
from tests.fakes import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def test_files_that_failed_together_wait_together_and_fewer_go_together_each_time(clock: FakeClock) -> None:
    retries = Retries(clock)
    paths = [f"/a/{number}" for number in range(8)]
    assert retries.most_together("/a/0") == MAX_FILES_PER_CALL
    waits = []
    for failures in range(1, 12):
        waits.append(retries.note_failure(paths))
        assert not any(retries.is_due(path) for path in paths)
        assert retries.most_together("/a/0") == max(1, MAX_FILES_PER_CALL >> failures)
        await clock.advance(waits[-1] + 1e-6)
        assert all(retries.is_due(path) for path in paths)
    assert all(0.9 * 0.2 * 2**n <= wait <= 1.1 * 0.2 * 2**n for n, wait in enumerate(waits))


def test_a_success_forgets_the_failures_of_its_files_only(clock: FakeClock) -> None:
    retries = Retries(clock)
    retries.note_failure(["/a/1", "/a/2"])
    retries.note_success(["/a/1"])
    assert retries.is_due("/a/1") and not retries.is_due("/a/2") and len(retries) == 1


def test_beyond_a_thousand_calls_that_wait_folders_wait_as_a_whole(clock: FakeClock) -> None:
    retries = Retries(clock)
    for number in range(MAX_UNITS):
        retries.note_failure([f"/a/{number}"])
    retries.note_failure(["/b/1"])
    assert not retries.is_due("/b/2") and retries.is_due("/c/1")
    assert len(retries) == MAX_UNITS + 1
    retries.note_success([f"/a/{number}" for number in range(MAX_UNITS)])
    assert not retries.is_due("/b/2"), "while only a folder waits"
    for number in range(MAX_UNITS):
        retries.note_failure([f"/a/{number}"])
    for number in range(3 * MAX_FILES):
        retries.note_failure([f"/{number}/x"])
    assert len(retries) <= MAX_UNITS + MAX_FILES
    retries.note_success(["/29999/y"])
    assert retries.is_due("/29999/x")


def test_after_three_cuts_in_a_row_a_file_is_suspect_until_it_arrives(clock: FakeClock) -> None:
    retries = Retries(clock)
    for _ in range(SUSPECT_AFTER_CUTS):
        assert not retries.is_suspect("/a")
        retries.note_cut(["/a", "/b"])
    assert retries.is_suspect("/a") and retries.is_suspect("/b")
    retries.note_success(["/a"])
    assert not retries.is_suspect("/a") and retries.is_suspect("/b")


async def test_when_the_time_of_a_folder_comes_the_file_that_failed_last_is_enough_to_try(clock: FakeClock) -> None:
    retries = Retries(clock)
    for number in range(MAX_UNITS):
        retries.note_failure([f"/a/{number}"])
    wait_s = max(retries.note_failure(["/b/1"]), retries.note_failure(["/b/2"]))
    assert retries.due() == [] and retries.blocks("/b") and not retries.blocks("/a")
    assert retries.until("/b/3", "/b") is not None
    await clock.advance(wait_s + 1)
    assert len(retries.due()) == MAX_UNITS + 1 and retries.due()[-1] == "/b/2"
    assert retries.until("/b/3", "/b") is None
    retries.forget(["/b/2"])
    assert retries.due()[-1] != "/b/2" and retries.blocks("/b")
    retries.note_success(["/b/3"])
    assert not retries.blocks("/b")


async def test_of_a_folder_that_waits_as_a_whole_one_file_is_tried_ever_more_seldom(
    clock: FakeClock,
) -> None:
    retries = Retries(clock)
    for number in range(MAX_UNITS + 1):
        retries.note_failure([f"/a/{number}"])
    retries.forget(f"/a/{number}" for number in range(100))  # there is room for others by now
    waits = []
    for _ in range(5):
        assert retries.until("/a/1", "/a") is not None
        await clock.advance(3600)
        (example,) = retries.due()
        waits.append(retries.note_failure([example]))
    assert all(later > earlier for earlier, later in itertools.pairwise(waits))
    await clock.advance(3600)
    retries.note_success([example])
    assert len(retries.due()) == MAX_UNITS - 100, "the others go when one has gone well"


async def test_a_file_that_is_held_open_waits_a_minute_each_time_and_blocks_no_other(clock: FakeClock) -> None:
    retries = Retries(clock)
    for _ in range(3):
        retries.note_held_open("/a/log", "rsyslogd (812)")
        assert not retries.is_due("/a/log") and retries.is_due("/a/other")
        await clock.advance(HELD_OPEN_S)
        assert retries.is_due("/a/log") and retries.due() == ["/a/log"]
    assert retries.held_open == {"/a/log": ("rsyslogd (812)", clock.monotonic() - HELD_OPEN_S)}
    assert retries.holder("/a/log") == "rsyslogd (812)"
    retries.note_success(["/a/log"])
    assert not retries.held_open and not retries.holder("/a/log") and len(retries) == 0


def test_files_that_are_held_open_are_remembered_up_to_a_bound(clock: FakeClock) -> None:
    retries = Retries(clock)
    for _ in range(2):
        for number in range(2 * MAX_UNITS):
            retries.note_held_open(f"/a/{number}", "mongod (7)")
    assert len(retries) == len(retries.held_open) == MAX_UNITS
    assert retries.is_due("/a/other")
    retries.forget(list(retries.held_open))
    retries.note_failure(["/a/1"])
    assert retries.is_due("/a/2"), "the bound is free again"
