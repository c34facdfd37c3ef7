"""A file that stays open while it is uploaded, so that what is deleted in the end is what was sent.

What a command names is opened below its root without following a link (`FileSystem.open_beneath`), so a link that
another process puts there after the check cannot lead out of the root. What sync found is opened as it found it.

Blocks on the disk, except for `opened`; runs on worker threads and on gRPC's threads.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager

from ...base.at import Identity
from ...base.filesystem import FileSystem
from ...base.tasks import in_thread
from ...errors import StorageError
from ...storage.layout import FileKind
from ..found import Found


@asynccontextmanager
async def opened(files: FileSystem, path: str, root: str | None = None) -> AsyncIterator[OpenFile]:
    """A context in which a file is open; see `OpenFile`. Belongs to the event loop."""
    stack = ExitStack()
    try:
        yield await in_thread(_open, files, path, root, stack)
    finally:
        await in_thread(stack.close)


def _open(files: FileSystem, path: str, root: str | None, stack: ExitStack) -> OpenFile:
    file = OpenFile(files, path, root)
    stack.callback(file.close)
    return file


class OpenFile:
    """An open file that is being uploaded.

    The caller must call `close`. It may do so while gRPC's thread still reads: that read then raises StorageError.
    """

    def __init__(self, files: FileSystem, path: str, root: str | None = None) -> None:
        """Opens the file `path`. Raises StorageError if it can't, or if it is not below `root`, or a link is on the
        way from there."""
        self._files = files
        self._path = path
        self._lock = threading.Lock()
        self._descriptor: int | None = files.open(path) if root is None else files.open_beneath(root, path)
        status = files.status(self._descriptor, path)
        self.identity = Identity.of(status)
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
        return Identity.of(there) == self.identity

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
