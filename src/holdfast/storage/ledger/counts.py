"""What is counted, and for whom: readings per collector, arbitrary files.

The sum: captured + adopted = delivered + quarantined + vanished + deleted + dropped + on disk.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from viam.proto.app.datasync import DataCaptureMetadata

CollectorId = tuple[str, str, str]
"""API, resource and method, as in the header of a capture file."""


def collector_of(metadata: DataCaptureMetadata) -> CollectorId:
    """Whose readings a capture file with this header holds."""
    return metadata.component_type, metadata.component_name, metadata.method_name


@dataclass
class ReadingCounts:
    """Readings of one collector."""

    captured: int = 0
    """Taken by our collectors."""
    adopted: int = 0
    """Found in the folder and not captured by us, or at a time whose counts are lost."""
    delivered: int = 0
    quarantined: int = 0
    vanished: int = 0
    """Taken away by somebody else."""
    deleted: int = 0
    """In complete files that were deleted to free space."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Lost, by reason."""
    unfinished: int = field(default=0, compare=False)
    """Of the captured ones, those in memory or in a file that is not complete yet."""

    returned: int = field(default=0, compare=False)
    """Put back from quarantine since the process started: as often as readings that were gone are there again."""

    @property
    def on_disk(self) -> int:
        """Readings whose fate is open: in a file, or on their way into one."""
        return self.captured + self.adopted - self.gone

    @property
    def in_files(self) -> int:
        """Readings in complete files."""
        return self.on_disk - self.unfinished

    @property
    def gone(self) -> int:
        """Readings whose fate is known."""
        return self.delivered + self.quarantined + self.vanished + self.deleted + sum(self.dropped.values())

    def drop(self, reason: str, readings: int) -> None:
        if readings:
            self.dropped[reason] = self.dropped.get(reason, 0) + readings
        if not self.dropped.get(reason, 1):
            del self.dropped[reason]

    def adopt_what_is_missing(self) -> None:
        """More is gone from the files than we know to have come in: it is from a time whose counts are lost."""
        self.adopted += max(0, -self.in_files)

    def add(self, other: ReadingCounts) -> None:
        self.captured += other.captured
        self.adopted += other.adopted
        self.delivered += other.delivered
        self.quarantined += other.quarantined
        self.vanished += other.vanished
        self.deleted += other.deleted
        self.unfinished += other.unfinished
        self.returned += other.returned
        for reason, readings in other.dropped.items():
            self.drop(reason, readings)

    def copy(self) -> ReadingCounts:
        return ReadingCounts(**{**vars(self), "dropped": dict(self.dropped)})


@dataclass
class FileCounts:
    """Arbitrary files. `vanished` were removed by somebody else between the walk and the upload."""

    delivered: int = 0
    delivered_bytes: int = 0
    quarantined: int = 0
    vanished: int = 0
    discarded: int = 0
    """Deleted out of quarantine, as somebody said or to free space."""

    def add(self, other: FileCounts) -> None:
        self.delivered += other.delivered
        self.delivered_bytes += other.delivered_bytes
        self.quarantined += other.quarantined
        self.vanished += other.vanished
        self.discarded += other.discarded
