"""`LocalRig` and `ServerRig` are the two machines of the kill loop, with the interface `Rig`.

`LocalRig` hosts the sensor in this process, which is never killed. `ServerRig` is a real viam-server, whose sensor
is in a module of its own. In both, the sensor's ledger is the evidence of what was served.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from grpclib import GRPCError
from grpclib.exceptions import StreamTerminatedError
from viam.proto.app.datasync import SensorData, SensorMetadata, UploadMetadata
from viam.proto.common import DoCommandRequest, GetStatusRequest
from viam.proto.service.datamanager import DataManagerServiceStub
from viam.utils import SensorReading, dict_to_struct, struct_to_dict

from demo.cloud import LocalCloud
from demo.machine import LocalMachine, ModuleFailedError
from tests.e2e.machines import (
    CREDENTIALS,
    KEY,
    KEY_ID,
    PART_ID,
    Machine,
    Served,
    Source,
    Status,
    collector,
    readings_in,
    readings_of,
    until,
)
from tests.e2e.sensors.main import Counting, picture
from tests.e2e.viam_server import ViamServer

from .account import fingerprint

OnReading = Callable[[UploadMetadata, SensorData], None]
OnPayload = Callable[[UploadMetadata, SensorMetadata, Path], None]

SENSOR = "counting"
HZ = 100
FLUSH_INTERVAL_MS = 1000
SERVER_FILE_BYTES = 1024
DRAIN_TIMEOUT_S = 30.0

_RUN = Path(__file__).parent.parent.parent / "module" / "run.sh"
_BUILD = Path(__file__).parent.parent / "viam_server" / "build.sh"
_POLL_S = 0.01
_CALL_TIMEOUT_S = 10.0
_NOT_UP = (ModuleFailedError, GRPCError, StreamTerminatedError, OSError, asyncio.TimeoutError, KeyError)


class Rig(Protocol):
    """A machine whose module captures `SENSOR` into `capture_dir` and syncs to `cloud`."""

    cloud: LocalCloud
    capture_dir: Path
    kinds: Sequence[str]
    """What `kill` can kill."""

    @property
    def served(self) -> list[Served]: ...

    async def start(self) -> None: ...

    async def next_process(self, previous: int, timeout_s: float) -> int:
        """Returns the id of the module's process that came after `previous`; it may not serve yet."""

    async def until_captures(self, pid: int, timeout_s: float) -> None:
        """Returns when `pid`, or a process after it, has received a reading. Raises asyncio.TimeoutError."""

    async def kill(self, kind: str, pid: int) -> None:
        """Sends SIGKILL; what died is started again, by the machine or here."""

    async def drain(self) -> Status:
        """Ends capture, and returns the status when all is delivered. Raises AssertionError when it never is."""

    async def stop(self) -> None: ...


def numbered(seq: int) -> dict[str, Any]:
    """Returns all values of the local sensor's reading, by its number."""
    return {"seq": seq, "square": seq * seq, "half": seq / 2 + 0.25, "text": f"reading {seq} " * 4}


def bare(seq: int) -> dict[str, Any]:
    """Returns the same for the sensor under viam-server."""
    return {"seq": seq}


def pictured(seq: int) -> dict[str, Any]:
    """Returns the same for the camera under viam-server: the fingerprint of its picture."""
    return fingerprint(picture(seq))


class _Numbered(Counting):
    """`Counting`, with values that follow from the number, so that a mix-up shows."""

    async def get_readings(
        self, *, extra: Mapping[str, Any] | None = None, timeout: float | None = None, **kwargs: Any
    ) -> Mapping[str, SensorReading]:
        seq = (await super().get_readings(extra=extra, timeout=timeout, **kwargs))["seq"]
        assert isinstance(seq, int)
        return numbered(seq)


def attributes(capture_dir: Path, cloud: LocalCloud, max_file_bytes: int) -> dict[str, Any]:
    return {
        "capture_dir": str(capture_dir),
        "cloud_address": cloud.address,
        "sync_interval_mins": 0.005,
        "maximum_capture_file_size_bytes": max_file_bytes,
        "capture_flush_interval_ms": FLUSH_INTERVAL_MS,
        "capture_methods": [readings_of(SENSOR, HZ)],
    }


