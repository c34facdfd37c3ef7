"""Looks at what stands at an additional sync path, and says what it is and what keeps it from being synced.

Blocks on the disk, for ever if its file system stalls: `additional_paths` runs it on a thread that may hang.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from ..base.filesystem import FileSystem
from ..config import Protected
from ..errors import StorageError
from ..storage import layout
from ..storage.layout import FileKind


class PathKind(Enum):
    """What stands at a path, after links are followed. The value is the text in the status."""

    UNKNOWN = "unknown"
    """It was not looked at yet, or its file system does not answer."""
    FOLDER = "folder"
    FILE = "file"
    MISSING = "missing"
    PATTERN = "pattern"
    """Nothing is there, and the name looks as if it meant several files."""
    OTHER = "other"
    """A pipe, a socket or a device."""


@dataclass(frozen=True)
class CheckedPath:
    """What is known about an additional sync path."""

    path: str
    """The absolute path, as it is configured."""
    kind: PathKind = PathKind.UNKNOWN
    problem: str = ""
    """What is wrong, and what to do; empty if nothing is."""
    is_synced: bool = True
    """Whether walks look there. They also do while nothing is there."""
    is_readable: bool = True
    """Whether it is known what is there. If not, what waits there is in no count."""


_PATTERN = frozenset("*?[")
_WAITS = "it is synced as soon as it is"
_NOT_SYNCED = "nothing is synced from there"


def check_path(files: FileSystem, path: str, protected: Protected) -> CheckedPath:
    """Returns what stands at `path` now. Blocks on the disk."""
    if where := protected.where_it_leads(path):
        problem = f"{path} leads to {where}, and sync deletes what it delivers; {_NOT_SYNCED}; name one of your own"
        return CheckedPath(path, PathKind.UNKNOWN, problem, is_synced=False)
    try:
        mode = files.stat(path).st_mode
    except StorageError as error:
        if error.reason != "no_such_file":
            problem = f"{error}; {_NOT_SYNCED} until that works"
            return CheckedPath(path, PathKind.UNKNOWN, problem, is_synced=False, is_readable=False)
        return _missing(files, path)
    if stat.S_ISDIR(mode):
        return _folder(files, path)
    if stat.S_ISREG(mode):
        return _file(files, path)
    what = "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
    return CheckedPath(path, PathKind.OTHER, f"{path} is {what}; name a folder or a file", is_synced=False)


def _missing(files: FileSystem, path: str) -> CheckedPath:
    if target := files.link_target(path):
        problem = f"{path} is a link to {target}, which is not there; {_WAITS}"
        return CheckedPath(path, PathKind.MISSING, problem)
    if _PATTERN & set(path):
        problem = f"{path} is not there: * ? and [ mean themselves; {_NOT_SYNCED}; name the folder, or each file"
        return CheckedPath(path, PathKind.PATTERN, problem)
    return CheckedPath(path, PathKind.MISSING, f"{path} is not there; {_WAITS}")


def _folder(files: FileSystem, path: str) -> CheckedPath:
    if os.path.basename(path) in layout.SKIPPED_FOLDERS:
        problem = f"{path} is never synced: folders of that name hold what Holdfast keeps back; name another one"
        return CheckedPath(path, PathKind.FOLDER, problem, is_synced=False)
    try:
        _first(files.list_folder(path))
    except StorageError as error:
        problem = f"{error}; {_NOT_SYNCED} until viam-server's user may read it"
        return CheckedPath(path, PathKind.FOLDER, problem, is_synced=False, is_readable=False)
    return CheckedPath(path, PathKind.FOLDER, _why_it_stays(files, path, path))


def _file(files: FileSystem, path: str) -> CheckedPath:
    if layout.kind_of(path) in (FileKind.IN_PROGRESS, FileKind.SEQUENCE):
        problem = f"{path} is never synced: files of that name, or in that folder, are not complete; rename it"
        return CheckedPath(path, PathKind.FILE, problem, is_synced=False)
    if not files.is_readable(path):
        problem = f"{path} can't be read; {_NOT_SYNCED} until viam-server's user may read it"
        return CheckedPath(path, PathKind.FILE, problem, is_synced=False, is_readable=False)
    return CheckedPath(path, PathKind.FILE, _why_it_stays(files, path, os.path.dirname(path)))


def _why_it_stays(files: FileSystem, path: str, folder: str) -> str:
    if files.is_writable(folder):
        return ""
    return (
        f"{path}: what is delivered stays there, since viam-server's user may not delete anything in "
        f"{folder}; give it the right to write there"
    )


def _first(entries: Iterator[object]) -> None:
    next(entries, None)
