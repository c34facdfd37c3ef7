"""Stand-ins for the seams of the program: the clock, the file system and the way to a resource."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from holdfast.base.at import Identity
from holdfast.base.filesystem import Buffer, Entry, FileSystem
from holdfast.capture.client import StreamedAnswers
from holdfast.capture.large_call import RoomForAnswer
from holdfast.errors import AnswerTooLargeError, ResourceCallError, StorageError

_NS = 1_000_000_000
START_NS = 1_700_000_000 * _NS
"""2023-11-14T22:13:20Z: when a FakeClock begins."""


class FakeClock:
    """Time that passes only in `advance`. `time_ns` and `monotonic` move together; `step_wall` moves one alone.

    `oversleep_s` is how late each sleeper wakes, as with a real event loop. `monotonic` may be read from other
    threads; everything else belongs to the event loop.
    """

    def __init__(self, *, start_s: float = 1000.0, oversleep_s: float = 0.0, turns: int = 5) -> None:
        self.oversleep_s = oversleep_s
        self._now_ns = round(start_s * _NS)
        self._wall_offset_ns = START_NS - self._now_ns
        self._turns = turns
        self._order = itertools.count()
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []

    def time_ns(self) -> int:
        return self._now_ns + self._wall_offset_ns

    def monotonic(self) -> float:
        return self._now_ns / _NS

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        wake_ns = self._now_ns + max(1, math.ceil((seconds + self.oversleep_s) * _NS))
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (wake_ns, next(self._order), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Lets `seconds` pass: every sleeper wakes at its own time, in order, and what it starts runs."""
        end_ns = self._now_ns + round(seconds * _NS)
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= end_ns:
            wake_ns, _, woken = heapq.heappop(self._sleepers)
            if woken.done():
                continue
            self._now_ns = max(self._now_ns, wake_ns)
            woken.set_result(None)
            await self.settle()
        self._now_ns = end_ns
        await self.settle()

    async def jump(self, seconds: float) -> None:
        """Lets `seconds` pass at once, as while the event loop is held up: who should have woken wakes late."""
        await self.settle()
        self._now_ns += round(seconds * _NS)
        await self.advance(0.0)

    def step_wall(self, seconds: float) -> None:
        """Sets the wall clock forward or back; the monotonic one does not notice."""
        self._wall_offset_ns += round(seconds * _NS)

    async def settle(self) -> None:
        """Lets everything that can run without time passing run."""
        for _ in range(self._turns):
            await asyncio.sleep(0)


class LateClock(FakeClock):
    """To all other threads it is an hour later than to the main one: as if they had got no turn for so long."""

    def monotonic(self) -> float:
        late = threading.current_thread() is not threading.main_thread()
        return super().monotonic() + (3600.0 if late else 0.0)