class LocalRig:
    """A machine that is the demo's `LocalMachine`."""

    kinds: Sequence[str] = ("module",)

    def __init__(self, folder: Path, on_reading: OnReading) -> None:
        self.capture_dir = folder / "captured"
        self.cloud = LocalCloud(folder / "cloud", on_reading=on_reading)
        self._source = Source(SENSOR, folder)
        self._folder = folder
        self._machine: LocalMachine

    @property
    def served(self) -> list[Served]:
        return self._source.served

    async def start(self) -> None:
        await self.cloud.start()
        sensor = _Numbered(SENSOR)
        sensor.take({"ledger": str(self._source.path)})
        self._attributes = attributes(self.capture_dir, self.cloud, max_file_bytes=4096)
        self._machine = LocalMachine(
            _RUN,
            "holdfast:data-manager:durable",
            self._attributes,
            [sensor],
            log_path=self._folder / "module.log",
            home=self._folder / "home",
        )
        await self._machine.start()

    async def next_process(self, previous: int, timeout_s: float) -> int:
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            with contextlib.suppress(ModuleFailedError):
                if self._machine.pid != previous:
                    return self._machine.pid
            await asyncio.sleep(_POLL_S)
        raise asyncio.TimeoutError

    async def until_captures(self, pid: int, timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        await self._machine.wait_until_added(timeout_s)
        before = self._given
        while self._given <= before + 1:  # one call may still be of the process before
            if time.monotonic() > deadline_s:
                raise asyncio.TimeoutError
            await asyncio.sleep(_POLL_S)

    @property
    def _given(self) -> int:
        return self._source.path.stat().st_size if self._source.path.exists() else 0

    async def kill(self, kind: str, pid: int) -> None:
        assert kind == "module"
        self._machine.kill_module()

    async def drain(self) -> Status:
        await self._machine.reconfigure({**self._attributes, "capture_disabled": True})

        async def delivered() -> bool:
            try:
                status = await self._status()
                report = await self._command({"command": "sync"})
            except _NOT_UP:
                return False
            disabled = status["capture"]["enabled"] is False and not status["capture"]["buffered_bytes"]
            return disabled and not report["failed_count"] and not left(self.capture_dir)

        await until(delivered, "everything is delivered", DRAIN_TIMEOUT_S)
        return await self._status()

    async def _status(self) -> Status:
        request = GetStatusRequest(name=self._machine.name)
        return struct_to_dict((await self._stub.GetStatus(request, timeout=_CALL_TIMEOUT_S)).result)

    async def _command(self, command: Mapping[str, Any]) -> Mapping[str, Any]:
        request = DoCommandRequest(name=self._machine.name, command=dict_to_struct(command))
        return struct_to_dict((await self._stub.DoCommand(request, timeout=_CALL_TIMEOUT_S)).result)

    @property
    def _stub(self) -> DataManagerServiceStub:
        return DataManagerServiceStub(self._machine.channel)

    async def stop(self) -> None:
        await self._machine.stop()
        await self.cloud.stop()


class ServerRig:
    """A machine with a real viam-server."""

    kinds: Sequence[str] = ("module", "server", "both")

    def __init__(
        self,
        folder: Path,
        binary: Path,
        on_reading: OnReading,
        on_file: Callable[[UploadMetadata, Path], None] | None = None,
        on_payload: OnPayload | None = None,
    ) -> None:
        self.cloud = LocalCloud(
            folder / "cloud",
            part_id=PART_ID,
            api_keys={KEY_ID: KEY},
            on_reading=on_reading,
            on_file=on_file,
            on_payload=on_payload,
        )
        self.folder = folder
        self.server = ViamServer(binary, folder / "server", CREDENTIALS)
        self.machine: Machine
        self.capture_dir = folder / "captured"
        self.source = Source(SENSOR, folder)

    @property
    def served(self) -> list[Served]:
        return self.source.served

    async def start(self) -> None:
        await self.cloud.start()
        self.machine = Machine(self.server, self.cloud, self.folder, connected=False)
        await self.machine.start(
            components=[self.source.component], **attributes(self.capture_dir, self.cloud, SERVER_FILE_BYTES)
        )

    async def next_process(self, previous: int, timeout_s: float) -> int:
        status = await self._until_status(
            lambda status: status["process"]["pid"] != previous, "another process of the module", timeout_s
        )
        return int(status["process"]["pid"])

    async def until_captures(self, pid: int, timeout_s: float) -> None:
        await self._until_status(
            lambda status: collector(status, SENSOR)["readings"] >= 1, "the module captures", timeout_s
        )

    async def _until_status(self, condition: Callable[[Status], object], what: str, timeout_s: float) -> Status:
        try:
            return await self.machine.until_status(condition, what, timeout_s)
        except AssertionError as error:
            raise asyncio.TimeoutError(str(error)) from error

    async def kill(self, kind: str, pid: int) -> None:
        if kind in ("module", "both"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if kind in ("server", "both"):
            self.server.sigkill()
            await self.machine.start_again()

    async def drain(self) -> Status:
        await self.machine.stop_capture_and_sync()
        return await self.machine.status()

    async def stop(self) -> None:
        await self.machine.disconnect()
        await self.server.stop()
        await self.cloud.stop()


def find_viam_server() -> Path:
    """Returns the viam-server of the end-to-end tests, and builds it if it does not exist. Exits if that fails."""
    built = subprocess.run([str(_BUILD)], stdout=subprocess.PIPE, text=True, check=False)
    if built.returncode != 0:
        sys.exit(built.returncode)
    return Path(built.stdout.strip())


def on_disk(capture_dir: Path, but: Collection[Path] = ()) -> dict[tuple[str, int], tuple[str, ...]]:
    """Returns the tags of the readings that wait in capture files, complete or not, by component and number.

    It leaves out the files in `but`, and may leave out files that disappear meanwhile.
    """
    found: dict[tuple[str, int], tuple[str, ...]] = {}
    for path in capture_dir.rglob("*"):
        parts = path.relative_to(capture_dir).parts
        if path.suffix in (".prog", ".capture") and parts[0] not in (".holdfast", "failed") and path not in but:
            with contextlib.suppress(FileNotFoundError):
                found |= {(reading.component, reading.seq): reading.tags for reading in readings_in(path)}
    return found


def left(capture_dir: Path) -> list[str]:
    """Returns the files in a capture folder that are not the data manager's own state (`.holdfast/*.prog`)."""
    paths = [path for path in capture_dir.rglob("*") if not path.is_dir()]
    names = [path.relative_to(capture_dir) for path in paths]
    return sorted(str(name) for name in names if name.parts[0] != ".holdfast" or name.suffix != ".prog")
