"""Opens what a path names, by descriptors, so that no other user of the computer chooses what that is.

A program that runs as root works in folders that other users may write. One of them could put a symbolic link
there, at any moment, to a file or folder that is not his. Therefore a path is never handed to the operating system
whole: its folder is opened first, and then the file by its name in the open folder, which nobody can exchange.

**The rule of links.** A symbolic link is followed only

- in a folder that nobody but root and this user may write, if it belongs to one of these two;
- or if what it leads to belongs to the owner of the link, who is another user: he could give us the file himself.
  Nobody else may have been able to move the link to where it is.

The first half is that of the kernel's `protected_symlinks`, taken further; the second is that of systemd's
`chase()` with its `CHASE_SAFE`.

Everything here raises OSError, and blocks on the disk. Descriptors are the caller's to close.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import stat
import struct
from typing import NamedTuple

from . import locks

FOLDER = os.O_PATH | os.O_DIRECTORY
"""The flags that open a folder as a place for names; it can't be listed or synced."""

_MAX_LINKS = 40
"""As many as the kernel follows in one path."""
_OPENAT2 = 437
_RESOLVE_NO_SYMLINKS = 4
_NO_OPENAT2 = frozenset({errno.ENOSYS, errno.EPERM})
"""What kernels before 5.6 answer, and containers that forbid what they do not know."""
_ACCESS_LIST = "system.posix_acl_access"

_syscall = ctypes.CDLL(None, use_errno=True).syscall


class Place(NamedTuple):
    """What a path leads to: its path without symbolic links, and a descriptor of it (O_PATH)."""

    path: str
    descriptor: int


def open_folder(path: str, flags: int = FOLDER) -> int:
    """Opens a folder; every symbolic link on the way, and at the end, is followed by the rule of links alone."""
    try:
        return open_without_links(path, flags | os.O_DIRECTORY)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    place = find(path)
    try:
        return os.open(".", flags | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place.descriptor)
    finally:
        os.close(place.descriptor)


def open_own_folder(folder: int, name: str, path: str) -> int:
    """Opens the folder `name` in an open folder, whose path is `path`.

    A link of that name is followed only where no other user can put one. Raises PermissionError if another user may
    have put the folder there: it belongs to a user to whom the folder above, which others may write, does not.
    Raises OSError if it is no folder.
    """
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    demand_folder_or_link(status)
    if stat.S_ISLNK(status.st_mode) and not (_is_ours(status) and is_trusted(folder)):
        raise PermissionError(errno.EACCES, "it is a symbolic link that another user may have put there; remove it")
    descriptor = open_folder(path) if stat.S_ISLNK(status.st_mode) else _open_real_folder(folder, name)
    status, above = os.fstat(descriptor), os.fstat(folder)
    others = above.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if others and not _is_ours(status) and status.st_uid != above.st_uid and not _is_given(status.st_uid, folder):
        os.close(descriptor)
        raise PermissionError(
            errno.EACCES,
            f"it belongs to the user with the id {status.st_uid}, who may have put it there; remove it",
        )
    return descriptor


def open_file(folder: int, name: str, path: str, flags: int = os.O_RDONLY, *, follow: bool = True) -> int:
    """Opens the regular file `name` in an open folder, which is the one of `path`, as `find` finds it.

    With `follow` false, a link of that name is an error.
    """
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode) and follow:
        place = find(path)
        try:
            _demand_file(os.fstat(place.descriptor))
            return os.open(f"/proc/self/fd/{place.descriptor}", flags | os.O_NONBLOCK | os.O_CLOEXEC)
        finally:
            os.close(place.descriptor)
    _demand_file(status)  # before it is opened: a pipe would block, and to open a device has effects
    descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        status = os.fstat(descriptor)
        _demand_file(status)
        _demand_one_name(status, folder)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def open_own_file(folder: int, name: str, flags: int) -> int:
    """Opens the regular file `name` in an open folder, if no other user can have made or changed it.

    Raises PermissionError if it belongs to another user, if others may write it, or if it has a second name, and
    OSError if it is no regular file.
    """
    _demand_file(os.stat(name, dir_fd=folder, follow_symlinks=False))
    descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        status = os.fstat(descriptor)
        _demand_file(status)
        if why := why_not_ours(status, folder):
            raise PermissionError(errno.EACCES, f"{why}, so that another user may have put it there; remove it")
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def why_not_ours(status: os.stat_result, folder: int, bits: int = stat.S_IWGRP | stat.S_IWOTH) -> str:
    """Returns why another user may have made or changed a file, or what is in a folder; empty if none can have.
    `bits` of its mode are those that no other user may have.

    `folder` is where it lies, and is open. Some file systems give everything another owner, or keep no permissions
    (vfat, NFS for root): there, what counts is whether it is as a file would be that this process makes beside it.
    """
    user, others = os.geteuid(), status.st_mode & bits
    if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
        return "it has a second name (a hard link)"
    if status.st_uid != user or others:
        made = _status_of_new_file(folder)
        user, others = made.st_uid, others & ~made.st_mode
    if status.st_uid != user:
        return f"it belongs to the user with the id {status.st_uid}"
    return "other users have access to it" if others else ""


