"""Several calls in flight: the order of the readings, and the bounds of holding back and of a resource."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from holdfast.capture.answers import Answers
from holdfast.capture.causes import Conditions
from holdfast.capture.collector import MAX_CALLS_TO_A_RESOURCE, TWO_IN_FLIGHT_HZ, Collector, Occupancy
from holdfast.capture.large_call import RoomForAnswer
from holdfast.capture.turns import MAX_HELD_BACK_BYTES, MAX_HELD_BACK_S, MAX_TURNS, Turns
from holdfast.errors import ResourceCallError, ResourceErrorKind
from tests.fakes import FakeClock
from tests.storage.samples import number_of, response

from .specs import NOWHERE, FakeSink, history, spec


class Resource:
    """Answers each call when the test says so; call n answers n."""

    def __init__(self) -> None:
        self.calls: list[asyncio.Future[bytes]] = []

    async def call(self, method: str, request: bytes, timeout_s: float, most_bytes: int) -> bytes:
        self.calls.append(asyncio.get_running_loop().create_future())
        return await self.calls[-1]

    async def large_call(self, method: str, request: bytes, timeout_s: float, room: RoomForAnswer) -> bytes:
        raise AssertionError("no method here answers with a payload")

    async def stream(self, method: str, request: bytes, timeout_s: float, room: RoomForAnswer) -> list[bytes]:
        raise AssertionError("no method here answers with a stream")

    async def close(self) -> None:
        """Nothing is open."""

    def answer(self, number: int) -> None:
        self.calls[number].set_result(response({"number": float(number)}))

    def fail(self, number: int) -> None:
        self.calls[number].set_exception(ResourceCallError(ResourceErrorKind.FAILED, "broken"))

    @property
    def in_flight(self) -> int:
        return sum(not call.done() for call in self.calls)


class Setup:
    def __init__(self, max_in_flight: int, occupancy: Occupancy | None = None) -> None:
        self.clock, self.resource, self.sink = FakeClock(), Resource(), FakeSink()
        self.collector = Collector(
            spec(self.resource, NOWHERE, max_in_flight=max_in_flight),
            self.clock,
            self.sink,
            lambda: False,
            occupancy or Occupancy(),
            Answers(),
            Conditions(),
            history(),
        )

    async def read(self, count: int = 1) -> int:
        """Returns how many of `count` deadlines were used."""
        before = self.collector.unused.total()
        for _ in range(count):
            self.collector.read(self.clock.monotonic())
        await self.clock.settle()
        return count - (self.collector.unused.total() - before)

    async def answer(self, *numbers: int) -> None:
        for number in numbers:
            self.resource.answer(number)
            await self.clock.settle()

    @property
    def stored(self) -> list[int]:
        return [number_of(message) for message in self.sink.messages]


async def test_as_many_calls_are_in_flight_as_configured() -> None:
    """One more waits until one of them ends."""
    setup = Setup(4)
    assert await setup.read(6) == 4 + 1
    assert setup.resource.in_flight == setup.collector.in_flight == 4
    await setup.answer(0)
    assert setup.resource.in_flight == 4
    assert await setup.read(2) == 1


@pytest.mark.parametrize(
    ("hz", "api", "method", "in_flight"),
    [
        (TWO_IN_FLIGHT_HZ, "rdk:component:sensor", "Readings", 2),
        (TWO_IN_FLIGHT_HZ - 1, "rdk:component:sensor", "Readings", 1),
        (TWO_IN_FLIGHT_HZ, "rdk:component:camera", "GetImages", 1),
    ],
)
def test_where_nothing_is_configured_a_fast_collector_of_numbers_may_have_two_calls_in_flight(
    hz: float, api: str, method: str, in_flight: int
) -> None:
    its = spec(Resource(), NOWHERE, "it", method, api=api, hz=hz, max_in_flight=0)
    collector = Collector(
        its, FakeClock(), FakeSink(), lambda: False, Occupancy(), Answers(), Conditions(), history()
    )
    assert collector.max_in_flight == in_flight


async def test_readings_are_stored_in_the_order_of_the_requests_however_the_answers_come() -> None:
    setup = Setup(4)
    await setup.read(4)
    await setup.answer(2, 1)
    assert setup.stored == []
    await setup.answer(0)
    assert setup.stored == [0, 1, 2]
    await setup.answer(3)
    assert setup.stored == [0, 1, 2, 3]


async def test_a_call_that_fails_holds_nothing_back_any_more() -> None:
    setup = Setup(3)
    await setup.read(3)
    await setup.answer(1, 2)
    setup.resource.fail(0)
    await setup.clock.settle()
    assert setup.stored == [1, 2]
    assert (setup.collector.errors, setup.collector.readings) == (1, 2)


async def test_what_waits_for_a_call_that_hangs_is_stored_in_time_and_its_own_answer_when_it_comes() -> None:
    setup = Setup(2)
    await setup.read(2)
    await setup.answer(1)
    await setup.clock.advance(MAX_HELD_BACK_S)
    assert await setup.read() == 1
    assert setup.stored == [1]
    await setup.answer(2)
    assert setup.stored == [1, 2]
    await setup.answer(0)
    assert setup.stored == [1, 2, 0]


async def test_one_hanging_call_costs_its_own_place_only() -> None:
    setup = Setup(3)
    await setup.read()
    for number in range(1, 50):
        await setup.clock.advance(0.1)
        assert await setup.read() == 1
        await setup.answer(number)
    assert len(setup.stored) > 40
    assert setup.stored == sorted(setup.stored)


async def test_stop_stores_what_is_held_back() -> None:
    setup = Setup(3)
    await setup.read(3)
    await setup.answer(1, 2)
    await setup.collector.stop()
    assert setup.stored == [1, 2]  # at once: the caller of `stop` closes the sink after it
    await setup.clock.settle()
    assert setup.resource.calls[0].cancelled()


@pytest.mark.parametrize(("turns", "size_bytes"), [(MAX_TURNS + 2, 1), (4, MAX_HELD_BACK_BYTES // 2)])
def test_what_is_held_back_is_bounded(turns: int, size_bytes: int) -> None:
    order = Turns()
    stored: list[int] = []
    order.take(0.0)
    for number in range(turns):
        turn = order.take(0.0)
        turn.hold(partial(stored.append, number), size_bytes)
        order.end(turn, 0.0)
        held_back = number + 1 - len(stored)
        assert held_back <= MAX_TURNS
        assert held_back * size_bytes <= MAX_HELD_BACK_BYTES
    assert stored == list(range(turns))


def test_what_was_stored_does_not_count_as_held_back() -> None:
    order = Turns()
    stored: list[int] = []
    for number in range(10):
        turn = order.take(0.0)
        turn.hold(partial(stored.append, number), MAX_HELD_BACK_BYTES // 4)
        order.end(turn, 0.0)
    first, second = order.take(0.0), order.take(0.0)
    second.hold(partial(stored.append, 11), 0)
    order.end(second, 0.0)
    first.hold(partial(stored.append, 10), 0)
    order.end(first, 0.0)
    assert stored == list(range(12))


async def test_no_more_calls_go_to_a_resource_than_viam_server_answers() -> None:
    """All its methods count together; a call that does not fit is a missed deadline."""
    occupancy = Occupancy()
    first, second = Setup(80, occupancy), Setup(80, occupancy)
    assert await first.read(80) == 80
    assert await second.read(80) == MAX_CALLS_TO_A_RESOURCE - 80
    await first.answer(0)
    assert await second.read(2) == 1
    first.resource.fail(1)
    await first.clock.settle()
    assert await second.read(2) == 1
    await asyncio.gather(first.collector.stop(), second.collector.stop())
    await first.clock.settle()
    assert occupancy.calls == 0
