"""The answers on their way are bounded in memory, however many collectors of payloads are due at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from viam.proto.component.camera import GetImagesResponse, Image

from holdfast.base.filesystem import FileSystem
from holdfast.capture import answer_memory
from holdfast.capture.engine import Capture
from holdfast.storage.ledger.ledger import Ledger
from holdfast.storage.writing.disk_writer import DiskWriter
from tests.fakes import FakeClient, FakeClock

from .specs import no_tee, spec

CAMERA = "rdk:component:camera"
IMAGE_BYTES = 1000
MAX_BYTES = 10 * IMAGE_BYTES
COUNT = 50


@dataclass
class Cameras:
    clock: FakeClock
    capture: Capture
    client: FakeClient

    @property
    def readings(self) -> list[int]:
        return [running.collector.readings for running in self.capture.running]

    @property
    def missed(self) -> int:
        return sum(running.ticker.missed for running in self.capture.running)


@pytest.fixture
async def cameras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cameras]:
    monkeypatch.setattr(answer_memory, "MAX_BYTES", MAX_BYTES)
    monkeypatch.setattr("holdfast.capture.collector.UNKNOWN_BYTES", 2 * IMAGE_BYTES)
    clock = FakeClock()
    writer = DiskWriter(FileSystem(), clock, Ledger(FileSystem(), str(tmp_path)), str(tmp_path), 3600.0)
    capture = Capture(clock, no_tee)
    answer = GetImagesResponse(images=[Image(source_name="a", image=bytes(IMAGE_BYTES), mime_type="image/png")])
    made = Cameras(clock, capture, FakeClient(answer.SerializeToString()))
    names = [f"camera {number}" for number in range(COUNT)]
    capture.configure(spec(made.client, writer, name, "GetImages", api=CAMERA, hz=1.0) for name in names)
    yield made
    await capture.stop()
    await writer.close()


async def test_of_many_that_hang_at_once_no_more_are_in_flight_than_there_is_room(cameras: Cameras) -> None:
    cameras.client.hang()
    await cameras.clock.advance(3.0)
    assert cameras.client.most_in_flight == MAX_BYTES // (2 * IMAGE_BYTES)
    assert cameras.missed > COUNT


async def test_what_a_call_counts_as_is_the_size_of_the_last_answer(cameras: Cameras) -> None:
    await cameras.clock.advance(2.0)
    assert min(cameras.readings) >= 1
    cameras.client.hang()
    await cameras.clock.advance(2.0)
    assert cameras.client.in_flight == MAX_BYTES // IMAGE_BYTES


async def test_room_is_free_again_when_calls_end_and_none_is_missed_then(cameras: Cameras) -> None:
    cameras.client.hang()
    await cameras.clock.advance(3.0)
    cameras.client.answer()
    await cameras.clock.advance(1.0)
    missed, readings = cameras.missed, sum(cameras.readings)
    await cameras.clock.advance(5.0)
    assert cameras.missed == missed
    assert sum(cameras.readings) == readings + 5 * COUNT


async def test_an_answer_larger_than_all_the_room_is_let_through_alone(
    cameras: Cameras, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_memory, "MAX_BYTES", IMAGE_BYTES // 2)
    await cameras.clock.advance(3.0)
    assert max(cameras.readings) >= 2
    assert cameras.client.most_in_flight == 1