def status_of(folder: int, name: str, path: str) -> os.stat_result:
    """Returns the status of `name` in an open folder, which is the one of `path`, as `find` finds it."""
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        _demand_one_name(status, folder)
        return status
    place = find(path)
    try:
        return os.fstat(place.descriptor)
    finally:
        os.close(place.descriptor)


def find(path: str) -> Place:
    """Returns what `path` leads to by the rule of links.

    Raises PermissionError for a link that is not followed, and for a file with a second name (a hard link) in a
    folder that other users may write, unless both are one other user's: it may be private under the other name.
    """
    here = _root()
    names, links = _names(path), 0
    try:
        while names:
            name = names.pop()
            inner = _inner(here, name)
            if isinstance(inner, _Link):
                links += 1
                if links > _MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                inner = _behind(inner, here, name, names)
            os.close(here.descriptor)
            here = inner
    except OSError:
        os.close(here.descriptor)
        raise
    return here


class _Link(NamedTuple):
    """A symbolic link: who made it, and what stands in it."""

    status: os.stat_result
    target: str


def _root() -> Place:
    return Place("/", os.open("/", FOLDER | os.O_CLOEXEC))


def _inner(here: Place, name: str) -> Place | _Link:
    """Opens what has a name in an open folder, if that is no link."""
    inner = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here.descriptor)
    is_kept = False
    try:
        status = os.fstat(inner)
        if stat.S_ISLNK(status.st_mode):
            return _Link(status, os.readlink("", dir_fd=inner))
        _demand_one_name(status, here.descriptor)
        is_kept = True
        return Place(os.path.normpath(os.path.join(here.path, name)), inner)  # no links before: ".." is right
    finally:
        if not is_kept:
            os.close(inner)


def _behind(link: _Link, here: Place, name: str, names: list[str]) -> Place:
    """Opens where the way goes on behind a link `name` in an open folder, and puts what stands in the link before
    the `names` that are left. A link of another user is opened as a whole."""
    if _is_ours(link.status) and is_trusted(here.descriptor):
        names += _names(link.target)
        return _root() if os.path.isabs(link.target) else here._replace(descriptor=os.dup(here.descriptor))
    place, target = here.path, link.target
    real = os.path.realpath(os.path.join(place, target))
    return Place(real, _open_of_owner(link.status.st_uid, here.descriptor, real, os.path.join(place, name)))


def demand_folder_or_link(status: os.stat_result) -> None:
    """Raises OSError for what keeps a folder from being made under its name. The error is not NotADirectoryError,
    which stands for a path that leads to nothing."""
    if not (stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode)):
        raise OSError(errno.EINVAL, "it is no folder, and in the place of one; remove it")


def is_trusted(folder: int) -> bool:
    """Whether nobody but root and this user may make, rename or delete files in an open folder."""
    status = os.fstat(folder)
    if not _is_ours(status) or status.st_mode & stat.S_IWOTH or _is_mounted_by_another(status.st_dev):
        return False
    if not status.st_mode & stat.S_IWGRP:
        return True
    return status.st_gid in (0, os.getegid()) and not _has_access_list(folder)


def who_else_writes(folder: int) -> str:
    """Returns who but root and this user may make and delete files in an open folder; empty if nobody."""
    status = os.fstat(folder)
    if is_trusted(folder):
        return ""
    if status.st_mode & stat.S_IWOTH:
        return "all users"
    if not _is_ours(status):
        return f"the user with the id {status.st_uid}"
    return f"the group with the id {status.st_gid}"


