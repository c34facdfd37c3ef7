"""One reading outside of any frequency, on a user's request.

It is stored in files of its own, and goes to MongoDB like other readings. Runs on the event loop.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..base.clock import Clock
from ..storage.capture_files.capture_file import CaptureFile
from ..storage.writing.sink import Sink
from .answer_memory import Room
from .answers import Answers, Question
from .collector import CollectorSpec, Tee
from .methods import TabularMethod

MAX_FILES = 64
"""How many files of one answer are reported; further payloads are stored, but not reported."""


@dataclass(frozen=True)
class Captured:
    """The result of one call: the number of readings, and the paths of the complete files that hold them."""

    readings: int
    paths: tuple[str, ...]


async def capture_once(spec: CollectorSpec, clock: Clock, tee: Tee, answers: Answers) -> Captured:
    """Calls the resource and returns when its answer is on the disk.

    A reading that the disk refuses is counted as dropped, like any other, and is missing in the result. Raises
    ResourceCallError when the resource gives no reading. When cancelled, the call is cancelled; an answer that has
    come is stored all the same.
    """
    appender = spec.writer.open(spec.metadata(), spec.max_file_bytes, keep_files=MAX_FILES)
    readings = 0
    try:
        readings = await _read(spec, clock, tee(spec.collector_id, appender), answers)
    finally:
        await spec.writer.release([appender])
    files: list[CaptureFile] = [file for file in appender.finished if file.final_path]
    return Captured(min(readings, sum(file.readings for file in files)), tuple(f.final_path for f in files))


async def _read(spec: CollectorSpec, clock: Clock, sink: Sink, answers: Answers) -> int:
    table, target = spec.table, spec.target
    question = Question(spec.client, spec.method, table.request(target), target, clock)
    room = Room(answers.memory, table.most_bytes)
    try:
        if isinstance(table, TabularMethod):
            sink.append(await answers.tabular_reading(question, table, room))
            return 1
        found = await answers.binary_readings(question, table, room)
        found.put(sink)
        return len(found.answer.binaries)
    finally:
        room.end()
