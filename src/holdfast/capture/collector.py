"""A collector: one method of one resource, called at its frequency, with its readings handed to storage.

Runs on the event loop. Invariants:

- A call that fails, hangs or is filtered costs that reading only; the next deadline tries again.
- At most `max_in_flight` calls of a collector are in flight, and `MAX_CALLS_TO_A_RESOURCE` of all collectors of one
  resource. Readings are stored in the order of their requests (see `turns`).
- A deadline that comes while the collector has all its calls in flight is used as soon as one of them ends, unless
  the next deadline comes first. So a call that sometimes takes longer than the interval costs no reading, and there
  is never more than one deadline to make up.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.struct_pb2 import Struct
from viam.proto.app.datasync import DataCaptureMetadata, DataType

from ..base import unforeseen
from ..base.clock import Clock
from ..base.noted import Noted
from ..config import CaptureMethod, short_name
from ..errors import ResourceCallError, ResourceErrorKind
from ..storage.ledger.counts import CollectorId
from ..storage.writing.disk_writer import DiskWriter
from ..storage.writing.sink import Sink
from .answer_memory import Room
from .answers import MAX_AT_ONCE_BYTES, Answers, Question
from .causes import Cause, Conditions, cause_of_wait
from .client import UnaryClient
from .gaps import History
from .methods import BinaryMethod, Method, TabularMethod, Target
from .rates import RecentDurations
from .turns import Turn, Turns

logger = logging.getLogger(__name__)

MAX_CALLS_TO_A_RESOURCE = 90
"""Beyond 100 viam-server answers RESOURCE_EXHAUSTED to every client of the resource, so some are left to others."""
TWO_IN_FLIGHT_HZ = 50.0
"""From this frequency on, two calls may be in flight unless the config says otherwise.

Calls that are due together leave together. A module that answers one at a time makes the last of them wait for the
others, sometimes for longer than its interval.
"""
_STOP_TIMEOUT_S = 0.5
_MOST_WARNINGS, _WARNINGS_WITHIN_S = 5, 60.0  # a resource may word each failure differently


Tee = Callable[[CollectorId, Sink], Sink]
"""Returns the sink to write a collector's readings to: the given one, or one that also copies them elsewhere."""


class Occupancy:
    """The number of calls in flight to one resource, of all its collectors together."""

    __slots__ = ("__weakref__", "calls")

    def __init__(self) -> None:
        self.calls = 0

    def take(self) -> None:
        """Counts a call that starts."""
        self.calls += 1

    def give_back(self) -> None:
        """Counts a call that has ended."""
        self.calls -= 1


