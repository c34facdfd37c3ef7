"""A count of things and the first of them by name: what a report says of many without growing with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

MAX_LISTED = 100

T = TypeVar("T")


@dataclass(eq=False)
class Listed(Generic[T]):
    """Counts what is added, and keeps the first `MAX_LISTED` of it."""

    count: int = 0
    first: list[T] = field(default_factory=list)

    def add(self, item: T) -> None:
        self.count += 1
        if len(self.first) < MAX_LISTED:
            self.first.append(item)
