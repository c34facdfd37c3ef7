"""The file `.holdfast/gaps.prog`: the gaps of all collectors, which outlast a restart.

The first line is a JSON object with a version; each further one has a collector. All have a checksum
(`checked_line`), so that a damaged line costs one collector's gaps, never data. The file's modification time says
when its process was last known to be alive. A file of a newer version is neither used nor overwritten. Every
function blocks on the disk and belongs on a worker thread.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..base import checked_line
from ..base.filesystem import FileSystem
from ..config import LEAST_HZ, MOST_HZ
from ..errors import DamagedFileError, NewerStateError, StorageError
from ..storage import layout
from ..storage.ledger.counts import CollectorId
from .causes import Absence
from .gaps import MOST_GAPS, Away, Gap

VERSION = 1
_NAME, _DAMAGED = "gaps", "gaps-damaged"
_MAX_BYTES = 16 * 1024 * 1024
_MOST_LASTING = 2
_MOST = 1 << 62


@dataclass
class Record:
    """What is known of one collector, at a moment: it is not changed. `away` is an absence that lasts."""

    key: str
    collector: CollectorId
    hz: float
    scattered: int
    gaps: list[Gap]
    away: Away | None
    _line: bytes = b""

    def line(self) -> bytes:
        """Returns the collector's line in the file."""
        self._line = self._line or _line(_row(self))
        return self._line


@dataclass(frozen=True)
class Kept:
    """What a process knew when it was last known to be alive. Of gaps that lasted then, what was missing since they
    were written is computed."""

    records: list[Record]
    alive_ns: int


def read(files: FileSystem, capture_dir: str) -> Kept | None:
    """Returns what is in the file; None if there is none.

    Raises DamagedFileError, NewerStateError when a newer version wrote the file, and StorageError.
    """
    path = layout.state_path(capture_dir, _NAME)
    try:
        alive_ns = files.stat(path).st_mtime_ns
        lines = _lines(files, path)
    except StorageError as error:
        if error.reason == "no_such_file":
            return None
        raise
    found = [_record(row) for line in lines[1:] if (row := _parsed(line)) is not None]
    records = [record for record in found if record is not None]
    for record in records:
        for gap in record.gaps:
            if gap.to_ns is None:
                gap.last_until(alive_ns, record.hz)
    return Kept(records, alive_ns)


def _lines(files: FileSystem, path: str) -> list[bytes]:
    """Returns the lines of a file of this version. Raises as `read` does."""
    try:
        lines = files.read_own(path, _MAX_BYTES).splitlines()
    except ValueError as error:
        raise DamagedFileError(f"{path} is too large") from error
    version = (_parsed(lines[0]) or {}).get("version") if lines else None
    if isinstance(version, int) and version > VERSION:
        raise NewerStateError(path, version, VERSION)
    if version != VERSION:
        raise DamagedFileError(f"{path}: its first line is damaged")
    return lines


def write(files: FileSystem, capture_dir: str, records: Iterable[Record], now_ns: int) -> None:
    """Replaces the file. Raises StorageError, and NewerStateError as `read` does; then the file stays as it is."""
    path = layout.state_path(capture_dir, _NAME)
    try:
        _lines(files, path)
    except DamagedFileError:
        pass
    except StorageError as error:
        if error.reason != "no_such_file":
            raise
    files.make_private_folder(os.path.dirname(path))
    lines = [_line({"version": VERSION}), *(record.line() for record in records)]
    files.replace(path, b"".join(lines))
    files.set_time(path, now_ns)


def note_alive(files: FileSystem, capture_dir: str, now_ns: int) -> None:
    """Says that the process is alive. Raises StorageError, also when there is no file."""
    files.set_time(layout.state_path(capture_dir, _NAME), now_ns)


def put_aside(files: FileSystem, capture_dir: str) -> None:
    """Renames a damaged file. Raises StorageError."""
    files.rename(layout.state_path(capture_dir, _NAME), layout.state_path(capture_dir, _DAMAGED))


def remove(files: FileSystem, capture_dir: str) -> None:
    """Removes the file from a folder that is no longer the capture folder. Raises StorageError."""
    files.remove_if_there(layout.state_path(capture_dir, _NAME))


def _line(row: dict[str, Any]) -> bytes:
    return checked_line.encode(json.dumps(row, separators=(",", ":")).encode())


def _parsed(line: bytes) -> dict[str, Any] | None:
    text = checked_line.decode(line)
    with suppress(ValueError, RecursionError):
        found = json.loads(text) if text is not None else None
        return found if isinstance(found, dict) else None
    return None


def _row(record: Record) -> dict[str, Any]:
    away = record.away
    return {
        "key": record.key,
        "collector": record.collector,
        "hz": record.hz,
        "scattered": record.scattered,
        "gaps": [vars(gap) for gap in record.gaps],
        "away": None if away is None else {**vars(away), "cause": away.cause.value},
    }


def _record(row: dict[str, Any]) -> Record | None:
    """Returns a record; None if the row is of another program, in spite of its checksum."""
    try:
        api, resource, method = row["collector"]
        away = row["away"]
        return Record(
            str(row["key"]),
            (str(api), str(resource), str(method)),
            _number(float(row["hz"]), LEAST_HZ, MOST_HZ),
            _whole(row["scattered"]),
            [_gap(each) for each in row["gaps"][: MOST_GAPS + _MOST_LASTING]],
            None if away is None else _away(away),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None


def _gap(row: dict[str, Any]) -> Gap:
    to_ns, lasts_s = row["to_ns"], row["lasts_s"]
    return Gap(
        _whole(row["from_ns"], -_MOST),
        {str(cause): _whole(count) for cause, count in row["missing"].items()},
        None if to_ns is None else _whole(to_ns, -_MOST),
        None if lasts_s is None else _number(float(lasts_s), 0.0, _MOST),
    )


def _away(row: dict[str, Any]) -> Away:
    seconds = {str(cause): _number(float(each), 0.0, _MOST) for cause, each in row["seconds"].items()}
    times_ns = _whole(row["from_ns"], -_MOST), _whole(row["since_ns"], -_MOST)
    return Away(times_ns[0], Absence(row["cause"]), times_ns[1], seconds, bool(row["is_known"]))


def _whole(value: Any, least: int = 0) -> int:
    return int(_number(int(value), least, _MOST))


def _number(value: float, least: float, most: float) -> float:
    if not least <= value <= most:
        raise ValueError(f"{value} is out of range")
    return value
