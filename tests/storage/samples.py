"""Capture files for the tests: made as capture makes them, and read back with plain protobuf."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from google.protobuf.internal.decoder import _DecodeVarint  # type: ignore[attr-defined]
from google.protobuf.struct_pb2 import Struct
from viam.proto.app.datasync import DataCaptureMetadata, DataType, SensorData
from viam.proto.common import GetReadingsResponse

from holdfast.storage import frames

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


def response(values: Mapping[str, Any]) -> bytes:
    """What a sensor answers, serialized."""
    struct = Struct()
    struct.update(dict(values))
    return GetReadingsResponse(readings=struct.fields).SerializeToString()


def message(number: int, values: Mapping[str, Any] | None = None) -> bytes:
    """The serialized `SensorData` number `number` of a collector at 10 Hz."""
    requested_ns = START_NS + number * 100_000_000
    payload = frames.readings_payload(response({"number": number} if values is None else values))
    return frames.tabular_message(requested_ns, requested_ns + 1_000_000, payload)


def messages(count: int, first: int = 0) -> list[bytes]:
    return [message(number) for number in range(first, first + count)]


def our_file(header: DataCaptureMetadata, readings: Iterable[bytes]) -> bytes:
    encoder = frames.FrameEncoder(header)
    return encoder.header_frame + b"".join(map(encoder.encode, readings))


def builtin_file(header: DataCaptureMetadata, readings: Iterable[bytes]) -> bytes:
    """As RDK's pbutil.WriteDelimited writes it: length and message, no checks."""
    parts = (header.SerializeToString(), *readings)
    return b"".join(frames.varint(len(part)) + part for part in parts)


def plain_messages(data: bytes) -> list[bytes]:
    """The messages of a whole capture file as protobuf's own reader cuts them."""
    found, offset = [], 0
    while offset < len(data):
        size, offset = _DecodeVarint(data, offset)
        found.append(data[offset : offset + size])
        offset += size
    return found


def number_of(reading: bytes) -> int:
    """The number that `message` was given."""
    fields = SensorData.FromString(reading).struct.fields["readings"].struct_value.fields
    return int(fields["number"].number_value)


def files_under(folder: str | os.PathLike[str], extension: str) -> list[Path]:
    """The files with this extension, oldest name first; quarantine and state left out."""
    found = sorted(Path(folder).rglob(f"*{extension}"))
    return [path for path in found if not {"failed", ".holdfast"} & set(path.relative_to(folder).parts)]


def readings_under(folder: str | os.PathLike[str], extension: str = ".capture") -> list[bytes]:
    """All readings of all files, in the order of the files' names; fails when a file is not wholly good."""
    found = []
    for path in files_under(folder, extension):
        result = frames.scan(path.read_bytes())
        assert (result.damaged, result.torn_bytes) == ([], 0), f"{path} is not whole"
        found += result.readings
    return found


def numbers_under(folder: str | os.PathLike[str], extension: str = ".capture") -> list[int]:
    return [number_of(reading) for reading in readings_under(folder, extension)]