def real_path(path: str) -> str:
    """Returns the path without symbolic links of what `path` leads to by the rule of links, as `find` finds it."""
    try:
        os.close(open_without_links(path, os.O_PATH))
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    else:
        return os.path.normpath(path)
    place = find(path)
    os.close(place.descriptor)
    return place.path


def _is_given(user: int, folder: int) -> bool:
    """Whether what this process makes in an open folder belongs to this user, as on NFS for root."""
    try:
        return _status_of_new_file(folder).st_uid == user
    except OSError:
        return False


def _status_of_new_file(folder: int) -> os.stat_result:
    """Returns the status that a private file has which this process makes in an open folder."""
    name = f"try-{os.getpid()}-{secrets.token_hex(8)}.prog"
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        os.unlink(name, dir_fd=folder)
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid in (0, os.geteuid())


def _has_access_list(descriptor: int) -> bool:
    """Whether a list says who has access. The bits of the group then are those of all whom it names."""
    try:
        os.getxattr(f"/proc/self/fd/{descriptor}", _ACCESS_LIST)
    except OSError:
        return False
    return True


def _is_mounted_by_another(device: int) -> bool:
    """Whether a file system in user space (FUSE) says what is on this device, whose program is another user's."""
    options = (locks.mount_of(device) or [b""])[-1].split(b",")
    owner = next((each for each in options if each.startswith(b"user_id=")), b"")
    return bool(owner) and owner not in (b"user_id=0", f"user_id={os.geteuid()}".encode())


def _demand_one_name(status: os.stat_result, folder: int) -> None:
    if status.st_nlink == 1 or not stat.S_ISREG(status.st_mode) or is_trusted(folder):
        return
    if _is_ours(status) or status.st_uid != os.fstat(folder).st_uid:
        raise PermissionError(
            errno.EACCES,
            "it has a second name (a hard link) and lies in a folder that other users may write; it may be private "
            "elsewhere, and is not read here",
        )


def _open_of_owner(owner: int, folder: int, real: str, link: str) -> int:
    """Opens what a link of another user in an open folder leads to, if it belongs to him."""
    descriptor = open_without_links(real, os.O_PATH)
    target = os.fstat(descriptor)
    if target.st_uid == owner and not _is_ours(target) and _was_made_here(owner, folder):
        return descriptor
    os.close(descriptor)
    raise PermissionError(
        errno.EACCES,
        f"{link} is a symbolic link that another user may have made, and what it leads to belongs to the user with "
        f"the id {target.st_uid}; it is not followed",
    )


def _was_made_here(owner: int, folder: int) -> bool:
    """Whether nobody but root and its owner may have moved a link to an open folder."""
    status = os.fstat(folder)
    return status.st_uid == owner or bool(status.st_mode & stat.S_ISVTX) or is_trusted(folder)


def _open_real_folder(folder: int, name: str) -> int:
    return os.open(name, FOLDER | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)


def open_without_links(path: str, flags: int) -> int:
    """Opens a file or folder; raises OSError with ELOOP when a symbolic link is on the way or at the end."""
    demand_no_nul(path)
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, 0, _RESOLVE_NO_SYMLINKS)
    descriptor: int = _syscall(_OPENAT2, -1, os.fsencode(path), how, len(how))
    if descriptor >= 0:
        return descriptor
    code = ctypes.get_errno()
    if code not in _NO_OPENAT2:
        raise OSError(code, os.strerror(code), path)
    return _open_step_by_step(path, flags)


def demand_no_nul(path: str) -> None:
    """Raises OSError for a path that the operating system would take to end earlier than it does."""
    if "\0" in path:
        raise OSError(errno.EINVAL, "a path can't have a NUL in it")


def _open_step_by_step(path: str, flags: int) -> int:
    """Does the same where the kernel can't."""
    here = os.open("/", FOLDER | os.O_CLOEXEC)
    for name in reversed(_names(path)):
        try:
            inner = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
        finally:
            os.close(here)
        here = inner
        if stat.S_ISLNK(os.fstat(here).st_mode):
            os.close(here)
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    if not flags & os.O_DIRECTORY:
        return here
    try:
        return os.open(".", flags | os.O_CLOEXEC, dir_fd=here)
    finally:
        os.close(here)


def _names(path: str) -> list[str]:
    """Returns the names in a path, the last one first."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def _demand_file(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")
