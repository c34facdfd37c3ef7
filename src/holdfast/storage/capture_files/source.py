"""An open capture file, which can be read and searched at any offset. Blocks: belongs on a worker thread."""

from __future__ import annotations

from collections.abc import Iterator

from ...base.at import Identity
from ...base.filesystem import FileSystem
from ...errors import StorageError
from .frames import CHECK_SIZE, CHECK_TAG, check_field, checksum, read_varint

WINDOW_BYTES = 256 * 1024
MAX_FRAME_BYTES = 128 * 1024 * 1024
"""A frame that claims to be longer is damaged, since no reading that came by gRPC is so long."""
_READ_COST_BYTES = 2048
"""A smaller read counts as one of this size."""
_FIRST_SEARCHED_BYTES = 4096
_MAX_VARINT_BYTES = 10
_ZEROS = bytes(WINDOW_BYTES)


class Source:
    """An open file that can be read at any offset."""

    def __init__(self, files: FileSystem, path: str) -> None:
        self.path = path
        self.files = files
        self._descriptor = files.open(path)
        try:
            status = files.status(self._descriptor, path)
        except StorageError:
            self.close()
            raise
        self.size_bytes, self.identity = status.st_size, Identity.of(status)
        self.searched_bytes = 0
        """How much was read beside windows, what was read twice counted twice."""
        self._small: bytes | None = None
        """The whole content of a file that fits into one window, so that it is read only once."""

    def close(self) -> None:
        self.files.close(self._descriptor, self.path)

    def read(self, offset: int, size_bytes: int) -> bytes:
        """Returns the bytes from `offset` on; fewer than `size_bytes` at the end of the file."""
        self.searched_bytes += max(_READ_COST_BYTES, min(size_bytes, self.size_bytes - offset))
        return self._read(offset, size_bytes)

    def window(self, offset: int) -> bytes:
        """Returns the bytes from `offset` on, for a run of good frames."""
        return self._read(offset, WINDOW_BYTES)

    def _read(self, offset: int, size_bytes: int) -> bytes:
        if self.size_bytes > WINDOW_BYTES:
            return self.files.read_at(self._descriptor, self.path, offset, size_bytes)
        if self._small is None:
            self._small = self.files.read_at(self._descriptor, self.path, 0, WINDOW_BYTES)
        return self._small[offset : offset + size_bytes]

    def frame_at(self, offset: int, most_bytes: int | None = None) -> tuple[bytes | None, int]:
        """Returns the message whose frame begins at `offset`, and the end of the frame; None and `offset` when the
        frame is not all there, or its message is too long."""
        head = self.read(offset, _MAX_VARINT_BYTES)
        try:
            size, begin = read_varint(head, 0)
        except (IndexError, ValueError):
            return None, offset
        end = offset + begin + size
        if end > self.size_bytes or size > (most_bytes or MAX_FRAME_BYTES):
            return None, offset
        message = self.read(offset + begin, size)
        return (message, end) if len(message) == size else (None, offset)

    def ends_of_checks(self, offset: int, end: int) -> Iterator[int]:
        """Yields the ends of everything that looks like a check between `offset` and `end`."""
        size_bytes = _FIRST_SEARCHED_BYTES  # the next one is most often near
        while offset < end:
            window = self.read(offset, min(size_bytes, end - offset))
            size_bytes = WINDOW_BYTES
            position = window.find(CHECK_TAG)
            while position >= 0:
                if offset + position + CHECK_SIZE <= end:
                    yield offset + position + CHECK_SIZE
                position = window.find(CHECK_TAG, position + 1)
            if len(window) <= len(CHECK_TAG):
                return
            offset += len(window) - len(CHECK_TAG) + 1

    def count_checks(self, offset: int, end: int) -> int:
        """Returns how many ends `ends_of_checks` yields, much faster."""
        count, last = 0, end - CHECK_SIZE + len(CHECK_TAG)
        while offset < last:
            window = self.read(offset, min(WINDOW_BYTES, last - offset))
            count += window.count(CHECK_TAG)
            if len(window) < len(CHECK_TAG):
                break
            offset += len(window) - len(CHECK_TAG) + 1
        return count

    def has_good_check(self, offset: int, seed: int) -> bool:
        """Whether the frame that begins at `offset` ends with the right check. It is not all in memory at once."""
        try:
            size, begin = read_varint(self.read(offset, _MAX_VARINT_BYTES), 0)
        except (IndexError, ValueError):
            return False
        position, end = offset + begin, offset + begin + size - CHECK_SIZE
        if not CHECK_SIZE <= size <= MAX_FRAME_BYTES or end + CHECK_SIZE > self.size_bytes:
            return False
        stored_check = self.read(end, CHECK_SIZE)
        if not stored_check.startswith(CHECK_TAG):
            return False
        check = checksum(self.read, position, end, seed)
        return check is not None and stored_check == check_field(check)

    def content_end(self, offset: int) -> int:
        """Returns where the zeros at the end of the file begin, but no less than `offset`."""
        end = self.size_bytes
        while end > offset:
            start = max(offset, end - WINDOW_BYTES)
            window = self.read(start, end - start)
            if not _ZEROS.startswith(window):
                return start + len(window.rstrip(b"\0"))
            end = start
        return offset
