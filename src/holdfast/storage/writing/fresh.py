"""Files that have just got their final names: how sync hears of them without listing their folders.

A hint, no more: what is not told of here, or forgotten because nobody asked for long, a walk finds.
"""

from __future__ import annotations

from collections import deque

MAX_FRESH = 10_000


class Fresh:
    """Paths in the order of their completion, the last `MAX_FRESH` of them. Thread-safe."""

    def __init__(self) -> None:
        self._paths: deque[str] = deque(maxlen=MAX_FRESH)

    def __len__(self) -> int:
        return len(self._paths)

    def add(self, path: str) -> None:
        self._paths.append(path)

    def take(self) -> list[str]:
        """What has been added since the last time."""
        return [self._paths.popleft() for _ in range(len(self._paths))]
