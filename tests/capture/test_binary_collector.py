"""A collector of payloads: what it hands to storage, and what an answer that can't be used costs."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from viam.proto.app.datasync import DataCaptureMetadata, DataType, SensorData
from viam.proto.common import AudioInfo, ResponseMetadata
from viam.proto.component.audioin import AudioChunk, GetAudioRequest, GetAudioResponse
from viam.proto.component.camera import GetImagesResponse, Image

from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.capture.answers import Answers
from holdfast.capture.causes import Conditions
from holdfast.capture.collector import Collector, Occupancy
from holdfast.capture.large_call import RoomForAnswer
from holdfast.errors import ResourceCallError, ResourceErrorKind
from holdfast.storage.ledger.ledger import Ledger
from holdfast.storage.writing.disk_writer import DiskWriter
from tests.fakes import START_NS, FakeClient, FakeClock
from tests.storage.samples import files_under, plain_messages
from tests.waiting import eventually

from .specs import NOWHERE, FakeSink, history, spec

CAMERA, AUDIO_IN = "rdk:component:camera", "rdk:component:audio_in"
MIB = 1024 * 1024


def images(*data: bytes, captured_ns: int = 0) -> bytes:
    metadata = ResponseMetadata()
    metadata.captured_at.FromNanoseconds(captured_ns)
    each = (Image(source_name=f"s{n}", image=image, mime_type="image/png") for n, image in enumerate(data))
    return GetImagesResponse(images=each, response_metadata=metadata).SerializeToString()


def audio(data: bytes, end_ns: int) -> bytes:
    info = AudioInfo(sample_rate_hz=8000, num_channels=1)
    chunk = AudioChunk(audio_data=data, audio_info=info, end_timestamp_nanoseconds=end_ns)
    return GetAudioResponse(audio=chunk).SerializeToString()


class Setup:
    def __init__(self, client: FakeClient, api: str, method: str, **how: Any) -> None:
        self.clock = FakeClock()
        self.client = client
        self.sink = FakeSink()
        self.spec = spec(client, NOWHERE, "it", method, api=api, **how)
        self.collector = Collector(
            self.spec, self.clock, self.sink, lambda: True, Occupancy(), Answers(), Conditions(), history()
        )

    async def read(self) -> bool:
        before = self.collector.unused.total()
        self.collector.read(self.clock.monotonic())
        await self.clock.settle()
        return self.collector.unused.total() == before


@pytest.fixture
def camera() -> Setup:
    return Setup(FakeClient(images(b"one", b"two")), CAMERA, "GetImages")


async def test_each_payload_is_a_reading_of_its_own_with_the_times_of_the_answer(camera: Setup) -> None:
    camera.client.hang()
    await camera.read()
    await camera.clock.advance(0.25)
    camera.client.answer()
    await camera.clock.settle()
    assert [(reading.binary, mime_type) for reading, mime_type in camera.sink.binaries] == [
        (b"one", "image/png"),
        (b"two", "image/png"),
    ]
    for number, (reading, _) in enumerate(camera.sink.binaries):
        assert reading.metadata.time_requested.ToNanoseconds() == START_NS
        assert reading.metadata.time_received.ToNanoseconds() == START_NS + 250_000_000
        assert [each.label for each in reading.metadata.annotations.classifications] == [f"s{number}"]
    assert camera.sink.messages == []


async def test_a_time_that_the_camera_tells_is_when_its_images_were_received(camera: Setup) -> None:
    camera.client.outcome = images(b"one", captured_ns=START_NS - 7)
    await camera.read()
    ((reading, _),) = camera.sink.binaries
    assert reading.metadata.time_received.ToNanoseconds() == START_NS - 7


@pytest.mark.parametrize("answer", [images(), images(b"one", b""), images(b"")])
async def test_an_answer_with_an_empty_payload_is_an_error_and_stores_nothing(camera: Setup, answer: bytes) -> None:
    camera.client.outcome = answer
    await camera.read()
    assert (camera.collector.errors, camera.sink.binaries) == (1, [])
    assert "empty" in (camera.collector.last_error or "")


async def test_an_answer_that_can_not_be_used_costs_that_reading_only(camera: Setup) -> None:
    good = camera.client.outcome
    for bad in (b"\xff", ResourceCallError(ResourceErrorKind.FAILED, "no lens")):
        camera.client.outcome = bad
        await camera.read()
        camera.client.outcome = good
        await camera.read()
    assert (camera.collector.errors, len(camera.sink.binaries)) == (2, 4)


async def test_a_filtered_image_is_no_error(camera: Setup) -> None:
    camera.client.outcome = ResourceCallError(ResourceErrorKind.FILTERED, "no capture from filter module")
    await camera.read()
    assert (camera.collector.filtered, camera.collector.errors, camera.sink.binaries) == (1, 0, [])


@pytest.mark.parametrize(
    ("params", "extension"),
    [({}, ""), ({"mime_type": "image/jpeg"}, ".jpeg"), ({"mime_type": "image/png"}, ".png")],
)
def test_the_header_tells_binary_data_and_the_extension(params: Mapping[str, Any], extension: str) -> None:
    metadata = spec(FakeClient(), NOWHERE, "cam", "ReadImage", api=CAMERA, params=params, tags=("t",)).metadata()
    assert metadata.type == DataType.DATA_TYPE_BINARY_SENSOR
    assert (metadata.component_type, metadata.component_name, metadata.method_name) == (CAMERA, "cam", "ReadImage")
    assert (metadata.file_extension, metadata.mime_type, list(metadata.tags)) == (extension, "", ["t"])
    assert set(metadata.method_parameters) == set(params)


def heard(hz: float = 1.0, max_in_flight: int = 1) -> Setup:
    client = FakeClient([audio(b"ab", 100), audio(b"cd", 200)])
    how: dict[str, Any] = {"params": {"codec": "mp3"}, "timeout_s": 0.25, "max_in_flight": max_in_flight}
    return Setup(client, AUDIO_IN, "GetAudio", hz=hz, **how)


def after_ns(setup: Setup) -> list[int]:
    return [GetAudioRequest.FromString(call[1]).previous_timestamp_nanoseconds for call in setup.client.calls]


async def test_audio_goes_on_where_it_ended() -> None:
    setup = heard()
    for _ in range(3):
        await setup.read()
    assert after_ns(setup) == [0, 200, 200]
    assert [(reading.binary, mime_type) for reading, mime_type in setup.sink.binaries] == [
        (b"abcd", "audio/mpeg")
    ] * 3


async def test_audio_that_failed_is_asked_for_again_from_the_same_place() -> None:
    setup = heard()
    await setup.read()
    good, setup.client.outcome = setup.client.outcome, ResourceCallError(ResourceErrorKind.FAILED, "unplugged")
    await setup.read()
    setup.client.outcome = good
    await setup.read()
    assert after_ns(setup) == [0, 200, 200]


async def test_audio_may_last_its_interval_and_the_timeout() -> None:
    setup = heard(hz=0.1)
    await setup.read()
    assert [call[2] for call in setup.client.calls] == [10.25]


async def test_the_next_audio_follows_at_once_when_its_deadline_came_meanwhile() -> None:
    setup = heard()
    setup.client.hang()
    assert [await setup.read() for _ in range(4)] == [True, True, False, False]
    setup.client.answer()
    await setup.clock.settle()
    await setup.clock.settle()
    assert len(setup.client.calls) == 2
    assert setup.client.most_in_flight == 1


async def test_audio_has_one_call_in_flight_whatever_is_configured() -> None:
    setup = heard(max_in_flight=4)
    setup.client.hang()
    for _ in range(4):
        await setup.read()
    assert setup.client.most_in_flight == 1


async def test_a_stopped_collector_asks_for_no_more_audio() -> None:
    for answers in (False, True):
        setup = heard()
        setup.client.hang()
        assert [await setup.read() for _ in range(2)] == [True, True]
        stopped = asyncio.ensure_future(setup.collector.stop())
        await setup.clock.settle()
        if answers:
            setup.client.answer()
        await stopped
        await setup.clock.settle()
        assert (len(setup.client.calls), setup.client.cancelled) == (1, int(not answers))
        assert len(setup.sink.binaries) == int(answers)


class LargeImages(FakeClient):
    """Each answer has memory of its own, like those from a socket."""

    def __init__(self) -> None:
        super().__init__()
        self._answer = images(bytes(MIB))

    async def large_call(self, method: str, request: bytes, timeout_s: float, room: RoomForAnswer) -> bytes:
        return bytes(memoryview(self._answer))


async def test_an_image_of_a_mebibyte_takes_little_more_memory_than_itself(tmp_path: Path) -> None:
    ledger = Ledger(FileSystem(), str(tmp_path))
    writer = DiskWriter(FileSystem(), SystemClock(), ledger, str(tmp_path), 0.01)
    camera = spec(LargeImages(), writer, "cam", "GetImages", api=CAMERA)
    appender = writer.open(camera.metadata(), camera.max_file_bytes)
    collector = Collector(
        camera, SystemClock(), appender, lambda: True, Occupancy(), Answers(), Conditions(), history()
    )

    def stored(count: int) -> bool:
        return len(files_under(tmp_path, ".capture")) == count

    tracemalloc.start()
    for number in range(1, 4):
        collector.read(0.0)
        await eventually(partial(stored, number))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    await writer.close()
    assert peak_bytes <= 1.2 * MIB
    assert [counts.captured for counts in ledger.readings().values()] == [3]
    for path in files_under(tmp_path, ".capture"):
        header, reading = plain_messages(path.read_bytes())
        assert DataCaptureMetadata.FromString(header).mime_type == "image/png"
        assert SensorData.FromString(reading).binary == bytes(MIB)
