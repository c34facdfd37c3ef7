"""The journal is the ledger on the disk, in `.holdfast/ledger.prog`.

It is a text file. Each line is a JSON object with a checksum (`checked_line`). The first line is a checkpoint: it
has the version and all that is known. Each further line has what changed since. Values are absolute, so that the
last one of each name holds, and a damaged line costs only what it says itself. Invariants:

- The file is replaced as a whole, atomically, at the first `append` after it was opened, and when it has grown by
  `MAX_BYTES` since the last checkpoint. So it stays bounded, and no line is applied twice.
- A journal of a newer version is neither read nor overwritten.

Not thread-safe. Blocks on the disk: belongs on a worker thread or the sync thread.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ...base import checked_line
from ...base.filesystem import FileSystem
from ...errors import NewerStateError, StorageError
from .. import layout

VERSION = 1
MAX_BYTES = 1024 * 1024
_MAX_READ_BYTES = 64 * MAX_BYTES

logger = logging.getLogger(__name__)

Record = dict[str, Any]


class Journal:
    """One open journal. `checkpoint` returns everything that is known, for the first line of a new file."""

    def __init__(self, files: FileSystem, capture_dir: str, checkpoint: Callable[[], Record]) -> None:
        self.path = layout.state_path(capture_dir, "ledger")
        self._files = files
        self._capture_dir = capture_dir
        self._checkpoint = checkpoint
        self._descriptor: int | None = None
        self._size_bytes = 0
        self._last_checkpoint_bytes = 0

    def read(self) -> list[Record]:
        """Returns the records in the file, in order; none if it is missing or damaged, which costs only counts.

        A damaged file is renamed to `ledger-damaged.prog`. Raises NewerStateError if a newer version wrote it.
        """
        try:
            if self._files.stat(self.path).st_size > _MAX_READ_BYTES:
                raise ValueError("it is too large")
            lines = self._files.read_own(self.path).splitlines()
            records = [record for record in map(_parse, lines) if record is not None]
            version = records[0].get("version") if records else None
            if isinstance(version, int) and version > VERSION:
                raise NewerStateError(self.path, version, VERSION)
            if version != VERSION:
                raise ValueError("its first line is damaged")
            if len(records) < len(lines) - 1:  # the last line may be torn by a crash
                logger.warning("%s: %d lines are damaged and ignored", self.path, len(lines) - len(records))
            return records
        except (StorageError, ValueError) as error:
            if not (isinstance(error, StorageError) and error.reason == "no_such_file"):
                logger.error("%s: %s; counting starts from zero", self.path, error)
                with suppress(StorageError):
                    self._files.rename(self.path, layout.state_path(self._capture_dir, "ledger-damaged"))
            return []

    def append(self, record: Record) -> None:
        """Hands one change to the operating system, or begins a new file instead, whose checkpoint has the change.

        Raises StorageError; the next call then begins a new file.
        """
        if self._descriptor is None or self._size_bytes > MAX_BYTES + self._last_checkpoint_bytes:
            self._begin()
            return
        try:
            line = _line(record)
            self._files.write(self._descriptor, self.path, line)
        except Exception:
            self.close()
            raise
        self._size_bytes += len(line)

    def close(self) -> None:
        """Closes the file. The next `append` begins a new one."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(StorageError):
                self._files.close(descriptor, self.path)

    def _begin(self) -> None:
        self.close()
        line = _line({"version": VERSION, **self._checkpoint()})
        self._files.make_private_folder(os.path.dirname(self.path))
        self._files.replace(self.path, line)
        self._descriptor = self._files.open_to_append(self.path)
        self._size_bytes = self._last_checkpoint_bytes = len(line)


def _line(record: Record) -> bytes:
    return checked_line.encode(json.dumps(record, separators=(",", ":")).encode())


def _parse(line: bytes) -> Record | None:
    """Returns the record in a line, or None if its check does not match or it is no object."""
    text = checked_line.decode(line)
    if text is None:
        return None
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
