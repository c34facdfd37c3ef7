"""The scheduler: deadlines that do not drift, no bursts, calls that leave together or spread out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest

from holdfast.capture.causes import Conditions
from holdfast.capture.scheduler import MAX_CALLS_PER_SLOT, SLOT_S, Scheduler, Ticker
from tests.fakes import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(start_s=1000.0021)


@pytest.fixture
async def scheduler(clock: FakeClock) -> AsyncIterator[Scheduler]:
    scheduler = Scheduler(clock, Conditions())
    yield scheduler
    await scheduler.stop()


class Fired:
    """Notes when it fired and for which deadlines, and how many passed before."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.error: BaseException | None = None
        self.times: list[float] = []
        self.due: list[float] = []
        self.passed = 0

    def __call__(self, due_s: float, passed: int) -> None:
        self.times.append(self._clock.monotonic())
        self.due.append(due_s)
        self.passed += passed
        if self.error is not None:
            raise self.error


FREQUENCIES_HZ = [0.5, 3, 7, 10, 30, 100, 200, 333, 1000]


@pytest.mark.parametrize("hz", FREQUENCIES_HZ)
async def test_deadlines_are_absolute_and_do_not_drift(hz: float) -> None:
    """Each wake-up is late, as in a real loop: adding intervals to the present time would drift each time."""
    late_s = 0.0002
    clock = FakeClock(start_s=1000.0021, oversleep_s=late_s)
    scheduler = Scheduler(clock, Conditions())
    fired = Fired(clock)
    scheduler.add("lidar", 1 / hz, fired)
    count = 3000
    await clock.advance(2.0 + count / hz)
    await scheduler.stop()
    assert len(fired.times) >= count
    assert fired.passed == 0
    slot_s = SLOT_S if 1 / hz >= SLOT_S else 0.0
    start = fired.times[0]
    for number, time_s in enumerate(fired.times):
        assert abs(time_s - (start + number / hz)) <= slot_s + late_s + 1e-6


@pytest.mark.parametrize("hz", FREQUENCIES_HZ)
async def test_as_many_deadlines_as_the_time_holds(hz: float, clock: FakeClock, scheduler: Scheduler) -> None:
    fired = Fired(clock)
    scheduler.add("lidar", 1 / hz, fired)
    await clock.advance(2.0)
    before = len(fired.times)
    await clock.advance(1000 / hz)
    assert abs(len(fired.times) - before - 1000) <= 1


@pytest.mark.parametrize("hz", [3, 7, 10, 30, 100, 150, 200])
async def test_deadlines_lie_on_the_grid(hz: float, clock: FakeClock, scheduler: Scheduler) -> None:
    fired = Fired(clock)
    scheduler.add("lidar", 1 / hz, fired)
    await clock.advance(1.5 + 200 / hz)
    assert len(fired.times) >= 200
    for time_s in fired.times:
        assert abs(time_s / SLOT_S - round(time_s / SLOT_S)) < 1e-5


@pytest.mark.parametrize("hz", [10, 100, 333, 1000])
async def test_a_held_up_loop_counts_what_it_missed_and_makes_no_burst(
    hz: float, clock: FakeClock, scheduler: Scheduler
) -> None:
    fired = Fired(clock)
    scheduler.add("lidar", 1 / hz, fired)
    await clock.advance(2.0)
    before = len(fired.times)
    assert fired.passed == 0
    await clock.jump(50.5 / hz)
    assert len(fired.times) - before == 1
    assert fired.passed == pytest.approx(49.5, abs=1)
    await clock.advance(100 / hz)
    assert len(fired.times) - before == pytest.approx(101, abs=1)
    assert fired.passed + len(fired.times) - before == pytest.approx(150, abs=2)
    gaps = [b - a for a, b in zip(fired.times[before + 1 :], fired.times[before + 2 :], strict=False)]
    assert min(gaps) > 0.5 / hz


@pytest.mark.parametrize("uptime_s", [1e3, 1e6, 3e7])
async def test_a_machine_that_is_up_for_long_makes_no_burst_either(uptime_s: float) -> None:
    for number in range(100):
        clock = FakeClock(start_s=uptime_s + 0.0021 * number)
        scheduler, fired = Scheduler(clock, Conditions()), Fired(clock)
        scheduler.add("lidar", 0.01, fired)
        await clock.advance(0.1)
        await clock.jump((10 + number / 4) * 0.01)
        await clock.advance(0.1)
        await scheduler.stop()
        assert len(fired.times) == len(set(fired.times))


