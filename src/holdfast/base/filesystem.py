"""The file system, as one seam: everything that this program does to disks goes through `FileSystem`.

Each method turns `OSError` into `StorageError`. What it makes is private to the user (0600, 0700). All of it may
block: callers on the event loop use a thread. Tests subclass it to make a disk fail.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import stat as status_bits
from collections.abc import Iterator
from contextlib import suppress
from enum import Enum
from types import TracebackType
from typing import NamedTuple

from ..errors import StorageError, printable

_syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
"""Linux's sync of one file system; Python has none. Missing elsewhere."""

Buffer = bytes | memoryview

_BLOCK_BYTES = 4096
FILE_MODE = 0o600
FOLDER_MODE = 0o700


class EntryKind(Enum):
    """What stands under a name in a folder; OTHER are pipes, sockets and devices."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    OTHER = "other"


class Usage(NamedTuple):
    """How full a file system is. `free_bytes` are those that a user may take."""

    total_bytes: int
    free_bytes: int

    @property
    def used_share(self) -> float:
        return 1.0 - self.free_bytes / self.total_bytes if self.total_bytes else 0.0


class Entry(NamedTuple):
    path: str
    name: str
    kind: EntryKind


def is_in(path: str, folder: str) -> bool:
    """Whether `path` is `folder` or lies in it; both are without symbolic links."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


