"""Why readings are missing: each cause by what was measured, alone and mixed, with its share."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from holdfast.capture.causes import Cause, cause_of_wait
from holdfast.capture.collector import MAX_CALLS_TO_A_RESOURCE
from holdfast.capture.rates import Totals
from holdfast.capture.shortfall import Load, Shortfall, missing_in_words, parts_of, sentence

from .machine import BROKEN, NO_SPACE, Machine, Sensor


async def test_a_sensor_that_fails_and_stalls_is_told_by_both_with_their_shares(machine: Machine) -> None:
    """5 Hz, each seventh call fails, and each twentieth stalls for 1.5 s: none of it is the computer's fault."""

    async def fails_and_stalls(number: int) -> None:
        if number % 20 == 0:
            await machine.clock.sleep(1.5)
        if number % 7 == 0:
            raise BROKEN

    sensor = Sensor(fails_and_stalls)
    running = machine.captures(sensor, hz=5.0)
    await machine.runs(120.0)
    shares = machine.shares(running)
    assert set(shares) == {Cause.SLOW_CALL, Cause.ERROR}
    # Of 20 calls, one stalls, through 7 deadlines of which the last is used late; the others take no time.
    of_a_cycle = {Cause.SLOW_CALL: 6.0, Cause.ERROR: 20 / 7}
    total = sum(of_a_cycle.values())
    for cause, count in of_a_cycle.items():
        assert shares[cause] == pytest.approx(count / total, abs=0.04)
    said = sentence(machine.shortfall(running))
    assert re.search(
        r"(6|7)\d % waited for a call that ran long \(up to 1\.5 s\), 3\d % are calls that failed", said
    )
    assert "the bus is gone" in said and "busy" not in said
    totals = running.totals()
    assert totals.due == totals.answered + sum(totals.missing.values()) == pytest.approx(5 * 120, abs=6)


async def test_calls_that_fail_are_errors_and_nothing_else(machine: Machine) -> None:
    async def fails(number: int) -> None:
        raise BROKEN

    running = machine.captures(Sensor(fails), hz=10.0)
    await machine.runs(70.0)
    assert machine.shares(running) == {Cause.ERROR: 1.0}


async def test_half_errors_and_half_disk_are_told_apart(machine: Machine) -> None:
    async def fails_half_of_the_time(number: int) -> None:
        if number % 2:
            raise BROKEN

    running = machine.captures(Sensor(fails_half_of_the_time), hz=10.0)
    with machine.files.failing("create", code=NO_SPACE):
        await machine.runs(70.0)
        assert machine.shares(running) == {
            Cause.DISK: pytest.approx(0.5, abs=0.02),
            Cause.ERROR: pytest.approx(0.5, abs=0.02),
        }
        said = sentence(machine.shortfall(running))
    assert re.search(r"could not be kept \(\d+ no_space\)", said) and "the bus is gone" in said


async def test_a_component_slower_than_the_interval_is_to_blame_and_not_the_processor(machine: Machine) -> None:
    async def slow(number: int) -> None:
        await machine.clock.sleep(0.25)

    running = machine.captures(Sensor(slow), hz=10.0)
    machine.clock.oversleep_s = 0.0005  # as each wake-up of a real loop
    await machine.runs(70.0)
    assert machine.shares(running) == {Cause.SLOW_CALL: 1.0}


async def test_deadlines_that_pass_while_the_loop_stands_still_are_the_loops(machine: Machine) -> None:
    async def quick(number: int) -> None:
        return

    running = machine.captures(Sensor(quick), hz=10.0)
    for _ in range(70):
        await machine.clock.advance(0.5)
        await machine.clock.jump(0.5)
    assert machine.shares(running) == {Cause.LOOP: 1.0}
    said = sentence(machine.shortfall(running))
    assert "came due while the module was late" in said and "is not known" in said, "nothing was seen to be busy"


