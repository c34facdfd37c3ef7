"""Capture files for the tests: made as capture makes them, and read back with plain protobuf."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.internal.decoder import _DecodeVarint  # type: ignore[attr-defined]
from google.protobuf.struct_pb2 import Struct
from hypothesis import strategies as st
from viam.proto.app.datasync import DataCaptureMetadata, DataType, SensorData, SensorMetadata
from viam.proto.common import GetReadingsResponse

from holdfast.base.at import Identity
from holdfast.base.filesystem import FileSystem
from holdfast.errors import DamagedFileError
from holdfast.storage.capture_files import frames
from holdfast.storage.capture_files.reader import CaptureReader

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
READINGS = st.dictionaries(st.text(max_size=10), VALUES, max_size=6)
"""Readings as sensors answer them."""
BOTH = pytest.mark.parametrize("checked", [True, False], ids=["ours", "the builtin's"])
START_NS = 1_700_000_000_123_456_789
API = "rdk:component:sensor"


def metadata(name: str = "lidar", method: str = "Readings", tags: Iterable[str] = ()) -> DataCaptureMetadata:
    return DataCaptureMetadata(
        component_type=API,
        component_name=name,
        method_name=method,
        type=DataType.DATA_TYPE_TABULAR_SENSOR,
        file_extension=".dat",
        tags=tags,
    )


def pictures_header() -> DataCaptureMetadata:
    return DataCaptureMetadata(
        component_type="rdk:component:camera",
        component_name="eye",
        method_name="ReadImage",
        type=DataType.DATA_TYPE_BINARY_SENSOR,
    )


def picture(payload: bytes) -> bytes:
    """Returns a serialized `SensorData` with a payload."""
    return SensorData(metadata=SensorMetadata(), binary=payload).SerializeToString()


def response(values: Mapping[str, Any]) -> bytes:
    """Returns a sensor's answer, serialized."""
    struct = Struct()
    struct.update(dict(values))
    return GetReadingsResponse(readings=struct.fields).SerializeToString()


def message(number: int, values: Mapping[str, Any] | None = None) -> bytes:
    """Returns the serialized `SensorData` with this number, of a collector at 10 Hz."""
    requested_ns = START_NS + number * 100_000_000
    payload = frames.readings_payload(response({"number": number} if values is None else values))
    return frames.tabular_message(requested_ns, requested_ns + 1_000_000, payload)


def messages(count: int, first: int = 0) -> list[bytes]:
    return [message(number) for number in range(first, first + count)]


def our_file(header: DataCaptureMetadata, readings: Iterable[bytes]) -> bytes:
    encoder = frames.FrameEncoder(header)
    return encoder.header_frame + b"".join(map(encoder.encode, readings))


def builtin_file(header: DataCaptureMetadata, readings: Iterable[bytes]) -> bytes:
    """Returns a capture file as RDK's pbutil.WriteDelimited writes it: lengths and messages, no checks."""
    parts = (header.SerializeToString(), *readings)
    return b"".join(frames.varint(len(part)) + part for part in parts)


def old_images_header(**changes: Any) -> DataCaptureMetadata:
    """Returns the header of a file of camera.GetImages from before each image had a file of its own."""
    values: dict[str, Any] = {
        "component_type": "rdk:component:camera",
        "component_name": "eye",
        "method_name": "GetImages",
        "type": DataType.DATA_TYPE_BINARY_SENSOR,
    }
    return DataCaptureMetadata(**{**values, **changes})


def old_images_reading(images: Mapping[str, bytes], number: int = 0) -> bytes:
    """Returns a reading of such a file, as RDK's StructToStructPb makes it of a GetImagesResponse."""
    answer = Struct()
    answer.update(
        {
            "images": [
                {"annotations": {}, "image": list(image), "mime_type": "image/jpeg", "source_name": source}
                for source, image in images.items()
            ],
            "response_metadata": {"captured_at": {"nanos": 5, "seconds": 1_600_000_000}},
        }
    )
    requested_ns = START_NS + number * 100_000_000
    return frames.tabular_message(requested_ns, requested_ns + 1_000_000, answer.SerializeToString())


