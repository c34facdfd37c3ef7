"""One call to a resource, and what is stored of its answer: for a collector and for a single reading alike.

Runs on the event loop. The functions raise ResourceCallError when the call gives no reading. When cancelled, they
cancel the call, and nothing is stored.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..base.clock import Clock
from ..config import CaptureMethod
from ..errors import ResourceCallError, ResourceErrorKind
from ..storage.capture_files.frames import binary_head, tabular_message
from ..storage.writing.sink import Sink
from .client import UnaryClient
from .methods import BinaryAnswer, BinaryMethod, TabularMethod, Target


async def tabular_reading(
    client: UnaryClient, method: CaptureMethod, table: TabularMethod, request: bytes, clock: Clock
) -> bytes:
    """Calls a tabular method and returns its reading, a serialized `SensorData`."""
    requested_ns = clock.time_ns()
    answer = await client.call(table.rpc, request, method.timeout_s)
    return tabular_message(requested_ns, clock.time_ns(), table.payload(answer))


@dataclass(frozen=True)
class BinaryReadings:
    """The readings of one answer with binary payloads; each becomes a file."""

    answer: BinaryAnswer
    requested_ns: int
    received_ns: int

    @property
    def size_bytes(self) -> int:
        return sum(len(part) for binary in self.answer.binaries for part in binary.parts)

    def put(self, sink: Sink) -> None:
        """Writes all readings to `sink`."""
        for binary in self.answer.binaries:
            size_bytes = sum(map(len, binary.parts))
            head = binary_head(self.requested_ns, self.received_ns, binary.annotations, size_bytes)
            sink.append_binary(head, binary.parts, binary.mime_type)


async def binary_readings(
    client: UnaryClient, method: CaptureMethod, table: BinaryMethod, request: bytes, target: Target, clock: Clock
) -> BinaryReadings:
    """Calls a binary method and returns its readings.

    As in the builtin, an answer without payloads, or with an empty one among them, is refused whole.
    """
    requested_ns = clock.time_ns()
    if table.streamed:
        lasts_s = method.interval_s if table.gapless else 0.0
        answers = await client.stream(table.rpc, request, lasts_s + method.timeout_s)
    else:
        answers = [await client.call(table.rpc, request, method.timeout_s)]
    answer = table.answer(target, answers)
    received_ns = answer.received_ns or clock.time_ns()
    if not answer.binaries or not all(any(map(len, binary.parts)) for binary in answer.binaries):
        raise ResourceCallError(ResourceErrorKind.FAILED, "the answer, or a part of it, is empty")
    return BinaryReadings(answer, requested_ns, received_ns)
