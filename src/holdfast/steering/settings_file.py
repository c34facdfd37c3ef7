"""What a user set by command, and wants to hold after a restart: `.holdfast/control.prog`.

A JSON object: a version, and a list of settings. A file of a newer version is neither read nor overwritten. A
damaged one is put aside, and a setting that can't be understood left out: that costs settings, never data. Blocks:
belongs on a worker thread.
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
from ..errors import NewerStateError, StorageError, printable
from ..storage import layout

VERSION = 1
MAX_SETTINGS = 1_000
_MAX_BYTES = 1024 * 1024

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Setting:
    """A pause of `what` ("sync", "capture" or a resource), or where `method` is given the frequency of a method of
    the resource `what`."""

    what: str
    method: str = ""
    hz: float = 0.0
    until_ns: int | None = None
    """When it ends, as wall time; None for never."""
    for_s: float | None = None
    """How long it was to hold from the beginning: no clock that was set makes it longer."""

    @property
    def key(self) -> tuple[str, str]:
        """At most one setting holds for it."""
        return self.what, self.method


def read(files: FileSystem, capture_dir: str) -> list[Setting]:
    """The settings of the folder; none where there is no file. Raises NewerStateError and StorageError."""
    path = layout.state_path(capture_dir, "control")
    try:
        if files.stat(path).st_size > _MAX_BYTES:
            raise ValueError("it is too large")
        document = json.loads(files.read(path))
        version, rows = document["version"], document["settings"]
        if not isinstance(version, int) or not isinstance(rows, list):
            raise ValueError("it is no object with a version and settings")
    except StorageError as error:
        if error.reason == "no_such_file":
            return []
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        logger.error("%s is damaged (%s): settings made by command are lost", printable(path), error)
        with suppress(StorageError):
            files.rename(path, layout.state_path(capture_dir, "control-damaged"))
        return []
    if version > VERSION:
        raise NewerStateError(path, version, VERSION)
    return [setting for row in rows[:MAX_SETTINGS] if (setting := _setting(row)) is not None]


def write(files: FileSystem, capture_dir: str, settings: Iterable[Setting]) -> None:
    """Makes the file hold `settings`. Raises StorageError, and NewerStateError where it must not be touched."""
    path = layout.state_path(capture_dir, "control")
    read(files, capture_dir)  # refuses a newer one, puts a damaged one aside
    document = {"version": VERSION, "settings": [vars(setting) for setting in settings]}
    files.make_folder(os.path.dirname(path))
    files.replace(path, json.dumps(document, indent=1).encode())


def remove(files: FileSystem, capture_dir: str) -> None:
    """The folder is the capture folder no more. Raises as `write`."""
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
        and _is_number(setting.hz)
        and (setting.until_ns is None or type(setting.until_ns) is int)
        and (setting.for_s is None or _is_number(setting.for_s))
    )
    if not good:
        logger.error("a setting in %s can't be understood and is ignored: %r", "control.prog", row)
    return setting if good else None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= sys.float_info.max
