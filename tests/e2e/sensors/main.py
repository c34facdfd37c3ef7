"""Sensors whose every answer a test can predict.

| model | attributes | behaviour |
|---|---|---|
| holdfast:test:counting | `ledger` (a file, optional) | `{"seq": n}`, counting up, noted in the ledger |
| holdfast:test:counting_camera | `ledger` (a file, optional) | `picture(n)` as a point cloud, noted so too |
| holdfast:test:broken | | every reading fails |
| holdfast:test:late | `delay_s` | answers after that time |
| holdfast:test:flaky | `fails_each`, `stalls_each`, `stall_s` | that often, a call fails, or takes that time |
| holdfast:test:switch | `path` (a file) | `should_sync` as the file says, see `Switch` |
| holdfast:test:reading | `path` (a file) | the JSON object in the file; it fails where there is none |
| holdfast:test:late_start | `path` (a file) | can't be built until the file exists |

The ledger is the source's own account, which tests hold against what was captured and delivered.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from viam.components.camera import Camera
from viam.components.sensor import Sensor
from viam.media.video import NamedImage
from viam.module.module import Module
from viam.proto.app.robot import ComponentConfig
from viam.proto.common import ResourceName, ResponseMetadata
from viam.resource.base import ResourceBase
from viam.resource.registry import Registry, ResourceCreatorRegistration
from viam.resource.types import Model
from viam.utils import SensorReading, struct_to_dict


class _TestSensor(Sensor):
    """What the sensors share: they take their attributes when they are built."""

    MODEL: ClassVar[Model]

    @classmethod
    def new(cls, config: ComponentConfig, dependencies: Mapping[ResourceName, ResourceBase]) -> _TestSensor:
        sensor = cls(config.name)
        sensor.take(struct_to_dict(config.attributes))
        return sensor

    def take(self, attributes: Mapping[str, Any]) -> None:
        """Raises what makes the resource unbuildable."""


class _Count:
    """Counts calls from 0, going on where the ledger ends: a number is unique across restarts.

    Each call writes one line, `seq,unix_time_ns`, by one write to a file opened for appending: neither
    SIGKILL nor a second writer tears a line. The line is written before the answer is sent, so the ledger
    holds every reading that anybody ever received, and at most one more per caller that was cut off.
    """

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        self._ledger_fd: int | None = None
        self._next_seq = 0
        if path := attributes.get("ledger"):
            self._ledger_fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._next_seq = Path(path).read_bytes().count(b"\n")

    def next(self) -> int:
        seq = self._next_seq
        self._next_seq += 1
        if self._ledger_fd is not None:
            os.write(self._ledger_fd, f"{seq},{time.time_ns()}\n".encode())
        return seq

    def close(self) -> None:
        if self._ledger_fd is not None:
            os.close(self._ledger_fd)
            self._ledger_fd = None


class Counting(_TestSensor):
    """Gives its numbers as they are, see `_Count`."""

    MODEL = Model.from_string("holdfast:test:counting")
    _count: _Count

    def take(self, attributes: Mapping[str, Any]) -> None:
        self._count = _Count(attributes)

    async def get_readings(
        self, *, extra: Mapping[str, Any] | None = None, timeout: float | None = None, **kwargs: Any
    ) -> Mapping[str, SensorReading]:
        return {"seq": self._count.next()}

    async def close(self) -> None:
        self._count.close()


def picture(seq: int) -> bytes:
    """Begins with the number; from a few KiB to more than a megabyte. No byte of it has the highest bit, so that
    nothing in it looks like a check of a capture file."""
    rng = random.Random(seq)
    size_bytes = rng.randint(1_010_000, 1_200_000) if seq % 6 == 5 else rng.randint(10, 40_000)
    return seq.to_bytes(8, "big") + rng.randbytes(size_bytes).translate(_SEVEN_BITS)


_SEVEN_BITS = bytes(byte & 0x7F for byte in range(256))


class CountingCamera(Camera):
    """Gives a picture for each number, see `_Count`."""

    MODEL = Model.from_string("holdfast:test:counting_camera")
    _count: _Count

    @classmethod
    def new(cls, config: ComponentConfig, dependencies: Mapping[ResourceName, ResourceBase]) -> CountingCamera:
        camera = cls(config.name)
        camera._count = _Count(struct_to_dict(config.attributes))
        return camera

    async def get_point_cloud(
        self, *, extra: Mapping[str, Any] | None = None, timeout: float | None = None, **kwargs: Any
    ) -> tuple[bytes, str]:
        return picture(self._count.next()), "pointcloud/pcd"

    async def get_images(
        self,
        *,
        filter_source_names: Sequence[str] | None = None,
        extra: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> tuple[Sequence[NamedImage], ResponseMetadata]:
        raise NotImplementedError

    async def get_properties(self, *, timeout: float | None = None, **kwargs: Any) -> Camera.Properties:
        return Camera.Properties(supports_pcd=True)

    async def close(self) -> None:
        self._count.close()


class Broken(_TestSensor):
    """Fails at every reading."""

    MODEL = Model.from_string("holdfast:test:broken")

    async def get_readings(
        self, *, extra: Mapping[str, Any] | None = None, timeout: float | None = None, **kwargs: Any
    ) -> Mapping[str, SensorReading]:
        raise RuntimeError("this sensor is broken")


class Late(_TestSensor):
    """Answers after `delay_s`; calls do not hold each other up."""

    MODEL = Model.from_string("holdfast:test:late")
    _delay_s: float = 0.0

    def take(self, attributes: Mapping[str, Any]) -> None:
        self._delay_s = float(attributes.get("delay_s", 0.0))

    async def get_readings(
        self, *, extra: Mapping[str, Any] | None = None, timeout: float | None = None, **kwargs: Any
    ) -> Mapping[str, SensorReading]:
        await asyncio.sleep(self._delay_s)
        return {"delay_s": self._delay_s}


class Flaky(_TestSensor):
    """Fails and stalls at calls that can be told by their number, which it answers otherwise."""

    MODEL = Model.from_string("holdfast:test:flaky")
    _number = 0
    _fails_each, _stalls_each, _stall_s = 0, 0, 0.0

    def take(self, attributes: Mapping[str, Any]) -> None:
        self._fails_each = int(attributes["fails_each"])
        self._stalls_each = int(attributes["stalls_each"])
        self._stall_s = float(attributes["stall_s"])

    async def get_readings(
        self, *, extra: Mapping[str, Any] | None = None, timeout: float | None = None, **kwargs: Any
    ) -> Mapping[str, SensorReading]:
        self._number += 1
        if self._number % self._stalls_each == 0:
            await asyncio.sleep(self._stall_s)
        if self._number % self._fails_each == 0:
            raise RuntimeError("the bus is gone")
        return {"number": self._number}


class Switch(_TestSensor):
    """A selector for sync, worked by the word in a file.

    `true`, `false`: that as a bool. `missing`: another reading only. `text`: a string in place of the bool.
    `error`, or no file: the reading fails.
    """

    MODEL = Model.from_string("holdfast:test:switch")
    _path: Path

    def take(self, attributes: Mapping[str, Any]) -> None:
        self._path = Path(attributes["path"])

    async def get_readings(
        self, *, extra: Mapping[str, Any] | None = None, timeout: float | None = None, **kwargs: Any
    ) -> Mapping[str, SensorReading]:
        word = self._path.read_text().strip()
        readings: dict[str, dict[str, SensorReading]] = {
            "true": {"should_sync": True},
            "false": {"should_sync": False},
            "missing": {"something_else": 1},
            "text": {"should_sync": "yes"},
        }
        if word not in readings:
            raise RuntimeError(f"the switch says {word!r}")
        return readings[word]


class Reading(_TestSensor):
    """Says what a file holds, a JSON object; fails where there is none."""

    MODEL = Model.from_string("holdfast:test:reading")
    _path: Path

    def take(self, attributes: Mapping[str, Any]) -> None:
        self._path = Path(attributes["path"])

    async def get_readings(
        self, *, extra: Mapping[str, Any] | None = None, timeout: float | None = None, **kwargs: Any
    ) -> Mapping[str, SensorReading]:
        return dict(json.loads(self._path.read_text()))


class LateStart(_TestSensor):
    """Can't be built until a file exists: a resource that appears later."""

    MODEL = Model.from_string("holdfast:test:late_start")

    def take(self, attributes: Mapping[str, Any]) -> None:
        if not Path(attributes["path"]).exists():
            raise RuntimeError(f"{attributes['path']} does not exist yet")

    async def get_readings(
        self, *, extra: Mapping[str, Any] | None = None, timeout: float | None = None, **kwargs: Any
    ) -> Mapping[str, SensorReading]:
        return {"started": True}


async def main() -> None:
    module = Module.from_args()
    for kind in (Counting, CountingCamera, Broken, Late, Flaky, Switch, Reading, LateStart):
        Registry.register_resource_creator(kind.API, kind.MODEL, ResourceCreatorRegistration(kind.new))
        module.add_model_from_registry(kind.API, kind.MODEL)
    await module.start()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    asyncio.run(main())
