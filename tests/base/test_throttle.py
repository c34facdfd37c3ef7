"""The throttle: each key once in an interval, and no key remembered for ever."""

from __future__ import annotations

from holdfast.base import throttle
from holdfast.base.throttle import Throttle
from tests.fakes import FakeClock


async def test_a_key_is_allowed_once_in_an_interval() -> None:
    clock = FakeClock()
    allowed = Throttle(clock, 60.0)
    assert [allowed.allows("a") for _ in range(3)] == [True, False, False]
    await clock.advance(59.9)
    assert not allowed.allows("a")
    await clock.advance(0.1)
    assert [allowed.allows("a") for _ in range(2)] == [True, False]


async def test_what_is_refused_does_not_put_the_next_time_off() -> None:
    clock = FakeClock()
    allowed = Throttle(clock, 60.0)
    seen = 0
    for _ in range(121):
        seen += allowed.allows("a")
        await clock.advance(1.0)
    assert seen == 3


def test_keys_do_not_hold_each_other_back() -> None:
    allowed = Throttle(FakeClock(), 60.0)
    assert allowed.allows("a")
    assert allowed.allows("b")
    assert not allowed.allows("a")


def test_the_wall_clock_does_not_matter() -> None:
    clock = FakeClock()
    allowed = Throttle(clock, 60.0)
    assert allowed.allows("a")
    clock.step_wall(3600)
    assert not allowed.allows("a")
    clock.step_wall(-7200)
    assert not allowed.allows("a")


def test_the_oldest_keys_are_forgotten_so_that_memory_is_bounded() -> None:
    allowed = Throttle(FakeClock(), 60.0)
    assert all(allowed.allows(f"key {number}") for number in range(throttle.MAX_KEYS + 1))
    assert not allowed.allows(f"key {throttle.MAX_KEYS}")
    assert not allowed.allows("key 1")
    assert allowed.allows("key 0")
