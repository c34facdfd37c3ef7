"""A machine whose sensors do what a test says, captured by a deterministic clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from holdfast.base.filesystem import FileSystem
from holdfast.capture.causes import Cause
from holdfast.capture.engine import Capture, RunningCollector
from holdfast.capture.shortfall import Shortfall, parts_of
from holdfast.errors import ResourceCallError, ResourceErrorKind
from holdfast.storage.ledger.ledger import Ledger
from holdfast.storage.writing.disk_writer import DiskWriter
from tests.fakes import FakeClient, FakeClock, FaultyFileSystem
from tests.storage.samples import response

from .specs import no_tee, spec

BROKEN = ResourceCallError(ResourceErrorKind.FAILED, "the bus is gone")
NO_SPACE = 28
Behaviour = Callable[[int], Awaitable[None]]


class Sensor(FakeClient):
    """A resource that does `behaviour` with the number of each call before it answers."""

    def __init__(self, behaviour: Behaviour) -> None:
        super().__init__(response({"t": 1.0}))
        self._behaviour = behaviour
        self.number = 0

    async def call(self, method: str, request: bytes, timeout_s: float, most_bytes: int) -> bytes:
        self.number += 1
        await self._behaviour(self.number)
        return await super().call(method, request, timeout_s, most_bytes)


class Machine:
    """Capture by a deterministic clock. The computer is as busy as `computer` says."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.files = FakeClock(), FaultyFileSystem()
        self.writer = DiskWriter(self.files, self.clock, Ledger(FileSystem(), str(folder)), str(folder), 3600.0)
        self.computer = 0.2
        self._used_s = 0.0
        self._then_s = self.clock.monotonic()
        self.capture = self.new_capture()

    def new_capture(self) -> Capture:
        """Returns what knows nothing of earlier collectors."""
        return Capture(self.clock, no_tee, self._cpu)

    def _cpu(self) -> tuple[float, float]:
        now_s = self.clock.monotonic()
        self._used_s += (now_s - self._then_s) * self.computer
        self._then_s = now_s
        return 0.1 * now_s, self._used_s

    def captures(self, sensor: FakeClient, *, hz: float, count: int = 1, **how: float) -> RunningCollector:
        """Begins to capture `sensor`, by `count` methods of one resource; returns the first collector."""
        its = [
            spec(sensor, self.writer, "lidar", hz=hz, params={"n": n} if n else None, **how)  # type: ignore[arg-type]
            for n in range(count)
        ]
        self.capture.configure(its)
        return self.capture.running[0]

    async def runs(self, seconds: float) -> None:
        """Lets time pass; the disk is flushed each second."""
        for _ in range(round(seconds)):
            await self.clock.advance(1.0)
            await self.writer.flush()

    def shortfall(self, running: RunningCollector) -> Shortfall:
        return running.shortfall(self.clock.monotonic(), self.capture.load)

    def shares(self, running: RunningCollector) -> dict[Cause, float]:
        """The share of each cause in what was missing in the last minute."""
        assert running.slow
        return {part.cause: part.share for part in parts_of(self.shortfall(running))}
