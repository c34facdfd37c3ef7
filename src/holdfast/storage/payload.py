"""A binary reading that is too large to be held in memory: where its payload lies in its capture file.

Blocks: belongs on a worker thread. A `Payload` may be read at any time and by any thread: it opens the file anew.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..filesystem import FileSystem
from .frames import CHECK_SIZE, check_field, read_varint

_HEAD_BYTES = 64 * 1024
_READ_BYTES = 256 * 1024
_METADATA_TAG, _BINARY_TAG = 0x0A, 0x1A

Read = Callable[[int, int], bytes]
"""(offset, size) → the bytes there, or fewer at the end of the file."""


@dataclass(frozen=True)
class Payload:
    """A reading with a payload of `size_bytes` at `offset` of the file at `path`, its frame checked."""

    files: FileSystem
    path: str
    sensor_metadata: bytes
    """The serialized `SensorMetadata`."""
    message_offset: int
    offset: int
    size_bytes: int
    frame_end: int

    def chunks(self, chunk_bytes: int) -> Iterator[bytes]:
        """The payload in pieces. Raises StorageError, also where the file has become shorter."""
        descriptor = self.files.open(self.path)
        try:
            offset, end = self.offset, self.offset + self.size_bytes
            while offset < end:
                chunk = self.files.read_at(descriptor, self.path, offset, min(chunk_bytes, end - offset))
                if not chunk:
                    raise self.files.shortened(self.path)
                yield chunk
                offset += len(chunk)
        finally:
            self.files.close(descriptor, self.path)

    def is_good(self, read: Read, seed: int | None) -> bool:
        """Whether the frame ends with a check that fits; without checks (`seed` None), with the payload."""
        position, end = self.message_offset, self.offset + self.size_bytes
        if seed is None:
            return end == self.frame_end
        while position < end:
            window = read(position, min(_READ_BYTES, end - position))
            if not window:
                return False
            seed = zlib.crc32(window, seed)
            position += len(window)
        return end + CHECK_SIZE == self.frame_end and read(end, CHECK_SIZE) == check_field(seed)


def payload_at(files: FileSystem, path: str, read: Read, offset: int) -> Payload | None:
    """The reading whose frame begins at `offset`, unchecked; None when it is not laid out as a `SensorMetadata`
    with a payload behind it."""
    head = read(offset, _HEAD_BYTES)
    try:
        size, message = read_varint(head, 0)
        begin, metadata = message, b""
        if head[begin] == _METADATA_TAG:
            length, begin = read_varint(head, begin + 1)
            metadata = head[begin : begin + length]
            begin += length
        if head[begin] != _BINARY_TAG:
            return None
        length, begin = read_varint(head, begin + 1)
    except (IndexError, ValueError):
        return None
    return Payload(files, path, metadata, offset + message, offset + begin, length, offset + message + size)
