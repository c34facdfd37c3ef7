"""When readings of a collector were missing: its gaps, and what is scattered beside them."""

from __future__ import annotations

import random

import pytest

from holdfast.capture.causes import Absence, Cause
from holdfast.capture.engine import RunningCollector
from holdfast.capture.gap_book import MAX_COLLECTORS, GapBook
from holdfast.capture.gaps import MOST_GAPS, Gap, History
from holdfast.errors import ResourceCallError, ResourceErrorKind
from holdfast.storage.writing.dropped import Drop, Dropped
from tests.fakes import START_NS, FakeClock

from .machine import BROKEN, NO_SPACE, Machine, Sensor

NS = 1_000_000_000
FILTERED = ResourceCallError(ResourceErrorKind.FILTERED, "nothing to capture")


class Broken(Sensor):
    """A sensor that raises `error` as long as there is one, and hangs as long as it is told to."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(self._do)
        self.error: ResourceCallError | None = None
        self.takes_s = 0.0
        self._machine = machine

    async def _do(self, number: int) -> None:
        if self.takes_s:
            await self._machine.clock.sleep(self.takes_s)
        if self.error is not None:
            raise self.error


def gaps(running: RunningCollector) -> list[Gap]:
    return list(running.collector.history.gaps)


def lasting(running: RunningCollector) -> list[Gap]:
    return running.collector.history.lasting()


def seconds(time_ns: int | None) -> float:
    """A wall time in seconds since the fake clock began."""
    assert time_ns is not None
    return (time_ns - START_NS) / NS


def all_missing(running: RunningCollector) -> int:
    """What is in gaps or scattered."""
    history = running.collector.history
    listed = [*history.gaps, *history.lasting()]
    return history.scattered + sum(gap.missed or 0 for gap in listed)


async def test_a_gap_has_its_times_its_number_of_readings_and_its_cause(machine: Machine) -> None:
    sensor = Broken(machine)
    running = machine.captures(sensor, hz=10.0)
    await machine.clock.advance(10.0)
    sensor.error = BROKEN
    await machine.clock.advance(5.0)
    (gap,) = lasting(running)
    assert gap.to_ns is None and gap.lasts_s == pytest.approx(4.95, abs=0.06)
    sensor.error = None
    await machine.clock.advance(1.0)
    assert lasting(running) == []
    (gap,) = gaps(running)
    assert gap.missing == {"error": 50}
    assert seconds(gap.from_ns) == pytest.approx(10.05, abs=0.06)
    assert seconds(gap.to_ns) == pytest.approx(15.05, abs=0.06)
    assert gap.lasts_s == pytest.approx(5.0, abs=0.01)
    assert running.collector.history.scattered == 0


async def test_a_call_that_stalls_is_a_gap_of_the_deadlines_that_it_cost(machine: Machine) -> None:
    sensor = Broken(machine)
    running = machine.captures(sensor, hz=5.0)
    await machine.clock.advance(3.0)
    sensor.takes_s = 3.0
    await machine.clock.advance(0.2)
    sensor.takes_s = 0.0
    await machine.clock.advance(5.0)
    (gap,) = gaps(running)
    assert set(gap.missing) == {"slow_call"} and gap.missed == running.missed
    assert gap.lasts_s == pytest.approx(2.8, abs=0.1)


async def test_what_is_missing_for_less_than_a_second_is_no_gap_and_is_counted(machine: Machine) -> None:
    async def fails_now_and_then(number: int) -> None:
        if number % 7 == 0:
            raise BROKEN

    running = machine.captures(Sensor(fails_now_and_then), hz=100.0)
    await machine.runs(20.0)
    assert gaps(running) == lasting(running) == []
    assert running.collector.history.scattered == running.collector.errors > 250


async def test_a_call_that_fails_late_makes_no_gap_of_a_time_that_has_readings(machine: Machine) -> None:
    async def fails_late_once(number: int) -> None:
        if number == 5:
            await machine.clock.sleep(30.0)
            raise BROKEN

    running = machine.captures(Sensor(fails_late_once), hz=1.0, max_in_flight=4, timeout_s=60.0)
    await machine.runs(60.0)
    (gap,) = gaps(running)
    assert gap.missing == {"error": 1} and (gap.lasts_s or 0.0) <= 1.0
    assert running.collector.readings >= 58


async def test_one_missing_reading_of_a_slow_collector_is_a_gap(machine: Machine) -> None:
    sensor = Broken(machine)
    running = machine.captures(sensor, hz=0.1)
    await machine.clock.advance(30.0)
    sensor.error = BROKEN
    await machine.clock.advance(10.0)
    sensor.error = None
    await machine.clock.advance(20.0)
    (gap,) = gaps(running)
    assert gap.missing == {"error": 1} and gap.lasts_s == pytest.approx(10.0, abs=0.1)


async def test_neighbours_are_one_gap_with_all_that_is_missing_between(machine: Machine) -> None:
    sensor = Broken(machine)
    running = machine.captures(sensor, hz=10.0)
    await machine.clock.advance(1.0)
    for pause_s, broken_s in ((0.0, 2.0), (20.0, 0.3), (20.0, 3.0)):  # the second is too short for a gap
        await machine.clock.advance(pause_s)
        sensor.error = BROKEN
        await machine.clock.advance(broken_s)
        sensor.error = None
    await machine.clock.advance(100.0)
    (gap,) = gaps(running)
    assert gap.missing == {"error": 20 + 3 + 30} and running.collector.history.scattered == 0
    assert gap.lasts_s == pytest.approx(45.3, abs=0.2)
    sensor.error = BROKEN
    await machine.clock.advance(2.0)
    sensor.error = None
    await machine.clock.advance(1.0)
    assert len(gaps(running)) == 2, "a minute later it is another one"


async def test_a_gap_within_a_longer_one_shortens_it_by_nothing() -> None:
    clock = FakeClock()
    history = History(clock, "k", ("api", "a", "Readings"), 10.0)
    history.starts(10.0)
    began_ns = clock.time_ns()
    for _ in range(100):  # the disk is full
        await clock.advance(1.0)
        history.dropped(Drop(clock.monotonic() - 1.0, clock.monotonic(), 10))
        history.look()
    await clock.advance(0.5)
    for _ in range(2):  # it has room again, and the sensor fails for two seconds
        history.missed(Cause.ERROR, 10, clock.monotonic())
        await clock.advance(1.0)
        history.look()
    history.came()
    for _ in range(20):
        await clock.advance(1.0)
        history.look()
    (gap,) = history.gaps
    assert gap.from_ns == began_ns and gap.missing == {"disk": 1000, "error": 20}
    assert gap.lasts_s == pytest.approx(102.5) and gap.to_ns == began_ns + round(102.5 * NS)


async def test_readings_that_the_disk_refuses_are_a_gap_while_it_lasts_and_afterwards(machine: Machine) -> None:
    running = machine.captures(Broken(machine), hz=10.0)
    await machine.runs(5.0)
    with machine.files.failing("create", "write", code=NO_SPACE):
        await machine.runs(10.0)
        machine.capture.gaps.look()
        (gap,) = lasting(running)
        assert set(gap.missing) == {"disk"}
    await machine.runs(20.0)
    machine.capture.gaps.look()
    (gap,) = gaps(running)
    assert gap.missing == {"disk": running.totals().lost} and 95 <= running.totals().lost <= 112
    assert seconds(gap.from_ns) == pytest.approx(5.0, abs=1.1)
    assert seconds(gap.to_ns) == pytest.approx(15.0, abs=1.1)
    assert lasting(running) == []


async def test_what_is_dropped_while_a_collector_ends_is_in_the_gap_as_well(machine: Machine) -> None:
    running = machine.captures(Broken(machine), hz=10.0)
    history = running.collector.history
    await machine.runs(5.0)
    with machine.files.failing("create", "write", code=NO_SPACE):
        for _ in range(10):
            await machine.clock.advance(3.0)
            machine.captures(Broken(machine), hz=10.0)  # of another client: the collector is made anew
            await machine.capture.settled()
        for _ in range(8):
            await machine.clock.advance(1.0)
            machine.capture.gaps.look()
    await machine.writer.flush()
    machine.capture.gaps.look()
    dropped = machine.writer._ledger.readings()[running.collector.spec.collector_id].dropped
    told = history.scattered + sum(gap.missed or 0 for gap in (*history.gaps, *history.lasting()))
    assert told == sum(dropped.values()) > 300
    assert len(machine.capture.gaps._dropped[history]) == 1, "those that have ended are forgotten"


async def test_errors_and_a_full_disk_in_one_gap_are_told_apart(machine: Machine) -> None:
    async def fails_half_of_the_time(number: int) -> None:
        if number % 40 >= 20:
            raise BROKEN

    running = machine.captures(Sensor(fails_half_of_the_time), hz=10.0)
    with machine.files.failing("create", "write", code=NO_SPACE):
        await machine.runs(40.0)
    await machine.runs(20.0)
    machine.capture.gaps.look()
    causes: dict[str, int] = {}
    for gap in gaps(running):
        for cause, count in gap.missing.items():
            causes[cause] = causes.get(cause, 0) + count
    assert causes == {"error": pytest.approx(300, abs=20), "disk": pytest.approx(200, abs=20)}
    assert all_missing(running) == sum(running.totals().missing.values())


async def test_what_a_filter_holds_back_is_no_gap(machine: Machine) -> None:
    sensor = Broken(machine)
    sensor.error = FILTERED
    running = machine.captures(sensor, hz=10.0)
    await machine.clock.advance(30.0)
    assert running.collector.filtered > 290
    assert gaps(running) == lasting(running) == [] and running.collector.history.scattered == 0


async def test_a_gap_ends_with_an_answer_that_a_filter_holds_back(machine: Machine) -> None:
    sensor = Broken(machine)
    running = machine.captures(sensor, hz=10.0)
    await machine.clock.advance(5.0)
    sensor.error = BROKEN
    await machine.clock.advance(3.0)
    sensor.error = FILTERED
    await machine.clock.advance(30.0)
    (gap,) = gaps(running)
    assert gap.missing == {"error": 30} and gap.lasts_s == pytest.approx(3.0, abs=0.1)


async def test_a_loop_that_stands_still_makes_a_gap(machine: Machine) -> None:
    running = machine.captures(Broken(machine), hz=10.0)
    await machine.clock.advance(2.0)
    await machine.clock.jump(4.0)
    await machine.clock.advance(2.0)
    (gap,) = gaps(running)
    assert gap.missing == {"loop": pytest.approx(39, abs=1)}


async def test_the_times_are_those_of_readings_and_the_length_is_not_changed_by_a_clock_that_is_set(
    machine: Machine,
) -> None:
    sensor = Broken(machine)
    running = machine.captures(sensor, hz=10.0)
    await machine.clock.advance(10.0)
    sensor.error = BROKEN
    await machine.clock.advance(5.0)
    machine.clock.step_wall(3600.0)
    await machine.clock.advance(5.0)
    sensor.error = None
    await machine.clock.advance(1.0)
    (gap,) = gaps(running)
    assert seconds(gap.from_ns) == pytest.approx(10.0, abs=0.2)
    assert seconds(gap.to_ns) == pytest.approx(3620.0, abs=0.2)
    assert gap.lasts_s == pytest.approx(10.0, abs=0.2) and gap.missed == 100


async def test_a_collector_that_is_stopped_has_a_gap_with_the_reasons_that_held(machine: Machine) -> None:
    sensor, reasons = Broken(machine), [Absence.PAUSED]
    machine.capture.gaps.explain(lambda collector: reasons[-1])
    running = machine.captures(sensor, hz=10.0)
    history = running.collector.history
    await machine.clock.advance(10.0)
    machine.capture.configure(())
    machine.capture.gaps.explain(lambda collector: reasons[-1])
    await machine.clock.advance(20.0)
    (gap,) = history.lasting()
    assert (gap.missing, gap.to_ns) == ({"paused": 200}, None) and gap.lasts_s == pytest.approx(20.0)
    reasons.append(Absence.NO_RESOURCE)
    machine.capture.gaps.explain(lambda collector: reasons[-1])
    await machine.clock.advance(10.0)
    machine.captures(sensor, hz=10.0)
    (gap,) = history.gaps
    assert gap.missing == {"paused": 200, "no_resource": 100}
    assert gap.lasts_s == pytest.approx(30.0) and seconds(gap.to_ns) == pytest.approx(40.0)


async def test_what_the_config_does_not_want_is_no_gap_before_it_wants_it_again(machine: Machine) -> None:
    sensor = Broken(machine)
    history = machine.captures(sensor, hz=10.0).collector.history
    await machine.clock.advance(5.0)
    machine.capture.configure(())
    machine.capture.gaps.explain(lambda collector: Absence.CONFIG)
    await machine.clock.advance(60.0)
    assert history.lasting() == [] and not history.gaps
    machine.captures(sensor, hz=10.0)
    assert [gap.missing for gap in history.gaps] == [{"config": 600}]


async def test_a_change_of_the_config_that_takes_no_time_is_no_gap(machine: Machine) -> None:
    sensor = Broken(machine)
    history = machine.captures(sensor, hz=10.0).collector.history
    await machine.clock.advance(5.0)
    running = machine.captures(sensor, hz=20.0)
    await machine.clock.advance(5.0)
    assert running.collector.history is history
    assert not history.gaps and history.lasting() == [] and history.scattered == 0


def test_the_oldest_gap_goes_and_what_was_missing_in_it_is_scattered() -> None:
    clock = FakeClock()
    history = History(clock, "k", ("api", "a", "Readings"), 1.0)
    for number in range(MOST_GAPS + 3):
        history.dropped(Drop(1000.0 + 100.0 * number, 1010.0 + 100.0 * number, 10))
    assert len(history.gaps) == MOST_GAPS
    assert history.scattered == 20


async def test_everything_that_is_missing_is_in_a_gap_or_scattered_whatever_happens(machine: Machine) -> None:
    """Random histories of a sensor that fails and stalls, a disk that fills, and a loop that stands still."""
    for seed in range(4):
        rng = random.Random(seed)
        sensor = Broken(machine)
        running = machine.captures(sensor, hz=rng.choice([0.7, 5.0, 30.0]), max_in_flight=rng.choice([1, 3]))
        for _ in range(60):
            sensor.error = rng.choice([None, None, BROKEN, FILTERED])
            sensor.takes_s = rng.choice([0.0, 0.0, 0.0, 1.5])
            if rng.random() < 0.3:
                await machine.clock.jump(rng.uniform(0.1, 3.0))
            if rng.random() < 0.3:
                with machine.files.failing("create", "write", code=NO_SPACE):
                    await machine.runs(rng.choice([1, 3]))
            else:
                await machine.clock.advance(rng.choice([0.3, 2.0, 30.0]))
                await machine.writer.flush()
            machine.capture.gaps.look()
            assert all_missing(running) == sum(running.totals().missing.values()), seed
        await machine.capture.stop()
        machine.capture = machine.new_capture()


def test_the_drops_of_one_flush_after_the_other_are_one() -> None:
    drops = Dropped()
    for second in range(100):
        drops.add("no_space" if second % 2 else "io_error", 10, float(second), second + 1.0)
    drops.add("no_space", 5, 300.0, 301.0)
    assert drops.take() == [Drop(0.0, 100.0, 1000), Drop(300.0, 301.0, 5)]
    assert drops.take() == []
    assert drops.by_reason == {"no_space": 505, "io_error": 500}


def test_the_drops_that_nobody_takes_are_bounded_and_none_is_lost() -> None:
    drops = Dropped()
    for number in range(1000):
        drops.add("no_space", 1, 100.0 * number, 100.0 * number)
    found = drops.take()
    assert len(found) <= 20 and sum(drop.readings for drop in found) == 1000


def test_the_newest_gaps_of_each_collector_are_shown_before_older_ones_of_others() -> None:
    clock = FakeClock()
    book = GapBook(clock)
    for name in "ab":
        history = book.starts(name, ("api", name, "Readings"), 1.0, Dropped())
        for number in range(5 if name == "a" else 1):
            history.dropped(Drop(1000.0 + 100 * number, 1010.0 + 100 * number, 10))
        history.dropped(Drop(2000.0, 2001.0, 1))  # ends the one before
    shown, left_out = book.newest(4)
    assert (len(shown), left_out) == (4, 4)
    assert {history.collector[1] for history, _ in shown} == {"a", "b"}
    assert [gap.from_ns for _, gap in shown] == sorted((gap.from_ns for _, gap in shown), reverse=True)


async def test_collectors_that_came_and_went_are_forgotten_beyond_the_bound() -> None:
    clock = FakeClock()
    book = GapBook(clock)
    for number in range(MAX_COLLECTORS + 10):
        history = book.starts(str(number), ("api", str(number), "Readings"), 1.0, Dropped())
        history.stops(Absence.PAUSED)
        await clock.advance(1.0)
    assert len(book.records()) == MAX_COLLECTORS
    assert book.records()[0].key == "10"


@pytest.mark.parametrize("cause", Cause)
def test_each_cause_makes_a_gap_by_its_name(cause: Cause) -> None:
    clock = FakeClock()
    history = History(clock, "k", ("api", "a", "Readings"), 10.0)
    history.missed(cause, 10, clock.monotonic())
    history.came()
    assert [gap.missing for gap in history.gaps] == [{cause.value: 10}]
