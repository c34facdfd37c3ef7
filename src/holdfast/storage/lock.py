"""The lock that keeps two data managers out of one capture folder: an advisory lock on `.holdfast/lock.prog`.

The kernel releases it when its owner dies, however it dies, so it is never stale. The file stays; it has the
owner's process id, for people and for the status.

Blocks on the disk. Not thread-safe.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress

from ..base.filesystem import FILE_MODE, FileSystem
from ..errors import StorageError
from . import layout


class FolderLock:
    """The lock of one capture folder, which at most one process holds."""

    def __init__(self, files: FileSystem, capture_dir: str) -> None:
        self._files = files
        self._path = layout.state_path(capture_dir, "lock")
        self._descriptor: int | None = None

    def try_acquire(self) -> bool:
        """Takes the lock if it is free, and returns whether it is ours. Never waits for another process.

        Raises StorageError if the folder can't be written or its file system has no locks.
        """
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
        with suppress(OSError):  # a full disk must not keep us from the lock, since sync frees the disk
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        return True

    def owner(self) -> str:
        """Returns the process id of the last owner, from the file; "unknown" if that can't be read."""
        try:
            return self._files.read(self._path).decode("ascii", "replace").strip() or "unknown"
        except StorageError:
            return "unknown"

    def release(self) -> None:
        """Releases the lock; does nothing if it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
