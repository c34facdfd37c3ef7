"""Quarantine: files that can't be delivered, kept in `failed/` with the reason beside them."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Sequence
from typing import Any

from ..errors import printable
from ..filesystem import FileSystem
from . import layout

logger = logging.getLogger(__name__)


def quarantine(
    files: FileSystem, capture_dir: str, path: str, cause: str, damaged: Sequence[tuple[int, int]] = ()
) -> str:
    """Moves `path` into `failed/` and writes its cause beside it; returns the new path. Raises StorageError.

    `damaged` are the byte ranges [from, to) that are not good, where the rest is delivered.
    """
    target = _free(files, layout.failed_path(path, capture_dir))
    files.make_folder(os.path.dirname(target))
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    note: dict[str, Any] = {"file": printable(path), "cause": cause, "time": now}
    if damaged:
        note["damaged"] = damaged
    files.replace(layout.cause_path(target), json.dumps(note, indent=1).encode())
    files.rename(path, target)
    logger.error("%s: %s; kept as %s", printable(path), cause, printable(target))
    return target


def _free(files: FileSystem, path: str) -> str:
    """`path`, or the first of `path~2`, `path~3`, … at which nothing stands."""
    number, free = 1, path
    while files.exists(free):
        number += 1
        free = f"{path}~{number}"
    return free
