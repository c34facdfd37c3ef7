"""A wall clock that is set while a process runs: libfaketime in that process alone, told by a file.

The computer's own clock stays as it is, and so does the process's monotonic one, as when somebody sets the clock.
The times of files are the kernel's: after a step every file looks as one from before it does. A step takes effect
within a second.

libfaketime's "forced monotonic fix", which it applies by default where glibc does not need it, makes timed waits of
threads return at once. Python waits for its interpreter like that: two busy threads would take eight times as long.
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
    """Why no clock can be set here; None when it can."""
    return None if library() is not None else "there is no libfaketime to set a clock: apt-get install libfaketime"


class FakedClock:
    """The clock of the processes that are started with `environment`. `file` is made."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.offsets_ns = [0]
        """All by which it was ahead so far, the last one being that of now."""
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
        """It is ahead of the computer's by so much from now on, or behind."""
        self.offsets_ns.append(offset_s * _SECOND_NS)
        self._write()

    def _write(self) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"{self.offsets_ns[-1] // _SECOND_NS:+d}\n")
        os.replace(new, self._file)

    def times_ns(self) -> tuple[int, int]:
        """The wall clock and the monotonic one, as a new process sees them."""
        wall, monotonic = self.told_by(_PRINT_TIME).split()
        return int(wall), int(monotonic)

    def told_by(self, program: str) -> str:
        """What a Python program prints that has this clock."""
        return subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            timeout=_PROBE_TIMEOUT_S,
            check=True,
        ).stdout
