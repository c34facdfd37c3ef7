"""Encodes frames: the bytes of RDK's capture files, with a check in each frame that RDK's readers skip.

A capture file is a run of frames, each a varint length and a protobuf message: first one `DataCaptureMetadata`
(the header), then `SensorData`. Each message that we write ends with field 19999, a CRC-32; protobuf readers, the
builtin's included, skip fields that they do not know. Invariants:

- Nothing is decoded here, and a payload that is given in parts is never copied.
- A check includes the header's check, so that a frame is good in no file but its own.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence

from viam.proto.app.datasync import DataCaptureMetadata

from ...base.filesystem import Buffer

CHECK_FIELD = 19999
CHECK_TAG = b"\xfd\xe1\x09"  # the varint of (19999 << 3 | 5): a fixed 32-bit number comes next
CHECK_LAYOUT = struct.Struct("<3sI")
"""The layout of a check: its tag and its number."""
CHECK_SIZE = CHECK_LAYOUT.size
Read = Callable[[int, int], bytes]
"""A function that takes an offset and a size, and returns the bytes there; fewer at the end of the file."""

_READ_BYTES = 256 * 1024
_MAX_VARINT_BYTES = 10
_64_BITS = (1 << 64) - 1
_SECONDS_FIELD, _NANOS_FIELD = b"\x08", b"\x10"
_ENTRY_READINGS = b"\x0a\x08readings\x12"


def varint(value: int) -> bytes:
    """Returns `value`, which must be ≥ 0, as protobuf's base-128 number."""
    if value < 0x80:
        return bytes((value,))
    if 1 << 28 <= value < 1 << 35:  # the seconds and most nanoseconds of each reading: worth a fast path
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
    """Returns the number at `offset` and the offset after it. Raises IndexError or ValueError when there is
    none."""
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
    check = check_field(zlib.crc32(message, seed))
    return b"".join((varint(len(message) + CHECK_SIZE), message, check))  # copied once


def check_field(check: int) -> bytes:
    """Returns the field that ends a frame."""
    return CHECK_LAYOUT.pack(CHECK_TAG, check)


def checksum(read: Read, start: int, end: int, seed: int) -> int | None:
    """Returns the CRC-32 of the bytes of a file from `start` to `end`, continued from `seed`; None when the file
    ends before. They are not all in memory at once."""
    while start < end:
        window = read(start, min(_READ_BYTES, end - start))
        if not window:
            return None
        seed = zlib.crc32(window, seed)
        start += len(window)
    return seed


def split_check(message: bytes, seed: int) -> bytes | None:
    """Returns the message without its check; None when it has no check or the check does not match."""
    body = message[:-CHECK_SIZE]
    tail = message[-CHECK_SIZE:]
    if len(tail) != CHECK_SIZE or not tail.startswith(CHECK_TAG):
        return None
    return body if struct.unpack_from("<I", tail, len(CHECK_TAG))[0] == zlib.crc32(body, seed) else None


def has_check(message: bytes | None) -> bool:
    return message is not None and message[-CHECK_SIZE:].startswith(CHECK_TAG)


def seed_of(header: bytes) -> int:
    """Returns the start value of the checks in a file. It comes from the check of the header, so that a frame that
    got into another file is not good there."""
    return zlib.crc32(struct.pack("<I", zlib.crc32(header)))


class FrameEncoder:
    """Encodes the frames of files with one header."""

    def __init__(self, metadata: DataCaptureMetadata) -> None:
        header = metadata.SerializeToString()
        self.header_frame = _with_check(header, 0)
        self._seed = seed_of(header)

    def encode(self, message: bytes) -> bytes:
        """Returns the frame of one serialized `SensorData`."""
        return _with_check(message, self._seed)

    def encode_parts(self, parts: Sequence[Buffer]) -> list[Buffer]:
        """Returns the frame of one serialized `SensorData`, given in parts, in parts: none of them is copied."""
        check = self._seed
        for part in parts:
            check = zlib.crc32(part, check)
        size = sum(map(len, parts)) + CHECK_SIZE
        return [varint(size), *parts, check_field(check)]


def timestamp(time_ns: int) -> bytes:
    """Returns a serialized `google.protobuf.Timestamp`. Its seconds may be negative: protobuf writes a negative
    number as if it had 64 bits without a sign."""
    seconds, nanos = divmod(time_ns, 1_000_000_000)
    out = _SECONDS_FIELD + varint(seconds & _64_BITS) if seconds else b""
    return out + _NANOS_FIELD + varint(nanos) if nanos else out


def tabular_message(requested_ns: int, received_ns: int, payload: bytes) -> bytes:
    """Returns a serialized `SensorData` around `payload`, which is a serialized `Struct` and is not decoded."""
    requested, received = timestamp(requested_ns), timestamp(received_ns)
    metadata = b"\x0a%c%b\x12%c%b" % (len(requested), requested, len(received), received)
    return b"\x0a%c%b\x12%b%b" % (len(metadata), metadata, varint(len(payload)), payload)


def binary_head(requested_ns: int, received_ns: int, annotations: bytes, size_bytes: int) -> bytes:
    """Returns a serialized `SensorData` up to its payload of `size_bytes`.

    `annotations` is a serialized `Annotations`.
    """
    requested, received = timestamp(requested_ns), timestamp(received_ns)
    metadata = b"\x0a%c%b\x12%c%b" % (len(requested), requested, len(received), received)
    if annotations:
        metadata += b"\x22" + varint(len(annotations)) + annotations
    return b"\x0a" + varint(len(metadata)) + metadata + b"\x1a" + varint(size_bytes)


def readings_payload(response: bytes) -> bytes:
    """Returns the serialized `Struct` {"readings": …} around the bytes of a `GetReadingsResponse`.

    These are the bytes of a `Struct` already: both messages hold one map of the same type in field 1.
    """
    value = b"\x2a" + varint(len(response)) + response
    entry = _ENTRY_READINGS + varint(len(value)) + value
    return b"\x0a" + varint(len(entry)) + entry
