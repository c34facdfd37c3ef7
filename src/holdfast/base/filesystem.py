"""The seam to the disk: everything that the program does to files goes through `FileSystem`.

- Every method raises StorageError in place of OSError.
- The files and folders that it makes are private to the user (0600, 0700), and new: nothing is written through a
  link or over a file that another user put there.
- Symbolic links are followed by the rule of `openat` alone, and none at the end of a path whose file is made,
  changed, renamed or deleted.
- Only regular files are opened, so none blocks like a pipe, or has effects like a device.
- Every method may block: callers on the event loop use a thread.

Tests subclass it to make a disk fail.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat as status_bits
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from typing import NamedTuple

from ..errors import StorageError
from . import locks, openat
from .at import At, Identity, Translated, replaced

_syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
"""Linux's function that syncs one file system, which Python does not offer; None on other systems."""

Buffer = bytes | memoryview

_BLOCK_BYTES = 4096
NEW_EXTENSION = ".new.prog"
"""Ends the name of a file that is about to replace another. A crash may leave such a file."""
FOLDER_MODE = 0o700


MAX_DEPTH = 200
"""How many folders lead to one whose entries are read."""
_NOT_OURS = frozenset({errno.EACCES, errno.EINVAL, errno.ELOOP, errno.ENXIO})
"""What `At.open_own` answers for what another may have put there."""


_ALL_OTHERS = status_bits.S_IRWXG | status_bits.S_IRWXO


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
    status: os.stat_result | None = None
    """What `FileSystem.stat` returns for it, if `list_folder` was asked for that and knows it."""