async def test_after_a_hold_up_the_deadlines_are_where_they_were(clock: FakeClock, scheduler: Scheduler) -> None:
    fired = Fired(clock)
    scheduler.add("lidar", 0.1, fired)
    await clock.advance(1.0)
    await clock.jump(0.537)
    await clock.advance(1.0)
    phases = {round(time_s / 0.1 % 1, 3) % 1 for time_s in fired.times[-5:]}
    assert phases == {round(fired.times[0] / 0.1 % 1, 3) % 1}


@pytest.mark.parametrize(
    ("hz", "late_s"),
    [
        (10, 0.001),
        (30, 0.001),
        (100, 0.001),
        (180, 0.001),
        (200, 0.001),
        (190, 0.001),
        (199, 0.001),
    ],
)
async def test_a_loop_late_by_less_than_a_slot_misses_nothing(hz: float, late_s: float) -> None:
    """Lateness counts from the slot: asyncio rounds timers up by as much as a millisecond."""
    clock = FakeClock(oversleep_s=late_s)
    scheduler = Scheduler(clock, Conditions())
    fired = Fired(clock)
    scheduler.add("lidar", 1 / hz, fired)
    await clock.advance(10.0)
    await scheduler.stop()
    assert fired.passed == 0


async def test_equal_fast_tickers_fire_in_the_same_wake_up(clock: FakeClock, scheduler: Scheduler) -> None:
    fired = []
    for number in range(20):
        fired.append(Fired(clock))
        scheduler.add(f"sensor {number}", 0.01, fired[-1])
        await clock.advance(0.0137)
    await clock.advance(1.0)
    assert len({tuple(one.times[-50:]) for one in fired}) == 1


async def test_fast_tickers_of_several_frequencies_share_their_wake_ups(
    clock: FakeClock, scheduler: Scheduler
) -> None:
    slow, fast = Fired(clock), Fired(clock)
    scheduler.add("slow", 0.1, slow)
    await clock.advance(0.033)
    scheduler.add("fast", 0.01, fast)
    await clock.advance(2.0)
    assert set(slow.times[1:]) <= set(fast.times)


async def test_tickers_with_large_answers_are_spread_at_any_frequency_that_has_room(
    clock: FakeClock, scheduler: Scheduler
) -> None:
    fired = [Fired(clock) for _ in range(6)]
    for number, one in enumerate(fired):
        scheduler.add(f"camera {number}", 1 / 20, one, large=True)
    await clock.advance(4.0)
    times = [{round(time_s, 6) for time_s in one.times[-20:]} for one in fired]
    assert len(set.union(*times)) > 60
    fast = Fired(clock)
    scheduler.add("fast", 0.002, fast, large=True)
    await clock.advance(1.0)
    assert fast.passed == 0


async def _calls_per_wake_up(
    clock: FakeClock, scheduler: Scheduler, interval_s: float, count: int, key: Callable[[int], str]
) -> Counter[float]:
    at: Counter[float] = Counter()

    def fire(due_s: float, passed: int) -> None:
        at[round(clock.monotonic(), 6)] += 1

    for number in range(count):
        scheduler.add(key(number), interval_s, fire)
    await clock.advance(3.0 + 3 * interval_s)  # all have begun
    assert sum(at.values()) >= count
    return at


@pytest.mark.parametrize("interval_s", [1.0, 2.0])
@pytest.mark.parametrize("alike", [True, False], ids=["names that hash alike", "names"])
async def test_slow_tickers_are_spread_with_a_bounded_number_to_a_slot(
    interval_s: float, alike: bool, clock: FakeClock, scheduler: Scheduler
) -> None:
    at = await _calls_per_wake_up(clock, scheduler, interval_s, 1000, lambda n: "x" if alike else f"sensor {n}")
    assert max(at.values()) <= MAX_CALLS_PER_SLOT
    assert len(at) > 30


