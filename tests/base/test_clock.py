"""The clocks: whatever the wall clock shows, times fit into 64 bits, and asking for them never fails."""

from __future__ import annotations

import logging
import time

import pytest

from holdfast.base import clock
from holdfast.base.clock import SystemClock, _WallClock, first_done, let_time_never_fail

NS = 1_000_000_000
SLACK_NS = 60 * NS


@pytest.fixture
def out_of_range(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The clock of the computer shows this time, which is out of range, while the list has one."""
    shown: list[int] = []
    real = time.time_ns

    def time_ns() -> int:
        if shown:
            raise OverflowError("timestamp too large to convert to C _PyTime_t")
        return real()

    monkeypatch.setattr(time, "time_ns", time_ns)
    monkeypatch.setattr(time, "time", lambda: real() / NS)
    monkeypatch.setattr(clock, "shown_time_ns", lambda: shown[0])
    return shown


def test_it_is_the_time_of_the_computer() -> None:
    assert abs(SystemClock.time_ns() - time.time_ns()) < SLACK_NS
    assert abs(clock.shown_time_ns() - time.time_ns()) < SLACK_NS


@pytest.mark.parametrize("year", [12_000, -500])
def test_a_time_out_of_range_does_not_end_the_last_good_one(
    out_of_range: list[int], year: int, caplog: pytest.LogCaptureFixture
) -> None:
    wall = _WallClock()
    before_ns = wall.time_ns()
    out_of_range.append((year - 1970) * 31_556_952 * NS)
    with caplog.at_level(logging.ERROR):
        times = [wall.time_ns() for _ in range(100)]
    assert times == sorted(times) and before_ns <= times[0] and times[-1] < before_ns + SLACK_NS
    assert len(set(times)) > 1
    assert caplog.text.count("the computer's clock is wrong") == 1
    out_of_range.clear()
    assert abs(wall.time_ns() - time.time_ns()) < SLACK_NS


@pytest.mark.parametrize("year", [12_000, -500])
def test_a_clock_that_was_never_good_shows_the_nearest_time(out_of_range: list[int], year: int) -> None:
    out_of_range.append((year - 1970) * 31_556_952 * NS)
    assert -(1 << 63) < _WallClock().time_ns() < 1 << 63
    assert (_WallClock().time_ns() > 0) == (year > 1970)


def test_whoever_asks_for_the_time_gets_one(out_of_range: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    shown_s = SystemClock.time_ns() / NS
    out_of_range.append(316_000_000_000 * NS)
    monkeypatch.setattr(time, "time", lambda: time.time_ns() / NS)
    let_time_never_fail()
    assert abs(time.time() - shown_s) < 60
    assert abs(time.time_ns() / NS - shown_s) < 60
    assert abs(logging.makeLogRecord({"msg": "something"}).created - shown_s) < 60


async def test_the_error_of_a_wait_is_not_lost() -> None:
    async def fail() -> None:
        raise ValueError("unforeseen")

    with pytest.raises(ValueError, match="unforeseen"):
        await first_done(fail(), SystemClock().sleep(60.0))