class FaultyFileSystem(FileSystem):
    """A disk that can be told to fail, to write in part or to stall. Thread-safe.

    `calls` lists each operation that was tried and what on.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self._faults: dict[str, tuple[int, Callable[[str], bool]]] = {}
        self._partial_bytes = 0
        self._stall_on: Callable[[str], bool] = lambda path: True
        self._may_write = threading.Event()
        self._may_write.set()
        self.stalled = threading.Event()
        """Set while a write waits for `resume_writes`."""

    @contextmanager
    def failing(
        self, *operations: str, code: int, on: Callable[[str], bool] = lambda path: True, partial_bytes: int = 0
    ) -> Iterator[None]:
        """While it lasts `operations` fail with the errno `code` on the paths that `on` picks.

        Such a write leaves `partial_bytes` of its data behind.
        """
        self._partial_bytes = partial_bytes
        self._faults.update(dict.fromkeys(operations, (code, on)))
        try:
            yield
        finally:
            for operation in operations:
                del self._faults[operation]

    def stall_writes(self, on: Callable[[str], bool] = lambda path: True) -> None:
        """From here on writes to the paths that `on` picks wait for `resume_writes`."""
        self._stall_on = on
        self.stalled.clear()
        self._may_write.clear()

    def resume_writes(self) -> None:
        self._may_write.set()

    def tried(self, operation: str) -> list[str]:
        """The paths on which `operation` was tried, in order."""
        return [path for name, path in list(self.calls) if name == operation]

    def make_folder(self, path: str) -> None:
        self._check("make_folder", path)
        super().make_folder(path)

    def create(self, path: str) -> int:
        self._check("create", path)
        return super().create(path)

    def write(self, descriptor: int, path: str, data: Buffer) -> None:
        if not self._may_write.is_set() and self._stall_on(path):
            self.stalled.set()
            self._may_write.wait()
        try:
            self._check("write", path)
        except StorageError:
            super().write(descriptor, path, data[: self._partial_bytes])
            raise
        super().write(descriptor, path, data)

    def sync(self, folder: str) -> None:
        self._check("sync", folder)

    def truncate(self, path: str, size_bytes: int) -> None:
        self._check("truncate", path)
        super().truncate(path, size_bytes)

    def close(self, descriptor: int, path: str) -> None:
        super().close(descriptor, path)  # the kernel frees the descriptor even when close fails
        self._check("close", path)

    def rename(self, source: str, target: str, identity: Identity | None = None) -> None:
        self._check("rename", source)
        super().rename(source, target, identity)

    def move(self, source: str, target: str, identity: Identity | None = None) -> None:
        self._check("move", source)
        super().move(source, target, identity)

    def remove(self, path: str, identity: Identity | None = None) -> None:
        self._check("remove", path)
        super().remove(path, identity)

    def stat(self, path: str) -> os.stat_result:
        self._check("stat", path)
        return super().stat(path)

    def read_own(self, path: str, most_bytes: int | None = None) -> bytes:
        self._check("read", path)
        return super().read_own(path, most_bytes)

    def replace(self, path: str, data: bytes) -> None:
        self._check("replace", path)
        super().replace(path, data)

    def open_to_append(self, path: str) -> int:
        self._check("open_to_append", path)
        return super().open_to_append(path)

    def open(self, path: str, identity: Identity | None = None) -> int:
        self._check("open", path)
        return super().open(path, identity)

    def open_own(self, path: str) -> int:
        self._check("open_own", path)
        return super().open_own(path)

    def read_at(self, descriptor: int, path: str, offset: int, size_bytes: int) -> bytes:
        self._check("read_at", path)
        return super().read_at(descriptor, path, offset, size_bytes)

    def list_folder(self, path: str, *, with_status: bool = False) -> Iterator[Entry]:
        self._check("list_folder", path)
        yield from super().list_folder(path, with_status=with_status and "stat" not in self._faults)

    def _check(self, operation: str, path: str) -> None:
        self.calls.append((operation, path))
        code, on = self._faults.get(operation, (0, None))
        if on is not None and on(path):
            raise StorageError(operation.replace("_", " "), path, OSError(code, os.strerror(code)))


class FakeClient:
    """A resource behind UnaryClient: answers bytes, raises, or hangs until told otherwise.

    `outcome` is what every call gets, or what every stream consists of; `calls` are the methods, requests and
    timeouts of all calls so far.
    """

    def __init__(self, outcome: bytes | list[bytes] | BaseException = b"") -> None:
        self.outcome = outcome
        self.calls: list[tuple[str, bytes, float]] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.cancelled = 0
        self._go_on = asyncio.Event()
        self._go_on.set()

    async def call(self, method: str, request: bytes, timeout_s: float, most_bytes: int) -> bytes:
        outcome = await self._outcome(method, request, timeout_s)
        assert isinstance(outcome, bytes), "this method does not answer with a stream"
        if len(outcome) > most_bytes:
            raise AnswerTooLargeError(len(outcome))
        return outcome

    async def large_call(self, method: str, request: bytes, timeout_s: float, room: RoomForAnswer) -> bytes:
        outcome = await self._outcome(method, request, timeout_s)
        assert isinstance(outcome, bytes), "this method does not answer with a stream"
        await room.take(len(outcome))
        return outcome

    async def stream(self, method: str, request: bytes, timeout_s: float, room: RoomForAnswer) -> list[bytes]:
        outcome = await self._outcome(method, request, timeout_s)
        assert isinstance(outcome, list), "this method answers with a stream"
        answers = StreamedAnswers(method, room)
        for each in outcome:
            answers.add(each)
        return answers.taken()

    async def _outcome(self, method: str, request: bytes, timeout_s: float) -> bytes | list[bytes]:
        self.calls.append((method, request, timeout_s))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await self._go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.in_flight -= 1
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome

    async def close(self) -> None:
        """Nothing to end."""

    def hang(self) -> None:
        """Calls get no answer from now on, until `answer`."""
        self._go_on.clear()

    def answer(self, outcome: bytes | list[bytes] | ResourceCallError | None = None) -> None:
        """Every call that hangs, and every later one, gets its outcome."""
        if outcome is not None:
            self.outcome = outcome
        self._go_on.set()