async def test_tickers_of_some_hertz_are_spread_with_a_bounded_number_to_a_slot(
    clock: FakeClock, scheduler: Scheduler
) -> None:
    at = await _calls_per_wake_up(clock, scheduler, 0.2, 1000, lambda n: f"sensor {n}")  # room: 40 slots × 32
    assert max(at.values()) <= MAX_CALLS_PER_SLOT


async def test_a_slow_tickers_place_follows_from_its_name(clock: FakeClock, scheduler: Scheduler) -> None:
    phases = []
    for _ in range(2):
        fired = Fired(clock)
        ticker = scheduler.add("lidar", 1.0, fired)
        await clock.advance(3.3)
        scheduler.remove(ticker)
        phases.append(round(fired.times[-1] % 1.0, 6))
    assert phases[0] == phases[1]


async def test_a_removed_tickers_place_is_free_again(clock: FakeClock, scheduler: Scheduler) -> None:
    places = set()
    for _ in range(5):
        tickers = [scheduler.add("x", 1.0, lambda due_s, passed: None) for _ in range(MAX_CALLS_PER_SLOT)]
        places |= {ticker.slots for ticker in tickers}
        for ticker in tickers:
            scheduler.remove(ticker)
    assert len(places) == 1


async def test_a_removed_ticker_fires_no_more(clock: FakeClock, scheduler: Scheduler) -> None:
    stays, goes = Fired(clock), Fired(clock)
    scheduler.add("stays", 0.1, stays)
    ticker = scheduler.add("goes", 0.1, goes)
    await clock.advance(1.0)
    scheduler.remove(ticker)
    before = len(goes.times)
    await clock.advance(1.0)
    assert len(goes.times) == before > 0
    assert len(stays.times) > before


async def test_the_last_ticker_may_be_removed_and_another_added(clock: FakeClock, scheduler: Scheduler) -> None:
    scheduler.remove(scheduler.add("a", 0.1, Fired(clock)))
    await clock.advance(1.0)
    fired = Fired(clock)
    scheduler.add("b", 0.1, fired)
    await clock.advance(1.0)
    assert len(fired.times) == 10


async def test_a_new_ticker_with_an_earlier_deadline_fires_in_time(clock: FakeClock, scheduler: Scheduler) -> None:
    slow, fast = Fired(clock), Fired(clock)
    scheduler.add("slow", 1000.0, slow)
    await clock.advance(5.0)  # the loop sleeps until far from now
    added_s = clock.monotonic()
    scheduler.add("fast", 0.1, fast)
    await clock.advance(1.0)
    assert len(fast.times) == 10
    assert fast.times[0] - added_s <= 0.1 + SLOT_S
    assert len(slow.times) == 1


async def test_adding_tickers_holds_up_no_other(clock: FakeClock, scheduler: Scheduler) -> None:
    fired = Fired(clock)
    scheduler.add("first", 0.01, fired)
    await clock.advance(0.5)
    before = len(fired.times)
    for number in range(100):
        scheduler.add(f"more {number}", 0.5, lambda due_s, passed: None)
        await clock.advance(0.003)
    await clock.advance(0.7)
    assert len(fired.times) - before == 100
    assert fired.passed == 0


async def test_a_stopped_scheduler_fires_no_more(clock: FakeClock, scheduler: Scheduler) -> None:
    fired = Fired(clock)
    scheduler.add("lidar", 0.1, fired)
    await clock.advance(1.0)
    await scheduler.stop()
    await scheduler.stop()
    before = len(fired.times)
    await clock.advance(1.0)
    assert len(fired.times) == before


async def test_an_error_that_nobody_foresaw_costs_one_deadline_and_stops_nobody(
    clock: FakeClock, scheduler: Scheduler
) -> None:
    fired, failing = Fired(clock), Fired(clock)
    failing.error = MemoryError()
    failed: list[float] = []
    scheduler.add("fails", 0.1, failing, failed.append)
    scheduler.add("lidar", 0.1, fired)
    await clock.advance(0.11)
    failing.error = None
    await clock.advance(0.9)
    assert len(fired.times) == 10
    assert failed == failing.due[: len(failed)] and failed


async def test_the_wall_clock_may_jump(clock: FakeClock, scheduler: Scheduler) -> None:
    fired = Fired(clock)
    scheduler.add("lidar", 0.1, fired)
    await clock.advance(1.0)
    clock.step_wall(86400)
    await clock.advance(1.0)
    clock.step_wall(-2 * 86400)
    await clock.advance(1.0)
    assert len(fired.times) == 30
    assert fired.passed == 0


