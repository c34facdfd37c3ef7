"""`LocalMachine` is a machine without viam-server: it hosts SDK resources and runs one module as viam-server would.

The module is started, made ready, validated and given its resource in viam-server's order, with viam-server's
arguments, environment and working directory. When it dies, it is started again and given its resource again. Two
things are missing: other modules can't use the resources in this process, and the config is not watched.

Invariants:
- At most one process of the module runs, and at most one change of its resource at a time.
- Nothing that `start` started outlives `stop`: no process of the module's group, no task, no socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct
from grpclib import GRPCError, Status
from grpclib.client import Channel
from grpclib.exceptions import StreamTerminatedError
from viam.proto.app.robot import ComponentConfig
from viam.proto.module import (
    AddResourceRequest,
    ModuleServiceStub,
    ReadyRequest,
    RemoveResourceRequest,
    ValidateConfigRequest,
)
from viam.resource.base import ResourceBase

from demo.parent import Parent

START_TIMEOUT_S = 60.0
READY_CALL_TIMEOUT_S = 3.0
READY_POLL_S = 0.1
CALL_TIMEOUT_S = 20.0
TERM_TIMEOUT_S = 20.0
# viam-server restarts a module at once; when that fails, it tries again every five seconds.
RESTART_INTERVAL_S = 5.0
_CALL_ERRORS = (GRPCError, StreamTerminatedError, OSError, asyncio.TimeoutError)
_NOT_READY = (Status.UNAVAILABLE, Status.RESOURCE_EXHAUSTED, Status.DEADLINE_EXCEEDED, Status.CANCELLED)


class ModuleFailedError(Exception):
    """The module's process ended, or did not become ready in time."""


class Socket(Protocol):
    """A server of the machine's socket, for resources that are not objects in this process."""

    full_names: Sequence[str]

    async def start(self, socket_path: Path) -> None: ...

    async def stop(self) -> None: ...


