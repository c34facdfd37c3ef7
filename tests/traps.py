"""`Trap` raises an error at one call of the program's own threads to a seam: the file system, the clock. A write
leaves a half behind.

A test sets it at the first call, at the second, and so on until a run makes fewer calls.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem

_CALLS = [
    name
    for name, value in vars(FileSystem).items()
    if callable(value) and not name.startswith("_") and name not in ("list_folder", "chunks", "shortened")
]


class Trap:
    """Raises `error` at the call `number` of threads whose names begin with "holdfast-", counted from 0."""

    def __init__(self, number: int, error: Exception) -> None:
        self.sprung = ""
        """The name of the call at which it raised."""
        self._left = number
        self._error = error
        self._lock = threading.Lock()

    def of(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Returns `call` with the trap in it."""

        def trapped(*arguments: Any) -> Any:
            if threading.current_thread().name.startswith("holdfast-"):
                with self._lock:
                    self._left -= 1
                    springs = self._left == -1
                if springs:
                    self.sprung = name
                    if name == "write":  # a part of it is on the disk
                        descriptor, path, data = arguments
                        call(descriptor, path, data[: len(data) // 2])
                    raise self._error
            return call(*arguments)

        return trapped

    def disk(self) -> FileSystem:
        files = FileSystem()
        for name in _CALLS:
            setattr(files, name, self.of(name, getattr(files, name)))
        return files

    def clock(self, name: str) -> SystemClock:
        """Returns a clock with the trap in one of its functions."""
        clock = SystemClock()
        setattr(clock, name, self.of(name, getattr(clock, name)))
        return clock
