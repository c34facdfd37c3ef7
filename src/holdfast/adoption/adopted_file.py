"""The file `.holdfast/adopted.prog`: the cards that were adopted last, for a start at which they can't be read.

It is a JSON object with a version, the machine, the config's revision, the time of the reading, and the cards. It
has nothing but capture settings. A file of a newer version, of another machine or of another user is not used, and
a damaged one neither; the first two are not overwritten by a failure, only by new cards. Every function blocks on
the disk and belongs on a worker thread.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from ..base import json_values
from ..base.filesystem import FileSystem
from ..config import Card
from ..errors import NewerStateError, StorageError
from ..storage import layout

VERSION = 1
MAX_BYTES = 16 * 1024 * 1024
NAME = "adopted"


@dataclass(frozen=True)
class Kept:
    """What was adopted when the machine file could be read last."""

    machine: str
    revision: str
    read_ns: int
    cards: tuple[Card, ...]


def read(files: FileSystem, capture_dir: str) -> Kept | None:
    """Returns what is kept in a capture folder; None if that is nothing, or nothing that can be used.

    Raises StorageError and NewerStateError.
    """
    path = layout.state_path(capture_dir, NAME)
    try:
        document = json.loads(files.read_own(path, MAX_BYTES))
        version = json_values.whole_number(document["version"])
        if version > VERSION:
            raise NewerStateError(path, version, VERSION)
        return Kept(
            json_values.text(document["machine"]),
            json_values.text(document["revision"]),
            json_values.whole_number(document["read_ns"]),
            tuple(map(_card, document["cards"])),
        )
    except StorageError as error:
        if error.reason == "no_such_file":
            return None
        raise
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def write(files: FileSystem, capture_dir: str, kept: Kept) -> None:
    """Replaces the file. Raises StorageError."""
    path = layout.state_path(capture_dir, NAME)
    document = {"version": VERSION, **vars(kept), "cards": [vars(card) for card in kept.cards]}
    files.make_private_folder(os.path.dirname(path))
    files.replace(path, json.dumps(document).encode())


def _card(row: Any) -> Card:
    values = row["values"]
    if not isinstance(values, dict):
        raise ValueError("a card has no values")
    return Card(json_values.text(row["source"]), json_values.text(row["where"]), values)
