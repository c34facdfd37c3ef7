"""A machine without viam-server whose module captures one sensor at 100 Hz, and what it wrote of that.

The sensor is in the test's process, which is never interrupted. It numbers its readings.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from viam.proto.common import GetStatusRequest
from viam.proto.service.datamanager import DataManagerServiceStub
from viam.utils import struct_to_dict

from demo.machine import LocalMachine
from module.signals import name_of
from tests.e2e.machines import Source, readings_in, readings_of, until
from tests.e2e.sensors.main import Counting

ROOT = Path(__file__).parent.parent.parent
RUN = ROOT / "module" / "run.sh"
HZ = 100
SENSOR = "counting"


class Rig:
    """A machine whose module captures, and the judge of what it wrote."""

    def __init__(
        self, folder: Path, executable: Path = RUN, env: Mapping[str, str] | None = None, **attributes: Any
    ) -> None:
        self.folder = folder / "captured"
        self.log_path = folder / "module.log"
        self.source = Source(SENSOR, folder)
        sensor = Counting(SENSOR)
        sensor.take({"ledger": str(self.source.path)})
        attributes |= {
            "capture_dir": str(self.folder),
            "sync_disabled": True,
            "capture_methods": [readings_of(SENSOR, HZ)],
        }
        model = "holdfast:data-manager:durable"
        self.machine = LocalMachine(
            executable, model, attributes, [sensor], log_path=self.log_path, home=folder / "home", env=env
        )

    async def until_captured(self, count: int) -> None:
        """Returns when the sensor has served so many more readings."""
        served = len(self.source.seqs)
        await until(lambda: len(self.source.seqs) >= served + count, f"{count} more readings")

    async def send(self, *numbers: int) -> None:
        """Sends these signals at once, and returns when the next process captures."""
        pid = self.machine.pid
        os.kill(pid, numbers[0])
        for number in numbers[1:]:
            with suppress(ProcessLookupError):  # it has ended already
                os.kill(pid, number)
        await until(lambda: self.machine.pid != pid, f"{name_of(numbers[0])} ends the module")
        await self.machine.wait_until_added()

    @property
    def on_disk(self) -> list[int]:
        """The numbers of the readings in complete files, sorted."""
        return sorted(reading.seq for path in self.folder.rglob("*.capture") for reading in readings_in(path))

    async def status(self) -> dict[str, Any]:
        stub = DataManagerServiceStub(self.machine.channel)
        request = GetStatusRequest(name=self.machine.name)
        return struct_to_dict((await stub.GetStatus(request, timeout=30)).result)


@asynccontextmanager
async def a_rig(folder: Path, executable: Path = RUN, **more: Any) -> AsyncIterator[Rig]:
    """Takes what `Rig` takes; the machine runs while the block lasts."""
    rig = Rig(folder, executable, **more)
    await rig.machine.start()
    try:
        yield rig
    finally:
        await rig.machine.stop()
