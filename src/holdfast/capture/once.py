"""One reading outside of any frequency, on a user's request.

It is stored in files of its own, and goes to MongoDB like other readings. Runs on the event loop.
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
"""How many files of one answer are reported; further payloads are stored, but not reported."""


@dataclass(frozen=True)
class Captured:
    """The result of one call: the number of readings, and the paths of the complete files that hold them."""

    readings: int
    paths: tuple[str, ...]


async def capture_once(spec: CollectorSpec, clock: Clock, tee: Tee) -> Captured:
    """Calls the resource and returns when its answer is on the disk.

    A reading that the disk refuses is counted as dropped, like any other, and is missing in the result. Raises
    ResourceCallError when the resource gives no reading. When cancelled, the call is cancelled; an answer that has
    come is stored all the same.
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