async def test_the_slowest_frequency_fires_at_its_start_and_once_a_day(
    clock: FakeClock, scheduler: Scheduler
) -> None:
    fired = Fired(clock)
    scheduler.add("slow", 1 / 0.00001, fired)
    await clock.advance(2.0)
    assert len(fired.times) == 1
    await clock.advance(100_000.0)
    assert len(fired.times) == 2
    assert fired.times[1] - fired.times[0] == pytest.approx(100_000.0, abs=SLOT_S)


def test_the_next_deadline_of_a_fast_ticker_has_no_grid() -> None:
    ticker = Ticker(lambda due_s, passed: None, 10.0, 1 / 333)
    ticker.tick(10.0)
    assert math.isclose(ticker.due_s, 10.0 + 1 / 333)


async def test_a_frequency_beyond_reach_leaves_the_loop_time_and_counts_what_it_missed() -> None:
    clock = FakeClock()
    scheduler, fired = Scheduler(clock, Conditions()), Fired(clock)
    scheduler.add("lidar", 1e-6, fired)
    await clock.advance(0.1)
    await scheduler.stop()
    assert len(fired.times) <= 0.1 * 5000 + 2
    assert fired.passed + len(fired.times) == pytest.approx(100_000, rel=0.01)


@pytest.mark.parametrize("hz", [1e7, 1e12, 1.7e308])
async def test_a_frequency_beyond_any_clock_stops_nobody(hz: float) -> None:
    clock = FakeClock(start_s=1e6)
    scheduler, fired, usual = Scheduler(clock, Conditions()), Fired(clock), Fired(clock)
    scheduler.add("lidar", 1 / hz, fired)
    scheduler.add("usual", 0.01, usual)
    await clock.advance(0.1)
    await scheduler.stop()
    assert len(usual.times) >= 10 and 10 < len(fired.times) <= 0.1 * 5000 + 2
    assert fired.passed > 10 * len(fired.times)


@pytest.mark.parametrize("hz", [0.5, 7, 100, 1000])
async def test_what_fires_is_told_its_deadline(hz: float) -> None:
    """Lateness is measured from it; after a stall it is the first deadline that passed."""
    clock = FakeClock(start_s=1000.0021, oversleep_s=0.0003)
    scheduler, fired = Scheduler(clock, Conditions()), Fired(clock)
    scheduler.add("lidar", 1 / hz, fired)
    await clock.advance(2.0 + 10 / hz)
    for due_s, time_s in zip(fired.due, fired.times, strict=True):
        assert time_s - due_s == pytest.approx(0.0003, abs=1e-6)
    await clock.jump(10 / hz)
    await scheduler.stop()
    assert fired.times[-1] - fired.due[-1] == pytest.approx(10 / hz, abs=1 / hz + SLOT_S)


class CountingClock(FakeClock):
    """Counts how often `sleep` is called."""

    sleeps = 0

    async def sleep(self, seconds: float) -> None:
        self.sleeps += 1
        await super().sleep(seconds)


async def test_nothing_wakes_between_deadlines_however_far_apart() -> None:
    clock = CountingClock()
    scheduler, fired = Scheduler(clock, Conditions()), Fired(clock)
    scheduler.add("slow", 1 / 0.00001, fired)
    await clock.advance(1_000_000.0)
    await scheduler.stop()
    assert len(fired.times) in (10, 11)
    assert clock.sleeps <= len(fired.times) + 2


async def test_many_tickers_share_a_wait_that_begins_anew_only_for_an_earlier_deadline() -> None:
    clock = CountingClock(start_s=1000.003)
    scheduler = Scheduler(clock, Conditions())
    scheduler.add("first", 0.01, lambda due_s, passed: None)
    await clock.settle()
    tickers = []
    for number in range(500):
        tickers.append(scheduler.add(f"sensor {number}", 1.0, lambda due_s, passed: None))
        await clock.settle()
    assert clock.sleeps == 1
    scheduler.remove(*tickers)
    await clock.advance(1.0)
    await scheduler.stop()
    assert clock.sleeps <= 102
