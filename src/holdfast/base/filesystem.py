"""The seam to the disk: everything that the program does to files goes through `FileSystem`.

- Every method raises StorageError in place of OSError.
- The files and folders that it makes are private to the user (0600, 0700).
- Every method may block: callers on the event loop use a thread.

Tests subclass it to make a disk fail.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat as status_bits
from collections.abc import Iterator
from contextlib import suppress
from enum import Enum
from types import TracebackType
from typing import NamedTuple

from ..errors import StorageError
from . import locks

_syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
"""Linux's function that syncs one file system, which Python does not offer; None on other systems."""

Buffer = bytes | memoryview

_BLOCK_BYTES = 4096
FILE_MODE = 0o600
NEW_EXTENSION = ".new.prog"
"""Ends the name of a file that is about to replace another. A crash may leave such a file."""
FOLDER_MODE = 0o700


class EntryKind(Enum):
    """What an entry of a folder is. OTHER stands for pipes, sockets and devices."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    OTHER = "other"


class Usage(NamedTuple):
    """How full a file system is. `free_bytes` is what users other than root may still write."""

    total_bytes: int
    free_bytes: int

    @property
    def used_share(self) -> float:
        return 1.0 - self.free_bytes / self.total_bytes if self.total_bytes else 0.0


class Entry(NamedTuple):
    """An entry of a folder."""

    path: str
    name: str
    kind: EntryKind


def is_in(path: str, folder: str) -> bool:
    """Whether `path` is `folder` or lies in it. Both must be free of symbolic links."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def place_of(path: str) -> str:
    """Returns `path` as a walk finds it: a folder where it really is, and anything else, such as a link to a file,
    under its own name in the folder that it really is in. Blocks on the disk."""
    real = os.path.realpath(path)
    if os.path.isdir(real):
        return real
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)


class _Translated:
    """A context that turns OSError into StorageError. It is a class, since that takes a third of the time of a
    generator-based context, and each file passes about ten of these."""

    __slots__ = ("_action", "_path")

    def __init__(self, action: str, path: str) -> None:
        self._action = action
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            raise StorageError(self._action, self._path, error) from error


