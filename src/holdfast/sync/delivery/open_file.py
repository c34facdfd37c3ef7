"""A file that stays open while it is uploaded.

It is opened below its root without following a link (`FileSystem.open_beneath`), so a link that another process
puts there after the check cannot lead out of the root.

Blocks on the disk; runs on worker threads and on gRPC's threads.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

from ...base.filesystem import FileSystem
from ...errors import StorageError
from ...storage.layout import FileKind
from ..found import Found


class OpenFile:
    """An open file that is being uploaded.

    The caller must call `close`. It may do so while gRPC's thread still reads: that read then raises StorageError.
    """

    def __init__(self, files: FileSystem, root: str, path: str) -> None:
        """Opens the file `path` below `root`. Raises StorageError if it can't, or if a link is on the way."""
        self._files = files
        self._path = path
        self._lock = threading.Lock()
        self._descriptor: int | None = files.open_beneath(root, path)
        self._status = status = files.status(self._descriptor, path)
        self.found = Found(path, FileKind.ARBITRARY, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def chunks(self, chunk_bytes: int) -> Iterator[bytes]:
        """Yields the content from its beginning, in chunks of at most `chunk_bytes`. Raises StorageError."""
        offset = 0
        while data := self._read(offset, chunk_bytes):
            yield data
            offset += len(data)

    def is_unchanged(self) -> bool:
        """Returns whether the open file has the size and time of change that it was opened with."""
        with self._lock:
            status = self._files.status(self._open(), self._path)
        return (status.st_size, status.st_mtime_ns) == (self.found.size_bytes, self.found.modified_ns)

    def has_its_name(self) -> bool:
        """Returns whether the path still leads to the open file, and not to another one or to none."""
        try:
            there = self._files.stat(self._path)
        except StorageError:
            return False
        return (there.st_dev, there.st_ino) == (self._status.st_dev, self._status.st_ino)

    def close(self) -> None:
        """Closes the file. Safe to call from any thread, and more than once."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None:
                self._files.close(descriptor, self._path)

    def _read(self, offset: int, size_bytes: int) -> bytes:
        with self._lock:
            return self._files.read_at(self._open(), self._path, offset, size_bytes)

    def _open(self) -> int:
        if self._descriptor is None:
            raise self._files.shortened(self._path)
        return self._descriptor
