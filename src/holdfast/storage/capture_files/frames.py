"""Frames: RDK's capture file as bytes, with a check in each frame that RDK's readers pass over.

A capture file is a run of frames, each a varint length and a protobuf message: first one `DataCaptureMetadata`
(the header), then `SensorData`. Each message that we write ends with field 19999, a CRC-32; protobuf readers,
the builtin's included, skip fields that they do not know. Invariants:

- Nothing is decoded here, and a payload that is given in parts is never copied.
- A check counts the header's in, so that a frame is good in no other file than its own.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

from viam.proto.app.datasync import DataCaptureMetadata

from ...base.filesystem import Buffer

CHECK_FIELD = 19999
CHECK_TAG = b"\xfd\xe1\x09"  # the varint of (19999 << 3 | 5): a fixed 32-bit number follows
CHECK_LAYOUT = struct.Struct("<3sI")
"""The tag and the number of a check."""
CHECK_SIZE = CHECK_LAYOUT.size
_MAX_VARINT_BYTES = 10
_SECONDS_FIELD, _NANOS_FIELD = b"\x08", b"\x10"
_ENTRY_READINGS = b"\x0a\x08readings\x12"


def varint(value: int) -> bytes:
    """Protobuf's base-128 number, for `value` ≥ 0."""
    if value < 0x80:
        return bytes((value,))
    if 1 << 28 <= value < 1 << 35:  # the seconds and most nanoseconds of each reading: worth the short way
        return bytes(
            (
                value & 0x7F | 0x80,
                value >> 7 & 0x7F | 0x80,
                value >> 14 & 0x7F | 0x80,
                value >> 21 & 0x7F | 0x80,
                value >> 28,
            )
        )
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: Buffer, offset: int) -> tuple[int, int]:
    """The number at `offset` and the offset behind it; IndexError or ValueError when there is none."""
    value = shift = 0
    while True:
        byte = data[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, offset
        shift += 7
        if shift >= 7 * _MAX_VARINT_BYTES:
            raise ValueError("not a varint")


def _with_check(message: bytes, seed: int) -> bytes:
    return varint(len(message) + CHECK_SIZE) + message + check_field(zlib.crc32(message, seed))


def check_field(check: int) -> bytes:
    """The field that ends a frame."""
    return CHECK_LAYOUT.pack(CHECK_TAG, check)


def split_check(message: bytes, seed: int) -> bytes | None:
    """The message without its check, or None when there is no check or it does not fit."""
    body = message[:-CHECK_SIZE]
    tail = message[-CHECK_SIZE:]
    if len(tail) != CHECK_SIZE or not tail.startswith(CHECK_TAG):
        return None
    return body if struct.unpack_from("<I", tail, len(CHECK_TAG))[0] == zlib.crc32(body, seed) else None


def has_check(message: bytes | None) -> bool:
    return message is not None and message[-CHECK_SIZE:].startswith(CHECK_TAG)


def seed_of(header: bytes) -> int:
    """What a file's frames are checked against: the header's own check, so that frames can't change files."""
    return zlib.crc32(struct.pack("<I", zlib.crc32(header)))


class FrameEncoder:
    """Makes the frames of files with one header."""

    def __init__(self, metadata: DataCaptureMetadata) -> None:
        header = metadata.SerializeToString()
        self.header_frame = _with_check(header, 0)
        self._seed = seed_of(header)

    def encode(self, message: bytes) -> bytes:
        """The frame of one serialized `SensorData`."""
        return _with_check(message, self._seed)

    def encode_parts(self, parts: Sequence[Buffer]) -> list[Buffer]:
        """The frame of one serialized `SensorData` that is given in parts, in parts: none of them is copied."""
        check = self._seed
        for part in parts:
            check = zlib.crc32(part, check)
        size = sum(map(len, parts)) + CHECK_SIZE
        return [varint(size), *parts, check_field(check)]


def timestamp(time_ns: int) -> bytes:
    """A serialized `google.protobuf.Timestamp`."""
    seconds, nanos = divmod(time_ns, 1_000_000_000)
    out = _SECONDS_FIELD + varint(seconds) if seconds else b""
    return out + _NANOS_FIELD + varint(nanos) if nanos else out


def tabular_message(requested_ns: int, received_ns: int, payload: bytes) -> bytes:
    """A serialized `SensorData` with `payload`, a serialized `Struct`, undecoded."""
    requested, received = timestamp(requested_ns), timestamp(received_ns)
    metadata = b"\x0a%c%b\x12%c%b" % (len(requested), requested, len(received), received)
    return b"\x0a%c%b\x12%b%b" % (len(metadata), metadata, varint(len(payload)), payload)


def binary_head(requested_ns: int, received_ns: int, annotations: bytes, size_bytes: int) -> bytes:
    """A serialized `SensorData` up to its payload of `size_bytes`, which is to follow.

    `annotations` is a serialized `Annotations`.
    """
    requested, received = timestamp(requested_ns), timestamp(received_ns)
    metadata = b"\x0a%c%b\x12%c%b" % (len(requested), requested, len(received), received)
    if annotations:
        metadata += b"\x22" + varint(len(annotations)) + annotations
    return b"\x0a" + varint(len(metadata)) + metadata + b"\x1a" + varint(size_bytes)


def readings_payload(response: bytes) -> bytes:
    """The `Struct` {"readings": …} around the bytes of a `GetReadingsResponse`.

    They are the bytes of a `Struct` already: both messages hold one map of the same type in field 1.
    """
    value = b"\x2a" + varint(len(response)) + response
    entry = _ENTRY_READINGS + varint(len(value)) + value
    return b"\x0a" + varint(len(entry)) + entry
