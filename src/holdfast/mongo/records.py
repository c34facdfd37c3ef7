"""One file of the spool, as bytes: a sequence of records, each with its checksum.

A record is a length, a CRC-32 and a body. The first byte of the body says what it is:

| body | what |
|---|---|
| `H` + JSON | the header: version, the spool's life, the number of the first reading, the time of its creation |
| `O` + JSON | an origin: the number by which readings in this file refer to it, then API, resource, method |
| `R` + head + message | a reading: origin, number, time of arrival in ns, a serialized `SensorData` |

A *life* is one opening of a spool, named by five random bytes; within it readings are numbered. Life and number
name a reading permanently, however often it is sent. Invariants:

- A record whose check fails is skipped if its length leads to a good one; otherwise the rest of the file is lost.
  The numbers tell how many readings that were.
- The check includes the life, so that data which another file left on the disk is never read.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from typing import Any

from ..base.filesystem import Buffer
from ..errors import DamagedFileError, NewerStateError
from ..storage.ledger.counts import CollectorId

VERSION = 1
LIFE_BYTES = 5
FRAME = struct.Struct("<II")
_READING = struct.Struct("<cHQq")
READING_OVERHEAD_BYTES = FRAME.size + _READING.size
_HEADER, _ORIGIN, _READING_KIND = b"H", b"O", b"R"
_MAX_NUMBER = 1 << 63
MAX_RECORD_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class Header:
    """The first record of a file: its life, the number of its first reading, the wall time of its creation."""

    life: bytes
    first: int
    time_ns: int


@dataclass(frozen=True)
class SpooledReading:
    """A reading as it stands in the spool. `life` and `number` name it."""

    origin: CollectorId
    life: bytes
    number: int
    time_ns: int
    """The wall time at which the spool took it."""
    message: bytes
    """A serialized `SensorData`."""


def _record(body: bytes, seed: int) -> bytes:
    return FRAME.pack(len(body), zlib.crc32(body, seed)) + body


def encode_header(header: Header) -> bytes:
    about = {"version": VERSION, "life": header.life.hex(), "first": header.first, "time_ns": header.time_ns}
    return _record(_HEADER + json.dumps(about).encode(), 0)


def encode_origin(number: int, origin: CollectorId, life: bytes) -> bytes:
    return _record(_ORIGIN + json.dumps((number, *origin)).encode(), zlib.crc32(life))


def encode_reading(origin: int, number: int, time_ns: int, message: bytes, life: bytes) -> bytes:
    head = _READING.pack(_READING_KIND, origin, number, time_ns)
    return _record(head + message, zlib.crc32(life))


def decode_header(data: bytes, path: str) -> tuple[Header, int]:
    """Returns the header and the offset at which it ends. `path` is for errors only.

    Raises DamagedFileError, and NewerStateError for a file of a newer version.
    """
    body = _body(data, 0, 0)
    if body is None or body[:1] != _HEADER:
        raise DamagedFileError(f"{path}: its header is not readable")
    try:
        about: dict[str, Any] = json.loads(body[1:])
        version = about["version"]
        if type(version) is not int:
            raise ValueError("it has no version")
        if version > VERSION:
            raise NewerStateError(path, version, VERSION)
        header = Header(bytes.fromhex(about["life"]), about["first"], about["time_ns"])
        if len(header.life) != LIFE_BYTES or not (_is_number(header.first) and _is_number(abs(header.time_ns))):
            raise ValueError("its values are out of range")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedFileError(f"{path}: its header is not understood") from error
    return header, FRAME.size + len(body)


def _is_number(value: object) -> bool:
    return type(value) is int and 0 <= value < _MAX_NUMBER


def _body(data: Buffer, offset: int, seed: int) -> bytes | None:
    """Returns the body of the record at `offset`, or None if it is incomplete or its check fails."""
    if offset + FRAME.size > len(data):
        return None
    size, check = FRAME.unpack_from(data, offset)
    body = bytes(data[offset + FRAME.size : offset + FRAME.size + size])
    return body if len(body) == size and size and zlib.crc32(body, seed) == check else None


class RecordReader:
    """Reads the records of one file from the front to the back, a piece at a time, and remembers its origins."""

    def __init__(self, life: bytes) -> None:
        self._life = life
        self._seed = zlib.crc32(life)
        self._origins: dict[int, CollectorId] = {}

    def read(self, data: Buffer, most_readings: int) -> tuple[list[SpooledReading], int]:
        """Returns the readings at the front of `data`, and how many bytes they and the records between them take.

        Stops before a record that is incomplete, and where no record can begin. Skips a record whose check fails.
        """
        readings: list[SpooledReading] = []
        offset = 0
        while len(readings) < most_readings:
            end = record_end(data, offset)
            if end is None or end > len(data):
                break
            body = _body(data, offset, self._seed) or b""
            offset = end
            if body[:1] == _READING_KIND and len(body) >= _READING.size:
                _, origin, number, time_ns = _READING.unpack_from(body)
                about = self._origins.get(origin)
                if about is not None:
                    readings.append(SpooledReading(about, self._life, number, time_ns, body[_READING.size :]))
            elif body[:1] == _ORIGIN:
                self._note_origin(body[1:])
        return readings, offset

    def _note_origin(self, content: bytes) -> None:
        """Notes an origin. What is none is left out, and so are the readings that refer to it."""
        try:
            place, api, resource, method = json.loads(content)
        except (ValueError, TypeError, RecursionError):
            return
        if _is_number(place) and all(isinstance(name, str) for name in (api, resource, method)):
            self._origins[place] = (api, resource, method)


def record_end(data: Buffer, offset: int) -> int | None:
    """Returns where the record at `offset` ends by its length, perhaps beyond `data`; None if none can begin."""
    if offset + FRAME.size > len(data):
        return None
    (size, _) = FRAME.unpack_from(data, offset)
    return int(offset + FRAME.size + size) if 0 < size <= MAX_RECORD_BYTES else None
