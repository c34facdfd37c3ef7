"""Files of camera.GetImages from the time before each image had a file of its own are sent as the builtin does."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from viam.proto.app.datasync import SensorData

from holdfast.storage.ledger.counts import ReadingCounts
from holdfast.sync.found import Found, Outcome
from tests.storage import samples

from ..conftest import World
from .test_delivery import attempt, only_file

COLLECTOR = ("rdk:component:camera", "eye", "GetImages")
LARGE = bytes(range(256)) * 5_000


def old_file(world: World, *readings: bytes, **header: object) -> Found:
    path = Path(world.folder) / "eye" / "9999-a.capture"
    path.parent.mkdir()
    path.write_bytes(samples.builtin_file(samples.old_images_header(**header), list(readings)))
    return only_file(world)


def counts(world: World) -> ReadingCounts:
    return world.ledger.readings()[COLLECTOR]


async def test_each_old_image_arrives_as_a_binary_reading_with_the_times_of_all(world: World) -> None:
    first, second = {"left": b"\xff\xd8\x00", "right": LARGE}, {"left": b""}
    found = old_file(world, *(samples.old_images_reading(each, n) for n, each in enumerate((first, second))))
    assert await attempt(world, found) is Outcome.DELIVERED
    streamed = b""  # the stand-in hands on what was streamed without its payload
    assert [data.binary for data in world.arrived.binary] == [b"\xff\xd8\x00", streamed, b""]
    received = [path.read_bytes() for path in (world.folder.parent / "cloud").rglob("*") if path.is_file()]
    assert received.count(LARGE) == 1
    requested = [data.metadata.time_requested.ToNanoseconds() - samples.START_NS for data in world.arrived.binary]
    assert requested == [0, 0, 100_000_000]
    assert {about.file_extension for about in world.arrived.metadata} == {""}
    assert (counts(world).adopted, counts(world).delivered) == (2, 2)
    assert not Path(found.path).exists()


@pytest.mark.parametrize(("mime_type", "extension"), [("", ""), ("image/png", ".png")])
async def test_an_old_images_extension_is_that_of_the_headers_mime_type_alone(
    world: World, mime_type: str, extension: str
) -> None:
    reading = samples.old_images_reading({"left": b"\x01"})
    found = old_file(world, reading, mime_type=mime_type, file_extension=".dat")
    assert await attempt(world, found) is Outcome.DELIVERED
    assert [about.file_extension for about in world.arrived.metadata] == [extension]


async def test_of_a_refused_old_image_the_whole_reading_is_kept_and_counted_once(world: World) -> None:
    readings = [samples.old_images_reading({"left": b"\x01", "right": b"\x02"}, n) for n in range(2)]
    poison = SensorData(binary=b"\x02").SerializeToString()[-3:]
    calls = 0

    def second_image(method: str, request: bytes | None) -> grpc.StatusCode | None:
        nonlocal calls
        if request is None or not request.endswith(poison):
            return None
        calls += 1
        return grpc.StatusCode.INVALID_ARGUMENT if calls <= 2 else None

    world.cloud.fail_while = second_image
    found = old_file(world, *readings)
    assert await attempt(world, found) is Outcome.WAITING
    assert await attempt(world, found) is Outcome.QUARANTINED, "the first image was accepted again"
    assert (counts(world).delivered, counts(world).quarantined) == (1, 1)
    assert [data.binary for data in world.arrived.binary] == [b"\x01", b"\x01", b"\x01", b"\x02"]
