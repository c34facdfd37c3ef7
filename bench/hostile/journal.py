"""`Journal` keeps in a file which hostile inputs were under way when: the report finds in it what held the loop."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Input:
    """One input, and the time on the monotonic clock in which the module had it."""

    side: str
    what: str
    begin_ns: int
    end_ns: int


class Journal:
    """Writes the inputs of one side, such as "caller", to a file. Each is there at the latest when it has ended."""

    def __init__(self, path: Path, side: str) -> None:
        self._file = path.open("a", buffering=1)
        self._side = side

    @contextmanager
    def during(self, what: str) -> Iterator[None]:
        """Notes that `what` is under way while the block runs."""
        begin_ns = time.monotonic_ns()
        try:
            yield
        finally:
            self._write(what, begin_ns, time.monotonic_ns())

    def note(self, what: str, lasts_s: float) -> None:
        """Notes that `what` is under way from now on for so long."""
        now_ns = time.monotonic_ns()
        self._write(what, now_ns, now_ns + int(lasts_s * 1e9))

    def _write(self, what: str, begin_ns: int, end_ns: int) -> None:
        self._file.write(json.dumps([self._side, what, begin_ns, end_ns]) + "\n")


def read(path: Path) -> list[Input]:
    """Returns all inputs in a journal. A line that its writer had no time to finish is left out."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [Input(*json.loads(line)) for line in lines]
