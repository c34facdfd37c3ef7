"""`FakedClock` is a wall clock that is set while a process runs: libfaketime in that process, controlled by a file.

The computer's own clock does not change, and neither does the process's monotonic clock; setting a real clock
leaves that alone too. Files get their times from the kernel, so after a step every file looks like one from before
a real step. A step takes effect within a second.

libfaketime applies its "forced monotonic fix" by default, also where glibc does not need it. It makes timed waits
of threads return at once. Python waits for its interpreter in that way: two busy threads would take eight times as
long.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_SECOND_NS = 1_000_000_000
_PLACES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib*/faketime/libfaketimeMT.so.1")
_PRINT_TIME = "import time; print(time.time_ns(), time.monotonic_ns())"
_PROBE_TIMEOUT_S = 20.0


def library() -> Path | None:
    return next((path for path in _candidates() if path.exists()), None)


def _candidates() -> Iterator[Path]:
    for place in _PLACES:
        yield from sorted(Path("/").glob(place.lstrip("/")))


def problem() -> str | None:
    """Returns why no clock can be set here; None if it can."""
    return None if library() is not None else "there is no libfaketime to set a clock: apt-get install libfaketime"


class FakedClock:
    """The wall clock of the processes that are started with `environment`. It creates `file`, which controls it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.offsets_ns = [0]
        """All amounts by which the clock was ahead so far; the last one is that of now."""
        self._write()

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
            "FAKETIME_CACHE_DURATION": "1",
            "NO_FAKE_STAT": "1",
        }

    def set(self, offset_s: int) -> None:
        """Sets the clock ahead of the computer's by so much, or behind if it is negative."""
        self.offsets_ns.append(offset_s * _SECOND_NS)
        self._write()

    def _write(self) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"{self.offsets_ns[-1] // _SECOND_NS:+d}\n")
        os.replace(new, self._file)

    def times_ns(self) -> tuple[int, int]:
        """Returns the wall clock and the monotonic one, as a new process sees them."""
        wall, monotonic = self.told_by(_PRINT_TIME).split()
        return int(wall), int(monotonic)

    def told_by(self, program: str) -> str:
        """Runs a Python program with this clock, and returns what it prints."""
        return subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            timeout=_PROBE_TIMEOUT_S,
            check=True,
        ).stdout