def file_of(checked: bool) -> Callable[[DataCaptureMetadata, list[bytes]], bytes]:
    return our_file if checked else builtin_file


def ends(header: DataCaptureMetadata, readings: list[bytes], *, checked: bool) -> list[int]:
    """Returns the offsets behind the header and behind each reading."""
    return [len(file_of(checked)(header, readings[:count])) for count in range(len(readings) + 1)]


def plain_messages(data: bytes) -> list[bytes]:
    """Returns the messages of a whole capture file as protobuf's own reader cuts them."""
    found, offset = [], 0
    while offset < len(data):
        size, offset = _DecodeVarint(data, offset)
        found.append(data[offset : offset + size])
        offset += size
    return found


class InMemory(FileSystem):
    """A file system with one file, whose content is `data`."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def open(self, path: str, identity: Identity | None = None) -> int:
        return 0

    def status(self, descriptor: int, path: str) -> os.stat_result:
        return os.stat_result((0o100600, 1, 1, 1, 0, 0, len(self._data), 0, 0, 0))

    def read_at(self, descriptor: int, path: str, offset: int, size_bytes: int) -> bytes:
        return self._data[offset : offset + size_bytes]

    def close(self, descriptor: int, path: str) -> None:
        """Does nothing."""


@dataclass
class Scan:
    """What a pass of `CaptureReader` over a whole file found."""

    metadata: DataCaptureMetadata
    checked: bool
    readings: list[bytes]
    damaged: list[tuple[int, int]]
    damaged_readings: int
    good_end: int
    torn_bytes: int
    torn_readings: int


def scan(data: bytes) -> Scan:
    """Reads a whole file, and checks that good frames, damage and torn end follow each other without a gap."""
    reader = CaptureReader(InMemory(data), "data")
    readings = list(reader)
    assert reader.readings == len(readings)
    found = Scan(
        reader.metadata,
        reader.checked,
        readings,
        reader.damaged,
        reader.damaged_readings,
        reader.good_end,
        reader.torn_bytes,
        reader.torn_readings,
    )
    _assert_covered(data, found)
    return found


def scan_or_refuse(data: bytes) -> Scan | None:
    """Returns what a scan finds, or None if the header is not good: the only error that a scan may raise."""
    try:
        return scan(data)
    except DamagedFileError:
        return None


def _assert_covered(data: bytes, found: Scan) -> None:
    size, offset = frames.read_varint(data, 0)
    offset += size
    good_end, damaged, readings = offset, list(found.damaged), list(found.readings)
    while damaged or readings:
        if damaged and damaged[0][0] == offset:
            _, end = damaged.pop(0)
            assert end > offset
            offset = end
        else:
            size, offset = frames.read_varint(data, offset)
            reading = readings.pop(0)
            assert len(reading) == size - (frames.CHECK_SIZE if found.checked else 0)
            assert data[offset : offset + len(reading)] == reading
            good_end = offset = offset + size
    assert found.good_end == good_end
    assert offset + found.torn_bytes == len(data)
    assert found.damaged_readings >= len(found.damaged)
    assert found.torn_readings <= min(1, found.torn_bytes)


def number_of(reading: bytes) -> int:
    """Returns the number of a `message`."""
    fields = SensorData.FromString(reading).struct.fields["readings"].struct_value.fields
    return int(fields["number"].number_value)


def files_under(folder: str | os.PathLike[str], extension: str) -> list[Path]:
    """Returns the files with this extension, oldest name first, except those in quarantine and our state."""
    found = sorted(Path(folder).rglob(f"*{extension}"))
    return [path for path in found if not {"failed", ".holdfast"} & set(path.relative_to(folder).parts)]


def readings_under(folder: str | os.PathLike[str], extension: str = ".capture") -> list[bytes]:
    """Returns all readings of all files, in the order of the files' names. Fails if a file is not wholly good."""
    found = []
    for path in files_under(folder, extension):
        result = scan(path.read_bytes())
        assert (result.damaged, result.torn_bytes) == ([], 0), f"{path} is not whole"
        found += result.readings
    return found


def numbers_under(folder: str | os.PathLike[str], extension: str = ".capture") -> list[int]:
    return [number_of(reading) for reading in readings_under(folder, extension)]
