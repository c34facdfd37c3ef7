"""Wording for people: values, names, sizes and durations as errors, logs and reports show them.

A text stays short whatever a user or a file gave: long values are cut. Names and texts that others gave may hold
anything; where they leave the program, in a log line, an answer, an error or on a terminal, `escaped` and
`all_escaped` make them harmless. Before that they stay as they are. Plain functions without state.
"""

from __future__ import annotations

import difflib
import heapq
import itertools
import re
import reprlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

MAX_SHOWN_CHARS = 100
MAX_COMPARED_CHARS = 100
"""A longer name resembles none of ours, and the comparison would take long."""
_MAX_COMPARED = 300
_MAX_COMPARED_CLOSELY = 3
_UNITS = ("KiB", "MiB", "GiB", "TiB")

_STEERING = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # controls: line breaks, and what begins a terminal's sequences
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # directions of writing
    "\u2028\u2029"  # other line breaks
    "\ud800-\udfff"  # halves of characters, and bytes of a path that are not UTF-8
    "]"
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = MAX_SHOWN_CHARS
_repr.maxlevel = 3


def escaped(text: str) -> str:
    """Returns `text` as one line of valid Unicode that steers no terminal.

    Ordinary text stays as it is, and so does a text that is escaped already.
    Controls become \\n or \\x1b, other characters \\u2028, and bytes of a path that are not UTF-8 \\xff.
    """
    return text if text.isprintable() else _STEERING.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x80 or 0xDC80 <= code <= 0xDCFF:
        return _SHORT.get(found[0]) or f"\\x{code & 0xFF:02x}"
    return f"\\u{code:04x}"


def json_escaped(text: str) -> str:
    """Returns JSON of one line that steers no terminal, and means the same."""
    return text if text.isprintable() else _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def all_escaped(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns plain values, such as an answer, with every text in them escaped."""
    return {escaped(name): _escaped(value) for name, value in values.items()}


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, Mapping):
        return all_escaped(value)
    return [_escaped(item) for item in value] if isinstance(value, (list, tuple)) else value


def shown(value: object) -> str:
    """Returns `value` as Python writes it. Long parts lose their middle, and a long whole loses its end."""
    return shortened(_repr.repr(value), 2 * MAX_SHOWN_CHARS)


def shortened(text: str, most_chars: int) -> str:
    """Returns `text`, cut off at its end when it is longer than `most_chars`."""
    return text if len(text) <= most_chars else f"{text[: most_chars - 1]}…"


def closest(name: str, known: Iterable[str]) -> str | None:
    """Returns the `known` name that `name` resembles most; None when it resembles none of them.

    Only the names that share the most pairs of letters with it are compared closely, which takes milliseconds each.
    Of very many names, only the first are looked at.
    """
    if len(name) > MAX_COMPARED_CHARS:
        return None
    pairs = _pairs(name)
    short = itertools.islice((each for each in known if len(each) <= MAX_COMPARED_CHARS), _MAX_COMPARED)
    similar = heapq.nlargest(_MAX_COMPARED_CLOSELY, short, key=lambda each: _share(pairs, _pairs(each)))
    found = difflib.get_close_matches(name, similar, n=1)
    return found[0] if found else None


def _pairs(name: str) -> set[str]:
    """Returns the pairs of letters in a name, and its first and last letter."""
    return {f"^{name[:1]}", f"{name[-1:]}$", *(name[at : at + 2] for at in range(len(name) - 1))}


def _share(one: set[str], other: set[str]) -> float:
    return len(one & other) / len(one | other)


def some(names: Collection[str], most: int = 3) -> str:
    """Returns the first of `names` as one text, with the number of those that are left out."""
    first = ", ".join(itertools.islice(names, most))
    return f"{first} and {len(names) - most} more" if len(names) > most else first


def number_of(number: int, what: str) -> str:
    """Returns a number of things, such as "1 reading" or "17 readings"; `what` is the name of one."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


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
