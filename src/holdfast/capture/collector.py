"""A collector: one method of one resource, read at its frequency and handed to storage.

Everything belongs to the event loop. A call that fails, hangs or is filtered costs that reading only; the next
deadline tries again. At most `max_in_flight` calls are in flight, and `MAX_CALLS_TO_A_RESOURCE` to one resource by
all its collectors; readings are stored in the order of their requests (see `turns`). A deadline that comes while as
many are in flight as may be is used as soon as one ends, unless the next deadline comes before: so a call that now
and then takes longer than the interval costs no reading, and never is there more than one to make up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.struct_pb2 import Struct
from viam.proto.app.datasync import DataCaptureMetadata, DataType

from ..base.clock import Clock
from ..config import CaptureMethod, short_name
from ..errors import ResourceCallError, ResourceErrorKind
from ..storage.ledger.counts import CollectorId
from ..storage.writing.disk_writer import DiskWriter
from ..storage.writing.sink import Sink
from .answer_memory import UNKNOWN_BYTES, AnswerMemory
from .answers import binary_readings, tabular_reading
from .client import UnaryClient
from .methods import BinaryMethod, Method, TabularMethod, Target
from .rates import RecentDurations
from .turns import Turn, Turns

logger = logging.getLogger(__name__)

MAX_CALLS_TO_A_RESOURCE = 90
"""Beyond 100 viam-server answers RESOURCE_EXHAUSTED, to every client of the resource: some are left for others."""
TWO_IN_FLIGHT_HZ = 50.0
"""From this frequency on two calls may be in flight where nothing is configured. Calls that are due together leave
together, so the last of many waits for the others in a module that answers one at a time, and now and then longer
than its interval."""
_STOP_TIMEOUT_S = 0.5
_MOST_WARNINGS, _WARNINGS_WITHIN_S = 5, 60.0  # a resource may find new words for each failure


Tee = Callable[[CollectorId, Sink], Sink]
"""Returns the sink to write a collector's readings to: the given one, or one that also copies them elsewhere."""


class Occupancy:
    """How many calls are in flight to one resource, by all its collectors."""

    __slots__ = ("__weakref__", "calls")

    def __init__(self) -> None:
        self.calls = 0


@dataclass(frozen=True)
class CollectorSpec:
    """Everything that makes a collector what it is: an equal spec means that it may go on running."""

    api: str
    method: CaptureMethod
    table: Method
    client: UnaryClient
    tags: tuple[str, ...]
    writer: DiskWriter
    max_file_bytes: int

    @property
    def resource(self) -> str:
        return short_name(self.method.name)

    @property
    def collector_id(self) -> CollectorId:
        """The name under which the ledger counts the collector's readings."""
        return self.api, self.resource, self.method.method

    @property
    def key(self) -> str:
        return f"{self.api}/{self.resource} {self.method.method} {self.method.params!r}"

    @property
    def target(self) -> Target:
        return Target(self.resource, dict(self.method.params), self.method.frequency_hz)

    def metadata(self) -> DataCaptureMetadata:
        """The header of this collector's files; that of a binary payload has its MIME type too."""
        metadata = DataCaptureMetadata(
            component_type=self.api,
            component_name=self.resource,
            method_name=self.method.method,
            tags=self.tags,
        )
        if isinstance(self.table, BinaryMethod):
            metadata.type = DataType.DATA_TYPE_BINARY_SENSOR
            metadata.file_extension = self.table.extension(dict(self.method.params))
        else:
            metadata.type = DataType.DATA_TYPE_TABULAR_SENSOR
            metadata.file_extension = ".dat"
        params = Struct()
        params.update(dict(self.method.params))
        for name, value in params.fields.items():
            packed = AnyMessage()
            packed.Pack(value)
            metadata.method_parameters[name].CopyFrom(packed)
        return metadata


