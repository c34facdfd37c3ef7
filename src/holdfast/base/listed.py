"""A count of many things with the first of them: a report that does not grow with what it reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

MAX_LISTED = 100

T = TypeVar("T")


@dataclass(eq=False)
class Listed(Generic[T]):
    """Counts the items that are added, and keeps the first `MAX_LISTED` of them."""

    count: int = 0
    first: list[T] = field(default_factory=list)

    def add(self, item: T) -> None:
        self.count += 1
        if len(self.first) < MAX_LISTED:
            self.first.append(item)
