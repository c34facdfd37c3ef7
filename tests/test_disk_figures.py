"""The figures of docs/disks.md are what a reading takes up, counted frame by frame, and what follows from that."""

from __future__ import annotations

import re
from pathlib import Path

from viam.proto.app.datasync import DataCaptureMetadata
from viam.proto.common import GeoPoint, GetReadingsResponse, Vector3
from viam.proto.component.arm import GetJointPositionsResponse, JointPositions
from viam.proto.component.board import ReadAnalogReaderResponse
from viam.proto.component.movementsensor import GetLinearAccelerationResponse, GetPositionResponse
from viam.utils import primitive_to_value

from holdfast.base.filesystem import occupied_bytes
from holdfast.capture.methods import TabularMethod, lookup
from holdfast.storage.capture_files.frames import FrameEncoder, binary_head, tabular_message

DISKS = Path(__file__).parent.parent / "docs" / "disks.md"
REQUESTED_NS = 1_790_000_000_123_456_789
RECEIVED_NS = REQUESTED_NS + 1_234_567
IMAGE_BYTES = 200_000
DAY_S = 86_400
ENCODER = FrameEncoder(DataCaptureMetadata())


def readings(count: int) -> bytes:
    names = [f"temperature_{number}" for number in range(1, count + 1)]
    values = {name: primitive_to_value(21.5 + number) for number, name in enumerate(names)}
    return GetReadingsResponse(readings=values).SerializeToString()


def on_disk(api: str, method: str, answer: bytes) -> int:
    """Bytes of one tabular reading in a capture file."""
    row = lookup(f"rdk:component:{api}", method)
    assert isinstance(row, TabularMethod)
    return len(ENCODER.encode(tabular_message(REQUESTED_NS, RECEIVED_NS, row.payload(answer))))


def image_on_disk() -> int:
    head = binary_head(REQUESTED_NS, RECEIVED_NS, b"", IMAGE_BYTES)
    parts = ENCODER.encode_parts([head, bytes(IMAGE_BYTES)])
    return occupied_bytes(len(ENCODER.header_frame) + sum(map(len, parts)))


def position() -> bytes:
    return GetPositionResponse(
        coordinate=GeoPoint(latitude=52.520008, longitude=13.404954), altitude_m=34.5
    ).SerializeToString()


def rows() -> dict[str, int]:
    """What a reading takes up, by what the table of the document calls it."""
    acceleration = GetLinearAccelerationResponse(linear_acceleration=Vector3(x=0.1, y=-0.2, z=9.81))
    joints = GetJointPositionsResponse(positions=JointPositions(values=[10.5, -20.25, 30.125, -40.5, 50.75, 0.1]))
    analog = ReadAnalogReaderResponse(value=512, min_range=0, max_range=3.3, step_size=0.001)
    return {
        "board `Analogs`": on_disk("board", "Analogs", analog.SerializeToString()),
        "sensor `Readings`, 1 number": on_disk("sensor", "Readings", readings(1)),
        "sensor `Readings`, 5 numbers": on_disk("sensor", "Readings", readings(5)),
        "sensor `Readings`, 20 numbers": on_disk("sensor", "Readings", readings(20)),
        "movement_sensor `Position`": on_disk("movement_sensor", "Position", position()),
        "movement_sensor `LinearAcceleration`": on_disk(
            "movement_sensor", "LinearAcceleration", acceleration.SerializeToString()
        ),
        "arm `JointPositions`, 6 joints": on_disk("arm", "JointPositions", joints.SerializeToString()),
        "camera `GetImages`, one of 200 KB": image_on_disk(),
    }


def short(size: float) -> str:
    """In decimal units, to two digits: "13 MB"."""
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.2g} {unit}" if size < 100 else f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def test_the_table_tells_what_a_reading_takes_up_and_what_that_is_in_a_day() -> None:
    expected = [
        f"| {what} | {size:,} | {short(size * DAY_S)} | {short(size * DAY_S * 10)} | {short(size * DAY_S * 100)} |"
        for what, size in rows().items()
    ]
    table = re.findall(r"^\| (?:\w+ `\w+`).*\|$", DISKS.read_text(), re.MULTILINE)
    assert table == expected, "\n" + "\n".join(expected)


def test_the_example_is_what_the_formula_gives_for_these_readings() -> None:
    found = rows()
    numbers, position_bytes = found["sensor `Readings`, 5 numbers"], found["movement_sensor `Position`"]
    rate = 2 * 10 * numbers + 1 * 1 * position_bytes
    week_s, limit, link = 7 * DAY_S, 20_000_000_000, 1_000_000 // 8
    backlog = week_s * rate
    expected = [
        f"rate      2 × 10 Hz × {numbers} bytes + 1 × 1 Hz × {position_bytes} bytes = {rate:,} bytes/s",
        f"a week    {week_s:,} s × {rate:,} bytes/s = {short(backlog)}",
        f"20 GB     ÷ {rate:,} bytes/s = {limit / rate / DAY_S:.0f} days",
        f"catch up  {short(backlog)} ÷ ({link:,} − {rate:,}) bytes/s = {backlog / (link - rate) / 3600:.1f} hours",
    ]
    (example,) = re.findall(r"^```\n(rate.*?)\n```$", DISKS.read_text(), re.MULTILINE | re.DOTALL)
    assert example.splitlines() == expected
