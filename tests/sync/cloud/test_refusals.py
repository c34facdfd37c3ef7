"""Which refusals are believed, and what a cloud that turns bad costs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.base.clock import SystemClock
from holdfast.sync.cloud import refusals as all_refusals
from holdfast.sync.cloud.link import LinkState
from holdfast.sync.cloud.refusals import COLLECTORS_UNTIL_STOP, FILES_UNTIL_STOP, Refusals, Version
from tests.waiting import eventually

from ..conftest import World, make_world
from ..raw_cloud import Call, RawCloud, accept


def file(name: object) -> Version:
    return f"/{name}", 1


class Course(SystemClock):
    """A course of calls, each a second after the one before."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self.refusals = Refusals(self)

    def monotonic(self) -> float:
        return self._now_s

    def now_s(self) -> float:
        self._now_s += 1
        return self._now_s

    def accepted(self, began_s: float | None = None) -> None:
        self.refusals.note_acceptance(self.now_s() if began_s is None else began_s)

    def refused(self, name: object, collector: str = "c") -> bool:
        self.now_s()
        return self.refusals.judge(file(name), collector)


def test_a_file_is_given_up_when_it_is_refused_again_after_something_was_accepted() -> None:
    course = Course()
    course.accepted()
    assert [course.refused("a"), course.refused("a")] == [False, False]
    course.accepted()
    assert course.refused("a") and course.refused("a"), "the rest of it as well"
    assert not course.refused("b"), "what was accepted before says nothing of this one"


def test_a_call_that_began_before_the_refusal_says_nothing() -> None:
    course = Course()
    began_s = course.now_s()
    course.refused("a")
    course.now_s()
    course.accepted(began_s)
    assert not course.refused("a")


def test_a_changed_file_and_a_new_connection_begin_anew() -> None:
    course = Course()
    course.refused("a")
    course.accepted()
    assert not course.refusals.judge(("/a", 2), "c")
    assert course.refused("a")
    course.refusals.note_connection()
    assert not course.refused("a")


def test_ten_files_of_one_collector_are_everything_only_while_nothing_was_accepted() -> None:
    course = Course()
    for number in range(FILES_UNTIL_STOP):
        assert not course.refusals.are_all
        course.refused(f"b{number}")
        course.refused(f"b{number}")
    assert course.refusals.are_all
    course.accepted()
    for number in range(10 * FILES_UNTIL_STOP):
        course.refused(f"c{number}")
    assert not course.refusals.are_all, "one collector of which all is refused does not hold up the others"


def test_three_collectors_in_a_row_are_everything() -> None:
    course = Course()
    course.accepted()
    for number in range(COLLECTORS_UNTIL_STOP):
        assert not course.refusals.are_all
        course.refused("a", collector=str(number))
    assert course.refusals.are_all
    course.accepted()
    assert not course.refusals.are_all


def test_what_is_remembered_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(all_refusals, "MAX_FILES", 3)
    course = Course()
    for name in "abcd":
        course.refused(name)
    course.accepted()
    assert [course.refused(name) for name in "bcda"] == [True, True, True, False]


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=60), st.integers(0, 60))
def test_a_cloud_that_turns_bad_at_any_moment_gets_no_good_file(
    calls: list[tuple[int, bool]], turns_at: int
) -> None:
    """Files with a number below three are bad; from some call on every call is refused. Answers may come late, in
    another order than they were given: an acceptance that is told later began where it stands."""
    course = Course()
    late: list[float] = []
    for number, (name, comes_late) in enumerate(calls):
        began_s = course.now_s()
        if name >= 3 and number < turns_at:
            late.append(began_s)
        else:
            assert not course.refused(name, str(name)) or name < 3
        if not comes_late:
            for each_s in late:
                course.accepted(each_s)
            late.clear()


async def turned_bad(call: Call) -> None:
    await call.ended.wait()
    call.answer(code=3, why="no")


@pytest.mark.parametrize("collectors", [1, 2, 20])
async def test_after_one_ok_refusals_of_everything_cost_nothing(tmp_path: Path, collectors: int) -> None:
    """As an attacker would: one OK to be believed, then INVALID_ARGUMENT."""

    async def behave(call: Call) -> None:
        await call.ended.wait()
        if cloud.taken:
            call.answer(code=3, why="no")
        else:
            call.answer()
            cloud.taken.append(call)

    async with RawCloud(behave) as cloud, make_world(tmp_path, address=cloud.address) as world:
        world.capture_file("9999", [0.5])
        world.rounds.configure(world.settings())
        await eventually(lambda: cloud.taken)
        for number in range(100):
            world.capture_file(f"9999-{number}", [number, number + 0.5], f"sensor-{number % collectors}")
        await eventually(lambda: len(world.delivery.retries) > 10 or world.link.state is LinkState.ALL_REFUSED)
        assert (world.link.state is LinkState.ALL_REFUSED) is (collectors >= COLLECTORS_UNTIL_STOP)
        assert list(world.folder.glob("failed/**/*")) == [] and world.link.usable


def not_accepted(world: World) -> bool:
    return "it stays" in (world.delivery.last_error or "")


async def test_a_single_bad_file_among_good_ones_is_given_up_soon_and_alone(world: World) -> None:
    import grpc

    world.cloud.fail_while = lambda method, request: (
        grpc.StatusCode.INVALID_ARGUMENT if request and b"lidar" in request else None
    )
    world.capture_file("9999-a", [1], "lidar")
    world.rounds.configure(world.settings())
    await eventually(lambda: not_accepted(world))
    assert list(world.folder.glob("failed/**/*.capture")) == []
    world.capture_file("9999-b", [2], "radar")
    await eventually(lambda: list(world.folder.glob("failed/lidar/*.capture")))
    assert world.link.up and world.arrived.numbers == [("radar", 2)]


async def test_a_lone_collector_gets_on_although_each_of_its_files_has_a_bad_reading(world: World) -> None:
    from ..delivery.test_together import refusing

    refusing(world, *range(0, 60, 3))
    for number in range(0, 60, 3):
        world.capture_file(f"9999-{number:02}", [number, number + 1, number + 2])
    world.rounds.configure(world.settings())
    await eventually(lambda: len(list(world.folder.glob("failed/lidar/*.capture"))) == 20, 60)
    assert sorted(world.arrived.of("lidar")) == [number for number in range(60) if number % 3]


@pytest.mark.parametrize("turns_at", [0, 1, 2, 5, 9])
async def test_what_a_cloud_refuses_while_it_is_bad_arrives_when_it_is_well_again(
    tmp_path: Path, turns_at: int
) -> None:
    """Each file has two readings, which the cloud refuses together and alone."""

    async def behave(call: Call) -> None:
        await (accept if len(cloud.calls) <= turns_at else turned_bad)(call)

    async with RawCloud(behave) as cloud, make_world(tmp_path, address=cloud.address) as world:
        await world.connected()
        for number in range(12):
            world.capture_file("9999-a", [number, number + 0.5], f"sensor-{number}")
        world.rounds.configure(world.settings(uploads=2))
        await eventually(lambda: world.link.state is LinkState.ALL_REFUSED)
        assert list(world.folder.glob("failed/**/*")) == []
        cloud.behave = accept
        await eventually(lambda: len(cloud.readings) == 24 and not world.rounds.in_flight)
        assert len(set(cloud.readings)) == 24 and list(world.folder.glob("failed/**/*")) == []
