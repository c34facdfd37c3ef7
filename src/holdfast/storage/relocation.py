"""Moves data out of folders in which an earlier version kept it by mistake: in the module's own package.

An earlier version took a relative path as relative to the module's working folder, which an update of the module
replaces. `move_out` moves such a folder to where the path leads by now, by renaming: whole when nothing is there
yet, and else entry by entry. Invariants:

- Nothing is overwritten, copied or deleted, except for the state of a folder of which everything else was moved.
- Whatever moment the process dies at, each file is at one place or the other, the journals know it at both, and the
  next start goes on.
- A folder that another process uses stays where it is.

Blocks on the disk: belongs on a worker thread.
"""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack

from ..base.filesystem import EntryKind, FileSystem, is_in
from ..config import FormerFolder
from ..errors import FileError, StorageError
from . import layout
from .ledger.relocation import note_new_place
from .lock import FolderLock
from .space.local_copy import FOLDERS, folder_in

logger = logging.getLogger(__name__)


def move_out(files: FileSystem, found: FormerFolder) -> str:
    """Moves what is in a former folder to where it belongs. Returns a problem if something stays there, else "".

    Does nothing where no earlier version kept data. Never raises.
    """
    if not _was_used(files, found):
        return ""
    former, now = _places(files, found)
    try:
        why = _move_capture_folder(files, former, now) if found.is_capture_folder else _move(files, former, now)
    except FileError as error:
        why = str(error)
    if not why:
        logger.info("%s was in the module's package; it is now %s", former, now)
        return ""
    if not holds_data(files, former):
        return ""
    stays = "it is sent from there" if found.is_capture_folder else "it stays there"
    return (
        f"{found.attribute}: an earlier version kept data in {former}, in the module's package, and it "
        f"can't be moved to {now}: {why}; {stays}; an update of the module deletes what is left of it"
    )


def is_left(files: FileSystem, found: FormerFolder) -> bool:
    """Whether an earlier version kept data in a former folder, and some of it is there. Never raises."""
    return _was_used(files, found) and holds_data(files, _places(files, found)[0])


def _places(files: FileSystem, found: FormerFolder) -> tuple[str, str]:
    """Returns from where to where a former folder is moved; the first is free of symbolic links."""
    former, now = files.real_path(found.former), found.now
    return (former, now) if found.is_capture_folder else (folder_in(former), folder_in(now))


def _was_used(files: FileSystem, found: FormerFolder) -> bool:
    """Whether an earlier version kept data in a former folder, which is apart from the one where that belongs."""
    try:
        former, now = _places(files, found)
        real = files.real_path(now)
    except StorageError as error:
        logger.warning("%s; what an earlier version may have kept there stays", error)
        return False
    marks = (layout.STATE_FOLDER,) if found.is_capture_folder else FOLDERS
    is_ours = any(files.exists(os.path.join(former, mark)) for mark in marks)
    if not is_ours or is_in(former, real) or is_in(real, former):
        return False
    try:  # in memory, all users may make folders
        return not files.is_in_memory(former) or files.is_private(former)
    except StorageError:
        return False


def holds_data(files: FileSystem, folder: str) -> bool:
    """Whether there is any file in a folder, besides our state. A folder that can't be read counts as empty."""
    try:
        for entry in files.list_folder(folder):
            if entry.kind is EntryKind.FOLDER:
                if entry.name != layout.STATE_FOLDER and holds_data(files, entry.path):
                    return True
            elif entry.kind is EntryKind.FILE:
                return True
    except StorageError:
        pass
    return False


def _move_capture_folder(files: FileSystem, former: str, now: str) -> str:
    """Returns why something stays in `former`, empty when nothing does. Raises FileError."""
    with ExitStack() as locks:
        for folder in (former, now) if files.exists(now) else (former,):
            lock = FolderLock(files, folder)
            locks.callback(lock.release)
            if not lock.try_acquire():
                return f"process {lock.owner()} has the lock of {folder}"
        note_new_place(files, former, now)
        why = _move(files, former, now)
        if why and not holds_data(files, former):
            _remove(files, former)
            return ""
        return why


def _move(files: FileSystem, former: str, now: str) -> str:
    return "" if _move_all(files, former, now) else "some of its files have names that are taken there"


def _move_all(files: FileSystem, former: str, now: str) -> bool:
    """Moves a file, or a folder with everything in it; returns False if something stays. Raises StorageError."""
    if not files.exists(now):
        files.make_folder(os.path.dirname(now))
        files.rename(former, now)
        return True
    if files.link_target(former) or not (files.is_folder(former) and files.is_folder(now)):
        return False
    stays = 0
    state_last = sorted(files.list_folder(former), key=lambda entry: entry.name == layout.STATE_FOLDER)
    for entry in state_last:  # `_was_used` knows the folder by it
        stays += not _move_all(files, entry.path, os.path.join(now, entry.name))
    if not stays:
        files.remove_folder(former)
    return not stays


def _remove(files: FileSystem, folder: str) -> None:
    for entry in list(files.list_folder(folder)):
        if entry.kind is EntryKind.FOLDER:
            _remove(files, entry.path)
        else:
            files.remove(entry.path)
    files.remove_folder(folder)
