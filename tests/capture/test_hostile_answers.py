"""Whatever a component answers costs that reading at most: neither the event loop, nor memory, nor other readings.

What the event loop does is measured in the calls of functions on its thread, which no noise changes.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import pytest
from viam.proto.app.data import Annotations
from viam.proto.component.camera import GetImagesResponse, Image

from bench.hostile import components
from bench.hostile.components import Hostile, images, length_delimited, seen
from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import Buffer
from holdfast.base.tasks import in_thread
from holdfast.capture.answers import MAX_ANNOTATIONS_BYTES, MAX_MIME_TYPE_CHARS, Answers
from holdfast.capture.causes import Conditions
from holdfast.capture.client import MAX_STREAM_MESSAGES
from holdfast.capture.collector import Collector, Occupancy
from holdfast.capture.methods import BinaryMethod, lookup
from holdfast.capture.methods.method import MAX_DECODED_BYTES, MAX_PAYLOADS, MAX_TABULAR_BYTES
from holdfast.capture.methods.vision import MAX_SEEN
from tests.fakes import FakeClient
from tests.waiting import eventually

from .specs import NOWHERE, FakeSink, history, spec

MIB = components.MIB
SIZE_BYTES = 2 * MIB
MAX_CALLS_ON_LOOP = 30_000
"""About three times what the worst answer takes; without a bound they take millions."""
CALLS_OF_A_MESSAGE = 10
"""For each message of a stream, while it comes."""
PNG = b"\x89PNG\r\n\x1a\n" + bytes(8) + b"\0\0\0\x0a\0\0\0\x0a"
TOO_MANY_PARTS = "the answer consists of too many parts"
TOO_LARGE = f"the answer is larger than {MAX_DECODED_BYTES // 1024}.0 KiB, the most that is taken of one"
TOO_MANY_IMAGES = "the camera returned more than 100 images; no more are taken of one answer"
TOO_MANY_MESSAGES = "answered with more than 20000 messages"
OUTCOMES = {
    "images of one byte": TOO_MANY_IMAGES,
    "images of one byte of which one is wanted": TOO_MANY_IMAGES,
    "images that are empty": TOO_MANY_IMAGES,
    "a box with a long label": "a Detection in the answer has",
    "readings with equal names": "",
    "a reading of a long text": "",
    "a result of a long text": "",
    "joints": TOO_LARGE,
    "axes": TOO_LARGE,
    "axes one by one": TOO_LARGE,
    "tiny unknown fields in a position": TOO_LARGE,
    "audio of one byte": TOO_MANY_MESSAGES,
    "audio without data": TOO_MANY_MESSAGES,
    "audio in ever other formats": TOO_MANY_MESSAGES,
    "a map in pieces of one byte": TOO_MANY_MESSAGES,
    "a MIME type of 1 MiB": "a name or type in the answer has 1048576 bytes",
    "a source's name of 1 MiB": "a name or type in the answer has 1048576 bytes",
    "a cloud of an unknown type": "a name or type in the answer has 1048576 bytes",
    "a group": "the answer is not readable",
    "a varint that is cut off": "the answer is not readable",
    "a varint that is too long": "the answer is not readable",
    "a length beyond the end": "the answer is not readable",
    "a length of 64 bits": "the answer is not readable",
    "no protobuf message": "the answer is not readable",
    "an image given as a number": "the answer, or a part of it, is empty",
    "a JPEG that is cut off": "the size of the image is not known",
    "an unknown format": "the size of the image is not known",
}
"""The error of each answer, or a part of it; empty if it is stored. Others of many parts are `TOO_MANY_PARTS`."""


@dataclass
class Calls:
    """How many functions of Holdfast were called on this thread, or called another one."""

    count: int = 0


@contextmanager
def counted() -> Iterator[Calls]:
    calls = Calls()

    def count(frame: FrameType, event: str, argument: Any) -> None:
        calls.count += "holdfast" in frame.f_code.co_filename

    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def collector(hostile: Hostile, sink: FakeSink, answers: Answers | None = None) -> Collector:
    messages = hostile.messages()
    table = lookup(hostile.api, hostile.method)
    streamed = isinstance(table, BinaryMethod) and table.streamed
    client = FakeClient(messages if streamed else messages[0])
    its = spec(client, NOWHERE, "it", hostile.method, api=hostile.api, params=hostile.params)
    return Collector(
        its, SystemClock(), sink, lambda: False, Occupancy(), answers or Answers(), Conditions(), history()
    )


async def read(collector: Collector) -> None:
    collector.read(0.0)
    await eventually(lambda: not collector.in_flight)


def named(hostile: Hostile) -> str:
    return f"{hostile.method}: {hostile.name}"


@pytest.mark.parametrize("hostile", list(components.many(SIZE_BYTES)), ids=named)
async def test_an_answer_of_many_parts_takes_the_event_loop_a_few_steps(hostile: Hostile) -> None:
    sink = FakeSink()
    it = collector(hostile, sink)
    with counted() as calls:
        await read(it)
    streamed = hostile.method in {"GetAudio", "PointCloudMap"}
    assert calls.count < MAX_CALLS_ON_LOOP + streamed * CALLS_OF_A_MESSAGE * MAX_STREAM_MESSAGES
    expected = OUTCOMES.get(hostile.name, TOO_MANY_PARTS)
    if expected:
        assert expected in (it.last_error or "nothing is wrong")
        assert (it.readings, it.errors, len(sink.messages), len(sink.binaries)) == (0, 1, 0, 0)
    else:
        assert (it.last_error, it.readings) == (None, 1)


@pytest.mark.parametrize("hostile", list(components.strange()), ids=named)
async def test_an_answer_that_makes_no_sense_is_stored_or_is_an_error_that_says_why(hostile: Hostile) -> None:
    it = collector(hostile, FakeSink())
    await read(it)
    expected = OUTCOMES.get(hostile.name, "")
    assert expected in (it.last_error or "")
    assert (it.readings, it.errors) == ((0, 1) if expected else (1, 0))
    assert len(it.last_error or "") < 300


def vision(boxes: int) -> Hostile:
    return Hostile("", components.VISION, "CaptureAllFromCamera", lambda: [seen(PNG, boxes)], {"camera_name": "c"})


def camera(*each: Image) -> Hostile:
    answer = GetImagesResponse(images=each).SerializeToString()
    return Hostile("", components.CAMERA, "GetImages", lambda: [answer])


async def outcome(hostile: Hostile, sink: FakeSink | None = None) -> tuple[str, FakeSink]:
    sink = sink or FakeSink()
    it = collector(hostile, sink)
    await read(it)
    return it.last_error or "", sink


@pytest.mark.parametrize("method", ["GetImages", "ReadImage"])
async def test_as_many_images_are_stored_as_an_answer_may_have_and_none_of_more(method: str) -> None:
    def of(count: int) -> Hostile:
        return Hostile("", components.CAMERA, method, lambda: [images(count)])

    error, sink = await outcome(of(MAX_PAYLOADS))
    assert (error, len(sink.binaries)) == ("", MAX_PAYLOADS if method == "GetImages" else 1)
    error, sink = await outcome(of(MAX_PAYLOADS + 1))
    assert (error, sink.binaries) == (TOO_MANY_IMAGES, [])


async def test_audio_that_changes_its_format_again_and_again_is_an_error() -> None:
    one, other = (components.audio(b"xx", rate_hz) for rate_hz in (8_000, 16_000))

    def of(count: int) -> Hostile:
        return Hostile("", components.AUDIO_IN, "GetAudio", lambda: ([one, other] * count)[:count])

    error, sink = await outcome(of(MAX_PAYLOADS))
    assert (error, len(sink.binaries)) == ("", MAX_PAYLOADS)
    error, sink = await outcome(of(MAX_PAYLOADS + 1))
    assert (error, sink.binaries) == (f"the audio changed its format more than {MAX_PAYLOADS} times", [])


async def test_as_many_boxes_are_stored_as_an_image_may_have_and_beyond_it_is_an_error_of_that_reading() -> None:
    error, sink = await outcome(vision(MAX_SEEN))
    (reading, _), annotations = sink.binaries[0], sink.binaries[0][0].metadata.annotations
    assert (error, len(annotations.bboxes), reading.binary) == ("", MAX_SEEN, PNG)
    error, sink = await outcome(vision(MAX_SEEN + 1))
    assert (error, sink.binaries) == (f"the vision service saw more than {MAX_SEEN} things on the image", [])


async def test_a_mime_type_is_stored_up_to_a_length() -> None:
    error, sink = await outcome(camera(Image(image=b"x", mime_type="a" * MAX_MIME_TYPE_CHARS)))
    assert (error, sink.binaries[0][1]) == ("", "a" * MAX_MIME_TYPE_CHARS)
    error, sink = await outcome(camera(Image(image=b"x", mime_type="a" * (MAX_MIME_TYPE_CHARS + 1))))
    assert error == "a MIME type in the answer has 256 characters; at most 255 are stored"


async def test_annotations_are_stored_up_to_a_size() -> None:
    def annotated(size_bytes: int) -> Hostile:
        annotations = Annotations()
        annotations.classifications.add(label="x" * size_bytes)
        return camera(Image(image=b"x", mime_type="image/png", annotations=annotations))

    error, sink = await outcome(annotated(MAX_ANNOTATIONS_BYTES - 100))
    assert (error, len(sink.binaries)) == ("", 1)
    error, sink = await outcome(annotated(MAX_ANNOTATIONS_BYTES))
    assert "the annotations of a payload have" in error
    assert not sink.binaries


@pytest.mark.parametrize(
    "hostile",
    [
        vision(5000),
        Hostile("text", components.SENSOR, "Readings", lambda: [length_delimited(1, bytes(SIZE_BYTES))]),
        Hostile("audio", components.AUDIO_IN, "GetAudio", lambda: [components.audio(b"xx")] * MAX_STREAM_MESSAGES),
    ],
    ids=named,
)
async def test_what_takes_more_than_a_few_steps_is_decoded_on_another_thread_one_at_a_time(
    hostile: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []
    at_once: list[int] = [0, 0]

    async def noted(function: Any, *arguments: Any) -> Any:
        def run() -> Any:
            threads.append(threading.current_thread())
            return function(*arguments)

        at_once[0] += 1
        at_once[1] = max(at_once)
        try:
            return await in_thread(run)
        finally:
            at_once[0] -= 1

    monkeypatch.setattr("holdfast.capture.decoding.in_thread", noted)
    sink, answers = FakeSink(), Answers()
    several = [collector(hostile, sink, answers) for _ in range(4)]
    await asyncio.gather(*map(read, several))
    assert len(sink.messages) + len(sink.binaries) == 4
    assert len(threads) == 4
    assert threading.main_thread() not in threads
    assert at_once[1] == 1


async def test_an_ordinary_answer_goes_to_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.capture.decoding.in_thread", None)
    large = bytes(20 * MIB)
    error, sink = await outcome(camera(*(Image(image=large[:MIB], mime_type="image/png") for _ in range(8))))
    assert (error, len(sink.binaries)) == ("", 8)
    assert (await outcome(vision(50)))[0] == ""


async def test_a_reading_that_nobody_would_take_is_an_error() -> None:
    """Viam's cloud takes 4 MB, and MongoDB 16 MiB."""
    hostile = Hostile("", components.SENSOR, "Readings", lambda: [bytes(MAX_TABULAR_BYTES + 1)])
    error, _ = await outcome(hostile)
    assert error == "the answer is larger than 16.0 MiB, the most that is taken of one"


