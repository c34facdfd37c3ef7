"""`ThreadTimes` tells how long threads of this process ran in a time, and how long they had no processor.

The times are those of Linux's scheduler, which counts both for each thread, also for those that run no Python.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

_THREADS = "/proc/self/task"


class Times(NamedTuple):
    """How long a thread ran, and how long it was ready to run and had no processor (its run delay)."""

    cpu_ns: int
    delay_ns: int


class _Look(NamedTuple):
    """The times of threads since their starts, and when the look at them began and ended."""

    begin_ns: int
    times: Mapping[int, Times]
    end_ns: int


class ThreadTimes:
    """Remembers the last `most_looks` looks at the times of threads: not more than it needs, since the garbage
    collection of the process that is measured looks through them."""

    def __init__(self, most_looks: int) -> None:
        self._looks: deque[_Look] = deque(maxlen=most_looks)

    def look(self, threads: Iterable[int] | None = None) -> None:
        """Notes the times of these threads, by the system's ids, as of now; None for all threads."""
        begin_ns, found = time.monotonic_ns(), {}
        for thread in map(int, os.listdir(_THREADS)) if threads is None else threads:
            try:
                found[thread] = _times(thread)
            except OSError:  # it has just ended
                continue
        self._looks.append(_Look(begin_ns, found, time.monotonic_ns()))

    def between(self, begin_ns: int, end_ns: int) -> dict[int, Times]:
        """Returns the times from the last look before `begin_ns` to the first one after `end_ns`.

        That is a little more than the times of the stretch, but never more than its length. Call it after a look.
        """
        before = next((each for each in reversed(self._looks) if each.end_ns <= begin_ns), self._looks[0]).times
        after = next((each for each in self._looks if each.begin_ns >= end_ns), self._looks[-1]).times
        most_ns, found = end_ns - begin_ns, {}
        for thread, now in after.items():
            then = before.get(thread, Times(0, 0))
            found[thread] = Times(
                min(most_ns, now.cpu_ns - then.cpu_ns), min(most_ns, now.delay_ns - then.delay_ns)
            )
        return found


def name_of_thread(thread: int) -> str:
    """Returns the name that the system has for a thread."""
    try:
        return Path(f"{_THREADS}/{thread}/comm").read_text().strip()
    except OSError:
        return "a thread that has ended"


def _times(thread: int) -> Times:
    with open(f"{_THREADS}/{thread}/schedstat", "rb", buffering=0) as file:
        cpu_ns, delay_ns, _ = file.read().split()
    return Times(int(cpu_ns), int(delay_ns))