class LocalMachine:
    """A machine with one module that serves one resource, the data manager.

    The module's output and log go to `log_path`, and so do the machine's own messages about the module.
    Thread: all calls must come from one event loop.
    """

    def __init__(
        self,
        executable: Path,
        model: str,
        attributes: Mapping[str, Any],
        resources: Sequence[ResourceBase] = (),
        *,
        log_path: Path,
        home: Path,
        name: str = "data-manager",
        api: str = "rdk:service:data_manager",
        part_id: str = "demo-part",
        api_key_id: str = "demo-key-id",
        api_key: str = "demo-key",
        env: Mapping[str, str] | None = None,
        socket: Socket | None = None,
        components: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """`home` becomes VIAM_HOME. `env` overrides all of the module's environment but VIAM_MODULE_ADDRESS. With
        `socket`, the machine's resources are those that it serves, and not `resources`. `components` is what the
        machine's config has of them, such as what is to be captured."""
        self.name = name
        self.restarts_count = 0
        self._executable = executable.resolve()
        self._model = model
        self._api = api
        self._attributes = dict(attributes)
        self._dependencies: list[str] = []
        self._resources = list(resources)
        self._socket = socket
        self._log_path = log_path
        self._env = {
            "VIAM_HOME": str(home),
            "VIAM_MODULE_NAME": name,
            "VIAM_MODULE_DATA": str(home / "module-data" / name),
            "VIAM_MODULE_ROOT": str(self._executable.parent),
            "VIAM_MACHINE_PART_ID": part_id,
            "VIAM_API_KEY_ID": api_key_id,
            "VIAM_API_KEY": api_key,
            **(env or {}),
        }
        self._part_id = part_id
        self._machine_file = home / f"cached_cloud_config_{part_id}.json"
        self._components = list(components)
        self._log: BinaryIO | None = None
        self._folder: Path | None = None
        self._parent: Socket | Parent | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._channel: Channel | None = None
        self._starts_count = 0
        self._changing = asyncio.Lock()
        self._added = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """The id of the module's process. Raises ModuleFailedError when there is none."""
        if not self._process:
            raise ModuleFailedError("the module is not up")
        return self._process.pid

    @property
    def address(self) -> str:
        """The path of the module's socket. A restart of the module replaces it."""
        assert self._folder
        return str(self._folder / f"module-{self._starts_count}.sock")

    @property
    def channel(self) -> Channel:
        """A channel to the module, for DoCommand and similar calls. A restart of the module replaces it.

        Raises ModuleFailedError when the module is not up.
        """
        if not self._channel:
            raise ModuleFailedError("the module is not up")
        return self._channel

    async def start(self) -> None:
        """Starts the module, and returns when it has its resource.

        Raises ModuleFailedError, or the GRPCError with which the module answered. When it raises or is cancelled,
        everything that it started is stopped.
        """
        Path(self._env["VIAM_MODULE_DATA"]).mkdir(parents=True, exist_ok=True)
        self._machine_file.write_text(json.dumps({"components": self._components}))
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        self._log = self._log_path.open("ab", buffering=0)
        # The path is short, since that of a unix socket has at most 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="viam-"))
        self._parent = self._socket or Parent(self._resources, part_id=self._part_id, on_log=self._write_log)
        try:
            await self._parent.start(self._folder / "parent.sock")
            await self._start_module()
            self._dependencies = await self._validate(self._attributes)
            await self._add()
        except BaseException:
            await self.stop()
            raise
        self._watcher = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Closes the resource, and ends the module and everything else. Does nothing when it is not running."""
        if self._watcher:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
            self._watcher = None
        async with self._changing:
            if self._added.is_set():
                with contextlib.suppress(*_CALL_ERRORS):
                    await self._remove()
            await self._end_module()
            if self._parent:
                await self._parent.stop()
                self._parent = None
            if self._folder:
                shutil.rmtree(self._folder, ignore_errors=True)
            if self._log:
                self._log.close()

    async def reconfigure(self, attributes: Mapping[str, Any]) -> None:
        """Closes the resource and creates it again, as viam-server does at each change.

        Raises GRPCError for a config that does not validate; then nothing has changed.
        """
        async with self._changing:
            self._dependencies = await self._validate(attributes)
            self._attributes = dict(attributes)
            await self._remove()
            await self._add()

    def kill_module(self) -> None:
        """Sends SIGKILL to the module and what it started; the machine then starts the module again.

        The caller should await `wait_until_added` afterwards.
        """
        self._added.clear()
        self._signal_group(signal.SIGKILL)

    async def wait_until_added(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Returns when the module has its resource. Raises asyncio.TimeoutError."""
        await asyncio.wait_for(self._added.wait(), timeout_s)

    async def _watch(self) -> None:
        """Starts the module again whenever it ends, until cancelled."""
        while True:
            if self._process:
                exit_code = await self._process.wait()
                self._added.clear()
                self._write_log(f"the module exited unexpectedly with code {exit_code}")
            async with self._changing:
                up = await self._restart()
            if not up:
                await asyncio.sleep(RESTART_INTERVAL_S)

    async def _restart(self) -> bool:
        self.restarts_count += 1
        try:
            await self._end_module()
            await self._start_module()
            await self._add()
        except (ModuleFailedError, *_CALL_ERRORS) as error:
            self._write_log(f"the module does not start; trying again in {RESTART_INTERVAL_S:g} s: {error!r}")
            await self._end_module()
            return False
        return True

    async def _start_module(self) -> None:
        assert self._folder
        self._starts_count += 1
        address = Path(self.address)
        self._process = await asyncio.create_subprocess_exec(
            str(self._executable),
            str(address),
            "--log-level=info",
            cwd=self._executable.parent,
            env=os.environ | self._env | {"VIAM_MODULE_ADDRESS": str(address)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        self._channel = Channel(path=str(address))
        await self._wait_until_ready(address)

    async def _wait_until_ready(self, address: Path) -> None:
        assert self._folder
        assert self._process
        parent = str(self._folder / "parent.sock")
        request = ReadyRequest(parent_address=parent, raw_parent_address=parent)
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s:
            if self._process.returncode is not None:
                code = self._process.returncode
                raise ModuleFailedError(f"the module exited with code {code}; see {self._log_path}")
            if address.exists():
                try:
                    response = await self._module.Ready(request, timeout=READY_CALL_TIMEOUT_S)
                    if response.ready:
                        return
                except _CALL_ERRORS as error:
                    if isinstance(error, GRPCError) and error.status not in _NOT_READY:
                        raise
            await asyncio.sleep(READY_POLL_S)
        raise ModuleFailedError(f"the module was not ready within {START_TIMEOUT_S:g} s; see {self._log_path}")

    async def _end_module(self) -> None:
        """Sends SIGTERM, and SIGKILL after 20 s. Also ends what the module left in its process group."""
        if self._channel:
            self._channel.close()
            self._channel = None
        if not self._process:
            return
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), TERM_TIMEOUT_S)
            except asyncio.TimeoutError:
                self._write_log(f"the module did not end within {TERM_TIMEOUT_S:g} s of SIGTERM: killing it")
        self._signal_group(signal.SIGKILL)
        await self._process.wait()
        self._process = None

    async def _validate(self, attributes: Mapping[str, Any]) -> list[str]:
        """Returns the full names of those of this machine's resources on which the module's resource depends.

        Raises GRPCError for an invalid config, and for a required resource that this machine lacks.
        """
        request = ValidateConfigRequest(config=self._config(attributes))
        response = await self._module.ValidateConfig(request, timeout=CALL_TIMEOUT_S)
        wanted = {*response.dependencies, *response.optional_dependencies}
        served = self._socket.full_names if self._socket else map(_full_name, self._resources)
        full_names = {name: name.rpartition("/")[2] for name in served}
        missing = set(response.dependencies) - {*full_names, *full_names.values()}
        if missing:
            raise GRPCError(Status.FAILED_PRECONDITION, f"no such resource: {', '.join(sorted(missing))}")
        return [full for full, short in full_names.items() if full in wanted or short in wanted]

    async def _add(self) -> None:
        request = AddResourceRequest(config=self._config(self._attributes), dependencies=self._dependencies)
        await self._module.AddResource(request, timeout=CALL_TIMEOUT_S)
        self._added.set()

    async def _remove(self) -> None:
        self._added.clear()
        request = RemoveResourceRequest(name=f"{self._api}/{self.name}")
        await self._module.RemoveResource(request, timeout=CALL_TIMEOUT_S)

    def _config(self, attributes: Mapping[str, Any]) -> ComponentConfig:
        namespace, _, subtype = self._api.split(":")
        return ComponentConfig(
            name=self.name,
            namespace=namespace,
            type=subtype,
            api=self._api,
            model=self._model,
            attributes=ParseDict(dict(attributes), Struct()),
        )

    @property
    def _module(self) -> ModuleServiceStub:
        return ModuleServiceStub(self.channel)

    def _signal_group(self, number: signal.Signals) -> None:
        # The group's id is that of its first process; it is not reused as long as any process of the group lives.
        with contextlib.suppress(ProcessLookupError):
            if self._process:
                os.killpg(self._process.pid, number)

    def _write_log(self, line: str) -> None:
        if self._log and not self._log.closed:
            self._log.write(f"{line}\n".encode())


def _full_name(resource: ResourceBase) -> str:
    return f"{resource.API}/{resource.name}"