async def test_a_hostile_component_costs_its_neighbours_no_reading() -> None:
    sink, answers = FakeSink(), Answers()
    sensor = Hostile("", components.SENSOR, "Readings", lambda: [b"\x0a\x03\x0a\x01a"])
    good = collector(sensor, sink, answers)
    for hostile in components.many(MIB // 4):
        bad = collector(hostile, FakeSink(), answers)
        await asyncio.gather(read(bad), read(good))
    assert (good.errors, good.readings) == (0, len(sink.messages))
    assert len(sink.messages) == len(list(components.many()))


@pytest.mark.parametrize("beside", [MIB // 8, MIB], ids=["mostly the image", "mostly something else"])
async def test_a_payload_keeps_nothing_large_in_memory_beside_itself(beside: int) -> None:
    image = length_delimited(3, bytes(MIB // 2))
    answer = length_delimited(1, image) + length_delimited(99, bytes(beside))
    kept: list[Buffer] = []

    class Keeping(FakeSink):
        def append_binary(self, head: bytes, payload: Sequence[Buffer], mime_type: str) -> None:
            kept.extend(payload)

    await outcome(Hostile("", components.CAMERA, "GetImages", lambda: [answer]), Keeping())
    (payload,) = kept
    assert len(payload) == MIB // 2
    assert isinstance(payload, memoryview) == (beside < MIB // 2)