class Collector:
    """Reads when told to, into `sink`. `may_warn` says whether a failure should be logged now;
    `occupancy` is shared with the resource's other collectors, `answer_memory` with all."""

    def __init__(
        self,
        spec: CollectorSpec,
        clock: Clock,
        sink: Sink,
        may_warn: Callable[[], bool],
        occupancy: Occupancy,
        answer_memory: AnswerMemory,
    ) -> None:
        self.spec = spec
        self.readings = 0
        self.errors = 0
        self.filtered = 0
        self.last_error: str | None = None
        self.last_reading_s: float | None = None
        """When the last reading came, on the monotonic clock."""
        self.lateness = RecentDurations()
        """How long after their deadlines calls left."""
        self.loop_lateness = RecentDurations()
        """The same of those that had no other call to wait for: what the event loop made them wait."""
        self.call_times = RecentDurations()
        """How long calls took, whatever came of them."""
        self.call_s = 0.0
        """The duration of all calls together."""
        self._clock = clock
        self._sink = sink
        self._may_warn = may_warn
        self._target = spec.target
        self._request = spec.table.request(self._target)
        self._warned_s: dict[str, float] = {}
        """When each failure was logged, oldest first."""
        self._occupancy = occupancy
        self._answer_memory = answer_memory
        self._answer_bytes = UNKNOWN_BYTES if isinstance(spec.table, BinaryMethod) else 0
        """What the next answer is expected to take; nothing worth mentioning where it is a few numbers."""
        self._calls: dict[Turn, asyncio.Task[None]] = {}
        self._turns = Turns()
        gapless = isinstance(spec.table, BinaryMethod) and spec.table.gapless
        self.max_in_flight = 1 if gapless else spec.method.max_in_flight or _usual_in_flight(spec)
        self._gapless = gapless
        self._waiting_s: float | None = None
        """The newest deadline that came while as many calls were in flight as may be: the end of one uses it."""

    @property
    def in_flight(self) -> int:
        return len(self._calls)

    def waited_s(self, now_s: float) -> float:
        """How long the oldest call in flight has been waiting for its answer."""
        return now_s - next(iter(self._calls)).started_s if self._calls else 0.0

    def read(self, due_s: float) -> bool:
        """Starts a reading, whose deadline was `due_s`, now or when a call that is in flight ends; False when a
        deadline passes unused for that: this one, or the one that has been waiting."""
        if len(self._calls) >= self.max_in_flight:
            is_first, self._waiting_s = self._waiting_s is None, due_s
            return is_first
        if self._occupancy.calls >= MAX_CALLS_TO_A_RESOURCE:
            return False
        if self._answer_bytes and not self._answer_memory.has_room_for(self._answer_bytes):
            return False
        now_s = self._clock.monotonic()
        self.loop_lateness.add(now_s - due_s)
        self._start(due_s, now_s)
        return True

    def _start(self, due_s: float, now_s: float) -> None:
        self.lateness.add(now_s - due_s)
        turn = self._turns.take(now_s)
        self._occupancy.calls += 1
        self._answer_memory.take(self._answer_bytes)
        self._calls[turn] = asyncio.get_running_loop().create_task(self._read(turn, self._answer_bytes))

    async def stop(self) -> None:
        """Waits for the readings in flight, for at most half a second; then they are given up."""
        self._waiting_s = None
        if self._calls:
            await asyncio.wait(self._calls.values(), timeout=_STOP_TIMEOUT_S)
        for call in self._calls.values():
            call.cancel()
        self._turns.give_up()

    async def _read(self, turn: Turn, expected_bytes: int) -> None:
        try:
            if isinstance(self.spec.table, TabularMethod):
                await self._read_tabular(self.spec.table, turn)
            else:
                await self._read_binary(self.spec.table, turn)
        except ResourceCallError as error:
            self._failed(error)
        else:
            self.readings += 1
            self.last_reading_s = self._clock.monotonic()
        finally:
            self._answer_memory.give_back(expected_bytes)
            self._ended(turn)

    def _ended(self, turn: Turn) -> None:
        now_s = self._clock.monotonic()
        call_s = now_s - turn.started_s
        self.call_s += call_s
        self.call_times.add(call_s)
        self._occupancy.calls -= 1
        del self._calls[turn]
        self._turns.end(turn, now_s)
        due_s, self._waiting_s = self._waiting_s, None
        if due_s is not None:
            self._start(now_s if self._gapless else due_s, now_s)

    async def _read_tabular(self, table: TabularMethod, turn: Turn) -> None:
        message = await tabular_reading(self.spec.client, self.spec.method, table, self._request, self._clock)
        turn.size_bytes = len(message)
        turn.store = partial(self._sink.append, message)

    async def _read_binary(self, table: BinaryMethod, turn: Turn) -> None:
        client, method = self.spec.client, self.spec.method
        found = await binary_readings(client, method, table, self._request, self._target, self._clock)
        self._answer_bytes = turn.size_bytes = found.size_bytes
        turn.store = partial(found.put, self._sink)
        if table.gapless:
            self._target = replace(self._target, after_ns=found.answer.end_ns)
            self._request = table.request(self._target)

    def _failed(self, error: ResourceCallError) -> None:
        if error.kind is ResourceErrorKind.FILTERED:
            self.filtered += 1
            return
        self.errors += 1
        self.last_error = str(error)
        if self._may_warn() and self._is_news(self.last_error):
            logger.warning(
                "no reading from %s of %s: %s; it is asked again at its next deadline",
                self.spec.method.method,
                self.spec.resource,
                error,
            )

    def _is_news(self, failure: str) -> bool:
        """Whether a failure was not logged lately: one that comes at 100 Hz must not cost a log record each."""
        now_s = self._clock.monotonic()
        while self._warned_s and now_s - next(iter(self._warned_s.values())) >= _WARNINGS_WITHIN_S:
            del self._warned_s[next(iter(self._warned_s))]
        if failure in self._warned_s or len(self._warned_s) == _MOST_WARNINGS:
            return False
        self._warned_s[failure] = now_s
        return True


def _usual_in_flight(spec: CollectorSpec) -> int:
    fast = spec.method.frequency_hz >= TWO_IN_FLIGHT_HZ
    return 2 if fast and isinstance(spec.table, TabularMethod) else 1
