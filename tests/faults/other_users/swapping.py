"""`Swapping` is a disk on which a folder changes places with a link right before a chosen operation."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast.base.filesystem import FileSystem

from .neighbour import exchange

_OPERATIONS = [name for name, value in vars(FileSystem).items() if callable(value) and not name.startswith("_")]


class Swapping(FileSystem):
    """Once `arm` was called, `folder` and `link` change places before the operation with the number that `arm` was
    told, counted from 0 among those on paths in `folder`."""

    def __init__(self, folder: Path, link: Path) -> None:
        self.swapped_before = ""
        """The operation before which the two changed places; empty if they did not."""
        self._folder, self._link = str(folder), str(link)
        self._left = -1
        self._lock = threading.Lock()
        for name in _OPERATIONS:
            setattr(self, name, self._watched(name, getattr(self, name)))

    def arm(self, number: int) -> None:
        self.swapped_before = ""
        self._left = number

    def disarm(self) -> None:
        """Lets the two be where they were."""
        self._left = -1
        if self.swapped_before:
            exchange(self._folder, self._link)

    def _watched(self, name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **more: Any) -> Any:
            if any(isinstance(each, str) and each.startswith(self._folder) for each in arguments):
                with self._lock:
                    self._left -= 1
                    if self._left == -1:
                        exchange(self._folder, self._link)
                        self.swapped_before = name
            return operation(*arguments, **more)

        return watched
