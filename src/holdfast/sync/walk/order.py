"""The order in which files are sent, kept without remembering all of them.

The priority decides first, then the time. The time of a capture file is the text in its name; that of any other
file is when it was last changed, as local time in the same form. Sequences follow all data.

Bound: a `KeyWindow` keeps the first `MAX_WINDOW` files. The files behind them need a further pass over the folders.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from ...config import DEFAULT_PRIORITY
from ...storage.layout import FileKind

MAX_WINDOW = 32_768
"""A window holds at most twice as many keys at once, about 12 MB."""
_BEHIND_ALL = -1


PriorityOf = Callable[[str], int]
"""Returns the priority of the files in a folder."""


class Key(NamedTuple):
    """A file to send. Keys compare in the order of sending, or in reverse order with `newest_first`."""

    rank: int
    when: str
    folder: str
    name: str


class Order:
    """The order that a configuration asks for."""

    def __init__(
        self, newest_first: bool = False, priority_of: PriorityOf = lambda folder: DEFAULT_PRIORITY
    ) -> None:
        self.newest_first = newest_first
        self.priority_of: PriorityOf = lru_cache(maxsize=1024)(priority_of)

    def key(self, folder: str, name: str, kind: FileKind, modified_ns: int) -> Key:
        """Returns the sort key of a file. `modified_ns` is not used for capture files."""
        priority = _BEHIND_ALL if kind is FileKind.ENDED_SEQUENCE else self.priority_of(folder)
        when = name if kind is FileKind.CAPTURE else _local(modified_ns // 1_000_000_000)
        return Key(priority if self.newest_first else -priority, when, folder, name)


class KeyWindow:
    """Collects the first keys of each pass over the folders, and returns them in order.

    Each pass must add all keys that the pass before added and that were not taken; it may add others.
    """

    def __init__(self, newest_first: bool, most: int = MAX_WINDOW) -> None:
        self._newest_first = newest_first
        self._most = most
        self._keys: list[Key] = []
        self._done: Key | None = None
        """All keys up to and including this one were taken; None before the first pass has ended."""
        self._last: Key | None = None
        """Keys behind this one are left to a later pass; None if all keys fit."""

    def add(self, key: Key) -> None:
        """Adds a key, unless it was taken by an earlier pass or is left to a later one."""
        if self._newest_first:
            if (self._done is not None and key >= self._done) or (self._last is not None and key < self._last):
                return
        elif (self._done is not None and key <= self._done) or (self._last is not None and key > self._last):
            return
        self._keys.append(key)
        if len(self._keys) >= 2 * self._most:
            self._sort()
            del self._keys[self._most :]
            self._last = self._keys[-1]

    def take_first(self, count: int) -> list[Key]:
        """Removes and returns the first `count` of the keys that this pass has added so far."""
        self._sort()
        first, self._keys = self._keys[:count], self._keys[count:]
        return first

    def take_all(self) -> list[Key]:
        """Removes and returns all keys of this pass, which has ended."""
        self._sort()
        keys, self._keys = self._keys, []
        return keys

    def begin_next_pass(self) -> bool:
        """Prepares for a further pass. Returns whether one is needed."""
        self._done, self._last = self._last, None
        return self._done is not None

    def _sort(self) -> None:
        self._keys.sort(reverse=self._newest_first)


@lru_cache(maxsize=1024)
def _local(seconds: int) -> str:
    """Returns the local time in the form that the names of capture files have; empty if no calendar has it."""
    try:
        return time.strftime("%Y-%m-%dT%H_%M_%S", time.localtime(seconds))
    except (OverflowError, OSError, ValueError):
        return ""
