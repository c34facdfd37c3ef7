"""Two containers that stay small, whatever is put in: a dictionary that forgets, and a list that only counts.

Neither is safe to use from several threads at once.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from .fitting import size_bytes

MAX_LISTED = 100
MAX_LISTED_BYTES = 64 * 1024

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


class Newest(OrderedDict[K, V]):
    """A dictionary of at most `most` entries, oldest first. An entry that is set is the newest; the oldest goes."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        while len(self) > self._most:
            del self[next(iter(self))]


@dataclass(eq=False)
class Listed(Generic[T]):
    """The number of things that were added, and the first of them, which are what a report names of many: at most
    `MAX_LISTED` plain values of `MAX_LISTED_BYTES` together."""

    count: int = 0
    first: list[T] = field(default_factory=list)
    _left_bytes: int = field(default=MAX_LISTED_BYTES, repr=False)

    def add(self, item: T) -> None:
        self.count += 1
        if self.count > len(self.first) + 1:
            return  # one was left out already, so `first` would not be the first ones
        self._left_bytes -= size_bytes(item)
        if len(self.first) < MAX_LISTED and self._left_bytes >= 0:
            self.first.append(item)
