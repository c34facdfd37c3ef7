"""A data manager with a sensor that steers it, resources that no config names, and a local cloud."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from google.protobuf.struct_pb2 import Struct
from viam.proto.common import GetReadingsRequest, GetReadingsResponse, ResourceName
from viam.proto.robot import ResourceNamesResponse

from demo.cloud import LocalCloud
from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.capture.large_call import RoomForAnswer
from holdfast.commands import run_command
from holdfast.config import Host, parse
from holdfast.errors import ResourceCallError, ResourceErrorKind
from holdfast.manager import Manager, Resources

from .waiting import eventually

SENSOR = frozenset({"rdk:component:sensor"})
BOARD = frozenset({"rdk:component:board"})
GATE = {"capture_control_sensor": {"name": "gate", "key": "controls"}}


def override(name: str, hz: float | None = None, **more: Any) -> dict[str, Any]:
    found = {"resource_name": name, "method": "Readings", **more}
    return found if hz is None else {**found, "capture_frequency_hz": hz}


class Resourceful:
    """A machine with counting sensors, a sensor `gate` that reads `controls`, and the resources `listed`."""

    def __init__(self) -> None:
        self.served: dict[str, int] = {}
        self.listed: dict[str, frozenset[str]] = {}
        self.controls: Mapping[str, Any] | None = {"controls": []}
        """What `gate` reads; None makes it fail."""
        self.broken: set[str] = set()

    async def call(self, method: str, request: bytes, timeout_s: float, most_bytes: int) -> bytes:
        if method.endswith("/ResourceNames"):
            names = [_name(name, api) for name, apis in self.listed.items() for api in apis]
            return ResourceNamesResponse(resources=names).SerializeToString()
        name = GetReadingsRequest.FromString(request).name
        if name in self.broken or (name == "gate" and self.controls is None):
            raise ResourceCallError(ResourceErrorKind.FAILED, f"{name} is out of order")
        self.served[name] = self.served.get(name, 0) + 1
        response = GetReadingsResponse()
        if name == "gate":
            values = Struct()
            values.update(dict(self.controls or {}))
            for key, value in values.fields.items():
                response.readings[key].CopyFrom(value)
        else:
            response.readings["seq"].number_value = self.served[name]
        return response.SerializeToString()

    async def large_call(self, method: str, request: bytes, timeout_s: float, room: RoomForAnswer) -> bytes:
        raise AssertionError("no method here answers with a payload")

    async def stream(self, method: str, request: bytes, timeout_s: float, room: RoomForAnswer) -> list[bytes]:
        raise AssertionError("no method here answers with a stream")

    async def close(self) -> None:
        pass


def _name(name: str, api: str) -> ResourceName:
    namespace, kind, subtype = api.split(":")
    return ResourceName(namespace=namespace, type=kind, subtype=subtype, name=name)


class Steered:
    """Makes and drives the manager. Use `steered`, which ends it."""

    def __init__(self, folder: Path, cloud: LocalCloud) -> None:
        self.folder = folder
        self.cloud = cloud
        self.client = Resourceful()
        self.environment = {
            "HOME": str(folder),
            "VIAM_API_KEY_ID": "id",
            "VIAM_API_KEY": "key",
            "VIAM_MACHINE_PART_ID": "part",
        }
        self.manager = self.new_process()

    def new_process(self) -> Manager:
        self.manager = Manager(self.environment, FileSystem(), SystemClock())
        return self.manager

    def apply(self, *names: str, **attributes: Any) -> None:
        """Configures sensors of these `names`. `a` is captured at 100 Hz unless `attributes` differ."""
        config = parse(
            {
                "capture_dir": str(self.folder / "capture"),
                "cloud_address": self.cloud.address,
                "sync_disabled": True,
                "sync_interval_mins": 0.0002,
                "capture_methods": [{"name": "a", "method": "Readings", "capture_frequency_hz": 100}],
                "tags": ["all"],
                **attributes,
            },
            Host.of(self.environment),
        )
        self.manager.apply(config, Resources(dict.fromkeys(names or ("a", "gate"), SENSOR), self.client))

    async def command(self, name: str, **arguments: Any) -> dict[str, Any]:
        return await run_command(self.manager, {"command": name, **arguments})

    @property
    def running(self) -> dict[str, tuple[float, tuple[str, ...]]]:
        """The frequency and tags of each collector that runs."""
        engine = self.manager.engine
        specs = [] if engine is None else [running.collector.spec for running in engine.capture.running]
        return {spec.resource: (spec.method.frequency_hz, spec.tags) for spec in specs}

    async def until_running(self, **expected: float) -> None:
        """Returns when exactly these run, at these frequencies."""
        await eventually(lambda: {name: hz for name, (hz, _) in self.running.items()} == expected)

    async def served(self, count: int, name: str = "a") -> None:
        target = self.client.served.get(name, 0) + count
        await eventually(lambda: self.client.served.get(name, 0) >= target)

    async def cut_off(self) -> None:
        """Stops the cloud, and returns when the link is seen to be down."""
        await self.manager.sync()
        await self.cloud.stop()
        await eventually(lambda: self.manager.engine is not None and not self.manager.engine.uplink.link.usable)

    async def polled(self) -> None:
        """Returns when the control sensor has been asked, and what it said has taken effect."""
        await self.served(2, "gate")
        await asyncio.sleep(0)


async def left_alone(*paths: Path) -> None:
    """Returns when these files are older than a `file_last_modified_millis` of 1."""
    changed_ns = max(path.stat().st_ctime_ns for path in paths)
    await eventually(lambda: time.time_ns() - changed_ns > 2_000_000)


@asynccontextmanager
async def steered(folder: Path) -> AsyncIterator[Steered]:
    cloud = LocalCloud(folder / "cloud", api_keys={"id": "key"}, part_id="part")
    await cloud.start()
    made = Steered(folder, cloud)
    try:
        yield made
    finally:
        await made.manager.stop()
        await cloud.stop()