class _Translated:
    """Turns OSError into StorageError. A class, since that costs a third of a generator, and each file is touched
    ten times."""

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
    """The operating system's files. Paths are absolute strings."""

    def make_folder(self, path: str) -> None:
        """Makes `path` and its parents, all private; a folder that exists is left as it is."""
        with _Translated("make folder", path):
            missing = []
            folder = path
            while not os.path.isdir(folder):
                missing.append(folder)
                folder = os.path.dirname(folder)
            for folder in reversed(missing):
                with suppress(FileExistsError):  # somebody else was quicker
                    os.mkdir(folder, FOLDER_MODE)
            if not os.path.isdir(path):
                raise NotADirectoryError(errno.ENOTDIR, "there is a file of that name")

    def create(self, path: str) -> int:
        """Opens a new file for appending; fails with reason "exists" rather than touch another's.

        While it is open other processes can see by `is_being_written` that it has a living owner.
        """
        with _Translated("create", path):
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open(path, flags, FILE_MODE)
            with suppress(OSError):  # a file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor

    def is_being_written(self, path: str) -> bool:
        """Whether a living process, this one included, has `path` open from `create`."""
        with _Translated("read", path):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return False

    def write(self, descriptor: int, path: str, data: Buffer) -> None:
        """Hands all of `data` to the operating system, or raises with an unknown part of it written."""
        view = memoryview(data)
        with _Translated("write", path):
            while view:
                view = view[os.write(descriptor, view) :]

    def sync(self, folder: str) -> None:
        """Returns when all that was written on the file system of `folder`, names included, is on the disk."""
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
        """The size in bytes of an open file."""
        with _Translated("read", path):
            return os.fstat(descriptor).st_size

    def truncate(self, path: str, size_bytes: int) -> None:
        """Cuts `path` to its first `size_bytes` bytes."""
        with _Translated("truncate", path):
            os.truncate(path, size_bytes)

    def close(self, descriptor: int, path: str) -> None:
        with _Translated("close", path):
            os.close(descriptor)

    def rename(self, source: str, target: str) -> None:
        """Moves a file; `target` is replaced if it exists."""
        with _Translated("rename", source):
            os.replace(source, target)

    def move(self, source: str, target: str) -> None:
        """As `rename`, also to another file system: `target` is on the disk whole before `source` goes."""
        try:
            with _Translated("move", source):
                os.rename(source, target)
        except StorageError as error:
            if not (isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EXDEV):
                raise
            self._copy(source, target)
            self.remove(source)

    def _copy(self, source: str, target: str) -> None:
        part = target + ".part"
        with _Translated("copy", source):
            try:
                descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
                with open(source, "rb") as content, open(descriptor, "wb") as copy:
                    shutil.copyfileobj(content, copy, 1024 * 1024)
                    copy.flush()
                    os.fsync(copy.fileno())
                shutil.copystat(source, part)
                os.rename(part, target)
            except OSError:
                with suppress(OSError):
                    os.unlink(part)
                raise

    def usage(self, path: str) -> Usage:
        """How full the file system of `path` is."""
        with _Translated("read", path):
            found = os.statvfs(path)
        return Usage(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)

    def device(self, path: str) -> int:
        """The number of the file system that `path` is on."""
        return self.stat(path).st_dev

    def is_in_memory(self, path: str) -> bool:
        """Whether the file system of the folder `path` keeps its files in memory (Linux's tmpfs)."""
        with _Translated("read", path):
            here = os.lstat(path)
            with open("/proc/self/mountinfo", "rb") as mounts:
                device = f"{os.major(here.st_dev)}:{os.minor(here.st_dev)}".encode()
                rows = (line.split() for line in mounts)
                return any(row[2] == device and row[row.index(b"-") + 1] == b"tmpfs" for row in rows)

    def is_private(self, path: str) -> bool:
        """Whether `path` is a folder that belongs to this user and to which no other has access."""
        with _Translated("read", path):
            found = os.lstat(path)
        others = found.st_mode & (status_bits.S_IRWXG | status_bits.S_IRWXO)
        return status_bits.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not others

    def remove(self, path: str) -> None:
        with _Translated("delete", path):
            os.unlink(path)

    def remove_if_there(self, path: str) -> None:
        try:
            self.remove(path)
        except StorageError as error:
            if error.reason != "no_such_file":
                raise

    def exists(self, path: str) -> bool:
        """Whether anything stands at `path`; False also when it can't be looked at."""
        return os.path.lexists(path)

    def stat(self, path: str) -> os.stat_result:
        """What `path` leads to (symbolic links are followed)."""
        with _Translated("read", path):
            return os.stat(path)

    def read(self, path: str) -> bytes:
        """The whole of a file."""
        with _Translated("read", path), open(path, "rb") as file:
            return file.read()

    def replace(self, path: str, data: bytes) -> None:
        """Makes `path` hold `data`: readers, those after a power cut too, see the old or the new content whole."""
        new = path + ".new.prog"
        with _Translated("write", path):
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
            try:
                self.write(descriptor, new, data)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        self.rename(new, path)

    def open_to_append(self, path: str) -> int:
        """Opens a file that exists; what is written goes to its end."""
        with _Translated("write", path):
            return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def open(self, path: str) -> int:
        """Opens a file for `read_at`."""
        with _Translated("read", path):
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def open_beneath(self, root: str, path: str) -> int:
        """Opens a regular file below the folder `root` for `read_at`.

        No symbolic link is followed on the way from `root`: whoever puts one there meanwhile gains nothing.
        """
        with _Translated("read", path):
            *folders, name = os.path.relpath(path, root).split(os.sep)
            if os.pardir in (*folders, name):
                raise PermissionError(errno.EACCES, f"it is not below {printable(root)}")
            here = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                for folder in folders:
                    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                    inner = os.open(folder, flags, dir_fd=here)
                    os.close(here)
                    here = inner
                # a pipe that nobody writes would block without O_NONBLOCK
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                descriptor = os.open(name, flags, dir_fd=here)
            finally:
                os.close(here)
            if not status_bits.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                raise OSError(errno.EINVAL, "it is not a regular file")
            return descriptor

    def status(self, descriptor: int, path: str) -> os.stat_result:
        """As `stat`, of an open file."""
        with _Translated("read", path):
            return os.fstat(descriptor)

    def read_at(self, descriptor: int, path: str, offset: int, size_bytes: int) -> bytes:
        """The bytes of an open file from `offset` on: `size_bytes` of them, or fewer where it ends."""
        with _Translated("read", path):
            return os.pread(descriptor, size_bytes, offset)

    def shortened(self, path: str) -> StorageError:
        """The error for a file that ends before it should."""
        return StorageError("read", path, OSError(errno.EIO, "it has become shorter"))

    def chunks(self, path: str, chunk_bytes: int) -> Iterator[bytes]:
        """The content of a file in pieces of at most `chunk_bytes`, read one ahead of its use."""
        with _Translated("read", path), open(path, "rb", buffering=0) as file:
            while data := file.read(chunk_bytes):
                yield data

    def list_folder(self, path: str) -> Iterator[Entry]:
        """The entries of a folder, streamed in the order of the file system."""
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
    """What a file of this size takes up: file systems give whole blocks."""
    return -(-size_bytes // _BLOCK_BYTES) * _BLOCK_BYTES
