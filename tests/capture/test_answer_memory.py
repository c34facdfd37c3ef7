"""The answers on their way are bounded in memory, however many calls are due at once and whatever is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from viam.proto.component.camera import GetImagesResponse, Image

from bench.hostile.components import length_delimited
from holdfast.base.filesystem import FileSystem
from holdfast.capture import answer_memory
from holdfast.capture.answer_memory import SIZES_BYTES, SMALL_BYTES, AnswerMemory, ExpectedSize, Room
from holdfast.capture.client import Widening
from holdfast.capture.engine import Capture
from holdfast.errors import AnswerTooLargeError, ResourceCallError
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
    """Knows how large all answers on their way may be together, without those that may only be small."""

    def __init__(self, outcome: bytes | list[bytes]) -> None:
        super().__init__(outcome)
        self.allowed_bytes = self.most_allowed_bytes = 0

    async def call(self, method: str, request: bytes, timeout_s: float, most_bytes: int) -> bytes:
        counted = most_bytes if most_bytes > SMALL_BYTES else 0
        self.allowed_bytes += counted
        self.most_allowed_bytes = max(self.most_allowed_bytes, self.allowed_bytes)
        try:
            return await super().call(method, request, timeout_s, most_bytes)
        finally:
            self.allowed_bytes -= counted

    async def stream(self, method: str, request: bytes, timeout_s: float, room: Widening) -> list[bytes]:
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
        return sum(running.ticker.missed for running in self.capture.running)


@pytest.fixture
async def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Many]:
    monkeypatch.setattr(answer_memory, "MAX_BYTES", MAX_BYTES)
    clock = FakeClock()
    writer = DiskWriter(FileSystem(), clock, Ledger(FileSystem(), str(tmp_path)), str(tmp_path), 3600.0)
    made = Many(clock, Capture(clock, no_tee), Measured(image(600_000)), writer)
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
    """No size is known yet: a large answer is refused, and asked for again when there is room for it."""
    many.client.outcome = answer
    many.start(api, method)
    many.client.hang()
    await many.clock.advance(1.5)
    assert (many.client.in_flight, many.client.allowed_bytes) == (COUNT, 0)
    many.client.answer()
    await many.clock.advance(10.0)
    assert 2 * MIB < many.client.most_allowed_bytes <= MAX_BYTES
    await eventually(lambda: sum(many.readings) > 0)  # a large reading is decoded on a thread


async def test_answers_that_grow_all_at_once_are_bounded(many: Many) -> None:
    many.client.outcome = image(100)
    many.start()
    await many.clock.advance(3.0)
    assert min(many.readings) >= 2
    assert many.client.most_allowed_bytes == 0
    many.client.hang()
    await many.clock.advance(1.0)
    many.client.answer(image(3 * MIB))
    await many.clock.advance(3.0)
    assert 3 * MIB < many.client.most_allowed_bytes <= MAX_BYTES
    assert sum(many.readings) > 3 * COUNT


async def test_of_many_that_hang_at_once_no_more_are_in_flight_than_there_is_room(many: Many) -> None:
    many.start()
    await many.clock.advance(4.0)
    assert min(many.readings) >= 1
    many.client.hang()
    await many.clock.advance(2.0)
    assert many.client.in_flight == MAX_BYTES // MIB
    assert many.missed > COUNT


async def test_a_deadline_that_waits_for_a_call_leaves_only_if_there_is_room(many: Many) -> None:
    """All calls end at once, and each has a deadline waiting. It is used or counted as missed all the same."""
    many.client.outcome = image(3 * MIB)
    many.start()
    many.client.hang()
    await many.clock.advance(3.0)
    assert many.client.in_flight == COUNT
    many.client.answer()
    many.client.hang()
    await many.clock.advance(0.5)
    assert 2 * MIB < many.client.allowed_bytes <= MAX_BYTES
    many.client.answer()
    await many.clock.advance(7.0)
    due = sum(r.collector.readings + r.collector.errors + r.ticker.missed for r in many.capture.running)
    assert due == pytest.approx(10.5 * COUNT, abs=COUNT / 2)


async def test_a_resource_that_always_answers_with_more_than_is_allowed_is_not_asked_for_ever(many: Many) -> None:
    class Growing(Measured):
        async def call(self, method: str, request: bytes, timeout_s: float, most_bytes: int) -> bytes:
            self.outcome = AnswerTooLargeError(most_bytes + 1)
            return await super().call(method, request, timeout_s, most_bytes)

    many.client = Growing(b"")
    many.start(count=1)
    await many.clock.advance(1.0)
    assert 1 < len(many.client.calls) <= len(SIZES_BYTES)
    assert len(many.errors) == 1


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
    assert many.client.most_allowed_bytes == MIB


async def test_a_stream_takes_room_as_it_comes(many: Many) -> None:
    many.client.outcome = [length_delimited(1, bytes(MIB // 32))] * 100
    many.start(SLAM, "PointCloudMap")
    many.client.hang()
    await many.clock.advance(1.5)
    assert many.client.in_flight == COUNT
    many.client.answer()
    await many.clock.advance(2.0)
    assert sum(many.readings) > 0


def test_a_room_is_never_wider_than_the_most_of_its_method() -> None:
    memory = AnswerMemory()
    room = Room(memory, SMALL_BYTES, 2 * MIB)
    with pytest.raises(ResourceCallError, match=r"the answer is larger than 2.0 MiB, the most that is taken"):
        room.widen(2 * MIB + 1)
    assert room.size_bytes == SMALL_BYTES
    room.end()


def test_a_room_that_can_not_be_widened_stays_as_it_is() -> None:
    memory = AnswerMemory()
    others = [Room(memory, SIZES_BYTES[-1], SIZES_BYTES[-1]) for _ in range(3)]
    room = Room(memory, SMALL_BYTES, SIZES_BYTES[-1])
    with pytest.raises(ResourceCallError, match=r"no memory for an answer of 38.0 MiB beside those on their way"):
        room.widen(38 * MIB)
    others.pop().end()
    room.widen(38 * MIB)
    room.end()
    for other in others:
        other.end()
    assert memory.has_room_for(answer_memory.MAX_BYTES)


def test_what_is_expected_rises_at_once_and_falls_step_by_step() -> None:
    expected = ExpectedSize()
    assert expected.size_bytes == SMALL_BYTES
    expected.came(9 * MIB)
    assert expected.size_bytes == 16 * MIB
    sizes = []
    for _ in range(8):
        expected.came(1000)
        sizes.append(expected.size_bytes)
    assert sizes[0] > SMALL_BYTES
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == SMALL_BYTES


@pytest.mark.parametrize("size_bytes", [1, SMALL_BYTES, 5 * MIB, SIZES_BYTES[-1]])
def test_what_is_expected_has_room_for_an_answer_like_the_last(size_bytes: int) -> None:
    expected = ExpectedSize()
    expected.came(size_bytes)
    assert expected.size_bytes >= min(size_bytes * 5 // 4, SIZES_BYTES[-1])
