"""One reading outside of any frequency, because somebody asked for it now.

It lies in a file of its own. Belongs to the event loop.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..clock import Clock
from ..errors import ResourceCallError, ResourceErrorKind
from ..storage.capture_file import CaptureFile
from ..storage.frames import binary_head, tabular_message
from .collector import CollectorSpec, Sink
from .methods import BinaryMethod

MAX_FILES = 64
"""Of one answer; further payloads are kept, but not told."""


@dataclass(frozen=True)
class Captured:
    """What came of one call: `readings`, in the files at `paths`, which are complete."""

    readings: int
    paths: tuple[str, ...]


async def capture_once(spec: CollectorSpec, clock: Clock) -> Captured:
    """Calls the resource and returns when what it answered is on the disk.

    Raises ResourceCallError when it gives no reading. What the disk refuses is counted as for any other reading,
    and is missing in the result.
    """
    appender = spec.writer.open(spec.metadata(), spec.max_file_bytes, keep_files=MAX_FILES)
    readings = 0
    try:
        readings = await _read(spec, clock, appender)
    finally:
        await spec.writer.release([appender])
    files: list[CaptureFile] = [file for file in appender.finished if file.final_path]
    return Captured(min(readings, sum(file.readings for file in files)), tuple(f.final_path for f in files))


async def _read(spec: CollectorSpec, clock: Clock, sink: Sink) -> int:
    table, method, target = spec.table, spec.method, spec.target
    request = table.request(target)
    requested_ns = clock.time_ns()
    if not isinstance(table, BinaryMethod):
        answer = await spec.client.call(table.rpc, request, method.timeout_s)
        sink.append(tabular_message(requested_ns, clock.time_ns(), table.payload(answer)))
        return 1
    if table.streamed:
        lasts_s = method.interval_s if table.gapless else 0.0
        answers = await spec.client.stream(table.rpc, request, lasts_s + method.timeout_s)
    else:
        answers = [await spec.client.call(table.rpc, request, method.timeout_s)]
    found = table.answer(target, answers)
    if not found.binaries or not all(any(map(len, binary.parts)) for binary in found.binaries):
        raise ResourceCallError(ResourceErrorKind.FAILED, "the answer, or a part of it, is empty")
    received_ns = found.received_ns or clock.time_ns()
    for binary in found.binaries:
        head = binary_head(requested_ns, received_ns, binary.annotations, sum(map(len, binary.parts)))
        sink.append_binary(head, binary.parts, binary.mime_type)
    return len(found.binaries)
