"""`holdfast gaps`: when readings were missing, from the record in a capture folder. It only reads."""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ..base.filesystem import FileSystem
from ..base.presentable import known
from ..base.words import duration
from ..capture.gap_file import Kept, read
from ..capture.gap_view import all_kept, described, why_in_words
from ..capture.gaps import Gap
from ..config import Host
from ..errors import HoldfastError, StorageError
from ..storage.ledger.counts import CollectorId
from ..storage.lock import FolderLock, is_taken
from ..storage.sequence_files import rfc3339, rfc3339_ms

_NS = 1_000_000_000
_UNITS_S = {"s": 1, "min": 60, "h": 3600, "d": 86_400}
_SILENT_S = 15.0
"""A record that was not touched for so long is of a Holdfast that does not run, or can't write it."""
_HEAD = ("from", "to", "lasted", "missing", "collector", "why")


class NoRecordError(HoldfastError):
    """There is no record of gaps where one is looked for."""


def since_ns(text: str) -> int:
    """Returns the time that an argument means: a date or time, local without a zone, or how long ago.
    Raises ArgumentTypeError."""
    ago = re.fullmatch(r"(\d{1,9})(s|min|h|d)", text)
    if ago:
        return time.time_ns() - int(ago[1]) * _UNITS_S[ago[2]] * _NS
    try:
        return round(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * _NS)
    except (ValueError, OverflowError, OSError) as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a time, such as 2026-11-30T08:00, nor how long ago, such as 90min, 2h or 3d"
        ) from error


def default_folder(environment: Mapping[str, str]) -> str:
    """Returns the capture folder that is used unless the config names another."""
    return os.path.abspath(Host.of(environment).default_capture_dir)


def kept_gaps(files: FileSystem, folder: str) -> Kept:
    """Returns the record in a capture folder. Raises NoRecordError, and what `gap_file.read` raises."""
    kept = read(files, os.path.abspath(folder))
    if kept is None:
        raise NoRecordError(
            f"{folder} has no record of gaps: name the folder that capture.capture_dir of the status names"
        )
    return kept


def as_json(kept: Kept, since: int) -> dict[str, Any]:
    """Returns the whole answer as plain values; what is not known is left out."""
    answer = {
        "as_of": rfc3339_ms(kept.alive_ns),
        "gaps": [described(collector, gap) for collector, gap in _chosen(kept, since)],
        "scattered": [
            {"resource": resource, "api": api, "method": method, "readings": record.scattered}
            for record in kept.records
            if record.scattered
            for api, resource, method in [record.collector]
        ],
    }
    return known(answer)


def holder_of(files: FileSystem, folder: str) -> str | None:
    """Returns the process that has a capture folder, by its lock: empty if none has it, None if that can't be
    told."""
    folder = os.path.abspath(folder)
    try:
        return FolderLock(files, folder).owner() if is_taken(files, folder) else ""
    except StorageError:
        return None


def as_lines(kept: Kept, since: int, now_ns: int, holder: str | None) -> list[str]:
    """Returns the answer for people: a table, and what it does not show. `holder` is the process that has the
    folder, as `holder_of` returns it."""
    rows = [_row(collector, gap) for collector, gap in _chosen(kept, since)]
    lines = _table([_HEAD, *rows]) if rows else ["no gaps"]
    scattered = sum(record.scattered for record in kept.records)
    if scattered:
        lines.append(f"{scattered} readings are missing besides, for less than a second each or in older gaps")
    silent_s = (now_ns - kept.alive_ns) / _NS
    if silent_s > _SILENT_S:
        lines.append(_why_silent(f"{_second(kept.alive_ns)}, {duration(silent_s)} ago", holder))
    return lines


def _why_silent(since: str, holder: str | None) -> str:
    if holder is None:
        return f"the record was last written at {since}: Holdfast does not run, or can't write it"
    if holder:
        return (
            f"Holdfast runs (process {holder}), and has not written the record since {since}: its disk may be full "
            "or read-only. The status has the newer gaps"
        )
    return f"Holdfast does not run; it was last alive at {since}. That becomes a gap when it runs again"


def _chosen(kept: Kept, since: int) -> list[tuple[CollectorId, Gap]]:
    """Returns the gaps that lasted until `since` or longer, in order."""
    found = (each for each in all_kept(kept) if each[1].to_ns is None or each[1].to_ns >= since)
    return sorted(found, key=lambda each: each[1].from_ns)


def _row(collector: CollectorId, gap: Gap) -> tuple[str, ...]:
    _, resource, method = collector
    return (
        _second(gap.from_ns),
        "lasts" if gap.to_ns is None else _second(gap.to_ns),
        "not known" if gap.lasts_s is None else duration(gap.lasts_s),
        "not known" if gap.missed is None else str(gap.missed),
        f"{method} of {resource}",
        why_in_words(gap),
    )


def _second(time_ns: int) -> str:
    return rfc3339(time_ns - time_ns % _NS)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    padded = (zip(row, widths, strict=True) for row in rows)
    return ["  ".join(text.ljust(width) for text, width in row).rstrip() for row in padded]
