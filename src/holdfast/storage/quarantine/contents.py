"""What of a capture file in quarantine counts, and was not delivered: what its sidecar says, if the file agrees.

- The readings count for the collector that the file's header names, or in whose folder it was if its header is
  damaged. A sidecar that names another counts nothing.
- They are at most as many as the file holds.
- The places that were not delivered are behind the header, do not overlap, and hold all these readings.

Blocks on the disk: belongs on a worker thread.
"""

from __future__ import annotations

import os
from dataclasses import replace

from ...base.filesystem import FileSystem
from ...errors import DamagedFileError
from .. import layout
from ..capture_files.reader import LEAST_READING_BYTES, CaptureReader
from ..ledger.counts import CollectorId, collector_of
from .sidecar import QuarantinedReadings, Sidecar, misunderstood


def held_by_size(files: FileSystem, failed: str, place: str, sidecar: Sidecar) -> QuarantinedReadings | None:
    """Returns what counts of the capture file at `failed`, which was at `place`, without reading more than its
    header."""
    if sidecar.held is None:
        return None
    try:
        reader = CaptureReader(files, failed)
        reader.close()
        collector: CollectorId | None = collector_of(reader.metadata)
    except DamagedFileError:
        collector = sidecar.held.collector if _is_folder_of(sidecar.held.collector, place) else None
    most = files.stat(failed).st_size // LEAST_READING_BYTES + 1
    return _believed(sidecar.held, collector, most)


def held_in(reader: CaptureReader, sidecar: Sidecar, readings: int) -> QuarantinedReadings | None:
    """Returns what counts of a capture file that is open, of which so many readings are to be sent."""
    if sidecar.held is None:
        return None
    held = _believed(sidecar.held, collector_of(reader.metadata), readings)
    return None if held is None else replace(held, ours=reader.checked)


def readings_in(reader: CaptureReader) -> int:
    """Returns how many readings a whole file has, with those that are damaged."""
    for _ in reader.runs():
        pass
    return reader.readings + reader.damaged_readings


def check_places(reader: CaptureReader, failed: str, sidecar: Sidecar) -> None:
    """Raises DamagedFileError if the places in a sidecar can't be those of readings in the file, or in the file of
    before it was rewritten."""
    behind = reader.header_end
    for start, end in sidecar.damaged:
        if not behind <= start < end:
            raise misunderstood(failed, f"bytes {start} to {end} are no place for a reading")
        behind = end


def check_readings(failed: str, sidecar: Sidecar, readings: int) -> None:
    """Raises DamagedFileError if a sidecar names fewer places than readings: the others would be lost."""
    if sidecar.held is None or sidecar.held.readings > readings:
        raise misunderstood(failed, f"it does not say where all readings are that count; {readings} are found")


def _believed(held: QuarantinedReadings, collector: CollectorId | None, most: int) -> QuarantinedReadings | None:
    if held.collector != collector:
        return None
    return replace(held, readings=min(held.readings, most))


def _is_folder_of(collector: CollectorId, place: str) -> bool:
    """Whether a capture file at `place` lies in the folder of this collector, in whatever capture folder."""
    return os.path.dirname(place).endswith(layout.collector_folder(os.sep, *collector))
