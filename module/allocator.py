"""`give_memory_back` makes the C library return memory that is no longer used.

An image or a request of many megabytes is held for a moment only. glibc then raises its bound for what it takes
from the system by itself, and from there on keeps such memory, up to 64 MiB for each of up to 8 arenas per core:
after minutes of large answers a module that uses 30 MiB kept 500. With fixed bounds it keeps a few.
"""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""The numbers of the parameters, from glibc's malloc.h."""
LARGE_BYTES = 1 << 20
"""A block of this size or more goes back to the system when it is freed, as does so much at the end of an arena."""
_ARENAS = 4
"""Threads share them. Most of the time only one thread runs, the one that has Python's lock."""


def give_memory_back() -> None:
    """Sets the bounds, for the whole process. Call it before there are threads. Without glibc it has no effect."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # musl has none, and gives memory back anyway
        return
    for parameter, value in (
        (_MMAP_THRESHOLD, LARGE_BYTES),
        (_TRIM_THRESHOLD, LARGE_BYTES),
        (_ARENA_MAX, _ARENAS),
    ):
        mallopt(parameter, value)