async def test_a_busy_loop_and_a_slow_component_are_told_apart(machine: Machine) -> None:
    """A component that takes 0.35 s for each tenth call, and a loop that stands still half of each fifth second."""

    async def slow_at_times(number: int) -> None:
        if number % 10 == 0:
            await machine.clock.sleep(0.35)

    running = machine.captures(Sensor(slow_at_times), hz=10.0)
    for _ in range(20):
        await machine.clock.advance(4.5)
        await machine.clock.jump(0.5)
    shares = machine.shares(running)
    assert set(shares) == {Cause.SLOW_CALL, Cause.LOOP}
    assert 0.3 < shares[Cause.LOOP] < 0.7


async def test_a_call_whose_answer_waits_for_the_loop_is_no_slow_call(machine: Machine) -> None:
    """Each call takes 80 of the 100 ms that it has, and the loop comes 60 ms late each time."""

    async def just_in_time(number: int) -> None:
        await machine.clock.sleep(0.08)

    running = machine.captures(Sensor(just_in_time), hz=10.0)
    machine.clock.oversleep_s = 0.06
    await machine.runs(90.0)
    assert set(machine.shares(running)) == {Cause.LOOP}


async def test_calls_that_are_long_while_the_computer_is_busy_are_not_called_slow_for_sure(
    machine: Machine,
) -> None:
    async def slow(number: int) -> None:
        await machine.clock.sleep(0.25)

    running = machine.captures(Sensor(slow), hz=10.0)
    machine.computer = 0.99
    await machine.runs(90.0)
    assert max(machine.shares(running).items(), key=lambda each: each[1])[0] is Cause.COMPUTER
    machine.computer = 0.3
    await machine.runs(90.0)
    assert machine.shares(running) == {Cause.SLOW_CALL: 1.0}


async def test_the_limit_of_calls_to_a_resource_is_what_its_collectors_wait_for(machine: Machine) -> None:
    async def slow(number: int) -> None:
        await machine.clock.sleep(0.95)

    running = machine.captures(Sensor(slow), hz=1.0, count=MAX_CALLS_TO_A_RESOURCE + 60, max_in_flight=4)
    await machine.runs(70.0)
    causes = {cause for each in machine.capture.running for cause in each.totals().missing}
    assert causes <= {Cause.RESOURCE_LIMIT, Cause.SLOW_CALL} and Cause.RESOURCE_LIMIT in causes
    held_up = next(each for each in machine.capture.running if Cause.RESOURCE_LIMIT in each.totals().missing)
    assert f"{MAX_CALLS_TO_A_RESOURCE} calls in flight" in sentence(machine.shortfall(held_up))
    assert running.missed >= 0


async def test_no_memory_for_answers_is_what_a_deadline_waits_for(machine: Machine) -> None:
    async def quick(number: int) -> None:
        return

    running = machine.captures(Sensor(quick), hz=10.0)
    await machine.runs(1.0)
    running.collector._answer_bytes = 10_000_000  # as if it had had such answers
    memory = machine.capture.answers.memory
    memory.taken_bytes = 128 * 1024 * 1024
    await machine.runs(70.0)
    memory.taken_bytes = 0
    assert machine.shares(running) == {Cause.MEMORY: 1.0}


@pytest.mark.parametrize(("hz", "window"), [(10.0, "60 s"), (0.05, "8 min")])
async def test_all_that_a_problem_says_of_a_slow_collector_is_of_one_time(
    machine: Machine, hz: float, window: str
) -> None:
    async def breaks(number: int) -> None:
        if number > 3:
            raise BROKEN

    machine.captures(Sensor(breaks), hz=hz)
    await machine.runs(903.0)  # three seconds after the last look
    (problem,) = machine.capture.problems
    (running,) = machine.capture.running
    assert running.slow is not None
    missing = re.search(rf"of (\d+) readings that were due in the last {window}, (\d+)", sentence(running.slow))
    assert missing is not None
    assert problem.cost == f"{missing[2]} of {missing[1]} readings missing in the last {window}"


