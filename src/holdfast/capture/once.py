"""One reading outside of any frequency, because somebody asked for it now.

It lies in a file of its own, and goes to MongoDB as others do. Belongs to the event loop.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..base.clock import Clock
from ..storage.capture_files.capture_file import CaptureFile
from ..storage.writing.sink import Sink
from .answers import binary_readings, tabular_reading
from .collector import CollectorSpec, Tee
from .methods import TabularMethod

MAX_FILES = 64
"""Of one answer; further payloads are kept, but not told."""


@dataclass(frozen=True)
class Captured:
    """What came of one call: `readings`, in the files at `paths`, which are complete."""

    readings: int
    paths: tuple[str, ...]


async def capture_once(spec: CollectorSpec, clock: Clock, tee: Tee) -> Captured:
    """Calls the resource and returns when what it answered is on the disk.

    Raises ResourceCallError when it gives no reading. What the disk refuses is counted as for any other reading,
    and is missing in the result.
    """
    appender = spec.writer.open(spec.metadata(), spec.max_file_bytes, keep_files=MAX_FILES)
    readings = 0
    try:
        readings = await _read(spec, clock, tee(spec.collector_id, appender))
    finally:
        await spec.writer.release([appender])
    files: list[CaptureFile] = [file for file in appender.finished if file.final_path]
    return Captured(min(readings, sum(file.readings for file in files)), tuple(f.final_path for f in files))


async def _read(spec: CollectorSpec, clock: Clock, sink: Sink) -> int:
    client, method, table, target = spec.client, spec.method, spec.table, spec.target
    request = table.request(target)
    if isinstance(table, TabularMethod):
        sink.append(await tabular_reading(client, method, table, request, clock))
        return 1
    found = await binary_readings(client, method, table, request, target, clock)
    found.put(sink)
    return len(found.answer.binaries)
