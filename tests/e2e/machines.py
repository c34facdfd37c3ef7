"""A machine for the end-to-end tests: a real viam-server with our module, a local cloud, and what arrived there.

Readers here (`readings_in`) decode capture files with Viam's own messages and nothing of ours: what the module
wrote is judged by an outsider. Every wait is for a condition and bounded.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, overload

from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.unknown_fields import UnknownFieldSet  # type: ignore[import-not-found]  # protobuf's stubs lack it
from grpclib.exceptions import GRPCError, StreamTerminatedError
from viam.errors import ResourceNotFoundError
from viam.proto.app.datasync import DataCaptureMetadata, SensorData, UploadMetadata

from demo.cloud import UPLOADS, LocalCloud
from module.data_manager import DataManagerClient

from .viam_server import ViamServer, sensors_module

KEY_ID = "key-id-1"
KEY = "the-key-that-nobody-may-see"
PART_ID = "part-1"
CREDENTIALS = {"VIAM_API_KEY_ID": KEY_ID, "VIAM_API_KEY": KEY, "VIAM_MACHINE_PART_ID": PART_ID}
SERVICE = "data"
MODULE = "holdfast"
WAIT_S = 30.0
IN_FLIGHT = 2
"""Calls of one collector that may be under way at once."""

Servers = Callable[..., ViamServer]
Status = Mapping[str, Any]
Value = TypeVar("Value")

_POLL_S = 0.02
_CALL_TIMEOUT_S = 20.0
RUN = Path(__file__).parent.parent.parent / "module" / "run.sh"
_IN_PROGRESS, _COMPLETE = ".prog", ".capture"


@overload
async def until(
    condition: Callable[[], Awaitable[Value | None]], what: str, timeout_s: float = WAIT_S
) -> Value: ...
@overload
async def until(condition: Callable[[], Value | None], what: str, timeout_s: float = WAIT_S) -> Value: ...
async def until(condition: Callable[[], Any], what: str, timeout_s: float = WAIT_S) -> Any:
    """The first true value of `condition`; AssertionError with `what` when there is none in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = condition()
        value = await found if inspect.isawaitable(found) else found
        if value:
            return value
        assert time.monotonic() < deadline, f"not in {timeout_s:g} s: {what}; the last value was {value!r}"
        await asyncio.sleep(_POLL_S)


def sensor(name: str, model: str = "fake", **attributes: Any) -> dict[str, Any]:
    """A sensor's entry for `components`; `model` without a colon is one of viam-server's own."""
    model = f"holdfast:test:{model}" if model != "fake" else model
    return {"name": name, "api": "rdk:component:sensor", "model": model, "attributes": attributes}


def readings_of(name: str, hz: float, **attributes: Any) -> dict[str, Any]:
    """An entry for `capture_methods`."""
    return {"name": name, "method": "Readings", "capture_frequency_hz": hz, **attributes}


@dataclass(frozen=True)
class Served:
    """One reading as the counting sensor noted it before it answered."""

    seq: int
    time_ns: int


class Source:
    """A counting sensor, or another model that counts, with its own account of what it served."""

    def __init__(self, name: str, folder: Path, model: str = "counting", api: str = "rdk:component:sensor") -> None:
        self.name = name
        self.path = folder / f"{name}.ledger"
        self.component = sensor(name, model, ledger=str(self.path)) | {"api": api}

    @property
    def served(self) -> list[Served]:
        if not self.path.exists():
            return []
        # A line that is being written has no end yet.
        whole = self.path.read_text().rpartition("\n")[0]
        return [Served(*map(int, line.split(","))) for line in whole.splitlines()]

    @property
    def seqs(self) -> list[int]:
        return [each.seq for each in self.served]


@dataclass(frozen=True)
class Reading:
    """One reading as it arrived in the cloud, or lies in a file (then with what the file's header says)."""

    data: Mapping[str, Any]
    requested_ns: int
    received_ns: int
    component: str
    component_type: str
    method: str
    tags: tuple[str, ...]
    part_id: str = ""
    unknown_fields: int = 0
    """Fields that Viam's message does not have."""
    payload: bytes = b""

    @property
    def seq(self) -> int:
        """The number that the source gave it: the value, or the first eight bytes of a payload."""
        return int.from_bytes(self.payload[:8], "big") if self.payload else int(self.data["readings"]["seq"])


def _reading(about: UploadMetadata | DataCaptureMetadata, message: SensorData) -> Reading:
    times = message.metadata
    return Reading(
        data=MessageToDict(message.struct),
        requested_ns=_nanoseconds(times.time_requested),
        received_ns=_nanoseconds(times.time_received),
        component=about.component_name,
        component_type=about.component_type,
        method=about.method_name,
        tags=tuple(about.tags),
        part_id=about.part_id if isinstance(about, UploadMetadata) else "",
        unknown_fields=len(UnknownFieldSet(message)),
        payload=message.binary,
    )


def _nanoseconds(timestamp: Timestamp) -> int:
    return int(timestamp.seconds * 1_000_000_000 + timestamp.nanos)