@dataclass(frozen=True)
class CollectorSpec:
    """Everything that defines a collector. One whose spec is equal to the wanted one keeps running."""

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
    def full_name(self) -> str:
        return f"{self.api}/{self.resource}"

    @property
    def collector_id(self) -> CollectorId:
        """The name under which the ledger counts the collector's readings."""
        return self.api, self.resource, self.method.method

    @property
    def key(self) -> str:
        """Identifies the collector among all that run: API, resource, method and parameters."""
        return f"{self.full_name} {self.method.method} {self.method.params!r}"

    @property
    def target(self) -> Target:
        return Target(self.resource, dict(self.method.params), self.method.frequency_hz)

    def metadata(self) -> DataCaptureMetadata:
        """Returns the header of this collector's files; that of a binary payload gets a MIME type too."""
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
    """Calls one method whenever `read` is called, and writes its readings to `sink`.

    `may_warn` says whether a failure may be logged now. `occupancy` is shared by all collectors of the resource,
    `answers` and `conditions` by all collectors. What is missing goes to `history` too.
    """

    def __init__(
        self,
        spec: CollectorSpec,
        clock: Clock,
        sink: Sink,
        may_warn: Callable[[], bool],
        occupancy: Occupancy,
        answers: Answers,
        conditions: Conditions,
        history: History,
    ) -> None:
        self.spec = spec
        self.history = history
        self.readings = 0
        self.errors = 0
        """The calls that failed."""
        self.unexpected_errors = 0
        """The answers that were lost by an error in Holdfast."""
        self.filtered = 0
        self.unused: Counter[Cause] = Counter()
        """The deadlines that passed without a call, by what they waited for."""
        self.last_error: Noted | None = None
        self.last_reading_s: float | None = None
        """When the last reading came, on the monotonic clock; None before the first."""
        self.lateness = RecentDurations()
        """How long after its deadline each call left."""
        self.call_times = RecentDurations()
        """How long each call took, whether it succeeded or not."""
        self._filtered_s = -math.inf
        """When a filter held back a reading last, on the monotonic clock."""
        self._longest_s = 0.0
        """The duration of the longest call since `take_longest_s`."""
        self._clock = clock
        self._sink = sink
        self._may_warn = may_warn
        self._question = self._asked(spec.target)
        self._warned_s: dict[str, float] = {}
        """When each failure was logged, oldest first, on the monotonic clock."""
        self._occupancy = occupancy
        self._answers = answers
        self._conditions = conditions
        self._answer_bytes = 0
        """The size of the largest answer so far, or more."""
        self._calls: dict[Turn, asyncio.Task[None]] = {}
        self._turns = Turns()
        gapless = isinstance(spec.table, BinaryMethod) and spec.table.gapless
        self.max_in_flight = 1 if gapless else spec.method.max_in_flight or _usual_in_flight(spec)
        self._gapless = gapless
        self._waiting_s: float | None = None
        """The newest deadline that came while all calls were in flight; used when one of them ends, if nothing else
        holds it up then."""
        self._held_up_by = Cause.SLOW_CALL
        """What holds up that deadline, if not the calls in flight."""

    @property
    def in_flight(self) -> int:
        return len(self._calls)

    def take_longest_s(self) -> float:
        """Returns the duration of the longest call that has ended since this was asked last, or the age of the
        oldest one in flight if that is longer; 0 without any."""
        longest_s, self._longest_s = self._longest_s, 0.0
        waited_s = self._clock.monotonic() - next(iter(self._calls)).started_s if self._calls else 0.0
        return max(longest_s, waited_s)

    def read(self, due_s: float, passed: int = 0) -> None:
        """Starts a call for the deadline `due_s`, now or when a call in flight ends.

        `passed` deadlines came before this call and are unused, as is the one that was waiting if there is one.
        """
        if passed:
            self._miss(Cause.LOOP, due_s, passed)
        waiting_s, self._waiting_s = self._waiting_s, None
        if len(self._calls) >= self.max_in_flight:
            self._waiting_s = due_s
            if waiting_s is not None:
                self._miss(self._cause_of_wait(), waiting_s)
        elif (held_up_by := self._hold_up()) is not None:
            if waiting_s is not None:
                self._waiting_s, self._held_up_by = due_s, held_up_by
            self._miss(held_up_by, due_s)
        else:
            if waiting_s is not None:
                self._miss(self._held_up_by, waiting_s)
            self._start(due_s, self._clock.monotonic())

    def fail(self, due_s: float) -> None:
        """Counts the deadline `due_s`, for which `read` raised an error that nobody foresaw."""
        self._miss(Cause.UNKNOWN, due_s)

    def _miss(self, cause: Cause, due_s: float, count: int = 1) -> None:
        """Counts deadlines that passed without a call, the first of them at `due_s`."""
        self.unused[cause] += count
        self.history.missed(cause, count, due_s)

    def _hold_up(self) -> Cause | None:
        """Returns what keeps one more call from leaving: no place for it at the resource, or no memory for its
        answer."""
        if self._occupancy.calls >= MAX_CALLS_TO_A_RESOURCE:
            return Cause.RESOURCE_LIMIT
        return None if self._answers.memory.has_room_for(self._answer_bytes) else Cause.MEMORY

    def _cause_of_wait(self) -> Cause:
        """Returns why a deadline passed while all calls were in flight."""
        oldest, conditions = next(iter(self._calls)), self._conditions
        return cause_of_wait(
            self._clock.monotonic() - oldest.started_s,
            conditions.late_s - oldest.loop_late_s,
            self.spec.method.interval_s,
            self.max_in_flight,
            crowded=conditions.is_crowded,
        )

    def _start(self, due_s: float, now_s: float) -> None:
        self.lateness.add(now_s - due_s)
        turn = self._turns.take(now_s, self._conditions.late_s)
        self._occupancy.take()
        room = Room(self._answers.memory, self.spec.table.most_bytes, self._answer_bytes)
        self._calls[turn] = asyncio.get_running_loop().create_task(self._read(turn, room))

    async def stop(self) -> None:
        """Waits for the calls in flight, for at most half a second, and cancels those that are left."""
        self._waiting_s = None
        if self._calls:
            await asyncio.wait(self._calls.values(), timeout=_STOP_TIMEOUT_S)
        for call in self._calls.values():
            call.cancel()
        self._turns.give_up()

    async def _read(self, turn: Turn, room: Room) -> None:
        try:
            if isinstance(self.spec.table, TabularMethod):
                await self._read_tabular(self.spec.table, turn, room)
            else:
                await self._read_binary(self.spec.table, turn, room)
        except ResourceCallError as error:
            self._failed(error, turn)
        except Exception as error:  # noqa: BLE001 - an unforeseen error costs this reading only
            self.unexpected_errors += 1
            self._lose(Cause.UNKNOWN, turn)
            self.last_error = Noted(unforeseen.in_words(error), self._clock.monotonic())
            unforeseen.note("a collector", error, f"a reading of {self.spec.resource} is missing")
        else:
            self.readings += 1
            self.last_reading_s = self._clock.monotonic()
            if self.history.is_silent:
                self.history.came()
        finally:
            room.end()
            self._answer_bytes = max(self._answer_bytes, room.size_bytes)
            self._ended(turn)

    def _ended(self, turn: Turn) -> None:
        now_s = self._clock.monotonic()
        call_s = now_s - turn.started_s
        if call_s > self._longest_s:
            self._longest_s = call_s
        self.call_times.add(call_s)
        self._occupancy.give_back()
        del self._calls[turn]
        self._turns.end(turn, now_s)
        if (due_s := self._waiting_s) is None:
            return
        held_up_by = self._hold_up()
        if held_up_by is not None:
            self._held_up_by = held_up_by
            return
        self._waiting_s = None
        self._start(now_s if self._gapless else due_s, now_s)

    async def _read_tabular(self, table: TabularMethod, turn: Turn, room: Room) -> None:
        message = await self._answers.tabular_reading(self._question, table, room)
        turn.hold(partial(self._sink.append, message), len(message))

    async def _read_binary(self, table: BinaryMethod, turn: Turn, room: Room) -> None:
        found = await self._answers.binary_readings(self._question, table, room)
        turn.hold(partial(found.put, self._sink), found.size_bytes)
        if table.gapless:
            self._question = self._asked(replace(self._question.target, after_ns=found.answer.end_ns))

    def _asked(self, target: Target) -> Question:
        spec = self.spec
        return Question(spec.client, spec.method, spec.table.request(target), target, self._clock)

    def _lose(self, cause: Cause, turn: Turn) -> None:
        """Notes that a call gave no reading: since its start, or since the last reading if that came later."""
        self.history.missed(cause, 1, max(turn.started_s, self.last_reading_s or -math.inf, self._filtered_s))

    def _failed(self, error: ResourceCallError, turn: Turn) -> None:
        if error.kind is ResourceErrorKind.FILTERED:
            self.filtered += 1
            self._filtered_s = self._clock.monotonic()
            self.history.came()
            if isinstance(self.spec.table, BinaryMethod):  # it may give each answer once: none is asked for twice
                self._answer_bytes = max(self._answer_bytes, MAX_AT_ONCE_BYTES)
            return
        self.errors += 1
        self._lose(Cause.ERROR, turn)
        self.last_error = Noted(str(error), self._clock.monotonic())
        if self._may_warn() and self._is_news(self.last_error):
            logger.warning(
                "no reading from %s of %s: %s; it is asked again at its next deadline",
                self.spec.method.method,
                self.spec.method.name,
                error,
            )

    def _is_news(self, failure: str) -> bool:
        """Returns whether a failure is to be logged: one at 100 Hz must not log a line each time.

        It is not if the same text, or `_MOST_WARNINGS` others, were logged within `_WARNINGS_WITHIN_S`.
        """
        now_s = self._clock.monotonic()
        self._warned_s = {text: at_s for text, at_s in self._warned_s.items() if now_s - at_s < _WARNINGS_WITHIN_S}
        if failure in self._warned_s or len(self._warned_s) == _MOST_WARNINGS:
            return False
        self._warned_s[failure] = now_s
        return True


def _usual_in_flight(spec: CollectorSpec) -> int:
    fast = spec.method.frequency_hz >= TWO_IN_FLIGHT_HZ
    return 2 if fast and isinstance(spec.table, TabularMethod) else 1
