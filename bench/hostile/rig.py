"""`Rig` runs the module beside everything hostile, and returns what was found."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from google.protobuf.message import DecodeError
from grpclib import GRPCError
from viam.proto.common import GetStatusRequest
from viam.proto.service.datamanager import DataManagerServiceStub
from viam.utils import struct_to_dict

from demo.machine import LocalMachine
from holdfast.capture.methods import lookup

from . import components
from .callers import Callers
from .cloud import HOSTILE
from .give_way import give_way
from .journal import Input, Journal, read
from .source import GOOD, SERVED, STEERING
from .watch import Hold

ROOT = Path(__file__).parent.parent.parent
SENSORS, HZ = 20, 100.0
SIDES = ("component", "caller", "cloud")
_SENSOR = components.SENSOR
_NAME = "data"
_SETTLE_S = 3.0
_SAMPLE_S = 1.0
_STATUS_TIMEOUT_S = 20.0
_LIMIT_BYTES = 512 << 20
_METHODS: Sequence[tuple[str, str, Mapping[str, Any]]] = (
    (components.CAMERA, "GetImages", {}),
    (components.CAMERA, "ReadImage", {}),
    (components.CAMERA, "NextPointCloud", {}),
    (components.VISION, "CaptureAllFromCamera", {"camera_name": "c"}),
    (components.SENSOR, "Readings", {}),
    (components.ARM, "JointPositions", {}),
    (components.GANTRY, "Position", {}),
    (components.GANTRY, "Lengths", {}),
    (components.MOVEMENT_SENSOR, "Position", {}),
    (components.ENCODER, "TicksCount", {}),
    (components.SLAM, "PointCloudMap", {}),
    (components.AUDIO_IN, "GetAudio", {}),
    (components.GENERIC, "DoCommand", {"docommand_input": {}}),
)
"""What is captured of hostile components: API, method, parameters."""
_EACH = 2
"""The hostile resources for each of these, with a collector each."""
_HOSTILE_HZ = 1.0


@dataclass
class Found:
    """What one run found. `begin_ns` and `end_ns` are of the monotonic clock."""

    begin_ns: int
    end_ns: int
    holds: list[Hold]
    inputs: list[Input]
    captured: int
    """Readings of the good sensors in the module's ledger."""
    served: int
    """Answers that the good sensors gave."""
    samples: list[tuple[float, int, int, int]] = field(default_factory=list)
    """Each second: the time since the begin, the bytes of memory, open files and threads of the module."""
    restarts: int = 0
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def due(self) -> int:
        return int((self.end_ns - self.begin_ns) / 1e9 * SENSORS * HZ)


class Source:
    """The process of `bench.hostile.source`, as the machine's socket."""

    def __init__(self, folder: Path, seed: str) -> None:
        self._folder, self._seed = folder, seed
        self._process: asyncio.subprocess.Process | None = None
        good = [f"{_SENSOR}/{GOOD}{number}" for number in range(SENSORS)]
        self.full_names: Sequence[str] = [
            *good,
            f"{_SENSOR}/a",
            f"{_SENSOR}/{STEERING}",
            *(name for name, _, _ in _hostile()),
        ]

    async def start(self, socket_path: Path) -> None:
        program = ("bench.hostile.source", str(socket_path), str(self._folder), self._seed, *self.full_names)
        self._process, _ = await _started(*program)

    async def stop(self) -> None:
        if self._process is not None:
            await _ended(self._process)

    def served(self) -> int:
        """Returns how many answers the good sensors gave, as of half a second ago."""
        served = json.loads((self._folder / SERVED).read_text())
        return sum(count for name, count in served.items() if name.startswith(GOOD))


def _hostile() -> list[tuple[str, str, Mapping[str, Any]]]:
    """Returns the full name, the method and its parameters for each hostile collector."""
    return [
        (f"{api}/hostile-{method.lower()}-{number}", method, params)
        for api, method, params in _METHODS
        for number in range(_EACH)
    ]


def hostile_rpcs() -> list[str]:
    """Returns the methods of hostile components that are called, as gRPC names them."""
    tables = (lookup(api, method) for api, method, _ in _METHODS)
    return sorted({table.rpc for table in tables if table is not None})