def delimited(message: bytes) -> bytes:
    """A frame of RDK's format, without a check, as the builtin data manager writes it."""
    size, prefix = len(message), bytearray()
    while size > 0x7F:
        prefix.append(size & 0x7F | 0x80)
        size >>= 7
    prefix.append(size)
    return bytes(prefix) + message


def readings_in(path: Path) -> list[Reading]:
    """The whole readings of a capture file, whoever wrote it; an unfinished end is left out."""
    frames = list(frames_in(path.read_bytes()))
    if not frames:
        return []
    about = DataCaptureMetadata.FromString(frames[0])
    return [_reading(about, SensorData.FromString(frame)) for frame in frames[1:]]


def frames_in(data: bytes) -> list[bytes]:
    frames, offset = [], 0
    while offset < len(data):
        size = shift = 0
        while offset < len(data):
            byte = data[offset]
            offset += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if size == 0 or offset + size > len(data):
            break
        frames.append(data[offset : offset + size])
        offset += size
    return frames


class Machine:
    """One machine with the data manager `SERVICE`. Use `a_machine`, which ends it."""

    def __init__(self, server: ViamServer, cloud: LocalCloud, folder: Path, *, connected: bool) -> None:
        self.server = server
        self.cloud = cloud
        self.folder = folder
        self.capture_dir = folder / "captured"
        self.connected = connected
        self.executable = RUN
        self.arrived: list[Reading] = []
        self.files: list[tuple[UploadMetadata, bytes]] = []
        self.components: Sequence[Mapping[str, Any]] = ()
        self.module_env: Mapping[str, str] = {}
        """Laid over the environment of the data manager's process alone."""
        self.attributes: dict[str, Any] = {
            "capture_dir": str(self.capture_dir),
            "cloud_address": cloud.address,
            "sync_interval_mins": 0.005,
            "file_last_modified_millis": 300,
        }
        self._stack: AsyncExitStack | None = None
        self._client: DataManagerClient | None = None

    def source(self, name: str) -> Source:
        return Source(name, self.folder)

    def config(self) -> dict[str, Any]:
        """The machine's config as `components` and `attributes` are now."""
        service = {
            "name": SERVICE,
            "api": "rdk:service:data_manager",
            "model": "holdfast:data-manager:durable",
            "attributes": self.attributes,
        }
        return {
            "modules": [
                {
                    "name": MODULE,
                    "type": "local",
                    "executable_path": str(self.executable),
                    "env": dict(self.module_env),
                },
                *([sensors_module()] if any("holdfast:test" in c["model"] for c in self.components) else []),
            ],
            "components": list(self.components),
            "services": [service],
            "network": {"bind_address": self.server.bind_address},
        }

    def change(self, *, components: Sequence[Mapping[str, Any]] | None = None, **attributes: Any) -> None:
        """A new config, with these attributes laid over the ones so far. It takes effect within seconds."""
        self.attributes |= attributes
        if components is not None:
            self.components = components
        self.take(self.config())

    def take(self, config: Mapping[str, Any]) -> None:
        """A new config as a whole, whatever `components` and `attributes` are."""
        if self.connected:
            self.cloud.set_machine_config(config)
        else:
            self.server.write_config(config)

    async def start(self, *, components: Sequence[Mapping[str, Any]] = (), **attributes: Any) -> None:
        """Starts viam-server with this config and returns when the data manager is built."""
        self.change(components=components, **attributes)
        await self.start_again()

    async def start_again(self) -> None:
        """Starts viam-server with the config as it is."""
        await self.disconnect()
        if self.connected:
            await self.server.start_connected(self.cloud.address, part_id=PART_ID)
        else:
            await self.server.start()
        await self.server.wait_until_ready(SERVICE)

    async def stop(self) -> bool:
        """Ends viam-server as SIGTERM does; says whether all ended by itself."""
        await self.disconnect()
        return await self.server.stop()

    async def service(self) -> DataManagerClient:
        """The data manager, by viam-server; one connection for as long as viam-server lives."""
        if self._client is None:
            self._client = await until(self._connect, "viam-server lists the data manager")
        return self._client

    async def _connect(self) -> DataManagerClient | None:
        async with AsyncExitStack() as stack:
            robot = await stack.enter_async_context(self.server.robot())
            try:
                client = DataManagerClient.from_robot(robot, SERVICE)
            except ResourceNotFoundError:  # it is just being built anew
                return None
            self._stack = stack.pop_all()
        return client

    async def disconnect(self) -> None:
        stack, self._stack, self._client = self._stack, None, None
        if stack is not None:
            await stack.aclose()

    async def command(self, **command: Any) -> Mapping[str, Any]:
        return await (await self.service()).do_command(command, timeout=_CALL_TIMEOUT_S)

    async def sync(self) -> None:
        """A manual sync by Viam's own RPC."""
        await (await self.service()).sync(timeout=_CALL_TIMEOUT_S)

    async def status(self) -> Status:
        return await (await self.service()).get_status(timeout=_CALL_TIMEOUT_S)

    async def until_status(
        self, condition: Callable[[Status], object], what: str, timeout_s: float = WAIT_S
    ) -> Status:
        """The first status that meets `condition`; meanwhile the service may be away."""

        async def met() -> Status | None:
            try:
                status = await self.status()
                return status if condition(status) else None
            except (GRPCError, StreamTerminatedError, KeyError, OSError):
                return None

        return await until(met, what, timeout_s)

    async def until_captured(self, resource: str, count: int, timeout_s: float = WAIT_S) -> Status:
        """Returns when this process of the module has captured `count` readings of `resource`."""

        def enough(status: Status) -> bool:
            return int(collector(status, resource)["readings"]) >= count

        return await self.until_status(enough, f"{count} readings of {resource} captured", timeout_s)

    async def stop_capture_and_sync(self) -> None:
        """From here on nothing is read any more, and everything that was read is in the cloud or on no disk.

        Waits for the change to take effect and for a manual sync behind it.
        """
        self.change(capture_disabled=True)
        await self.until_status(
            lambda status: not status["capture"]["enabled"] and not status["capture"]["buffered_bytes"],
            "capture is disabled",
        )

        async def delivered() -> bool:
            await self.sync()
            return not self.capture_files()

        await until(delivered, "no capture file is left behind a manual sync")

    def of(self, component: str) -> list[Reading]:
        """What arrived from a component, in the order of arrival."""
        return [reading for reading in self.arrived if reading.component == component]

    def seqs(self, component: str) -> list[int]:
        return [reading.seq for reading in self.of(component)]

    @property
    def uploads(self) -> int:
        """Calls that brought data, refused ones too."""
        return sum(self.cloud.calls[method] for method in UPLOADS)

    def capture_files(self, *extensions: str) -> list[Path]:
        """The capture files on disk, complete or not; what is the data manager's own is left out."""
        wanted = extensions or (_IN_PROGRESS, _COMPLETE)
        return sorted(
            path for path in self.capture_dir.rglob("*") if path.suffix in wanted and ".holdfast" not in path.parts
        )

    def capture_files_of(self, component: str) -> list[Path]:
        """The capture files of one component, oldest first."""
        return [path for path in self.capture_files() if component in path.parts]

    def on_disk(self, component: str) -> list[Reading]:
        """Readings in the capture files of one component, oldest file first."""
        while True:
            with suppress(FileNotFoundError):  # one got its final name, or was delivered, since they were listed
                return [reading for path in self.capture_files_of(component) for reading in readings_in(path)]

    def note_reading(self, about: UploadMetadata, message: SensorData) -> None:
        self.arrived.append(_reading(about, message))

    def note_file(self, about: UploadMetadata, path: Path) -> None:
        self.files.append((about, path.read_bytes()))


