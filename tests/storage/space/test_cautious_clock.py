"""The clock for deletion by age: when the wall clock jumps ahead and comes back, nothing becomes old."""

from __future__ import annotations

import pytest

from holdfast.storage.space.cautious_clock import PROBATION_S, CautiousClock
from tests.fakes import FakeClock

SECOND_NS = 1_000_000_000
YEAR_S = 365 * 24 * 3600


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def test_it_goes_as_the_wall_clock_does(clock: FakeClock) -> None:
    believed = CautiousClock(clock)
    for seconds in (0.5, 100, 10 * PROBATION_S):
        await clock.advance(seconds)
        assert believed.time_ns() == clock.time_ns()


async def test_a_step_forward_counts_when_it_has_lasted(clock: FakeClock) -> None:
    believed = CautiousClock(clock)
    clock.step_wall(3 * YEAR_S)
    assert believed.time_ns() == clock.time_ns() - 3 * YEAR_S * SECOND_NS
    await clock.advance(PROBATION_S - 1)
    assert believed.time_ns() == clock.time_ns() - 3 * YEAR_S * SECOND_NS
    await clock.advance(2)
    assert believed.time_ns() == clock.time_ns()


async def test_a_step_forward_and_back_changes_nothing(clock: FakeClock) -> None:
    believed = CautiousClock(clock)
    right_ns = clock.time_ns()
    clock.step_wall(3 * YEAR_S)
    believed.time_ns()
    clock.step_wall(-3 * YEAR_S)
    assert believed.time_ns() == clock.time_ns() == right_ns
    await clock.advance(2 * PROBATION_S)
    assert believed.time_ns() == clock.time_ns()


def test_a_step_back_is_believed(clock: FakeClock) -> None:
    believed = CautiousClock(clock)
    clock.step_wall(-YEAR_S)
    assert believed.time_ns() == clock.time_ns()
