"""The file `.holdfast/control.prog`: the settings that users made by command and that outlast a restart.

It is a JSON object with a version and a list of at most `MAX_SETTINGS` settings. A file of a newer version is
neither used nor overwritten. A damaged file is renamed, and a setting that can't be understood is left out: this
costs settings, never data. Every function blocks on the disk and belongs on a worker thread.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..base.filesystem import FileSystem
from ..base.log_limit import once
from ..base.words import shown
from ..config import MOST_HZ
from ..errors import NewerStateError, StorageError
from ..storage import layout

VERSION = 1
MAX_SETTINGS = 1_000
MAX_SETTINGS_CHARS = 64 * 1024
"""Of the names in all settings. With the most settings, the file is then smaller than what is read."""
_MAX_BYTES = 1024 * 1024
_MAX_NS = 1 << 63

logger = logging.getLogger(__name__)

SettingKey = tuple[str, str]
"""What a setting is about: its `what` and its `method`. For a frequency, that is a pair."""


@dataclass(frozen=True)
class Setting:
    """A pause or a frequency.

    Without a method it pauses `what`: "sync", "capture" or a resource. With a method it sets how often that method
    of the resource `what` is captured.
    """

    what: str
    method: str = ""
    hz: float = 0.0
    until_ns: int | None = None
    """The wall time at which it ends; None for never."""
    for_s: float | None = None
    """The seconds for which it was set. A clock that is set back does not make it hold longer after a restart."""

    @property
    def key(self) -> SettingKey:
        """What it is about. At most one setting holds for a key."""
        return self.what, self.method


def read(files: FileSystem, capture_dir: str) -> list[Setting]:
    """Returns the settings of the folder; none when there is no file or it is damaged.

    Raises NewerStateError when a newer version wrote the file, and StorageError.
    """
    path = layout.state_path(capture_dir, "control")
    try:
        document = json.loads(files.read_own(path, _MAX_BYTES))
        version, rows = document["version"], document["settings"]
        if not isinstance(version, int) or not isinstance(rows, list):
            raise ValueError("it is no object with a version and settings")
    except StorageError as error:
        if error.reason == "no_such_file":
            return []
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        logger.error("%s is damaged (%s): settings made by command are lost", path, error)
        with suppress(StorageError):
            files.rename(path, layout.state_path(capture_dir, "control-damaged"))
        return []
    if version > VERSION:
        raise NewerStateError(path, version, VERSION)
    return [setting for row in rows[:MAX_SETTINGS] if (setting := _setting(row)) is not None]


def write(files: FileSystem, capture_dir: str, settings: Iterable[Setting]) -> None:
    """Replaces the file by one with `settings`. Raises as `read` does, and then leaves the file as it is."""
    path = layout.state_path(capture_dir, "control")
    read(files, capture_dir)  # raises for a newer file, and renames a damaged one
    document = {"version": VERSION, "settings": [vars(setting) for setting in settings]}
    files.make_private_folder(os.path.dirname(path))
    files.replace(path, json.dumps(document, indent=1).encode())


def remove(files: FileSystem, capture_dir: str) -> None:
    """Removes the file from a folder that is no longer the capture folder.

    Raises as `read` does. A file that the disk refuses to remove stays, without an error.
    """
    read(files, capture_dir)
    with suppress(StorageError):
        files.remove(layout.state_path(capture_dir, "control"))


def _setting(row: Any) -> Setting | None:
    try:
        setting = Setting(**row)
    except TypeError:
        setting = Setting("")
    good = (
        isinstance(setting.what, str)
        and bool(setting.what)
        and isinstance(setting.method, str)
        and _is_number(setting.hz, MOST_HZ)
        and (setting.until_ns is None or (type(setting.until_ns) is int and 0 <= setting.until_ns < _MAX_NS))
        and (setting.for_s is None or _is_number(setting.for_s, sys.float_info.max))
    )
    if not good:
        logger.error(
            "a setting in %s can't be understood and is ignored: %s", "control.prog", shown(row), extra=once()
        )
    return setting if good else None


def _is_number(value: object, most: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= most