@asynccontextmanager
async def a_machine(
    servers: Servers,
    folder: Path,
    *,
    connected: bool = False,
    env: Mapping[str, str | None] | None = None,
    keys: Mapping[str, str] | None = None,
    name: str = "server",
) -> AsyncIterator[Machine]:
    """A machine that is not started, with its cloud, which runs. Both end with the block.

    Machines of one test have a `name` each; in the same `folder` they share the capture folder, while each has a
    viam-server and a cloud of its own. `connected`: viam-server has its config and the module its credentials from
    the cloud. Otherwise the config is a local file and the credentials are in viam-server's environment (`env`
    replaces them).
    """
    environment = dict(CREDENTIALS if env is None else env)
    server = servers(name, {} if connected else environment)
    machine: Machine
    cloud = LocalCloud(
        folder / f"cloud-of-{name}",
        part_id=PART_ID,
        api_keys={KEY_ID: KEY} if keys is None else keys,
        on_reading=lambda about, message: machine.note_reading(about, message),
        on_file=lambda about, path: machine.note_file(about, path),
    )
    await cloud.start()
    machine = Machine(server, cloud, folder, connected=connected)
    try:
        yield machine
    finally:
        await machine.disconnect()
        await server.stop()
        await cloud.stop()


def collector(status: Status, resource: str) -> Mapping[str, Any]:
    """What a status says of the collector of a resource; KeyError when there is none."""
    for each in status["capture"]["collectors"]:
        if each["resource"] == resource:
            return dict(each)
    raise KeyError(resource)


def lines_with_key(log: str) -> list[str]:
    """Log lines that tell the API key, but for the one in which viam-server itself prints its environment."""
    return [line for line in log.splitlines() if KEY in line and "environment variables" not in line]


def all_but_in_flight(seqs: Sequence[int], served: Sequence[int]) -> bool:
    """Whether `seqs` are what was `served`, once, but for calls that were in flight at the end. In no order: the
    machine may serve the later one of two calls first."""
    missing = set(served) - set(seqs)
    return sorted(seqs) == sorted(set(served) - missing) and missing <= set(served[-IN_FLIGHT:])


def repeated(values: Sequence[int]) -> list[int]:
    """The values that are there more than once."""
    return sorted(value for value, count in Counter(values).items() if count > 1)
