"""In which order files go, without remembering them all.

The priority decides first, then the time: that in a capture file's name, as it stands there; of any other file,
when it was last changed, in the same local time. Sequences come behind all data. Of more files than `MAX_WINDOW`
the first are kept, and the next by a further pass over the folders.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from ...config import DEFAULT_PRIORITY
from ...storage.layout import FileKind

MAX_WINDOW = 32_768
"""At most twice as many are remembered at once, some 12 MB."""
_BEHIND_ALL = -1


PriorityOf = Callable[[str], int]


class Key(NamedTuple):
    """A file that is to be sent; keys compare in the order in which files go, or the other way round."""

    rank: int
    when: str
    folder: str
    name: str


class Order:
    """What a configuration says of the order. `priority_of` tells it of what lies in a folder."""

    def __init__(
        self, newest_first: bool = False, priority_of: PriorityOf = lambda folder: DEFAULT_PRIORITY
    ) -> None:
        self.newest_first = newest_first
        self.priority_of: PriorityOf = lru_cache(maxsize=1024)(priority_of)

    def key(self, folder: str, name: str, kind: FileKind, modified_ns: int) -> Key:
        priority = _BEHIND_ALL if kind is FileKind.ENDED_SEQUENCE else self.priority_of(folder)
        when = name if kind is FileKind.CAPTURE else _local(modified_ns // 1_000_000_000)
        return Key(priority if self.newest_first else -priority, when, folder, name)


class KeyWindow:
    """The first of the keys that passes show, in order. Each pass has to show the same, and may show more."""

    def __init__(self, newest_first: bool, most: int = MAX_WINDOW) -> None:
        self._newest_first = newest_first
        self._most = most
        self._keys: list[Key] = []
        self._done: Key | None = None
        """Every key up to here was taken."""
        self._last: Key | None = None
        """Keys beyond this one are for a later pass."""

    def add(self, key: Key) -> None:
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
        """The first of those that the pass has shown so far."""
        self._sort()
        first, self._keys = self._keys[:count], self._keys[count:]
        return first

    def take_all(self) -> list[Key]:
        """The pass is over: the first of all that it has shown."""
        self._sort()
        keys, self._keys = self._keys, []
        return keys

    def begin_next_pass(self) -> bool:
        """Before a further pass: whether there is something for one."""
        self._done, self._last = self._last, None
        return self._done is not None

    def _sort(self) -> None:
        self._keys.sort(reverse=self._newest_first)


@lru_cache(maxsize=1024)
def _local(seconds: int) -> str:
    """As capture files are named."""
    try:
        return time.strftime("%Y-%m-%dT%H_%M_%S", time.localtime(seconds))
    except (OverflowError, OSError, ValueError):
        return ""
