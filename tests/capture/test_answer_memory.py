"""The answers on their way are bounded in memory, however many calls are due at once and whatever is answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from viam.proto.component.camera import GetImagesResponse, Image

from bench.hostile.components import length_delimited
from holdfast.base.filesystem import FileSystem
from holdfast.capture import answer_memory
from holdfast.capture.answer_memory import SMALL_BYTES, AnswerMemory, Room
from holdfast.capture.engine import Capture
from holdfast.capture.large_call import RoomForAnswer
from holdfast.errors import ResourceCallError, ResourceErrorKind
from holdfast.storage.ledger.ledger import Ledger
from holdfast.storage.writing.disk_writer import DiskWriter
from tests.fakes import FakeClient, FakeClock
from tests.waiting import eventually

from .specs import no_tee, spec

CAMERA, SENSOR, SLAM = "rdk:component:camera", "rdk:component:sensor", "rdk:service:slam"
MIB = 1024 * 1024
MAX_BYTES = 10 * MIB
COUNT = 50


def image(size_bytes: int) -> bytes:
    return GetImagesResponse(
        images=[Image(source_name="a", image=bytes(size_bytes), mime_type="image/png")]
    ).SerializeToString()


class Measured(FakeClient):
    """Knows the most that all answers on their way have taken together."""

    def __init__(self, outcome: bytes | list[bytes]) -> None:
        super().__init__(outcome)
        self.memory = AnswerMemory()
        self.most_taken_bytes = self.large_calls = 0

    async def large_call(self, method: str, request: bytes, timeout_s: float, room: RoomForAnswer) -> bytes:
        self.large_calls += 1
        answer = await super().large_call(method, request, timeout_s, room)
        self.most_taken_bytes = max(self.most_taken_bytes, self.memory.taken_bytes)
        return answer

    async def stream(self, method: str, request: bytes, timeout_s: float, room: RoomForAnswer) -> list[bytes]:
        answers = await super().stream(method, request, timeout_s, room)
        await self._go_on.wait()
        return answers


@dataclass
class Many:
    """Many collectors of resources that all answer alike."""

    clock: FakeClock
    capture: Capture
    client: Measured
    writer: DiskWriter

    def start(self, api: str = CAMERA, method: str = "GetImages", count: int = COUNT) -> None:
        names = [f"camera {number}" for number in range(count)]
        self.capture.configure(spec(self.client, self.writer, name, method, api=api, hz=1.0) for name in names)

    @property
    def readings(self) -> list[int]:
        return [running.collector.readings for running in self.capture.running]

    @property
    def errors(self) -> set[str]:
        return {running.collector.last_error or "" for running in self.capture.running} - {""}

    @property
    def missed(self) -> int:
        return sum(running.missed for running in self.capture.running)


@pytest.fixture
async def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Many]:
    monkeypatch.setattr(answer_memory, "MAX_BYTES", MAX_BYTES)
    clock = FakeClock()
    writer = DiskWriter(FileSystem(), clock, Ledger(FileSystem(), str(tmp_path)), str(tmp_path), 3600.0)
    made = Many(clock, Capture(clock, no_tee), Measured(image(600_000)), writer)
    made.client.memory = made.capture.answers.memory
    yield made
    await made.capture.stop()
    await writer.close()


@pytest.mark.parametrize(
    ("api", "method", "answer"),
    [
        (CAMERA, "GetImages", image(3 * MIB)),
        (
            SENSOR,
            "Readings",
            length_delimited(1, b"\x0a\x01a" + length_delimited(2, b"\x1a\x80\x80\xc0\x01" + bytes(3 * MIB))),
        ),
    ],
    ids=["images", "readings"],
)
async def test_the_first_burst_of_large_answers_is_bounded(
    many: Many, api: str, method: str, answer: bytes
) -> None:
    """No size is known yet: all calls leave, and each answer waits until there is memory for it."""
    many.client.outcome = answer
    many.start(api, method)
    many.client.hang()
    await many.clock.advance(1.5)
    assert (many.client.in_flight, many.client.memory.taken_bytes) == (COUNT, 0)
    many.client.answer()
    await eventually(lambda: min(many.readings) >= 1)
    assert 2 * MIB < many.client.most_taken_bytes <= MAX_BYTES
    assert many.errors == set(), "none was refused"


async def test_answers_that_grow_all_at_once_are_bounded(many: Many) -> None:
    many.client.outcome = image(100)
    many.start()
    await many.clock.advance(3.0)
    assert min(many.readings) >= 2
    assert many.client.most_taken_bytes == 0
    many.client.hang()
    await many.clock.advance(1.0)
    many.client.answer(image(3 * MIB))
    await many.clock.advance(3.0)
    assert 3 * MIB < many.client.most_taken_bytes <= MAX_BYTES
    assert sum(many.readings) > 3 * COUNT
    assert many.errors == set(), "none was refused"


async def test_an_answer_that_is_known_to_be_small_is_received_in_one_go(many: Many) -> None:
    many.client.outcome = image(100_000)
    many.start(count=1)
    await many.clock.advance(5.0)
    assert (many.client.large_calls, many.client.memory.taken_bytes) == (1, 0)
    many.client.outcome = image(3 * MIB)
    await many.clock.advance(1.0)
    assert many.client.large_calls == 2
    many.client.outcome = image(100)
    await many.clock.advance(5.0)
    assert many.client.large_calls == 7, "it was large once"
    assert many.errors == set()


async def test_a_filter_is_never_asked_twice_for_an_answer(many: Many) -> None:
    many.client.outcome = image(100)
    many.start(count=1)
    await many.clock.advance(3.0)
    many.client.outcome = ResourceCallError(ResourceErrorKind.FILTERED, "no capture from filter module")
    await many.clock.advance(1.0)
    many.client.outcome = image(3 * MIB)
    calls, readings = len(many.client.calls), sum(many.readings)
    await many.clock.advance(4.0)
    assert len(many.client.calls) - calls == sum(many.readings) - readings == 4


async def test_while_memory_is_short_no_further_large_answer_is_asked_for(many: Many) -> None:
    many.start()
    await many.clock.advance(4.0)
    others = Room(many.client.memory, MAX_BYTES)
    await others.take(MAX_BYTES)
    calls = len(many.client.calls)
    await many.clock.advance(3.0)
    assert (len(many.client.calls), many.missed) == (calls, 3 * COUNT)
    others.end()
    await many.clock.advance(3.0)
    assert len(many.client.calls) == calls + 3 * COUNT
    due = sum(r.collector.readings + r.collector.errors + r.missed for r in many.capture.running)
    assert due == pytest.approx(10 * COUNT, abs=COUNT)


async def test_room_is_free_again_when_calls_end_and_none_is_missed_then(many: Many) -> None:
    many.start()
    await many.clock.advance(4.0)
    many.client.hang()
    await many.clock.advance(3.0)
    many.client.answer()
    await many.clock.advance(1.0)
    missed, readings = many.missed, sum(many.readings)
    await many.clock.advance(5.0)
    assert many.missed == missed
    assert sum(many.readings) == readings + 5 * COUNT


async def test_an_answer_larger_than_all_the_room_is_let_through_alone(
    many: Many, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_memory, "MAX_BYTES", MIB // 2)
    many.start()
    await many.clock.advance(5.0)
    assert sum(many.readings) >= 2
    assert MIB // 2 < many.client.most_taken_bytes < MIB, "one at a time"


async def test_a_stream_takes_room_as_it_comes(many: Many) -> None:
    many.client.outcome = [length_delimited(1, bytes(MIB // 32))] * 100
    many.start(SLAM, "PointCloudMap")
    many.client.hang()
    await many.clock.advance(1.5)
    assert many.client.in_flight == COUNT
    many.client.answer()
    await many.clock.advance(2.0)
    assert sum(many.readings) > 0


async def test_an_answer_beyond_the_most_of_its_method_is_refused() -> None:
    memory = AnswerMemory()
    room = Room(memory, 2 * MIB)
    with pytest.raises(ResourceCallError, match=r"the answer is larger than 2.0 MiB, the most that is taken"):
        await room.take(2 * MIB + 1)
    room.end()
    assert memory.taken_bytes == 0


async def test_who_came_first_is_first_and_who_gave_up_takes_nothing() -> None:
    memory = AnswerMemory()
    await memory.take(answer_memory.MAX_BYTES)
    order: list[str] = []

    async def wait(name: str, size_bytes: int) -> None:
        await memory.take(size_bytes)
        order.append(name)

    names = {"large": answer_memory.MAX_BYTES - MIB, "gives up": MIB, "small": MIB}
    tasks = {name: asyncio.ensure_future(wait(name, size_bytes)) for name, size_bytes in names.items()}
    await asyncio.sleep(0)
    assert not memory.has_room_for(MIB)
    tasks.pop("gives up").cancel()
    memory.give_back(answer_memory.MAX_BYTES)
    await asyncio.gather(*tasks.values())
    assert order == ["large", "small"]
    assert memory.taken_bytes == answer_memory.MAX_BYTES


async def test_who_gives_up_at_the_moment_of_its_turn_takes_nothing() -> None:
    memory = AnswerMemory()
    await memory.take(answer_memory.MAX_BYTES)
    waiting = asyncio.ensure_future(memory.take(MIB))
    await asyncio.sleep(0)
    memory.give_back(answer_memory.MAX_BYTES)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert memory.taken_bytes == 0


async def test_a_stream_counts_when_it_is_no_longer_small_and_does_not_wait() -> None:
    memory = AnswerMemory()
    room = Room(memory, MAX_BYTES)
    room.take_now(SMALL_BYTES)
    assert memory.taken_bytes == 0
    room.take_now(1)
    assert memory.taken_bytes == SMALL_BYTES + 1
    await memory.take(answer_memory.MAX_BYTES - SMALL_BYTES - 1)
    with pytest.raises(ResourceCallError, match=r"no memory for an answer of 1.1 MiB beside those on their way"):
        room.take_now(MIB)
    room.end()
    assert memory.taken_bytes == answer_memory.MAX_BYTES - SMALL_BYTES - 1
