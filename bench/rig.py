"""`Rig` is the machine that is measured: viam-server, its sensors, a data manager, and a cloud on this computer.

It counts what arrived, by the times in the readings, and not by the counters of a data manager. CPU is that of the
processes, as the operating system reports it.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from grpclib import GRPCError
from viam.errors import ResourceNotFoundError
from viam.proto.app.datasync import SensorData

from demo.cloud import LocalCloud
from holdfast.base.filesystem import FileSystem
from holdfast.storage.capture_files.reader import CaptureReader
from module.data_manager import DataManagerClient
from tests.e2e.viam_server import ViamServer

from .ways import Way

ROOT = Path(__file__).parent.parent
_PYTHON_SENSOR = {"name": "sensors", "type": "local", "executable_path": str(ROOT / "tests/e2e/sensors/run.sh")}
_BUILTIN = "rdk:builtin:builtin"
_OURS = "holdfast:data-manager:durable"
_CLOCKS_APART_S = 0.0001  # the wall clock may be adjusted during a measurement
SETTLE_S = 3.0
"""The time from the start of the collectors to the window in which they are measured."""


@dataclass(frozen=True)
class Sensors:
    """`count` resources that are captured at one frequency.

    They are viam-server's fakes; with `python`, they are sensors that a module with the Python SDK serves.
    """

    count: int
    hz: float
    max_in_flight: int = 1
    python: bool = False
    api: str = "rdk:component:sensor"
    method: str = "Readings"

    @property
    def names(self) -> list[str]:
        return [f"{self.api.split(':')[-1]}-{self.count}-{self.hz:g}-{number}" for number in range(self.count)]

    def components(self, *, builtin: bool) -> Iterator[dict[str, Any]]:
        method = {"method": self.method, "capture_frequency_hz": self.hz, "additional_params": {}}
        for name in self.names:
            component: dict[str, Any] = {
                "name": name,
                "api": self.api,
                "model": "holdfast:test:counting" if self.python else "rdk:builtin:fake",
            }
            if builtin:
                component["service_configs"] = [
                    {"type": "data_manager", "attributes": {"capture_methods": [method]}}
                ]
            yield component

    def methods(self) -> Iterator[dict[str, Any]]:
        for name in self.names:
            yield {
                "name": name,
                "method": self.method,
                "capture_frequency_hz": self.hz,
                "max_in_flight": self.max_in_flight,
            }


@dataclass(frozen=True)
class Span:
    """A stretch of time by the wall clock, and the share of a core that each kind of process used in it.

    The wall clock is `ahead_ns` ahead of the monotonic one.
    """

    begin_ns: int
    end_ns: int
    ahead_ns: int
    cpu: Mapping[str, float]


@dataclass(frozen=True)
class Window:
    """What was measured in one stretch of time."""

    captured: float
    """The share of the readings that were due, 0 to 1."""
    readings: int
    late_p99_ms: float
    server_cpu: float
    """The share of one core; so are the two below."""
    module_cpu: float
    sensors_cpu: float
    seconds: float

    @property
    def module_us(self) -> float:
        """The CPU microseconds of our module for each reading."""
        return self.module_cpu * self.seconds * 1e6 / self.readings if self.readings else float("inf")

    @property
    def cpu(self) -> float:
        """The share of one core that all processes used together."""
        return self.server_cpu + self.module_cpu + self.sensors_cpu

    def __str__(self) -> str:
        return (
            f"{self.captured:.2%} captured, p99 {self.late_p99_ms:.1f} ms late; of a core: viam-server "
            f"{self.server_cpu:.0%}, module {self.module_cpu:.0%}, sensors {self.sensors_cpu:.0%}"
        )


class Rig:
    """A machine for one data manager: `start` it, `configure` and `measure` it repeatedly, then `stop` it."""

    def __init__(
        self,
        binary: Path,
        folder: Path,
        *,
        builtin: bool = False,
        seconds: float = 10.0,
        attributes: Mapping[str, Any] | None = None,
        way: Way | None = None,
    ) -> None:
        """`attributes` are the data manager's, beside those that are given here anyway. Without `way` the cloud is
        reached directly by its address."""
        self.capture_dir = folder / "capture"
        self.folder = folder
        self._builtin = builtin
        self._seconds = seconds
        self.cloud = LocalCloud(folder / "cloud", api_keys={"id": "key"})
        self._attributes = attributes or {}
        environment = {"VIAM_API_KEY_ID": "id", "VIAM_API_KEY": "key", "VIAM_MACHINE_PART_ID": "bench"}
        self.server = ViamServer(binary, folder / "server", env={**environment, **(way.environment if way else {})})
        if way is not None:
            self.server.prefix = way.prefix

    async def start(
        self, sensors: Iterable[Sensors], *, captured: Iterable[Sensors] | None = None, sync: bool = True
    ) -> None:
        """Starts everything, and returns when it runs. `captured` are the sensors that are captured; None: all."""
        sensors = list(sensors)
        await self.cloud.start()
        await self.server.start(self._config(sensors, None if captured is None else list(captured), sync=sync))
        await self.server.wait_until_ready("data", *(name for group in sensors for name in group.names))
        await asyncio.sleep(SETTLE_S)

    async def configure(
        self, sensors: Iterable[Sensors], *, captured: Iterable[Sensors], sync: bool = True
    ) -> None:
        """Changes which sensors there are and which are captured, and returns when that is in effect.

        It can't be used with the builtin. Raises TimeoutError when the module does not run the collectors.
        """
        captured = list(captured)
        self.server.write_config(self._config(list(sensors), captured, sync=sync))
        count = sum(group.count for group in captured)
        for _ in range(300):
            try:
                status = await self.status()
                if len(status["capture"]["collectors"]) == count:
                    await asyncio.sleep(SETTLE_S)
                    return
            except (GRPCError, ResourceNotFoundError, asyncio.TimeoutError, ConnectionError) as error:
                print(f"waiting: {error}", file=sys.stderr)
            await asyncio.sleep(0.1)
        raise TimeoutError(f"the module does not run {count} collectors")

    async def stop(self) -> None:
        await self.server.stop()
        await self.cloud.stop()

    async def status(self) -> Mapping[str, Any]:
        async with self.server.robot() as robot:
            return await DataManagerClient.from_robot(robot, "data").get_status(timeout=5)

    async def sync(self) -> None:
        """Syncs, and returns when everything that was captured so far has arrived."""
        async with self.server.robot() as robot:
            await DataManagerClient.from_robot(robot, "data").sync(timeout=120)

    async def watch(self) -> Span:
        """Waits for the length of a window, and returns the span."""
        ahead_ns = time.time_ns() - time.monotonic_ns()
        begin_ns, before = time.time_ns(), self._cpu()
        await asyncio.sleep(self._seconds)
        end_ns, after = time.time_ns(), self._cpu()
        used = {kind: (after[kind] - before.get(kind, 0.0)) / (end_ns - begin_ns) * 1e9 for kind in after}
        return Span(begin_ns, end_ns, ahead_ns, used)

    async def measure(self, sensors: Iterable[Sensors], *, delivered: bool = True) -> Window:
        """Measures one window; see `count`."""
        span = await self.watch()
        if delivered:
            await self.sync()
        else:
            await asyncio.sleep(2.0)  # until the last readings are flushed
        return self.count(span, sensors, in_files=not delivered)

    def count(self, span: Span, sensors: Iterable[Sensors], *, in_files: bool) -> Window:
        """Counts what was captured within `span`: readings in the cloud and, with `in_files`, in capture files."""
        readings, due = 0, 0.0
        late_ms: list[float] = []
        for group in sensors:
            for name in group.names:
                found = {*self._arrived(name), *(self._written(name) if in_files else ())}
                times_ns = sorted(each for each in found if span.begin_ns <= each < span.end_ns)
                readings += len(times_ns)
                late_ms += _lateness_ms([(each - span.ahead_ns) / 1e9 for each in times_ns], group.hz)
            due += group.count * group.hz * (span.end_ns - span.begin_ns) / 1e9
        return Window(
            captured=readings / due,
            readings=readings,
            late_p99_ms=statistics.quantiles(late_ms, n=100)[98] if len(late_ms) > 1 else float("nan"),
            server_cpu=span.cpu["server"],
            module_cpu=span.cpu["module"],
            sensors_cpu=span.cpu["sensors"],
            seconds=(span.end_ns - span.begin_ns) / 1e9,
        )

    def _config(
        self, sensors: list[Sensors], captured: list[Sensors] | None = None, *, sync: bool
    ) -> dict[str, Any]:
        captured = sensors if captured is None else captured
        attributes: dict[str, Any] = {"capture_dir": str(self.capture_dir), "sync_disabled": not sync}
        modules = [_PYTHON_SENSOR] if any(group.python for group in sensors) else []
        if not self._builtin:
            attributes["cloud_address"] = self.cloud.address
            attributes["capture_methods"] = [method for group in captured for method in group.methods()]
            attributes |= self._attributes
            modules.append({"name": "holdfast", "type": "local", "executable_path": str(ROOT / "module/run.sh")})
        return {
            "components": [each for group in sensors for each in group.components(builtin=self._builtin)],
            "modules": modules,
            "services": [
                {
                    "name": "data",
                    "api": "rdk:service:data_manager",
                    "model": _BUILTIN if self._builtin else _OURS,
                    "attributes": attributes,
                }
            ],
        }

    def _cpu(self) -> dict[str, float]:
        """Returns the CPU seconds so far of viam-server, our module and the sensors' module."""

        def seconds(pids: Iterable[int]) -> float:
            return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)

        return {
            "server": seconds([self.server.pid]),
            "module": seconds(self.server.module_pids("holdfast")),
            "sensors": seconds(self.server.module_pids("sensors")),
        }

    def _arrived(self, name: str) -> Iterator[int]:
        path = self.folder / "cloud" / "readings" / name / "Readings.jsonl"
        for line in path.read_text().splitlines() if path.exists() else ():
            text = json.loads(line)["time_requested"]
            whole = datetime.fromisoformat(text[:19] + "+00:00")
            yield int(whole.timestamp()) * 1_000_000_000 + int(text[20:29])

    def _written(self, name: str) -> Iterator[int]:
        for path in self.capture_dir.rglob(f"*/{name}/Readings/*.*"):
            reader = CaptureReader(FileSystem(), str(path))
            for message in reader:
                yield SensorData.FromString(message).metadata.time_requested.ToNanoseconds()
            reader.close()


def _lateness_ms(times_s: list[float], hz: float) -> Iterator[float]:
    """Yields how late each reading was requested, on the monotonic clock.

    It is late relative to the slot of the first deadline that was not yet served. Collectors below 10 Hz have a
    place of their own on the grid: for them it is the slot before the request.
    """
    interval_s = 1 / hz if hz >= 10 else 0.005
    next_s = 0.0
    for time_s in times_s:
        newest_s = (time_s + _CLOCKS_APART_S) // interval_s * interval_s
        first_s = next_s if 0 <= newest_s - next_s < 0.5 and hz >= 10 else newest_s
        yield max(0.0, time_s - first_s) * 1000
        next_s = newest_s + interval_s
