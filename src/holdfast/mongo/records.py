"""One file of the spool, as bytes: records of readings that check themselves.

A record is a length, a CRC-32 and a body; the first byte of the body says what it is:

| body | what |
|---|---|
| `H` + JSON | the header: version, the spool's life, the number of the first reading, the time of its making |
| `O` + JSON | an origin: its number in this file, by which readings name it, and API, resource, method |
| `R` + head + message | a reading: origin, number, time of arrival in ns, a serialized `SensorData` |

A life is one opening of a spool, as five random bytes; within it readings are numbered. Life and number name a
reading for ever, whatever is tried again. Invariants:

- A record whose check fails costs itself where its length leads to a good one, else the rest of the file; the
  numbers tell how many readings that were.
- The check of a record counts the life in, so that what another file left on the disk is never read.
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
_READING = struct.Struct("<cHQQ")
READING_OVERHEAD_BYTES = FRAME.size + _READING.size
_HEADER, _ORIGIN, _READING_KIND = b"H", b"O", b"R"
MAX_RECORD_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class Header:
    """Where a file stands: its life, the number of its first reading, the wall time of its making."""

    life: bytes
    first: int
    time_ns: int


@dataclass(frozen=True)
class SpooledReading:
    """A reading on its way. `life` and `number` name it."""

    origin: CollectorId
    life: bytes
    number: int
    time_ns: int
    """When it was taken."""
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
    """The header and where it ends. DamagedFileError; NewerStateError for what a newer version wrote."""
    body = _body(data, 0, 0)
    if body is None or body[:1] != _HEADER:
        raise DamagedFileError(f"{path}: its header is not readable")
    try:
        about: dict[str, Any] = json.loads(body[1:])
        if about["version"] > VERSION:
            raise NewerStateError(path, about["version"], VERSION)
        header = Header(bytes.fromhex(about["life"]), int(about["first"]), int(about["time_ns"]))
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFileError(f"{path}: its header is not understood") from error
    return header, FRAME.size + len(body)


def _body(data: Buffer, offset: int, seed: int) -> bytes | None:
    """The body of the record at `offset`, or None when it is not whole or its check fails."""
    if offset + FRAME.size > len(data):
        return None
    size, check = FRAME.unpack_from(data, offset)
    body = bytes(data[offset + FRAME.size : offset + FRAME.size + size])
    return body if len(body) == size and size and zlib.crc32(body, seed) == check else None


class RecordReader:
    """Reads the records of one file, front to back, from pieces of it. Knows the origins that it has passed."""

    def __init__(self, life: bytes) -> None:
        self._life = life
        self._seed = zlib.crc32(life)
        self._origins: dict[int, CollectorId] = {}

    def read(self, data: Buffer, most_readings: int) -> tuple[list[SpooledReading], int]:
        """The readings at the front of `data`, and how many of its bytes they and the records between them take.

        Stops before a record that is not whole, or where none can begin. Passes over one whose check fails.
        """
        readings: list[SpooledReading] = []
        offset = 0
        while len(readings) < most_readings:
            end = record_end(data, offset)
            if end is None or end > len(data):
                break
            body = _body(data, offset, self._seed) or b""
            offset = end
            if body[:1] == _READING_KIND:
                _, origin, number, time_ns = _READING.unpack_from(body)
                about = self._origins.get(origin)
                if about is not None:
                    readings.append(SpooledReading(about, self._life, number, time_ns, body[_READING.size :]))
            elif body[:1] == _ORIGIN:
                place, api, resource, method = json.loads(body[1:])
                self._origins[place] = (api, resource, method)
        return readings, offset


def record_end(data: Buffer, offset: int) -> int | None:
    """Where the record at `offset` ends by its length, in `data` or beyond; None where no record begins."""
    if offset + FRAME.size > len(data):
        return None
    (size, _) = FRAME.unpack_from(data, offset)
    return int(offset + FRAME.size + size) if 0 < size <= MAX_RECORD_BYTES else None