class FileSystem:
    """The files of the operating system. Paths are absolute strings."""

    def make_folder(self, path: str) -> None:
        """Makes the folder `path` and its missing parents, all private. Existing folders are left as they are."""
        with _Translated("make folder", path):
            missing = []
            folder = path
            while not os.path.isdir(folder):
                missing.append(folder)
                folder = os.path.dirname(folder)
            for folder in reversed(missing):
                with suppress(FileExistsError):  # another process was quicker
                    os.mkdir(folder, FOLDER_MODE)
            if not os.path.isdir(path):
                raise NotADirectoryError(errno.ENOTDIR, "there is a file of that name")

    def create(self, path: str) -> int:
        """Creates a file and opens it for appending; returns its descriptor.

        Raises StorageError with the reason "exists" when there is a file already, which stays untouched. While the
        file is open, other processes see by `is_being_written` that its writer is alive.
        """
        with _Translated("create", path):
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open(path, flags, FILE_MODE)
            with suppress(OSError):  # a file system without locks
                locks.try_lock(descriptor)
            return descriptor

    def is_being_written(self, path: str) -> bool:
        """Whether a living process, this one included, has `path` open since it made it with `create`.

        Where files can't be locked, whether one has it open for writing; see `is_open_for_writing`.
        """
        with _Translated("read", path):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return not locks.try_lock(descriptor, shared=True)
        except OSError:
            return self.is_open_for_writing(path)
        finally:
            os.close(descriptor)

    def is_open_for_writing(self, path: str) -> bool:
        """Whether a process has `path` open for writing, as far as `locks.is_open_for_writing` can tell."""
        with _Translated("read", path):
            return locks.is_open_for_writing(path)

    def writer_of(self, path: str) -> str:
        """Returns a process that has `path` open for writing; see `locks.writer_of`."""
        with _Translated("read", path):
            return locks.writer_of(path)

    def write(self, descriptor: int, path: str, data: Buffer) -> None:
        """Hands all of `data` to the operating system. When it raises, any part of it may have been written."""
        view = memoryview(data)
        with _Translated("write", path):
            while view:
                view = view[os.write(descriptor, view) :]

    def sync(self, folder: str) -> None:
        """Returns when everything written so far to the file system of `folder`, names included, is on the disk."""
        with _Translated("sync", folder):
            descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if _syncfs is None:
                    os.sync()
                elif _syncfs(descriptor) != 0:
                    code = ctypes.get_errno()
                    raise OSError(code, os.strerror(code))
            finally:
                os.close(descriptor)

    def size(self, descriptor: int, path: str) -> int:
        """Returns the size of an open file in bytes."""
        with _Translated("read", path):
            return os.fstat(descriptor).st_size

    def truncate(self, path: str, size_bytes: int) -> None:
        """Cuts a file down to its first `size_bytes` bytes."""
        with _Translated("truncate", path):
            os.truncate(path, size_bytes)

    def close(self, descriptor: int, path: str) -> None:
        with _Translated("close", path):
            os.close(descriptor)

    def rename(self, source: str, target: str) -> None:
        """Moves a file within its file system. Replaces `target` if it exists."""
        with _Translated("rename", source):
            os.replace(source, target)

    def move(self, source: str, target: str) -> None:
        """Moves a file, also to another file system: `source` is removed only when all of `target` is on the disk.
        Replaces `target` if it exists."""
        try:
            with _Translated("move", source):
                os.rename(source, target)
        except StorageError as error:
            if not (isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EXDEV):
                raise
            self._copy(source, target)
            self.remove(source)

    def _copy(self, source: str, target: str) -> None:
        new = target + NEW_EXTENSION
        with _Translated("copy", source):
            try:
                descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
                with open(source, "rb") as content, open(descriptor, "wb") as copy:
                    shutil.copyfileobj(content, copy, 1024 * 1024)
                    copy.flush()
                    os.fsync(copy.fileno())
                shutil.copystat(source, new)
                os.rename(new, target)
            except OSError:
                with suppress(OSError):
                    os.unlink(new)
                raise

    def usage(self, path: str) -> Usage:
        """Returns how full the file system of `path` is."""
        with _Translated("read", path):
            found = os.statvfs(path)
        return Usage(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)

    def device(self, path: str) -> int:
        """Returns the number of the file system that `path` is on."""
        return self.stat(path).st_dev

    def is_in_memory(self, path: str) -> bool:
        """Whether the folder `path` is on a file system that keeps its files in memory (Linux's tmpfs)."""
        with _Translated("read", path):
            return locks.file_system_of(os.lstat(path).st_dev) == b"tmpfs"

    def is_private(self, path: str) -> bool:
        """Whether `path` is a folder that belongs to this user and that no other user has access to."""
        with _Translated("read", path):
            found = os.lstat(path)
        others = found.st_mode & (status_bits.S_IRWXG | status_bits.S_IRWXO)
        return status_bits.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not others

    def remove(self, path: str) -> None:
        """Deletes a file."""
        with _Translated("delete", path):
            os.unlink(path)

    def remove_if_there(self, path: str) -> None:
        """Deletes a file if it exists."""
        try:
            self.remove(path)
        except StorageError as error:
            if error.reason != "no_such_file":
                raise

    def remove_folder(self, path: str) -> None:
        """Deletes an empty folder."""
        with _Translated("delete", path):
            os.rmdir(path)

    def is_readable(self, path: str) -> bool:
        """Whether this user may read a file."""
        return os.access(path, os.R_OK)

    def exists(self, path: str) -> bool:
        """Whether there is anything at `path`, be it a broken link; False also when that can't be found out."""
        return os.path.lexists(path)

    def is_writable(self, path: str) -> bool:
        """Whether this user may write to a file, or make and delete files in a folder."""
        return os.access(path, os.W_OK)

    def stat(self, path: str) -> os.stat_result:
        """Returns the attributes of the file at `path`. Follows symbolic links."""
        with _Translated("read", path):
            return os.stat(path)

    def read(self, path: str) -> bytes:
        """Returns the whole content of a file."""
        with _Translated("read", path), open(path, "rb") as file:
            return file.read()

    def replace(self, path: str, data: bytes) -> None:
        """Replaces the content of `path` by `data`. Readers see all of the old or all of the new content, even
        after a power cut."""
        new = path + NEW_EXTENSION
        try:
            with _Translated("write", path):
                descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
                try:
                    self.write(descriptor, new, data)
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
            self.rename(new, path)
        except StorageError:
            self.remove_quietly(new)
            raise

    def remove_quietly(self, path: str) -> None:
        """Removes a file that nobody needs, if it is there and if that works."""
        with suppress(OSError):
            os.unlink(path)

    def open_to_append(self, path: str) -> int:
        """Opens an existing file for appending; returns its descriptor."""
        with _Translated("write", path):
            return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def open(self, path: str) -> int:
        """Opens a file for `read_at`; returns its descriptor."""
        with _Translated("read", path):
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def open_beneath(self, root: str, path: str) -> int:
        """Opens a regular file below the folder `root` for `read_at`; returns its descriptor.

        Follows no symbolic link below `root`, not even one that another process puts there at this moment.
        Raises StorageError when `path` is not below `root` or is not a regular file.
        """
        with _Translated("read", path):
            *folders, name = os.path.relpath(path, root).split(os.sep)
            if os.pardir in (*folders, name):
                raise PermissionError(errno.EACCES, f"it is not below {root}")
            here = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                for folder in folders:
                    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                    inner = os.open(folder, flags, dir_fd=here)
                    os.close(here)
                    here = inner
                # without O_NONBLOCK, a pipe without a writer would block
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                descriptor = os.open(name, flags, dir_fd=here)
            finally:
                os.close(here)
            if not status_bits.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                raise OSError(errno.EINVAL, "it is not a regular file")
            return descriptor

    def status(self, descriptor: int, path: str) -> os.stat_result:
        """Returns the attributes of an open file."""
        with _Translated("read", path):
            return os.fstat(descriptor)

    def read_at(self, descriptor: int, path: str, offset: int, size_bytes: int) -> bytes:
        """Returns `size_bytes` bytes of an open file from `offset` on; fewer where the file ends."""
        with _Translated("read", path):
            return os.pread(descriptor, size_bytes, offset)

    def shortened(self, path: str) -> StorageError:
        """Returns the error for a file that ends too early."""
        return StorageError("read", path, OSError(errno.EIO, "it has become shorter"))

    def chunks(self, path: str, chunk_bytes: int) -> Iterator[bytes]:
        """Yields the content of a file in pieces of at most `chunk_bytes`, each read when it is asked for."""
        with _Translated("read", path), open(path, "rb", buffering=0) as file:
            while data := file.read(chunk_bytes):
                yield data

    def list_folder(self, path: str) -> Iterator[Entry]:
        """Yields the entries of a folder in the order of the file system."""
        with _Translated("read folder", path), os.scandir(path) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    kind = EntryKind.FILE
                elif entry.is_dir(follow_symlinks=False):
                    kind = EntryKind.FOLDER
                else:
                    kind = EntryKind.LINK if entry.is_symlink() else EntryKind.OTHER
                yield Entry(entry.path, entry.name, kind)


def occupied_bytes(size_bytes: int) -> int:
    """Returns how much of the disk a file of this size takes up: file systems assign whole blocks."""
    return -(-size_bytes // _BLOCK_BYTES) * _BLOCK_BYTES
