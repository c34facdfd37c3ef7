"""The counters: `ReadingCounts` for the readings of one collector, `FileCounts` for arbitrary files.

The sum holds for each collector: captured + adopted = delivered + quarantined + vanished + deleted + dropped + on
disk. Not thread-safe.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from viam.proto.app.datasync import DataCaptureMetadata

CollectorId = tuple[str, str, str]
"""The API, resource and method of a collector, as in the header of a capture file."""


def collector_of(metadata: DataCaptureMetadata) -> CollectorId:
    """Returns the collector whose readings a capture file with this header holds."""
    return metadata.component_type, metadata.component_name, metadata.method_name


@dataclass
class ReadingCounts:
    """The counts of one collector's readings."""

    captured: int = 0
    """Readings that our collectors took."""
    adopted: int = 0
    """Readings in the folder that we did not capture, or whose counts are lost."""
    delivered: int = 0
    quarantined: int = 0
    """Readings that are in quarantine now."""
    vanished: int = 0
    """Readings that another program or a person removed."""
    deleted: int = 0
    """Readings in complete files that were deleted to free space."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Readings that are lost, by reason."""
    unfinished: int = field(default=0, compare=False)
    """Captured readings that are in memory, or in a file that is not complete yet."""

    returned: int = field(default=0, compare=False)
    """Readings that were put back from quarantine since the process started, each as often as that happened."""

    @property
    def on_disk(self) -> int:
        """Readings whose fate is open: they are in a file, or on their way into one."""
        return self.captured + self.adopted - self.gone

    @property
    def in_files(self) -> int:
        """Readings that are in complete files."""
        return self.on_disk - self.unfinished

    @property
    def gone(self) -> int:
        """Readings whose fate is known."""
        return self.delivered + self.quarantined + self.vanished + self.deleted + sum(self.dropped.values())

    @property
    def is_possible(self) -> bool:
        """Whether no number of readings is negative."""
        fates = (self.delivered, self.quarantined, self.vanished, self.deleted, *self.dropped.values())
        return all(number >= 0 for number in (self.captured, self.adopted, self.on_disk, *fates))

    def drop(self, reason: str, readings: int) -> None:
        """Counts readings as lost, or takes that back if `readings` is negative."""
        if readings:
            self.dropped[reason] = self.dropped.get(reason, 0) + readings
        if not self.dropped.get(reason, 1):
            del self.dropped[reason]

    def adopt_what_is_missing(self) -> None:
        """Counts as adopted what is gone from the files and was never counted as captured or adopted."""
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
    """The counts of arbitrary files."""

    delivered: int = 0
    delivered_bytes: int = 0
    quarantined: int = 0
    """Files that are in quarantine now."""
    vanished: int = 0
    """Files that another program or a person removed between the walk and the upload."""
    discarded: int = 0
    """Files that were deleted from quarantine, by a command or to free space."""

    @property
    def is_possible(self) -> bool:
        """Whether no number of files is negative."""
        return all(number >= 0 for number in vars(self).values())

    def add(self, other: FileCounts) -> None:
        self.delivered += other.delivered
        self.delivered_bytes += other.delivered_bytes
        self.quarantined += other.quarantined
        self.vanished += other.vanished
        self.discarded += other.discarded