def is_in(path: str, folder: str) -> bool:
    """Whether `path` is `folder` or lies in it. Both must be free of symbolic links."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


class FileSystem:
    """The files of the operating system. Paths are absolute strings."""

    def make_folder(self, path: str) -> None:
        """Makes the folder `path` and its missing parents, all private. Existing folders are left as they are.

        Raises StorageError if another user may have put what is there.
        """
        missing: list[str] = []
        while _is_missing(folder := os.path.dirname(missing[-1]) if missing else path):
            missing.append(folder)
        for folder in reversed(missing):
            with At("make folder", folder) as at:
                with suppress(FileExistsError):  # another process was quicker, or it is no folder
                    os.mkdir(at.name, FOLDER_MODE, dir_fd=at.folder)
                openat.demand_folder_or_link(at.own_status())
        with At("use folder", path) as at:
            os.close(openat.open_own_folder(at.folder, at.name, path))

    def make_private_folder(self, path: str) -> None:
        """Makes the folder `path` as `make_folder` does. One that is there is made private if it is this user's.

        Raises StorageError if it is another user's, or no folder.
        """
        self.make_folder(path)
        with At("use folder", path) as at:
            descriptor = os.open(
                at.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at.folder
            )
            try:
                status = os.fstat(descriptor)
                if status.st_uid == os.geteuid() and status_bits.S_IMODE(status.st_mode) != FOLDER_MODE:
                    with suppress(OSError):  # the file system keeps no permissions, which is judged next
                        os.fchmod(descriptor, FOLDER_MODE)
                if why := openat.why_not_ours(os.fstat(descriptor), descriptor):
                    raise PermissionError(
                        errno.EACCES,
                        f"{why}, so that what is in it may be forged; remove it, or give it to the user with "
                        f"the id {os.geteuid()} if you trust it",
                    )
            finally:
                os.close(descriptor)

    def create(self, path: str) -> int:
        """Creates a file and opens it for appending; returns its descriptor.

        Raises StorageError with the reason "exists" when there is anything of that name already, which stays
        untouched. While the file is open, other processes see by `is_being_written` that its writer is alive.
        """
        with At("create", path) as at:
            descriptor = at.create(os.O_WRONLY | os.O_APPEND)
            with suppress(OSError):  # a file system without locks
                locks.try_lock(descriptor)
            return descriptor

    def is_being_written(self, path: str) -> bool:
        """Whether a living process, this one included, has `path` open since it made it with `create`.

        Where files can't be locked, whether one has it open for writing; see `is_open_for_writing`.
        """
        with At("read", path) as at:
            descriptor = at.open()
        try:
            return not locks.try_lock(descriptor, shared=True)
        except OSError:
            return self.is_open_for_writing(path)
        finally:
            os.close(descriptor)

    def is_open_for_writing(self, path: str) -> bool:
        """Whether a process has `path` open for writing, as far as `locks.is_open_for_writing` can tell."""
        with At("read", path) as at:
            descriptor = at.open()
            try:
                return locks.is_open_for_writing(descriptor)
            finally:
                os.close(descriptor)

    def writer_of(self, path: str) -> str:
        """Returns a process that has `path` open for writing; see `locks.writer_of`."""
        real = self.real_path(path)
        with Translated("read", path):
            return locks.writer_of(real)

    def write(self, descriptor: int, path: str, data: Buffer) -> None:
        """Hands all of `data` to the operating system. When it raises, any part of it may have been written."""
        view = memoryview(data)
        with Translated("write", path):
            while view:
                view = view[os.write(descriptor, view) :]

    def sync(self, folder: str) -> None:
        """Returns when everything written so far to the file system of `folder`, names included, is on the disk."""
        with Translated("sync", folder), _opened_folder(folder, os.O_RDONLY) as descriptor:
            if _syncfs is None:
                os.sync()
            elif _syncfs(descriptor) != 0:
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code))

    def size(self, descriptor: int, path: str) -> int:
        """Returns the size of an open file in bytes."""
        with Translated("read", path):
            return os.fstat(descriptor).st_size

    def truncate(self, path: str, size_bytes: int) -> None:
        """Cuts a file down to its first `size_bytes` bytes."""
        with At("truncate", path) as at:
            descriptor = openat.open_file(at.folder, at.name, path, os.O_WRONLY, follow=False)
            try:
                os.ftruncate(descriptor, size_bytes)
            finally:
                os.close(descriptor)

    def close(self, descriptor: int, path: str) -> None:
        with Translated("close", path):
            os.close(descriptor)

    def rename(self, source: str, target: str, identity: Identity | None = None) -> None:
        """Moves a file within its file system. Replaces `target` if it exists.

        Raises StorageError if another file than that of `identity` has the name `source` by now.
        """
        with At("rename", source) as here:
            self._rename(here, target, identity)

    def move(self, source: str, target: str, identity: Identity | None = None) -> None:
        """Moves a file, also to another file system: `source` is removed only when all of `target` is on the disk.

        Replaces `target` if it exists. Raises StorageError as `rename` does.
        """
        with At("move", source) as here:
            try:
                self._rename(here, target, identity)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                copied = self._copy(here, target, identity)
                here.demand(copied)
                os.unlink(here.name, dir_fd=here.folder)

    @staticmethod
    def _rename(here: At, target: str, identity: Identity | None) -> None:
        folder, name = os.path.split(target)
        with _opened_folder(folder) as descriptor:
            here.demand(identity)
            os.rename(here.name, name, src_dir_fd=here.folder, dst_dir_fd=descriptor)

    @staticmethod
    def _copy(here: At, target: str, identity: Identity | None) -> Identity:
        """Copies a file to another file system; returns which one it was."""
        with At("copy", target + NEW_EXTENSION) as new, open(here.open(), "rb") as content:
            status = os.fstat(content.fileno())
            found = Identity.of(status)
            if identity not in (None, found):
                raise replaced()
            try:
                with open(new.create_anew(), "wb") as copy:
                    shutil.copyfileobj(content, copy, 1024 * 1024)
                    copy.flush()
                    os.fchmod(copy.fileno(), status_bits.S_IMODE(status.st_mode))
                    os.utime(copy.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
                    os.fsync(copy.fileno())
                name = os.path.basename(target)
                os.rename(new.name, name, src_dir_fd=new.folder, dst_dir_fd=new.folder)
            except OSError:
                with suppress(OSError):
                    os.unlink(new.name, dir_fd=new.folder)
                raise
            return found

    def usage(self, path: str) -> Usage:
        """Returns how full the file system of the folder `path` is."""
        with Translated("read", path), _opened_folder(path) as descriptor:
            found = os.statvfs(descriptor)
        return Usage(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)

    def device(self, path: str) -> int:
        """Returns the number of the file system that `path` is on."""
        return self.stat(path).st_dev

    def is_in_memory(self, path: str) -> bool:
        """Whether the folder `path` is on a file system that keeps its files in memory (Linux's tmpfs)."""
        with At("read", path) as at:
            return locks.file_system_of(at.own_status().st_dev) == b"tmpfs"

    def is_private(self, path: str) -> bool:
        """Whether `path` is a folder that belongs to this user and that no other user has access to."""
        with At("read", path) as at:
            found = at.own_status()
        is_ours = found.st_uid == os.geteuid() and not found.st_mode & _ALL_OTHERS
        return status_bits.S_ISDIR(found.st_mode) and is_ours

    def who_else_writes(self, path: str) -> str:
        """Returns who, but root and this user, may make and delete files in the folder `path`, as words such as
        "all users"; empty if nobody."""
        with Translated("read", path), _opened_folder(path) as descriptor:
            return openat.who_else_writes(descriptor)

    def remove(self, path: str, identity: Identity | None = None) -> None:
        """Deletes a file. Raises StorageError if another file than that of `identity` has the name by now."""
        with At("delete", path) as at:
            at.demand(identity)
            os.unlink(at.name, dir_fd=at.folder)

    def remove_if_there(self, path: str) -> None:
        """Deletes a file if it exists."""
        try:
            self.remove(path)
        except StorageError as error:
            if error.reason != "no_such_file":
                raise

    def remove_folder(self, path: str) -> None:
        """Deletes an empty folder."""
        with At("delete", path) as at:
            os.rmdir(at.name, dir_fd=at.folder)

    def is_readable(self, path: str) -> bool:
        """Whether this user may read a file."""
        return os.access(path, os.R_OK)

    def exists(self, path: str) -> bool:
        """Whether there is anything at `path`, be it a broken link; False also when that can't be found out."""
        try:
            with At("read", path) as at:
                at.own_status()
        except StorageError:
            return False
        return True

    def is_folder(self, path: str) -> bool:
        """Whether `path` is a folder, or leads to one by the rule of links; False also when that can't be found
        out."""
        try:
            return status_bits.S_ISDIR(self.stat(path).st_mode)
        except StorageError:
            return False

    def is_file(self, path: str) -> bool:
        """Whether `path` is a regular file, or leads to one by the rule of links; False also when that can't be
        found out."""
        try:
            return status_bits.S_ISREG(self.stat(path).st_mode)
        except StorageError:
            return False

    def link_target(self, path: str) -> str:
        """Returns what stands in the symbolic link `path`; empty if it is none, or can't be read."""
        with suppress(StorageError), At("read", path) as at:
            if status_bits.S_ISLNK(at.own_status().st_mode):
                return os.readlink(at.name, dir_fd=at.folder)
        return ""

    def real_path(self, path: str) -> str:
        """Returns `path` without symbolic links. What is missing stays as it is named.

        Raises StorageError for a link that is not followed.
        """
        missing: list[str] = []
        head = os.path.normpath(path)
        with Translated("follow", path):
            while True:
                try:
                    return os.path.join(openat.real_path(head), *reversed(missing))
                except (FileNotFoundError, NotADirectoryError):
                    head, name = os.path.split(head)
                    missing.append(name)

    def place_of(self, path: str) -> str:
        """Returns `path` as a walk finds it: a folder where it really is, and anything else, such as a link to a
        file, under its own name in the folder that it really is in. Raises StorageError as `real_path` does."""
        folder, name = os.path.split(os.path.normpath(path))
        if not self.link_target(path) or self.is_folder(path):
            return self.real_path(path)
        return os.path.join(self.real_path(folder), name)

    def places_of(self, paths: Iterable[str]) -> list[str]:
        """Returns the places of these paths, each once and in order, but for those with a link that is not
        followed."""
        places: dict[str, None] = {}
        for path in paths:
            with suppress(StorageError):
                places[self.place_of(path)] = None
        return list(places)

    def is_writable(self, path: str) -> bool:
        """Whether this user may write to a file, or make and delete files in a folder."""
        return os.access(path, os.W_OK)

    def stat(self, path: str) -> os.stat_result:
        """Returns the attributes of the file at `path`, or of what it leads to by the rule of links."""
        with At("read", path) as at:
            return at.status()

    def read_own(self, path: str, most_bytes: int | None = None) -> bytes:
        """Returns the whole content of a file that this user made. Raises StorageError for one that another may
        have made or changed, and ValueError if it has more than `most_bytes`, of which no more is read."""
        with At("read", path) as at, open(at.open_own(os.O_RDONLY), "rb") as file:
            return file.read() if most_bytes is None else _within(file.read(most_bytes + 1), most_bytes)

    def set_time(self, path: str, time_ns: int) -> None:
        """Sets the modification time of a file that this user made. Raises StorageError for one that another may
        have made or changed."""
        with At("write", path) as at:
            descriptor = at.open_own(os.O_WRONLY)
            try:
                os.utime(descriptor, ns=(time_ns, time_ns))
            finally:
                os.close(descriptor)

    def replace(self, path: str, data: bytes) -> None:
        """Replaces the content of `path` by `data`. Readers see all of the old or all of the new content, even
        after a power cut."""
        new = path + NEW_EXTENSION
        try:
            with At("write", new) as at:
                descriptor = at.create_anew()
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
        with suppress(StorageError), At("delete", path) as at:
            os.unlink(at.name, dir_fd=at.folder)

    def open_to_append(self, path: str) -> int:
        """Opens an existing file of this user for appending; returns its descriptor."""
        with At("write", path) as at:
            return at.open_own(os.O_WRONLY | os.O_APPEND)

    def open_folder(self, path: str) -> int:
        """Opens a folder, to lock it; returns its descriptor."""
        with Translated("read folder", path):
            return openat.open_folder(path, os.O_RDONLY)

    def open_to_lock(self, path: str) -> int:
        """Opens the file `path` for reading and writing, and makes it if it is missing; returns its descriptor.

        One that is not this user's alone, or that others may read and so lock, is replaced by a new one.
        """
        with At("lock", path) as at:
            try:
                descriptor = at.open_own(os.O_RDWR)
            except FileNotFoundError:
                return at.create(os.O_RDWR)
            except OSError as error:
                if error.errno not in _NOT_OURS:
                    raise
            else:
                if not openat.why_not_ours(os.fstat(descriptor), at.folder, _ALL_OTHERS):
                    return descriptor
                os.close(descriptor)
            return at.create_anew(os.O_RDWR)

    def open(self, path: str, identity: Identity | None = None) -> int:
        """Opens a file for `read_at`, or what it leads to by the rule of links; returns its descriptor.

        Raises StorageError if another file than that of `identity` has the name by now.
        """
        with At("read", path) as at:
            descriptor = at.open()
            if identity is not None and Identity.of(os.fstat(descriptor)) != identity:
                os.close(descriptor)
                raise replaced()
            return descriptor

    def open_own(self, path: str) -> int:
        """Opens a file that this user made for `read_at`; see `read_own`."""
        with At("read", path) as at:
            return at.open_own()

    def open_beneath(self, root: str, path: str) -> int:
        """Opens a regular file below the folder `root` for `read_at`; returns its descriptor.

        Follows no symbolic link at all, not even one that another process puts there at this moment. Raises
        StorageError when `path` is not below `root` or is not a regular file.
        """
        with Translated("read", path):
            if os.path.normpath(path) != path or not is_in(path, root):
                raise PermissionError(errno.EACCES, f"it is not below {root}")
            folder, name = os.path.split(path)
            descriptor = openat.open_without_links(folder, openat.FOLDER)
            try:
                return openat.open_file(descriptor, name, path, follow=False)
            finally:
                os.close(descriptor)

    def status(self, descriptor: int, path: str) -> os.stat_result:
        """Returns the attributes of an open file."""
        with Translated("read", path):
            return os.fstat(descriptor)

    def read_at(self, descriptor: int, path: str, offset: int, size_bytes: int) -> bytes:
        """Returns `size_bytes` bytes of an open file from `offset` on; fewer where the file ends."""
        with Translated("read", path):
            return os.pread(descriptor, size_bytes, offset)

    def read_whole(self, descriptor: int, path: str, most_bytes: int) -> bytes:
        """Returns the whole content of an open file, and closes it. Raises ValueError if it has more than
        `most_bytes`, of which no more is read."""
        try:
            content = self.read_at(descriptor, path, 0, most_bytes + 1)
        finally:
            self.close(descriptor, path)
        return _within(content, most_bytes)

    def shortened(self, path: str) -> StorageError:
        """Returns the error for a file that ends too early."""
        return StorageError("read", path, OSError(errno.EIO, "it has become shorter"))

    def list_folder(self, path: str, *, with_status: bool = False) -> Iterator[Entry]:
        """Yields the entries of a folder in the order of the file system.

        Raises StorageError for one that lies deeper than `MAX_DEPTH`: who walks through folders needs a descriptor
        and a part of the stack for each on the way, and another user can make as many as there are.
        `with_status` gives most files their status, which is faster than to ask for each.
        """
        with Translated("read folder", path):
            if path.count(os.sep) > MAX_DEPTH:
                raise OSError(errno.EINVAL, f"it is more than {MAX_DEPTH} folders deep")
            with _opened_folder(path, os.O_RDONLY) as descriptor, os.scandir(descriptor) as entries:
                for entry in entries:
                    kind = _kind_of(entry)
                    status = _status_of(entry) if with_status and kind is EntryKind.FILE else None
                    yield Entry(os.path.join(path, entry.name), entry.name, kind, status)


def _within(content: bytes, most_bytes: int) -> bytes:
    if len(content) > most_bytes:
        raise ValueError("it is too large")
    return content


@contextmanager
def _opened_folder(path: str, flags: int = openat.FOLDER) -> Iterator[int]:
    """A context in which a folder is open; yields its descriptor. Raises OSError."""
    descriptor = openat.open_folder(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_missing(folder: str) -> bool:
    """Whether there is nothing of that name. Raises StorageError if that can't be found out."""
    try:
        with At("make folder", folder) as at:
            at.own_status()
    except StorageError as error:
        if error.reason != "no_such_file":
            raise
        return True
    return False


def _kind_of(entry: os.DirEntry[str]) -> EntryKind:
    if entry.is_file(follow_symlinks=False):
        return EntryKind.FILE
    if entry.is_dir(follow_symlinks=False):
        return EntryKind.FOLDER
    return EntryKind.LINK if entry.is_symlink() else EntryKind.OTHER


def _status_of(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Returns the status of a file; None if only `stat` can tell, or can say why not."""
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return None
    return status if status.st_nlink == 1 and status_bits.S_ISREG(status.st_mode) else None


def occupied_bytes(size_bytes: int) -> int:
    """Returns how much of the disk a file of this size takes up: file systems assign whole blocks."""
    return -(-size_bytes // _BLOCK_BYTES) * _BLOCK_BYTES
