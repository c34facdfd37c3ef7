"""The list of problems: what lasts, since when, how often, and that what is over is gone."""

from __future__ import annotations

from dataclasses import dataclass, field

from holdfast.base import problems
from holdfast.base.problems import MAX_KNOWN, MAX_PROBLEMS, Kind, Problem, Problems
from holdfast.base.tasks import begin, end
from tests.fakes import START_NS, FakeClock

_NS = 1_000_000_000


@dataclass
class Parts:
    """What the parts of a program name, and the list of it."""

    clock: FakeClock = field(default_factory=FakeClock)
    wrong: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.list = Problems(self.clock, lambda: self.wrong)


async def test_a_problem_says_since_when_and_how_often_and_goes_when_it_is_over() -> None:
    parts = Parts()
    assert parts.list.look() == []
    parts.wrong = [Problem(Kind.DISK, "the disk is full")]
    assert [(each.times, each.lasts_s, each.since_ns) for each in parts.list.look()] == [(1, 0, START_NS)]
    await parts.clock.advance(90)
    assert [(each.times, each.lasts_s, each.since_ns) for each in parts.list.look()] == [(1, 90, START_NS)]
    parts.wrong = []
    assert parts.list.look() == []
    parts.wrong = [Problem(Kind.DISK, "the disk is full")]
    (again,) = parts.list.look()
    assert (again.times, again.lasts_s, again.since_ns) == (2, 0, START_NS + 90 * _NS)


async def test_what_differs_in_figures_is_one_problem_if_it_has_one_key() -> None:
    parts = Parts()
    for dropped in (1, 521):
        parts.wrong = [
            Problem(Kind.DISK, f"file {dropped} is not written", cost=f"{dropped} readings", key="/data"),
            Problem(Kind.LINK, "of another kind", key="/data"),
        ]
        disk, link = parts.list.look()
        await parts.clock.advance(1)
    assert (disk.times, disk.lasts_s, disk.problem.cost, link.times) == (1, 1, "521 readings", 1)


async def test_what_often_ends_by_itself_is_told_when_it_has_lasted_and_counted_from_its_beginning() -> None:
    parts = Parts()
    outage = [Problem(Kind.LINK, "no connection", patience_s=300)]
    for wrong in (outage, [], outage):
        parts.wrong = wrong
        assert parts.list.look() == []
        await parts.clock.advance(200)
    assert parts.list.look() == []
    await parts.clock.advance(100)
    (lasting,) = parts.list.look()
    assert (lasting.times, lasting.lasts_s) == (2, 300)


async def test_a_problem_whose_beginning_is_known_began_then() -> None:
    parts = Parts()
    await parts.clock.advance(100)
    for ago_s in (40, 10):  # what is said later of its beginning changes nothing
        parts.wrong = [Problem(Kind.CAPTURE, "it is slow", began_s=parts.clock.monotonic() - ago_s)]
        (lasting,) = parts.list.look()
    assert (lasting.times, lasting.lasts_s, lasting.since_ns) == (1, 40, START_NS + 60 * _NS)


async def test_a_clock_that_is_set_moves_the_beginning_and_not_how_long_it_lasts() -> None:
    parts = Parts(wrong=[Problem(Kind.CLOCK, "it is 2023")])
    parts.list.look()
    await parts.clock.advance(10)
    parts.clock.step_wall(1_000_000)
    (lasting,) = parts.list.look()
    assert (lasting.lasts_s, lasting.since_ns) == (10, START_NS + 1_000_000 * _NS)


async def test_the_list_looks_by_itself_so_that_nobody_has_to_ask_at_the_right_moment() -> None:
    parts = Parts()
    looking = begin(parts.list.run(), "looking")
    for number in range(6):
        parts.wrong = [Problem(Kind.DISK, "full")] if number % 2 else []
        await parts.clock.advance(problems.LOOK_S)
    await end([looking])
    (lasting,) = parts.list.look()
    assert lasting.times == 3


async def test_neither_the_list_nor_what_is_known_of_the_past_grows_without_a_bound() -> None:
    parts = Parts()

    def times_of_all(life: int) -> set[int]:
        parts.wrong = [Problem(Kind.CONFIG, f"entry {life} {number}") for number in range(MAX_PROBLEMS + 5)]
        found = parts.list.look()
        assert len(found) == MAX_PROBLEMS
        return {each.times for each in found}

    assert MAX_KNOWN == 2 * MAX_PROBLEMS
    assert [times_of_all(life) for life in (0, 1, 0, 1, 2, 0)] == [{1}, {1}, {2}, {2}, {1}, {1}]
