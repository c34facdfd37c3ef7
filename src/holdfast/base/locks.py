"""What the kernel knows of open files: who has locked one, and whether a process has it open for writing.

A lock belongs to an open file. It ends when that is closed, or its process dies, however it dies: it is never
stale. It holds against those who ask for it, and nobody else.

Each function blocks on the disk of the file, but never waits for another process. They raise OSError.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import signal
import stat
import struct
from contextlib import ExitStack, suppress

_NO_FLOCK = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
"""What file systems without `flock` answer, and network file systems while their server has no locks."""
_PLACES = ("/run", "/dev/shm")
"""Folders in memory, of this machine or container alone. Only root may write to the first; in the second nobody can
remove another user's file."""
_ALL_BYTES = (0, 0)
_OWN_LEASES = frozenset({b"nfs", b"nfs4", b"cifs", b"smb3"})
"""File systems that refuse a lease also when nobody has the file open, since it is up to their server."""


def has_no_locks(error: OSError) -> bool:
    """Whether `error`, from `try_lock`, says that the file system has no locks, now or ever."""
    return error.errno in _NO_FLOCK


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Locks an open file, and returns whether that succeeded; False when it is locked already by another open file.

    The lock is `flock`'s. On a file system without that, it is one of `fcntl`. A shared lock is compatible with
    other shared ones; it needs a file that is open for reading, and any other lock one that is open for writing.
    """
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if not has_no_locks(error):
            raise
        return _try_lock_bytes(descriptor, _ALL_BYTES, shared=shared)
    return True


def try_lock_here(descriptor: int, opened: ExitStack) -> bool:
    """Locks an open file among the processes of this user on this machine, whatever its file system is; returns
    False when another one of them has this lock.

    Processes in a container with a `/dev/shm` of its own have locks of their own. The lock is a byte, chosen by the
    file's identity, of an empty file in each of `_PLACES` in which that file is ours alone. It ends when `opened`
    is closed. Raises OSError when there is no such file.
    """
    status = os.fstat(descriptor)
    digest = hashlib.blake2b(f"{status.st_dev}:{status.st_ino}".encode(), digest_size=7).digest()
    the_byte = (int.from_bytes(digest, "big"), 1)
    failure: OSError | None = None
    held = False
    for place in _PLACES:
        try:
            private = _open_private(os.path.join(place, f"holdfast-{os.getuid()}.lock"))
            opened.callback(os.close, private)
            if not _try_lock_bytes(private, the_byte):
                return False
            held = True
        except OSError as error:
            failure = error
    if failure is not None and not held:
        raise failure
    return True


def is_open_for_writing(descriptor: int) -> bool:
    """Whether a process, this one included, has a file open for writing, or mapped after it had. `descriptor` is of
    an open of the file for reading that nobody else uses.

    False also when that can't be told: on network file systems, and for a file of another user unless this process
    may take leases on all (CAP_LEASE). A writer that opens the file in the middle of this waits for its end, which
    takes microseconds.
    """
    try:
        # such a writer makes the kernel send a signal, SIGIO by default, which would end the process
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return file_system_of(os.fstat(descriptor).st_dev) not in _OWN_LEASES
    except OSError:
        return False
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def writer_of(path: str) -> str:
    """Returns the name and id of a process that has `path` open for writing, such as "rsyslogd (812)".

    Empty if none is seen: what other users and containers have open may be hidden, and so is what is only mapped.
    """
    for process in filter(str.isdecimal, os.listdir("/proc")):
        folder = os.path.join("/proc", process)
        with suppress(OSError):  # it has ended, or is of another user
            if any(_is_writer(folder, descriptor, path) for descriptor in os.listdir(os.path.join(folder, "fd"))):
                return f"{_read(folder, 'comm').strip()} ({process})"
    return ""


def file_system_of(device: int) -> bytes:
    """Returns the type of the file system with this number, such as b"ext4"; empty if no mount has the number."""
    row = mount_of(device)
    return row[row.index(b"-") + 1] if row else b""


def mount_of(device: int) -> list[bytes]:
    """Returns the row of `/proc/self/mountinfo` for the file system with this number, by columns; empty if there is
    none. Its type is behind the column "-", its options are the last column."""
    number = f"{os.major(device)}:{os.minor(device)}".encode()
    with open("/proc/self/mountinfo", "rb") as mounts:
        return next((row for line in mounts if (row := line.split())[2] == number), [])


def _open_private(path: str) -> int:
    """Opens a file that only this user can open, and makes it if it is missing."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        os.close(descriptor)
        raise PermissionError(errno.EACCES, f"{path} is not a file of this user alone")
    return descriptor


def _try_lock_bytes(descriptor: int, which: tuple[int, int], *, shared: bool = False) -> bool:
    """Locks bytes of an open file, which need not exist: the first one and their number, or `_ALL_BYTES`."""
    kind = fcntl.F_RDLCK if shared else fcntl.F_WRLCK
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", kind, os.SEEK_SET, *which, 0))
    except BlockingIOError:
        return False
    return True


def _is_writer(process: str, descriptor: str, path: str) -> bool:
    """Whether a descriptor of a process, which is named by its folder in `/proc`, writes to `path`."""
    try:
        if os.readlink(os.path.join(process, "fd", descriptor)) != path:
            return False
        rows = dict(line.split(":", 1) for line in _read(process, "fdinfo", descriptor).splitlines() if ":" in line)
    except OSError:  # it was closed
        return False
    return int(rows["flags"], 8) & os.O_ACCMODE != os.O_RDONLY


def _read(*parts: str) -> str:
    with open(os.path.join(*parts), encoding="utf-8", errors="surrogateescape") as file:
        return file.read()
