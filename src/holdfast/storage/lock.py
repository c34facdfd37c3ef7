"""The lock that keeps two data managers out of one capture folder.

It is two advisory locks at once: one on `.holdfast/lock.prog`, which holds wherever the file system's locks reach,
and one of this machine (`base.locks.try_lock_here`), which holds also while the file system has none. Who finds
either of them taken does not get the folder. A lock that can't be had keeps nobody out, and nobody from the folder.

The kernel releases both when their owner dies, however it dies, so they are never stale. The file stays; it has the
owner's process id, for people and for the status.

Blocks on the disk. Not thread-safe.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress

from ..base import locks
from ..base.filesystem import FileSystem
from ..errors import StorageError
from . import layout

MAX_FAILURES = 10
"""How often the disk may fail before the lock is taken without the file system's part in it."""


def is_taken(files: FileSystem, capture_dir: str) -> bool:
    """Whether a process has the lock of this folder. Changes nothing. Raises StorageError when that can't be told,
    as where there is no file for the lock."""
    return files.is_being_written(layout.state_path(capture_dir, "lock"))


class FolderLock:
    """The lock of one capture folder, which at most one process holds."""

    def __init__(self, files: FileSystem, capture_dir: str) -> None:
        self._files = files
        self._folder = capture_dir
        self._path = layout.state_path(capture_dir, "lock")
        self._failures = 0
        self._held: ExitStack | None = None
        self._without_machine = ""
        self.problem = ""
        """Whom the lock can't keep out, and why, as of the last try; empty if there is nothing to say."""

    def try_acquire(self) -> bool:
        """Takes the lock if it is free, and returns whether it is ours. Never waits for another process.

        Raises StorageError if the folder can't be used, or if the disk fails; when that goes on, the lock is taken
        without the file system's part in it.
        """
        if self._held is not None:
            return True
        self._files.make_folder(self._files.real_path(self._folder))
        with ExitStack() as opened:
            is_free = self._try_lock_machine(opened) and self._try_lock_file(opened)
            if is_free:
                self._held = opened.pop_all()
        return is_free

    def owner(self) -> str:
        """Returns the process id of the last owner, from the file; "unknown" if that can't be read."""
        try:
            return self._files.read_own(self._path).decode("ascii", "replace").strip() or "unknown"
        except StorageError:
            return "unknown"

    def release(self) -> None:
        """Releases the lock; does nothing if it is not held."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def _try_lock_machine(self, opened: ExitStack) -> bool:
        """Locks the folder, which is there also on a disk that has no room for a file."""
        folder = self._files.open_folder(self._folder)
        opened.callback(os.close, folder)
        self._without_machine = ""
        try:
            return locks.try_lock_here(folder, opened)
        except OSError as error:
            self._without_machine = error.strerror or ""
            return True

    def _try_lock_file(self, opened: ExitStack) -> bool:
        self.problem = ""
        try:
            self._files.make_private_folder(os.path.dirname(self._path))
            descriptor = self._files.open_to_lock(self._path)
        except StorageError as error:
            if error.reason != "no_space":
                raise
            self._do_without(f"has no room for a lock ({error})")  # sync is what frees it
            return True
        opened.callback(os.close, descriptor)
        try:
            if not locks.try_lock(descriptor):
                return False
        except OSError as error:
            self._failures += 1
            if self._failures < MAX_FAILURES and not locks.has_no_locks(error):
                raise StorageError("lock", self._path, error) from error
            self._do_without(f"has no locks ({error.strerror})")
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        return True

    def _do_without(self, why: str) -> None:
        """Says whom the lock does not keep out, since the file system has no part in it."""
        if self._without_machine:
            rest = f", nor has this machine ({self._without_machine}): nothing keeps a second data manager out"
        else:
            rest = (
                ": a second data manager is kept out only if it is on this machine, of the same user and in no "
                "other container"
            )
        self.problem = f"the file system of {self._folder} {why}{rest}"
