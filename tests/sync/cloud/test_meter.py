from __future__ import annotations

import time

import pytest

from holdfast.sync.cloud.meter import WINDOW_S, Meter


class Now:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.s = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.s)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    return Now(monkeypatch)


def test_the_rate_is_that_of_the_last_minute(now: Now) -> None:
    meter = Meter()
    for _ in range(100):
        meter.add(600)
        now.s += 1
    assert meter.bytes_per_s == pytest.approx(600, rel=0.02)
    now.s += WINDOW_S / 2
    assert meter.bytes_per_s == pytest.approx(300, rel=0.05)
    now.s += WINDOW_S
    assert meter.bytes_per_s == 0


def test_in_its_first_minute_it_counts_from_its_beginning(now: Now) -> None:
    meter = Meter()
    meter.add(1000)
    assert meter.bytes_per_s == 1000
    now.s += 10
    assert meter.bytes_per_s == 100


def test_it_remembers_no_more_than_a_number_for_each_second(now: Now) -> None:
    meter = Meter()
    for _ in range(5000):
        meter.add(1)
        now.s += 0.1
    assert len(meter._seconds) <= WINDOW_S + 1
