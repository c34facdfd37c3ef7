"""Sequences on the disk: `<capture_dir>/sequences/<id>.progseq` for an open one, `<id>.seq` for one that has ended.

The names and the JSON are RDK's (data/sequence_file.go), so that each data manager takes over what the other left.
RDK's file of an open sequence does not say when the sequence was last alive, so after a crash it has no end. We
write the file again every few seconds with the `end_time` so far, and after a crash the sequence ends at that time.
The builtin ignores it. A sequence without an end goes to `failed/sequences/`, as with the builtin.

A file is replaced atomically; a crash may leave a `.tmp` file. Blocks on the disk: belongs on a worker thread.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from ..base.filesystem import EntryKind, FileSystem
from ..base.words import shown
from ..errors import DamagedFileError, StorageError
from . import layout
from .quarantine.quarantine import quarantine_sequence

MAX_FILE_BYTES = 1024 * 1024
"""The largest file that is read as a sequence."""
MAX_FILES = 10_000
MAX_FILES_BYTES = 64 * 1024 * 1024
"""So much is counted of the sequences in a folder; what starts sequences stops there."""
_TEMPORARY_EXTENSION = ".tmp"
_LEFT = (layout.OPEN_SEQUENCE_EXTENSION, _TEMPORARY_EXTENSION)
_NS = 1_000_000_000
_MS = 1_000_000
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sequence:
    """A span of time in which some collectors belong together. Times are in ns since the epoch."""

    resources: tuple[tuple[str, str], ...]
    """Pairs of resource name and method name."""
    tags: tuple[str, ...]
    start_ns: int
    end_ns: int = 0
    """0 if it is not known."""


@dataclass(frozen=True)
class FilesKept:
    """How many files there are in the folder of the sequences, and how large they are together."""

    files: int = 0
    bytes: int = 0


class SequenceFiles:
    """The sequences of one capture folder."""

    def __init__(self, files: FileSystem, capture_dir: str) -> None:
        self._files = files
        self._folder = os.path.join(capture_dir, layout.SEQUENCES_FOLDER)
        self.capture_dir = capture_dir

    def write_open(self, identity: str, sequence: Sequence) -> None:
        """Writes `<id>.progseq`. The `end_ns` of `sequence` is the present time. Raises StorageError."""
        self._write(self._open_path(identity), sequence)

    def write_ended(self, identity: str, sequence: Sequence) -> None:
        """Writes `<id>.seq`, ready for sync, and removes `<id>.progseq`. Raises StorageError."""
        self._write(self._ended_path(identity), sequence)
        self._files.remove_if_there(self._open_path(identity))

    def has_ended(self, identity: str) -> bool:
        """Whether `<id>.seq` exists."""
        return self._files.exists(self._ended_path(identity))

    def forget_end(self, identity: str) -> None:
        """Removes `<id>.seq` if it exists. Raises StorageError."""
        self._files.remove_if_there(self._ended_path(identity))

    def forget(self, identity: str) -> None:
        """Removes both files of the sequence, if they exist. Raises StorageError."""
        self._files.remove_if_there(self._open_path(identity))
        self.forget_end(identity)

    def kept(self) -> FilesKept:
        """Counts the files, up to `MAX_FILES` and `MAX_FILES_BYTES`. Raises StorageError."""
        files = found_bytes = 0
        try:
            for entry in self._files.list_folder(self._folder):
                if files >= MAX_FILES or found_bytes >= MAX_FILES_BYTES:
                    break
                files, found_bytes = files + 1, found_bytes + _size_bytes(self._files, entry.path)
        except StorageError as error:
            if error.reason != "no_such_file":
                raise
        return FilesKept(files, found_bytes)

    def finish_left(self, is_open: Callable[[str], bool]) -> int:
        """Ends each open sequence that an earlier process left, or moves it into quarantine if its end is not
        known.

        Returns how many were ended. `is_open` says whether a sequence is one of this process. The folder's lock
        must be ours. Never raises StorageError: what can't be read or written is logged, and left for the next
        start.
        """
        ended = 0
        try:
            left = [
                entry
                for entry in self._files.list_folder(self._folder)
                if entry.kind is EntryKind.FILE and os.path.splitext(entry.name)[1] in _LEFT
            ]
        except StorageError as error:
            if error.reason != "no_such_file":
                logger.error("%s; sequences that a crash left are not finished", error)
            return 0
        for entry in left:
            identity, extension = os.path.splitext(entry.name)
            try:
                if extension == layout.OPEN_SEQUENCE_EXTENSION and not is_open(identity):
                    ended += self._finish(identity, entry.path)
                elif extension == _TEMPORARY_EXTENSION and not is_open(identity.partition(".")[0]):
                    self._files.remove(entry.path)
            except StorageError as error:
                logger.error("%s; this sequence is not finished before the next start", error)
        return ended

    def _finish(self, identity: str, path: str) -> int:
        if self.has_ended(identity):  # it ended, and the crash came before this was removed
            self._files.remove(path)
            return 0
        try:
            sequence = read(self._files, path)
        except DamagedFileError as error:
            quarantine_sequence(self._files, self.capture_dir, path, str(error))
            return 0
        if sequence.end_ns <= sequence.start_ns:
            cause = "the process that opened this sequence ended without saying when it was last alive"
            quarantine_sequence(self._files, self.capture_dir, path, cause)
            return 0
        self.write_ended(identity, sequence)
        logger.warning("a crash left the sequence %s open; it ends when that process was last alive", identity)
        return 1

    def _write(self, path: str, sequence: Sequence) -> None:
        temporary = path + _TEMPORARY_EXTENSION
        self._files.make_folder(self._folder)
        self._files.remove_if_there(temporary)
        descriptor = self._files.create(temporary)
        try:
            self._files.write(descriptor, temporary, _encoded(sequence))
        finally:
            self._files.close(descriptor, temporary)
        self._files.sync(self._folder)
        self._files.rename(temporary, path)

    def _open_path(self, identity: str) -> str:
        return os.path.join(self._folder, identity + layout.OPEN_SEQUENCE_EXTENSION)

    def _ended_path(self, identity: str) -> str:
        return os.path.join(self._folder, identity + layout.ENDED_SEQUENCE_EXTENSION)


def read(files: FileSystem, path: str) -> Sequence:
    """Returns the sequence in a file, of ours or the builtin's. Raises StorageError, or DamagedFileError if the
    file holds no sequence."""
    try:
        return _sequence(json.loads(files.read_whole(files.open(path), path, MAX_FILE_BYTES)))
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise DamagedFileError(f"{path} is no sequence: {error or type(error).__name__}") from error


def document_bytes(sequence: Sequence) -> int:
    """Returns the size of the sequence's file, once it has an end."""
    return len(_encoded(sequence))


