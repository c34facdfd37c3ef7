"""Frames: RDK's capture file as bytes, with a check in each frame that RDK's readers pass over.

A capture file is a run of frames, each a varint length and a protobuf message: first one `DataCaptureMetadata`
(the header), then `SensorData`. Each message that we write ends with field 19999, a CRC-32; protobuf readers,
the builtin's included, skip fields that they do not know. Invariants:

- A frame whose check fails is never handed on as a reading.
- A header with the field means that every frame has one; a header without it is the builtin's, and its frames
  can only be checked for being protobuf at all.
- `scan` never raises on damage: it says which byte ranges are good and which are not.
"""

from __future__ import annotations

import heapq
import itertools
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError
from viam.proto.app.datasync import DataCaptureMetadata, SensorData

from ..errors import DamagedFileError

CHECK_FIELD = 19999
_CHECK_TAG = b"\xfd\xe1\x09"  # the varint of (19999 << 3 | 5): a fixed 32-bit number follows
_CHECK_SIZE = len(_CHECK_TAG) + 4
_MAX_VARINT_BYTES = 10
_MAX_HEADER_BYTES = 64 * 1024
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


def read_varint(data: bytes, offset: int) -> tuple[int, int]:
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
    check = struct.pack("<I", zlib.crc32(message, seed))
    return varint(len(message) + _CHECK_SIZE) + message + _CHECK_TAG + check


def _split_check(message: bytes, seed: int) -> bytes | None:
    """The message without its check, or None when there is no check or it does not fit."""
    body = message[:-_CHECK_SIZE]
    tail = message[-_CHECK_SIZE:]
    if len(tail) != _CHECK_SIZE or not tail.startswith(_CHECK_TAG):
        return None
    return body if struct.unpack_from("<I", tail, len(_CHECK_TAG))[0] == zlib.crc32(body, seed) else None


def _has_check(message: bytes | None) -> bool:
    return message is not None and message[-_CHECK_SIZE:].startswith(_CHECK_TAG)


def _seed_of(header: bytes) -> int:
    """What a file's frames are checked against: the header's own check, so that frames can't change files."""
    return zlib.crc32(struct.pack("<I", zlib.crc32(header)))


class FrameEncoder:
    """Makes the frames of files with one header."""

    def __init__(self, metadata: DataCaptureMetadata) -> None:
        header = metadata.SerializeToString()
        self.header_frame = _with_check(header, 0)
        self._seed = _seed_of(header)

    def encode(self, message: bytes) -> bytes:
        """The frame of one serialized `SensorData`."""
        return _with_check(message, self._seed)


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


def readings_payload(response: bytes) -> bytes:
    """The `Struct` {"readings": …} around the bytes of a `GetReadingsResponse`.

    They are the bytes of a `Struct` already: both messages hold one map of the same type in field 1.
    """
    value = b"\x2a" + varint(len(response)) + response
    entry = _ENTRY_READINGS + varint(len(value)) + value
    return b"\x0a" + varint(len(entry)) + entry


@dataclass
class Scan:
    """What a capture file holds.

    `readings` are serialized `SensorData` without their checks. `torn_bytes` counts the unfinished frame or the
    zeros at the end, which a crash leaves and which hold no whole reading; `damaged` lists the ranges [from, to)
    of everything else that is not a good frame. `good_end` is the offset behind the last good frame.
    """

    metadata: DataCaptureMetadata
    checked: bool
    readings: list[bytes] = field(default_factory=list)
    damaged: list[tuple[int, int]] = field(default_factory=list)
    good_end: int = 0
    torn_bytes: int = 0
    torn_readings: int = 0
    """1 when the end is a reading that was begun and not finished."""


