"""Calls to resources, and what is stored of their answers: for a collector and for a single reading alike.

Runs on the event loop. The functions raise ResourceCallError when the call gives no reading. When cancelled, they
cancel the call, and nothing is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..base.clock import Clock
from ..base.filesystem import Buffer
from ..config import CaptureMethod
from ..errors import AnswerTooLargeError, ResourceCallError, ResourceErrorKind
from ..storage.capture_files.frames import binary_head, tabular_message
from ..storage.writing.sink import Sink
from .answer_memory import AnswerMemory, Room
from .client import UnaryClient
from .decoding import Decoding
from .methods import Binary, BinaryAnswer, BinaryMethod, Method, TabularMethod, Target

MAX_MIME_TYPE_CHARS = 255
MAX_ANNOTATIONS_BYTES = 1024 * 1024
MAX_AT_ONCE_BYTES = 2 * 1024 * 1024
"""The most that is received in one go, over a connection that all calls share: it takes half the processor time."""


@dataclass(frozen=True)
class Question:
    """What is asked of a resource."""

    client: UnaryClient
    method: CaptureMethod
    request: bytes
    target: Target
    clock: Clock


@dataclass(frozen=True)
class BinaryReadings:
    """The readings of one answer with binary payloads; each becomes a file."""

    answer: BinaryAnswer
    requested_ns: int
    received_ns: int

    @property
    def size_bytes(self) -> int:
        return sum(binary.size_bytes for binary in self.answer.binaries)

    def put(self, sink: Sink) -> None:
        """Writes all readings to `sink`."""
        for binary in self.answer.binaries:
            head = binary_head(self.requested_ns, self.received_ns, binary.annotations, binary.size_bytes)
            sink.append_binary(head, binary.parts, binary.mime_type)


class Answers:
    """What all calls share: the memory for their answers, and the place where large ones are decoded."""

    def __init__(self) -> None:
        self.memory = AnswerMemory()
        self._decoding = Decoding()

    async def tabular_reading(self, question: Question, table: TabularMethod, room: Room) -> bytes:
        """Calls a tabular method and returns its reading, a serialized `SensorData`."""
        requested_ns, (answer,) = await _ask(question, table, room)
        received_ns = question.clock.time_ns()

        def reading(answer: Buffer) -> bytes:
            return tabular_message(requested_ns, received_ns, table.payload(bytes(answer)))

        return await self._decoding.tabular(reading, answer)

    async def binary_readings(self, question: Question, table: BinaryMethod, room: Room) -> BinaryReadings:
        """Calls a binary method and returns its readings.

        As in the builtin, an answer without payloads, or with an empty one among them, is refused whole.
        """
        requested_ns, answers = await _ask(question, table, room)
        answer = await self._decoding.binary(table, question.target, answers)
        received_ns = answer.received_ns or question.clock.time_ns()
        _check(answer.binaries)
        return BinaryReadings(_without_the_rest(answer, room.size_bytes), requested_ns, received_ns)


async def _ask(question: Question, table: Method, room: Room) -> tuple[int, Sequence[Buffer]]:
    """Returns when the call left, and its answer: one message, or all of a stream.

    An answer without payload is small, as a rule, and so is one with payloads if all that came before were. Such an
    answer is received in one go. One that is larger than that allows is asked for again.
    """
    client, request, timeout_s = question.client, question.request, question.method.timeout_s
    requested_ns = question.clock.time_ns()
    if isinstance(table, BinaryMethod) and table.streamed:
        lasts_s = question.method.interval_s if table.gapless else 0.0
        return requested_ns, await client.stream(table.rpc, request, lasts_s + timeout_s, room)
    is_known = isinstance(table, TabularMethod) or room.expected_bytes
    if is_known and room.expected_bytes <= MAX_AT_ONCE_BYTES // 8:
        try:
            answer = await client.call(table.rpc, request, timeout_s, min(MAX_AT_ONCE_BYTES, table.most_bytes))
        except AnswerTooLargeError as error:
            room.demand(error.size_bytes)
            requested_ns = question.clock.time_ns()
        else:
            room.came(len(answer))
            return requested_ns, [answer]
    return requested_ns, [await client.large_call(table.rpc, request, timeout_s, room)]


def _without_the_rest(answer: BinaryAnswer, size_bytes: int) -> BinaryAnswer:
    """Returns an answer of `size_bytes` that keeps little more in memory than its payloads.

    They are slices of it, and keep all of it. So they are copied if most of it is something else.
    """
    if 2 * sum(binary.size_bytes for binary in answer.binaries) >= size_bytes:
        return answer
    copies = (replace(binary, parts=(b"".join(binary.parts),)) for binary in answer.binaries)
    return replace(answer, binaries=tuple(copies))


def _check(binaries: tuple[Binary, ...]) -> None:
    """Raises ResourceCallError if an answer is not to be stored."""
    why = ""
    if not binaries or not all(binary.size_bytes for binary in binaries):
        why = "the answer, or a part of it, is empty"
    elif (most := max(len(binary.mime_type) for binary in binaries)) > MAX_MIME_TYPE_CHARS:
        why = f"a MIME type in the answer has {most} characters; at most {MAX_MIME_TYPE_CHARS} are stored"
    elif (most := max(len(binary.annotations) for binary in binaries)) > MAX_ANNOTATIONS_BYTES:
        why = f"the annotations of a payload have {most} bytes; at most {MAX_ANNOTATIONS_BYTES} are stored"
    if why:
        raise ResourceCallError(ResourceErrorKind.FAILED, why)