def _encoded(sequence: Sequence) -> bytes:
    return json.dumps(_document(sequence), indent=2).encode()


def _size_bytes(files: FileSystem, path: str) -> int:
    try:
        return files.stat(path).st_size
    except StorageError:  # it has just gone
        return 0


def _document(sequence: Sequence) -> dict[str, Any]:
    document: dict[str, Any] = {
        "start_time": rfc3339(sequence.start_ns),
        "end_time": rfc3339(sequence.end_ns),
        "resources": [{"resource_name": name, "method_name": method} for name, method in sequence.resources],
    }
    if sequence.tags:
        document["sequence_tags"] = list(sequence.tags)
    return document


def _sequence(document: Any) -> Sequence:
    resources = tuple(
        (_text(each.get("resource_name")), _text(each.get("method_name")))
        for each in _list(document.get("resources"))
    )
    tags = tuple(_text(tag) for tag in _list(document.get("sequence_tags")))
    return Sequence(resources, tags, _time_ns(document.get("start_time")), _time_ns(document.get("end_time")))


def _list(value: object) -> list[Any]:
    if not isinstance(value, (list, type(None))):
        raise ValueError(f"{shown(value)} must be a list")
    return value or []


def _text(value: object) -> str:
    if not isinstance(value, (str, type(None))):
        raise ValueError(f"{shown(value)} must be a string")
    (value or "").encode()  # raises ValueError for what no text can hold
    return value or ""


def rfc3339(time_ns: int) -> str:
    """Returns a time as Go writes it in JSON, in UTC. 0 becomes Go's zero time."""
    if time_ns == 0:
        return "0001-01-01T00:00:00Z"
    seconds, nanoseconds = divmod(time_ns, _NS)
    moment = datetime.fromtimestamp(seconds, timezone.utc).replace(tzinfo=None).isoformat()
    fraction = f".{nanoseconds:09d}".rstrip("0").rstrip(".")
    return f"{moment}{fraction}Z"


def rfc3339_ms(time_ns: int) -> str:
    """Returns a time in UTC as answers and the log have it, cut off to the millisecond, which always has three
    digits: so the order of such texts is that of the times."""
    whole, _, fraction = rfc3339(time_ns - time_ns % _MS)[:-1].partition(".")
    return f"{whole}.{fraction:0<3}Z"


def _time_ns(text: object) -> int:
    """Returns a time that Go wrote, to the nanosecond. Go's zero time, and None, become 0.

    Raises ValueError, and OverflowError for what is no time in UTC.
    """
    if text is None:
        return 0
    found = _TIME.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"{shown(text)} is no time")
    whole, fraction, zone = found.groups()
    moment = datetime.fromisoformat(whole + zone.replace("Z", "+00:00")).astimezone(timezone.utc)
    if moment.year <= 1:
        return 0
    seconds = (moment - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(seconds=1)
    return seconds * _NS + int((fraction or "")[:9].ljust(9, "0"))
