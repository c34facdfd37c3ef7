"""The ledger: what became of every reading and of every arbitrary file, since this process started.

Per collector, in readings: captured + adopted = delivered + quarantined + dropped + on disk. Readings that an
earlier process left are adopted when their file's fate is known, so that the sum holds at each moment.
Thread-safe: capture counts on the event loop, storage on the disk thread, sync on worker threads.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from viam.proto.app.datasync import DataCaptureMetadata

from .layout import capture_file_time_ns

CollectorId = tuple[str, str, str]
"""API, resource and method, as in the header of a capture file."""


def collector_of(metadata: DataCaptureMetadata) -> CollectorId:
    """Whose readings a capture file with this header holds."""
    return metadata.component_type, metadata.component_name, metadata.method_name


@dataclass
class ReadingCounts:
    """Readings of one collector. `dropped` is by reason."""

    captured: int = 0
    adopted: int = 0
    delivered: int = 0
    quarantined: int = 0
    dropped: dict[str, int] = field(default_factory=dict)

    @property
    def on_disk(self) -> int:
        """Readings that are neither delivered nor lost: in a file, or on their way into one."""
        return self.captured + self.adopted - self.delivered - self.quarantined - sum(self.dropped.values())


@dataclass
class FileCounts:
    """Arbitrary files. `vanished` were removed by somebody else between the walk and the upload."""

    delivered: int = 0
    delivered_bytes: int = 0
    quarantined: int = 0
    vanished: int = 0


class Ledger:
    """The counts of one process. Every method takes a lock for a few additions and never waits otherwise."""

    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns // 1000 * 1000  # names have microseconds
        self._lock = threading.Lock()
        self._readings: dict[CollectorId, ReadingCounts] = {}
        self.files = FileCounts()

    def adopts(self, path: str) -> bool:
        """Whether the capture file at `path` is from before this process: names begin with their time."""
        time_ns = capture_file_time_ns(path)
        return time_ns is None or time_ns < self._start_ns

    def captured(self, collector: CollectorId) -> None:
        with self._lock:
            self._of(collector).captured += 1

    def dropped(self, collector: CollectorId, reason: str, readings: int) -> None:
        """Readings that were captured by this process and are lost."""
        with self._lock:
            self._drop(collector, reason, readings)

    def delivered(self, collector: CollectorId, path: str, readings: int) -> None:
        """Readings of the capture file at `path` that the cloud has."""
        with self._lock:
            counts = self._of(collector)
            counts.delivered += readings
            counts.adopted += readings if self.adopts(path) else 0

    def quarantined(self, collector: CollectorId, path: str, readings: int) -> None:
        """Readings of the capture file at `path` that lie in `failed/`."""
        with self._lock:
            counts = self._of(collector)
            counts.quarantined += readings
            counts.adopted += readings if self.adopts(path) else 0

    def lost_in_crash(self, collector: CollectorId, readings: int) -> None:
        """Readings that a crash left unfinished at the end of a file."""
        with self._lock:
            self._of(collector).adopted += readings
            self._drop(collector, "torn", readings)

    def file_delivered(self, size_bytes: int) -> None:
        with self._lock:
            self.files.delivered += 1
            self.files.delivered_bytes += size_bytes

    def file_quarantined(self) -> None:
        with self._lock:
            self.files.quarantined += 1

    def file_vanished(self) -> None:
        with self._lock:
            self.files.vanished += 1

    def readings(self) -> dict[CollectorId, ReadingCounts]:
        """A copy that the caller may keep."""
        with self._lock:
            return {
                key: ReadingCounts(c.captured, c.adopted, c.delivered, c.quarantined, dict(c.dropped))
                for key, c in self._readings.items()
            }

    def _of(self, collector: CollectorId) -> ReadingCounts:
        return self._readings.setdefault(collector, ReadingCounts())

    def _drop(self, collector: CollectorId, reason: str, readings: int) -> None:
        dropped = self._of(collector).dropped
        dropped[reason] = dropped.get(reason, 0) + readings
