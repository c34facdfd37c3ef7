"""How late a reading was: after the slot of the first deadline that was not yet served."""

from __future__ import annotations

import pytest

from bench.rig import _lateness_ms


@pytest.mark.parametrize("hz", [10, 50, 100, 1000])
def test_readings_in_time_are_not_late_and_each_delay_counts_once(hz: float) -> None:
    exact = [1000 + number / hz for number in range(20)]
    assert list(_lateness_ms(exact, hz)) == pytest.approx([0] * 20, abs=0.01)
    late = [time_s + (0.3 / hz if number == 7 else 0) for number, time_s in enumerate(exact)]
    found = list(_lateness_ms(late, hz))
    assert found[7] == pytest.approx(300 / hz, abs=0.01)
    assert [*found[:7], *found[8:]] == pytest.approx([0] * 19, abs=0.01)


def test_a_deadline_that_was_missed_makes_the_reading_that_comes_for_it_late() -> None:
    assert list(_lateness_ms([1000.0, 1000.013, 1000.02], 100)) == pytest.approx([0, 3, 0], abs=0.01)
    assert list(_lateness_ms([1000.0, 1000.023, 1000.03], 100)) == pytest.approx([0, 13, 0], abs=0.01)


def test_a_slow_collector_has_a_slot_of_its_own_to_be_late_after() -> None:
    assert list(_lateness_ms([1000.25, 1001.2512, 1002.25], 1)) == pytest.approx([0, 1.2, 0], abs=0.01)
