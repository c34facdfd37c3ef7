"""The cards: what people set for capture on components, services and remotes, as in Viam's app.

viam-server hands these settings to its builtin data manager alone. But it keeps the machine's whole config in a
file, as the cloud sent it, for a start without a network. That is no documented interface: whatever can't be read
or understood there is not known, and never taken for nothing. The file holds secrets: only the capture methods
leave this module, and no content of the file is in an error or a log.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass

from ..base.filesystem import FileSystem
from ..errors import StorageError
from .linking import linked_methods
from .machine import Machine, NoDataManagerError, UnreadableConfigError

MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Card:
    """One capture method that is set on a component, a service or a remote, and switched on."""

    resource: str
    """The full name of the resource."""
    method: str
    hz: float


def cached_config(viam_home: str, part_id: str) -> str:
    """Returns the path of the config that viam-server keeps of a machine part."""
    return os.path.join(viam_home, f"cached_cloud_config_{part_id}.json")


class CardReader:
    """Reads cards. viam-server writes its file anew at each poll of the cloud, so it is parsed only when its
    content is another than before."""

    def __init__(self, files: FileSystem) -> None:
        self._files = files
        self._digest = b""
        self._cards: tuple[Card, ...] | None = None

    def read(self, path: str) -> tuple[Card, ...] | None:
        """Returns the cards that `capture_methods` of the service do not have too; None when they are not known.

        Only a file of this user is read. Blocks on the disk, and takes some 5 ms for a config of a megabyte that is
        new.
        """
        try:
            content = self._files.read_whole(self._files.open_own(path), path, MAX_BYTES)
        except (StorageError, ValueError):
            return None
        digest = hashlib.blake2b(content).digest()
        if digest != self._digest:
            self._digest, self._cards = digest, _cards_in(content)
        return self._cards


def _cards_in(content: bytes) -> tuple[Card, ...] | None:
    try:
        machine = Machine(json.loads(content))
        linked = linked_methods(machine, machine.data_manager.listed_methods).entries
    except (ValueError, TypeError, AttributeError, RecursionError, UnreadableConfigError, NoDataManagerError):
        return None
    return tuple(
        Card(entry.resource, str(entry.attributes.get("method")), float(entry.attributes["capture_frequency_hz"]))
        for entry in linked
        if entry.runs
    )
