"""Makes an answer small enough to be sent: a part of its longest lists and texts is left out, and that is said.

Whatever a command is asked, its answer has at most `MAX_BYTES`; viam-server takes no more than 32 MiB, and a client
as a rule no more than 4. All figures stay, and the first entries of each list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .words import shortened

MAX_BYTES = 1_000_000
NOT_SHOWN = "not_shown"
"""The entry of an answer that says how many entries of which lists are left out."""
_ENTRIES = 8
"""At least so many entries of a list are shown, whatever is in them, as long as the share is not tiny."""
_NUMBER_BYTES = 24
_OVERHEAD_BYTES = 16
"""What an entry takes beside its name and value, in protobuf or in JSON."""


def fitted(answer: Mapping[str, Any], most_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Returns an answer of plain values that takes at most `most_bytes`.

    One that is too large loses the ends of its lists and texts, of each as much as it has beyond a share that is
    the same for all. How many entries a list lost is in `not_shown`, by its place, in addition to what is there;
    what lists within an entry lost is added up over the entries that are shown.
    """
    found, share_bytes = dict(answer), most_bytes
    while size_bytes(found) > most_bytes and share_bytes:
        share_bytes //= 2
        cut = _Cut(share_bytes)
        found = {name: cut.value(value, name) for name, value in answer.items()}
        if cut.left_out:
            before = answer.get(NOT_SHOWN, {})
            found[NOT_SHOWN] = {**before, **{at: n + before.get(at, 0) for at, n in cut.left_out.items()}}
    return found


def size_bytes(value: Any) -> int:
    """Returns what a plain value takes in a message, or a little more."""
    if isinstance(value, str):
        return _OVERHEAD_BYTES + len(value.encode(errors="replace"))
    if isinstance(value, Mapping):
        return _OVERHEAD_BYTES + sum(size_bytes(name) + size_bytes(each) for name, each in value.items())
    if isinstance(value, (list, tuple)):
        return _OVERHEAD_BYTES + sum(map(size_bytes, value))
    return _NUMBER_BYTES


class _Cut:
    """Leaves out what lists and texts have beyond `share_bytes`, or within entries of lists beyond a part of it."""

    def __init__(self, share_bytes: int) -> None:
        self._share_bytes = share_bytes
        self.left_out: dict[str, int] = {}
        """How many entries were left out, by the place of their list."""

    def value(self, value: Any, place: str, level: int = 0) -> Any:
        share_bytes = self._share_bytes // _ENTRIES**level
        if isinstance(value, str):
            return shortened(value, max(1, share_bytes // 4))
        if isinstance(value, Mapping):
            return {name: self.value(each, f"{place}.{name}", level) for name, each in value.items()}
        if isinstance(value, (list, tuple)):
            return self._first(value, place, share_bytes, level)
        return value

    def _first(self, values: Sequence[Any], place: str, left_bytes: int, level: int) -> list[Any]:
        kept: list[Any] = []
        before = dict(self.left_out)
        for each in values:
            entry = self.value(each, f"{place}[]", level + 1)
            left_bytes -= size_bytes(entry)
            if left_bytes < 0:
                self.left_out = before  # what this entry lost is not said of it, since it is not there
                break
            kept.append(entry)
            before = dict(self.left_out)
        if len(kept) < len(values):
            self.left_out[place] = self.left_out.get(place, 0) + len(values) - len(kept)
        return kept