async def test_an_error_that_nobody_foresaw_is_a_cause_that_is_not_known(machine: Machine) -> None:
    async def has_a_bug(number: int) -> None:
        if number > 2:
            raise KeyError("nobody foresaw this")

    running = machine.captures(Sensor(has_a_bug), hz=10.0)
    await machine.runs(70.0)
    assert machine.shares(running) == {Cause.UNKNOWN: 1.0} and running.collector.errors == 0
    assert "for a reason that is not known" in sentence(machine.shortfall(running))
    (gap,) = running.collector.history.lasting()
    assert gap.missing == {"unknown": running.totals().missing[Cause.UNKNOWN]}


async def test_a_deadline_that_raises_what_nobody_foresaw_is_missed_for_a_cause_that_is_not_known(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def quick(number: int) -> None:
        return

    running = machine.captures(Sensor(quick), hz=10.0)
    await machine.runs(5.0)

    def has_a_bug() -> None:
        raise KeyError("nobody foresaw this")

    with monkeypatch.context() as patch:
        patch.setattr(running.collector, "_hold_up", has_a_bug)
        await machine.runs(10.0)
    await machine.runs(2.0)
    assert running.totals().missing == {Cause.UNKNOWN: running.missed} and 95 <= running.missed <= 105
    (gap,) = running.collector.history.gaps
    assert gap.missing == {"unknown": running.missed} and running.collector.history.scattered == 0


@pytest.mark.parametrize(
    ("took_s", "late_s", "max_in_flight", "crowded", "cause"),
    [
        (0.11, 0.0, 1, False, Cause.SLOW_CALL),
        (0.11, 0.005, 1, False, Cause.SLOW_CALL),
        (0.11, 0.09, 1, False, Cause.LOOP),
        (0.11, 0.0, 1, True, Cause.COMPUTER),
        (1.5, 0.2, 1, True, Cause.SLOW_CALL),
        (1.5, 0.2, 4, True, Cause.COMPUTER),
        (1.5, 1.45, 1, True, Cause.LOOP),
    ],
)
def test_what_a_deadline_waited_for_is_told_from_the_lateness_of_the_loop(
    took_s: float, late_s: float, max_in_flight: int, crowded: bool, cause: Cause
) -> None:
    assert cause_of_wait(took_s, late_s, 0.1, max_in_flight, crowded=crowded) is cause


FOUND = Shortfall(0.0, Totals(50, unused={Cause.LOOP: 50}), 60.0, 1, 0.3, Load(0.2, 0.3, 0.4), "last words")


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (Load(0.9, 0.5, 0.4), "lower the frequencies, or use a faster computer"),
        (Load(0.2, 0.99, 0.4), "give the computer less to do"),
        (Load(0.2, 0.3, 0.4), "is not known"),
    ],
)
def test_what_helps_against_lateness_follows_from_who_was_busy(load: Load, words: str) -> None:
    assert words in parts_of(replace(FOUND, load=load))[0].do


@pytest.mark.parametrize("cause", Cause)
def test_each_cause_has_its_words(cause: Cause) -> None:
    found = replace(FOUND, totals=Totals(50, unused={cause: 50}))
    (part,) = parts_of(found)
    assert part.cause is cause and part.share == 1.0 and part.why and part.do
    assert sentence(found).startswith("of 100 readings that were due in the last 60 s, 50 are missing: 100 % ")


def test_a_window_without_a_shortfall_has_no_sentence() -> None:
    assert sentence(replace(FOUND, totals=Totals(50))) == ""


def test_no_more_readings_are_told_as_missing_than_were_due() -> None:
    """A reading that came just before the window may be dropped within it."""
    totals = Totals(answered=120, dropped={"no_space": 121})
    assert missing_in_words(replace(FOUND, totals=totals)).startswith("120 of 120 readings missing")