class Rig:
    """The module and all that is around it, in `folder`. `hostile` are those of `SIDES` that are."""

    def __init__(self, folder: Path, seed: str, *, hostile: Collection[str] = SIDES) -> None:
        self._folder, self._seed, self._hostile = folder, seed, hostile
        self._source = Source(folder, seed)
        self._journals = {side: folder / f"{side}.jsonl" for side in SIDES}

    async def run(self, seconds: float) -> Found:
        """Runs everything for so long, and returns what was found."""
        kind = HOSTILE if "cloud" in self._hostile else "good"
        cloud, address = await _started("bench.hostile.cloud", str(self._folder), self._seed, kind)
        try:
            async with self._machine(address) as module:
                give_way()  # the callers are in this process
                await asyncio.sleep(_SETTLE_S)
                return await self._watched(module, seconds)
        finally:
            await _ended(cloud)

    @asynccontextmanager
    async def _machine(self, cloud: str) -> AsyncIterator[LocalMachine]:
        module = LocalMachine(
            ROOT / "bench/hostile/watched_module.sh",
            "holdfast:data-manager:durable",
            self._attributes(cloud),
            log_path=self._folder / "module.log",
            home=self._folder / "home",
            name=_NAME,
            part_id="part",
            env={"HOLDS": str(self._folder / "holds.jsonl")},
            socket=self._source,
        )
        await module.start()
        try:
            yield module
        finally:
            await module.stop()

    def _attributes(self, cloud: str) -> dict[str, Any]:
        good = [
            {"name": f"{_SENSOR}/{GOOD}{number}", "method": "Readings", "capture_frequency_hz": HZ}
            for number in range(SENSORS)
        ]
        bad = [
            {"name": name, "method": method, "capture_frequency_hz": _HOSTILE_HZ, "additional_params": params}
            for name, method, params in _hostile()
            if "component" in self._hostile
        ]
        return {
            "capture_dir": str(self._folder / "captured"),
            "capture_dir_limit_bytes": _LIMIT_BYTES,
            "cloud_address": cloud,
            "allow_plaintext": True,
            "sync_interval_mins": 0.05,
            "capture_methods": [*good, *bad],
            "capture_control_sensor": {"name": STEERING, "key": "overrides"} if bad else {},
        }

    async def _watched(self, module: LocalMachine, seconds: float) -> Found:
        callers = Callers(f"unix:{module.address}", _NAME, self._seed, Journal(self._journals["caller"], "caller"))
        captured, served = await self._captured(module), self._source.served()
        begin_ns = time.monotonic_ns()
        calling = asyncio.ensure_future(callers.run() if "caller" in self._hostile else asyncio.sleep(0))
        samples = []
        try:
            while (at_s := (time.monotonic_ns() - begin_ns) / 1e9) < seconds:
                samples.append(_sample(module, at_s))
                await asyncio.sleep(_SAMPLE_S)
        finally:
            calling.cancel()
            await asyncio.gather(calling, return_exceptions=True)
        end_ns = time.monotonic_ns()
        status = await self._status(module)
        path = self._folder / "holds.jsonl"
        holds = [Hold.read(line) for line in path.read_text().split("\n")[:-1]]
        return Found(
            begin_ns,
            end_ns,
            [hold for hold in holds if begin_ns <= hold.begin_ns < end_ns],
            [each for journal in self._journals.values() for each in read(journal)],
            sum(each["captured"] for each in _good(status)) - captured,
            self._source.served() - served,
            samples,
            module.restarts_count,
            _notes(status, callers),
        )

    async def _captured(self, module: LocalMachine) -> int:
        return sum(each["captured"] for each in _good(await self._status(module)))

    async def _status(self, module: LocalMachine) -> Mapping[str, Any]:
        """Returns the status, or nothing when the module can't give it."""
        stub = DataManagerServiceStub(module.channel)
        try:
            answer = await stub.GetStatus(GetStatusRequest(name=_NAME), timeout=_STATUS_TIMEOUT_S)
            return struct_to_dict(answer.result)
        except (GRPCError, DecodeError, OSError, asyncio.TimeoutError) as error:
            print(f"no status: {error}", file=sys.stderr)
            return {}


def _good(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    rows = status.get("ledger", {}).get("collectors", [])
    return [each for each in rows if each["resource"].startswith(GOOD)]


def _notes(status: Mapping[str, Any], callers: Callers) -> Mapping[str, Any]:
    """Returns what else is worth knowing about a run."""
    wanted = ("problems", "unexpected_errors", "readings", "sync")
    answers = {f"{method} {code}": count for (method, code), count in sorted(callers.answers.items())}
    return {**{name: status.get(name) for name in wanted}, "answers to callers": answers}


def _sample(module: LocalMachine, at_s: float) -> tuple[float, int, int, int]:
    try:
        process = psutil.Process(module.pid)
        return at_s, process.memory_info().rss, process.num_fds(), process.num_threads()
    except psutil.Error:
        return at_s, 0, 0, 0


async def _started(*program: str) -> tuple[asyncio.subprocess.Process, str]:
    """Starts a program of this package. Returns it and the first line that it printed, when it has printed it."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *program, stdout=subprocess.PIPE, cwd=ROOT, env=environment
    )
    assert process.stdout is not None
    return process, (await process.stdout.readline()).decode().strip()


async def _ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    await process.wait()
