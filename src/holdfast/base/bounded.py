"""Containers that stay small: a dictionary and a queue that forget, and a list that only counts.

The queue is safe to use from any thread, the others from one at a time.
"""

from __future__ import annotations

from collections import OrderedDict, deque
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


class NotTaken(Generic[T]):
    """What was added and not taken yet, oldest first: a hint, which keeps the last `most`."""

    def __init__(self, most: int) -> None:
        self._items: deque[T] = deque(maxlen=most)

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: T) -> None:
        self._items.append(item)

    def take(self) -> list[T]:
        """Returns what was added since the last call."""
        return [self._items.popleft() for _ in range(len(self._items))]


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
