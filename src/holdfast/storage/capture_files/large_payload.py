"""A binary reading that is too large for memory, by the place of its payload in its capture file.

Blocks: belongs on a worker thread. A `LargePayload` may be read at any time and on any thread: it opens the file
again, and checks the payload again while it is read.
"""

from __future__ import annotations

import errno
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from viam.proto.app.datasync import SensorMetadata

from ...base.at import Identity
from ...base.filesystem import FileSystem
from ...errors import StorageError
from .frames import CHECK_SIZE, Read, check_field, checksum, read_varint

_HEAD_BYTES = 64 * 1024
_METADATA_TAG, _BINARY_TAG = 0x0A, 0x1A


@dataclass(frozen=True)
class LargePayload:
    """A reading whose payload lies at `offset` of the file at `path` and has `size_bytes`."""

    files: FileSystem
    path: str
    identity: Identity
    sensor_metadata: bytes
    """The serialized `SensorMetadata`."""
    message_offset: int
    offset: int
    size_bytes: int
    frame_end: int
    seed: int | None = None
    """The start value of its check, see `frames.seed_of`; None when the file has no checks."""

    def chunks(self, chunk_bytes: int) -> Iterator[bytes]:
        """Yields the payload in pieces of at most `chunk_bytes`.

        Raises StorageError; if the file was damaged since it was checked, only after the last piece. A caller that
        streams the payload must therefore not end its stream before this iterator ends.
        """
        descriptor = self.files.open(self.path, self.identity)
        try:
            offset, end = self.offset, self.offset + self.size_bytes
            head = self.files.read_at(descriptor, self.path, self.message_offset, offset - self.message_offset)
            check = zlib.crc32(head, self.seed or 0)
            while offset < end:
                chunk = self.files.read_at(descriptor, self.path, offset, min(chunk_bytes, end - offset))
                if not chunk:
                    raise self.files.shortened(self.path)
                yield chunk
                check = zlib.crc32(chunk, check)
                offset += len(chunk)
            stored_check = self.files.read_at(descriptor, self.path, end, CHECK_SIZE)
            if self.seed is not None and stored_check != check_field(check):
                raise StorageError("read", self.path, OSError(errno.EIO, "it was damaged while it was sent"))
        finally:
            self.files.close(descriptor, self.path)

    def is_good(self, read: Read) -> bool:
        """Whether the check at the end of the frame matches; in a file without checks, whether the frame ends with
        the payload."""
        end = self.offset + self.size_bytes
        if self.seed is None:
            return end == self.frame_end
        if end + CHECK_SIZE != self.frame_end:
            return False
        check = checksum(read, self.message_offset, end, self.seed)
        return check is not None and read(end, CHECK_SIZE) == check_field(check)


def large_payload_at(
    files: FileSystem, path: str, identity: Identity, read: Read, offset: int, seed: int | None
) -> LargePayload | None:
    """Returns the reading whose frame begins at `offset`, not checked yet; None when the frame is not a
    `SensorMetadata` followed by a payload. `seed` is as in `LargePayload`."""
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
        SensorMetadata.FromString(metadata)
    except (IndexError, ValueError, DecodeError):
        return None
    return LargePayload(
        files, path, identity, metadata, offset + message, offset + begin, length, offset + message + size, seed
    )
