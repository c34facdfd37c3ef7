"""Reads the parts of a serialized `SensorData` in place.

To decode a message of many tiny parts takes the processor for seconds, during which Python runs nothing else, and
ten times its size in memory. What is larger than `MOST_DECODED_BYTES` is therefore never decoded.
"""

from __future__ import annotations

import itertools

from google.protobuf.message import DecodeError
from viam.proto.app.datasync import SensorData, SensorMetadata

from .protobuf_wire import fields

MOST_DECODED_BYTES = 64 * 1024
_METADATA, _STRUCT, _BINARY = 1, 2, 3  # fields of SensorData
_NAMES = {_STRUCT: "struct", _BINARY: "binary"}
_MOST_FIELDS = 16


def kind_of(message: bytes) -> str | None:
    """Returns "struct" or "binary", by what a `SensorData` has; None if `message` is no `SensorData`.

    The content of a large one may still not be what it should be.
    """
    if len(message) <= MOST_DECODED_BYTES:
        try:
            return SensorData.FromString(message).WhichOneof("data")
        except DecodeError:
            return None
    data = _data(message)
    return None if data is None or metadata_of(message) is None else _NAMES[data[0]]


def metadata_of(message: bytes) -> SensorMetadata | None:
    """Returns the times and annotations of a `SensorData`; None if `message` is none."""
    metadata = SensorMetadata()
    try:
        if len(message) <= MOST_DECODED_BYTES:
            return SensorData.FromString(message).metadata
        parts = _parts(message)
        found = [part for number, part in parts or () if number == _METADATA]
        if parts is None or sum(map(len, found)) > MOST_DECODED_BYTES:
            return None
        for part in found:
            metadata.MergeFromString(bytes(part))
    except DecodeError:
        return None
    return metadata


def binary_of(message: bytes) -> memoryview | None:
    """Returns the payload of a binary `SensorData`; None if it has none."""
    data = _data(message)
    return data[1] if data is not None and data[0] == _BINARY else None


def _data(message: bytes) -> tuple[int, memoryview] | None:
    """Returns the last part with the content, which is the one that counts."""
    return next((part for part in reversed(_parts(message) or []) if part[0] in _NAMES), None)


def _parts(message: bytes) -> list[tuple[int, memoryview]] | None:
    """Returns the parts of a `SensorData` with their numbers; None if there are others, or too many."""
    try:
        found = list(itertools.islice(fields(memoryview(message)), _MOST_FIELDS + 1))
    except ValueError:
        return None
    parts = [(number, part) for number, part in found if isinstance(part, memoryview)]
    return parts if len(parts) == len(found) <= _MOST_FIELDS else None
