"""What stands in a journal, checked: each entry is what it must be, or is left out.

A line of the journal has a checksum, so what is wrong in it was written wrongly: by another program, by an error of
ours, or by somebody who wants to do harm. Such an entry costs what it says itself, and no other.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from ...base.json_values import text, whole_number
from ...base.log_limit import once
from ...base.words import shown
from .counts import CollectorId

MAX_COUNT = (1 << 63) - 1
"""No count of readings, files, bytes or nanoseconds is larger."""

logger = logging.getLogger(__name__)

Entry = TypeVar("Entry")


def in_list(found: object, parsed: Callable[[Any], Entry]) -> Iterator[Entry]:
    """Yields what `parsed` makes of each member of a list. It raises ValueError or TypeError for one that makes no
    sense."""
    return _valid(found if isinstance(found, list) else (), parsed)


def by_path(found: object, parsed: Callable[[Any], Entry]) -> Iterator[tuple[str, Entry | None]]:
    """Yields each path in an object, with what `parsed` makes of its value, or with None if there is nothing about
    it any more."""
    pairs = found.items() if isinstance(found, dict) else ()
    return _valid(pairs, lambda pair: (_path(pair[0]), None if pair[1] is None else parsed(pair[1])))


def _valid(found: Iterable[Any], parsed: Callable[[Any], Entry]) -> Iterator[Entry]:
    for each in found:
        try:
            yield parsed(each)
        except (ValueError, TypeError):
            logger.error(
                "an entry of the ledger's journal makes no sense and is ignored: %s", shown(each), extra=once()
            )


def count(value: object, least: int = 0) -> int:
    """Returns a whole number from `least` to `MAX_COUNT`; raises ValueError for anything else."""
    return whole_number(value, least, MAX_COUNT)


def mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("no object")
    return value


def _path(value: object) -> str:
    """Returns an absolute path that the operating system takes; raises ValueError for anything else."""
    if not isinstance(value, str) or "\0" in value or not os.path.isabs(value):
        raise ValueError("no path")
    os.fsencode(value)  # raises ValueError for what no path can hold
    return value


def collector(value: object) -> CollectorId:
    if not isinstance(value, list):
        raise ValueError("no collector")
    api, resource, method = map(text, value)
    return api, resource, method
