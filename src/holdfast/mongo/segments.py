"""The files of a spool (segments), oldest first, and what became of their readings.

They are shared by the thread that writes and the one that reads. `Segments.changed` guards everything here, and is
never held while a disk is used. Bounds: `MAX_BYTES` and `MAX_FILES`. Beyond them the oldest files are given up, but
neither the one that is being written nor the one whose batch is being sent.
"""

from __future__ import annotations

import os
import re
import threading
from collections import Counter
from dataclasses import dataclass, field, replace

from ..storage import layout
from .records import READING_OVERHEAD_BYTES, Header

MAX_BYTES = 64 * 1024 * 1024
MAX_FILES = 256
MAX_READINGS = MAX_BYTES // READING_OVERHEAD_BYTES
"""No file has more."""
SPOOL_FULL = "spool_full"
_NAME = re.compile(r"([0-9]{10,18})-[0-9a-f]+\.prog")


def folder_of(capture_dir: str) -> str:
    return os.path.join(capture_dir, layout.STATE_FOLDER, "mongo")


def segment_path(folder: str, place: int, life: bytes) -> str:
    return os.path.join(folder, f"{place:010d}-{life.hex()}{layout.IN_PROGRESS_EXTENSION}")


def place_of(name: str) -> int | None:
    """Returns the place in the spool of a file with this name; None if it is not a segment."""
    found = _NAME.fullmatch(name)
    return int(found[1]) if found else None


@dataclass(eq=False)
class Segment:
    """One file of the spool. Its readings are numbered without a gap, beginning with the header's `first`."""

    path: str
    place: int
    header: Header
    header_bytes: int
    end_bytes: int
    """The end of its last complete record."""
    read_bytes: int
    """The end of the part that is done: sent or given up."""
    next_number: int
    """The number of the reading that would follow its last one."""
    done_number: int
    """The number of its first reading that is not done."""
    oldest_ns: int
    """When the oldest reading that is not done was taken, or earlier."""
    complete: bool = False
    """Whether it is closed: nothing more is written to it."""

    @property
    def waiting(self) -> int:
        """How many of its readings are not done."""
        return max(0, self.next_number - self.done_number)


@dataclass
class SpoolCounts:
    """Numbers of readings since the spool was opened: taken + found = written + dropped + waiting."""

    taken: int = 0
    found: int = 0
    """Readings that an earlier life left."""
    written: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def waiting(self) -> int:
        """How many readings wait, in memory and on the disk."""
        return self.taken + self.found - self.written - sum(self.dropped.values())

    def add(self, other: SpoolCounts) -> None:
        """Adds the counts of another spool to these."""
        self.taken += other.taken
        self.found += other.found
        self.written += other.written
        self.dropped.update(other.dropped)


class Segments:
    """The list of a spool's files. `changed` is notified when there is more to read."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.counts = SpoolCounts()
        self._list: list[Segment] = []
        self._on_its_way: Segment | None = None

    def add(self, segment: Segment) -> None:
        with self.changed:
            self._list.append(segment)

    def put_first(self, found: list[Segment]) -> None:
        """Adds the files that earlier lives left, before those of this life, and counts their readings as found."""
        with self.changed:
            self._list[:0] = found
            self.counts.found += sum(segment.waiting for segment in found)

    def hold_first(self) -> Segment | None:
        """Returns the oldest file, if any, and keeps it from being given up until `let_go`."""
        with self.changed:
            self._on_its_way = self._list[0] if self._list else None
            return self._on_its_way

    def first(self) -> Segment | None:
        return self._list[0] if self._list else None

    def let_go(self) -> None:
        """Ends what `hold_first` began."""
        with self.changed:
            self._on_its_way = None

    def remove(self, segment: Segment) -> None:
        """Removes a file that is done from the list; the caller removes it from the disk."""
        with self.changed:
            self._list.remove(segment)

    def give_up_one(self) -> Segment | None:
        """Takes the oldest file that may be given up off the list and counts its readings as dropped.

        Returns it, for the caller to remove it from the disk; None when the bounds hold or no file may go.
        """
        with self.changed:
            if sum(s.end_bytes for s in self._list) <= MAX_BYTES and len(self._list) <= MAX_FILES:
                return None
            for segment in self._list:
                if segment.complete and segment is not self._on_its_way:
                    self._list.remove(segment)
                    self.counts.dropped[SPOOL_FULL] += segment.waiting
                    return segment
            return None

    def counted(self) -> SpoolCounts:
        """Returns a copy of the counts, all as of one moment."""
        with self.changed:
            return replace(self.counts, dropped=Counter(self.counts.dropped))

    def waiting(self) -> tuple[int, int, int | None]:
        """Returns how many readings and bytes are on the disk and not done, and when the oldest was taken."""
        with self.changed:
            left = [segment for segment in self._list if segment.waiting]
            readings = sum(segment.waiting for segment in left)
            return (
                readings,
                sum(segment.end_bytes - segment.read_bytes for segment in left),
                left[0].oldest_ns if left else None,
            )