def scan(data: bytes) -> Scan:
    """Reads a whole capture file, ours or the builtin's; DamagedFileError when its header is not good."""
    result, seed = _scan_header(data)
    if not result.checked and _begins_with_checks(data, result.good_end):
        raise DamagedFileError("its readings carry checks and its header has lost its own")
    size = len(data)
    content_end = len(data.rstrip(b"\x00"))
    offset = result.good_end
    while offset < size:
        message, end = _frame_at(data, offset)
        reading = _checked_reading(message, seed if result.checked else None)
        if reading is not None:
            result.readings.append(reading)
            offset = result.good_end = end
            continue
        resume = _next_good_frame(data, offset, seed) if result.checked else None
        if resume is not None:
            result.damaged.append((offset, resume))
            offset = resume
            continue
        _end_of_file(result, data, offset, max(offset, content_end), torn=message is None)
        break
    return result


def _scan_header(data: bytes) -> tuple[Scan, int]:
    message, end = _frame_at(data, 0)
    if not message:
        raise DamagedFileError("its header is missing or cut off")
    body = _split_check(message, 0)
    checked = body is not None
    if not checked and _has_check(message):
        raise DamagedFileError("its header does not match its check")
    if not checked and _lost_its_length(data):
        raise DamagedFileError("the length of its header is damaged")
    header = message if body is None else body
    try:
        metadata = DataCaptureMetadata.FromString(header)
    except DecodeError as error:
        raise DamagedFileError("its header is not readable") from error
    if not metadata.component_type and not metadata.method_name:
        raise DamagedFileError("its header names no resource and no method")
    return Scan(metadata=metadata, checked=checked, good_end=end), _seed_of(header)


def _begins_with_checks(data: bytes, offset: int) -> bool:
    """Whether one of the first three readings carries a check: not all of them can have lost it."""
    for _ in range(3):
        message, offset = _frame_at(data, offset)
        if _has_check(message):
            return True
    return False


def _lost_its_length(data: bytes) -> bool:
    """Whether the file begins with a header of ours whose length before it is wrong."""
    ends = itertools.islice(_ends_of_checks(data[:_MAX_HEADER_BYTES], 0), 3)
    return any(_split_check(data[start:end], 0) is not None for end in ends for start in (1, 2, 3))


def _end_of_file(result: Scan, data: bytes, offset: int, content_end: int, *, torn: bool) -> None:
    """Files what follows the last good frame: an unfinished frame or zeros are torn, the rest is damage."""
    if torn or content_end == offset:
        result.torn_bytes = len(data) - offset
        result.torn_readings = int(content_end > offset)
    else:
        result.damaged.append((offset, len(data)))


def _frame_at(data: bytes, offset: int) -> tuple[bytes | None, int]:
    """The message whose frame begins at `offset` and the frame's end; None when it is not all there."""
    try:
        size, start = read_varint(data, offset)
    except (IndexError, ValueError):
        return None, offset
    end = start + size
    return (data[start:end], end) if end <= len(data) else (None, offset)


def _checked_reading(message: bytes | None, seed: int | None) -> bytes | None:
    """The reading in a message, or None when it is not good. `seed` is None for files without checks."""
    if not message:
        return None
    if seed is not None:
        return _split_check(message, seed)
    try:
        decoded = SensorData.FromString(message)
    except DecodeError:
        return None
    return message if decoded.WhichOneof("data") is not None else None


def _next_good_frame(data: bytes, offset: int, seed: int) -> int | None:
    """Where a good frame begins behind damage at `offset`: where the damaged one says that it ends, or else
    behind one of the checks, with which frames end."""
    _, told = _frame_at(data, offset)
    for start in heapq.merge([told] if told > offset else [], _ends_of_checks(data, offset)):
        message, _ = _frame_at(data, start)
        if _checked_reading(message, seed) is not None:
            return start
    return None


def _ends_of_checks(data: bytes, offset: int) -> Iterator[int]:
    position = data.find(_CHECK_TAG, offset)
    while position >= 0:
        yield position + _CHECK_SIZE
        position = data.find(_CHECK_TAG, position + 1)
