"""This module ruins complete capture files as bad cards and other programs do: it changes bytes, or removes
files."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from tests.e2e.machines import delimited, frames_in, readings_in

HEADER_SHARE = 0.1
BEGINNING_SHARE = 0.3
_MOST_BYTES = 3
_BEGINNINGS = (b"\xff" * 16, b"\xff" * 9 + b"\x01")
"""What damaged frames may begin with: erased flash, or a length that no file has, 2 ** 64 - 1."""


@dataclass(frozen=True)
class Ruined:
    """A file, and the readings in it that are lost by what was done to it."""

    path: Path
    resource: str
    seqs: tuple[int, ...]
    is_header: bool = False


def damage(path: Path, rng: random.Random) -> Ruined | None:
    """Changes one to three bytes of one frame, or its beginning. In the header, that costs all readings of the
    file.

    The file's times stay the same, as with a bad card. Returns None when the file is gone or has no readings.
    """
    try:
        data = path.read_bytes()
        readings = readings_in(path)
        status = path.stat()
    except FileNotFoundError:
        return None
    if not readings:
        return None
    ends = list(accumulate(len(delimited(frame)) for frame in frames_in(data)))
    frame = 0 if rng.random() < HEADER_SHARE else rng.randrange(1, len(ends))
    start, end = (0, *ends)[frame], ends[frame]
    if rng.random() < BEGINNING_SHARE:
        first = start
        changed = rng.choice(_BEGINNINGS)[: end - start]
    else:
        first = rng.randrange(start, end)
        changed = bytes(
            byte ^ rng.randint(1, 255) for byte in data[first : min(end, first + rng.randint(1, _MOST_BYTES))]
        )
    try:
        descriptor = os.open(path, os.O_WRONLY)
    except FileNotFoundError:
        return None
    try:
        os.pwrite(descriptor, changed, first)
        os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns))
    finally:
        os.close(descriptor)
    seqs = [reading.seq for reading in readings]
    is_header = frame == 0
    lost = seqs if is_header else seqs[frame - 1 : frame]
    return Ruined(path, readings[0].component, tuple(lost), is_header)


def take_away(path: Path) -> Ruined | None:
    """Removes a file. Returns None when the file is gone or has no readings."""
    try:
        readings = readings_in(path)
        if not readings:
            return None
        path.unlink()
    except FileNotFoundError:
        return None
    return Ruined(path, readings[0].component, tuple(reading.seq for reading in readings))
