"""One data manager to a capture folder: an advisory lock on `.holdfast/lock.prog`.

The kernel frees it when its owner dies, however it dies; so a lock is never stale. The file stays and holds the
owner's process id, for people and for the status.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress

from ..base.filesystem import FILE_MODE, FileSystem
from ..errors import StorageError
from . import layout


class FolderLock:
    """At most one process holds it. `release` is safe to call when it is not held."""

    def __init__(self, files: FileSystem, capture_dir: str) -> None:
        self._files = files
        self._path = layout.state_path(capture_dir, "lock")
        self._descriptor: int | None = None

    def try_acquire(self) -> bool:
        """Takes the lock if it is free; StorageError when the folder can't be written."""
        if self._descriptor is not None:
            return True
        self._files.make_folder(os.path.dirname(self._path))
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        except OSError as error:
            raise StorageError("lock", self._path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError as error:
            os.close(descriptor)
            raise StorageError("lock", self._path, error) from error
        self._descriptor = descriptor
        with suppress(OSError):  # a full disk must not keep us from the lock: sync is what frees it
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        return True

    def owner(self) -> str:
        """The process that holds the lock, as it wrote itself down; "unknown" when that can't be read."""
        try:
            return self._files.read(self._path).decode("ascii", "replace").strip() or "unknown"
        except StorageError:
            return "unknown"

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
