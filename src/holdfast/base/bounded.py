"""Two containers that stay small, whatever is put in: a dictionary that forgets, and a list that only counts.

Neither is safe to use from several threads at once.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

MAX_LISTED = 100

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
    """The number of things that were added, and the first `MAX_LISTED` of them: what a report names of many."""

    count: int = 0
    first: list[T] = field(default_factory=list)

    def add(self, item: T) -> None:
        self.count += 1
        if len(self.first) < MAX_LISTED:
            self.first.append(item)
