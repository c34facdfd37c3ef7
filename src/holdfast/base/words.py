"""Wording for people: values, names, sizes and durations as errors, logs and reports show them.

A text stays short whatever a user or a file gave: long values are cut. Plain functions without state.
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable

MAX_SHOWN_CHARS = 100
MAX_COMPARED_CHARS = 200
"""A longer name resembles none of ours, and the comparison would take long."""
_UNITS = ("KiB", "MiB", "GiB", "TiB")

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = MAX_SHOWN_CHARS
_repr.maxlevel = 3


def shown(value: object) -> str:
    """Returns `value` as Python writes it. Long parts lose their middle, and a long whole loses its end."""
    return shortened(_repr.repr(value), 2 * MAX_SHOWN_CHARS)


def shortened(text: str, most_chars: int) -> str:
    """Returns `text`, cut off at its end when it is longer than `most_chars`."""
    return text if len(text) <= most_chars else f"{text[: most_chars - 1]}…"


def closest(name: str, known: Iterable[str]) -> str | None:
    """Returns the `known` name that `name` resembles most; None when it resembles none of them."""
    if len(name) > MAX_COMPARED_CHARS:
        return None
    found = difflib.get_close_matches(name, list(known), n=1)
    return found[0] if found else None


def size(size_bytes: float) -> str:
    """Returns a size in words, such as "17 bytes" or "3.1 MiB"."""
    if size_bytes < 1024:
        return f"{size_bytes:.0f} bytes"
    for unit in _UNITS:
        size_bytes /= 1024
        if size_bytes < 1000 or unit == _UNITS[-1]:
            break
    return f"{size_bytes:.1f} {unit}" if size_bytes < 100 else f"{size_bytes:.0f} {unit}"


def duration(seconds: float) -> str:
    """Returns a duration in words, such as "17 s", "3 min", "2.5 h" or "4 days"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.0f} days"
