"""The ledger: the sum holds at each moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.storage.layout import capture_file_stem
from holdfast.storage.ledger import Ledger, ReadingCounts

NS = 1_000_000_000
START_NS = 1_700_000_000 * NS
LIDAR, RADAR = ("rdk:component:sensor", "lidar", "Readings"), ("rdk:component:sensor", "radar", "Readings")


def path_of(time_ns: int) -> str:
    return f"/capture/rdk_component_sensor/lidar/Readings/{capture_file_stem(time_ns)}.capture"


OLD, NEW = path_of(START_NS - NS), path_of(START_NS + NS)


def counts_of(ledger: Ledger) -> ReadingCounts:
    return ledger.readings()[LIDAR]


def test_a_reading_is_on_disk_until_its_fate_is_known() -> None:
    ledger = Ledger(START_NS)
    for _ in range(10):
        ledger.captured(LIDAR)
    assert counts_of(ledger).on_disk == 10
    ledger.delivered(LIDAR, NEW, 3)
    ledger.quarantined(LIDAR, NEW, 2)
    ledger.dropped(LIDAR, "no_space", 1)
    assert counts_of(ledger) == ReadingCounts(10, 0, 3, 2, {"no_space": 1})
    assert counts_of(ledger).on_disk == 4


def test_what_an_earlier_process_left_is_adopted_with_its_fate() -> None:
    ledger = Ledger(START_NS)
    ledger.delivered(LIDAR, OLD, 3)
    ledger.quarantined(LIDAR, OLD, 2)
    ledger.lost_in_crash(LIDAR, 1)
    assert counts_of(ledger) == ReadingCounts(0, 6, 3, 2, {"torn": 1})
    assert counts_of(ledger).on_disk == 0


def test_a_file_made_in_the_moment_of_the_start_is_not_adopted() -> None:
    ledger = Ledger(START_NS)
    assert not ledger.adopts(path_of(START_NS))
    assert ledger.adopts(path_of(START_NS - 1000))


def test_drops_are_counted_by_reason_and_collector() -> None:
    ledger = Ledger(START_NS)
    ledger.dropped(LIDAR, "no_space", 2)
    ledger.dropped(LIDAR, "no_space", 3)
    ledger.dropped(LIDAR, "stopped", 1)
    ledger.dropped(RADAR, "no_space", 7)
    assert {key: counts.dropped for key, counts in ledger.readings().items()} == {
        LIDAR: {"no_space": 5, "stopped": 1},
        RADAR: {"no_space": 7},
    }


def test_arbitrary_files_are_counted_as_files() -> None:
    ledger = Ledger(START_NS)
    ledger.file_delivered(100)
    ledger.file_delivered(50)
    ledger.file_quarantined()
    ledger.file_vanished()
    assert vars(ledger.files) == {"delivered": 2, "delivered_bytes": 150, "quarantined": 1, "vanished": 1}


def test_what_is_handed_out_is_a_copy() -> None:
    ledger = Ledger(START_NS)
    ledger.dropped(LIDAR, "x", 1)
    copy = ledger.readings()
    copy[LIDAR].captured = 99
    copy[LIDAR].dropped["x"] = 99
    del copy[LIDAR]
    assert counts_of(ledger) == ReadingCounts(dropped={"x": 1})


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["captured", "delivered", "quarantined", "dropped", "lost_in_crash"]),
            st.sampled_from([OLD, NEW]),
            st.integers(0, 50),
        )
    )
)
def test_the_sum_holds_after_any_history(history: list[tuple[str, str, int]]) -> None:
    """The two sides of invariant 1: what came in, and what became of it."""
    ledger = Ledger(START_NS)
    came, gone = 0, 0
    ledger.captured(LIDAR)
    for event, path, count in history:
        if event == "captured":
            ledger.captured(LIDAR)
            came += 1
        elif event == "dropped":
            ledger.dropped(LIDAR, "reason", count)
            gone += count
        elif event == "lost_in_crash":
            ledger.lost_in_crash(LIDAR, count)
            came, gone = came + count, gone + count
        else:
            getattr(ledger, event)(LIDAR, path, count)
            came, gone = came + (count if path == OLD else 0), gone + count
    found = counts_of(ledger)
    assert found.captured + found.adopted == came + 1
    assert found.delivered + found.quarantined + sum(found.dropped.values()) == gone
    assert found.on_disk == came + 1 - gone


def test_counting_on_many_threads_loses_nothing() -> None:
    ledger = Ledger(START_NS)

    def count() -> None:
        for _ in range(2000):
            ledger.captured(LIDAR)
            ledger.dropped(LIDAR, "x", 1)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts_of(ledger) == ReadingCounts(captured=8000, dropped={"x": 8000})


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


SUMMER_TIME_ENDS_NS = 1_698_541_200 * NS
"""2023-10-29T01:00:00Z: 03:00 in Berlin becomes 02:00."""
_LOCAL_TIME = (
    "Ledger.adopts compares names as texts, and they carry local time: in the hour that summer time ends (or after "
    "a change of TZ) a file counts as an earlier process's, or an earlier one's as ours; the sum is wrong for good"
)


@pytest.mark.usefixtures("berlin")
def test_a_file_of_this_process_is_not_adopted_when_summer_time_ends() -> None:
    ledger = Ledger(SUMMER_TIME_ENDS_NS - 60 * NS)
    assert not ledger.adopts(path_of(SUMMER_TIME_ENDS_NS + 60 * NS))


@pytest.mark.usefixtures("berlin")
def test_a_file_of_an_earlier_process_is_adopted_when_summer_time_ends() -> None:
    ledger = Ledger(SUMMER_TIME_ENDS_NS + 60 * NS)
    assert ledger.adopts(path_of(SUMMER_TIME_ENDS_NS - 60 * NS))
