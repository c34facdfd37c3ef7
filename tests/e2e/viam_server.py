"""The real viam-server as a test's object: start it, change its config, watch its log, end it.

Each server lives in a folder of its own (HOME, VIAM_HOME, config, log) and listens on a free loopback port.
Whatever it starts carries a mark in its environment, by which `stop` finds it even after viam-server
itself was killed. Every wait is bounded. All that waits is async, so that a receiver in the test's own
event loop goes on answering meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import psutil
from grpclib.client import Channel
from grpclib.exceptions import GRPCError, StreamTerminatedError
from viam.proto.robot import ResourceStatus
from viam.robot.client import RobotClient

from tests.ports import free_port

_MARK = "HOLDFAST_TEST_SERVER"
_POLL_S = 0.05
_CONNECT_TIMEOUT_S = 10.0
_KILL_TIMEOUT_S = 10.0
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_SENSORS = Path(__file__).parent / "sensors" / "run.sh"


def sensors_module(name: str = "test-sensors") -> dict[str, Any]:
    """The entry for a config's `modules` that brings the models `holdfast:test:…` of `sensors/main.py`."""
    return {"name": name, "type": "local", "executable_path": str(_SENSORS)}


class ViamServer:
    """One viam-server. May be started again in the same folder after it ended; the log is appended to."""

    def __init__(self, binary: Path, folder: Path, env: Mapping[str, str | None] | None = None) -> None:
        """`env` is added to the server's environment, which its modules inherit; nothing else of ours is. What is
        None there is taken out of it."""
        self.folder = folder
        self.home = folder / "home"
        self.viam_home = folder / "viam"
        self.config_path = folder / "machine.json"
        self.log_path = folder / "viam-server.log"
        self.bind_address = f"127.0.0.1:{free_port()}"
        self._binary = binary
        self.prefix: Sequence[str] = ()
        """A command that runs the server, by `exec`: its process id is the server's."""
        self._extra_env = dict(env or {})
        self._mark = uuid.uuid4().hex
        self._process: subprocess.Popen[bytes] | None = None
        self._connected = False
        # For the modules' sockets: a Unix socket's path has at most 107 bytes, pytest's folders are longer.
        self._tmp: Path | None = None
        for path in (self.home, self.viam_home):
            path.mkdir(parents=True, exist_ok=True)

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Sets the local config; a running server acts on it 0.5 s later.

        Where the config does not say otherwise, `network.bind_address` is ours, and equal log lines are
        not merged (`disable_log_deduplication`), so that tests can count them.
        """
        whole = {"disable_log_deduplication": True, **config}
        whole["network"] = {"bind_address": self.bind_address, **whole.get("network", {})}
        self._write(whole)

    async def start(self, config: Mapping[str, Any] | None = None, *, timeout_s: float = 30.0) -> None:
        """Starts with this local config, or with what the config file holds; returns when it serves.

        Modules and resources may not be ready yet: see `wait_until_ready`.
        """
        if config is not None:
            self._connected = False
            self.write_config(config)
        await self._launch(timeout_s)

    async def start_connected(
        self,
        app_address: str,
        *,
        part_id: str = "part-1",
        secret: str = "secret-1",
        timeout_s: float = 30.0,
    ) -> None:
        """Starts with a cloud at `app_address` ("http://127.0.0.1:PORT"), which gives all other config.

        The cloud's config should name our `bind_address`; else the server takes port 8080.
        """
        self._connected = True
        self._write(
            {
                "cloud": {
                    "id": part_id,
                    "secret": secret,
                    "app_address": app_address,
                    "signaling_insecure": True,
                    "refresh_interval": "1s",
                }
            }
        )
        await self._launch(timeout_s)

    @property
    def pid(self) -> int:
        """Of the running server, or of the last that ran."""
        if self._process is None:
            raise RuntimeError("viam-server was not started")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def module_pids(self, name_part: str) -> list[int]:
        """The live processes of the modules whose name contains `name_part`, with or without their server."""
        pids = []
        for process in self._processes():
            with suppress(psutil.Error):
                if name_part in process.environ().get("VIAM_MODULE_NAME", ""):
                    pids.append(process.pid)
        return sorted(pids)

    def command_of(self, pid: int) -> str:
        """What a process runs; empty when it is gone."""
        with suppress(psutil.Error):
            return " ".join(psutil.Process(pid).cmdline())
        return ""

    @property
    def parent_socket(self) -> Path:
        """The Unix socket by which modules reach the server; it asks for no login."""
        # The newest: a killed server leaves its socket behind.
        sockets = [] if self._tmp is None else list(self._tmp.glob("viam-module-*/parent.sock"))
        if not sockets:
            raise RuntimeError(f"viam-server has no socket for modules below {self._tmp}")
        return max(sockets, key=lambda path: path.stat().st_ctime_ns)

    @property
    def target(self) -> str:
        """Where clients of tests connect, as a gRPC target.

        The loopback port; with a cloud the modules' socket, since viam-server then wants a login by TCP.
        """
        return f"unix:{self.parent_socket}" if self._connected else self.bind_address

    @asynccontextmanager
    async def robot(self) -> AsyncIterator[RobotClient]:
        """An SDK client without background tasks. ConnectionError or TimeoutError when it can't connect."""
        if self._connected:
            channel = Channel(path=str(self.parent_socket))
        else:
            host, port = self.bind_address.rsplit(":", 1)
            channel = Channel(host, int(port))
        options = RobotClient.Options(check_connection_interval=0, attempt_reconnect_interval=0)
        try:
            robot = await asyncio.wait_for(RobotClient.with_channel(channel, options), _CONNECT_TIMEOUT_S)
            try:
                yield robot
            finally:
                await robot.close()  # type: ignore[no-untyped-call]
        finally:
            channel.close()

    def channel(self) -> grpc.aio.Channel:
        """A plain gRPC channel; the caller closes it (`async with`)."""
        return grpc.aio.insecure_channel(
            self.target,
            options=[
                ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
            ],
        )

    async def wait_until_ready(self, *names: str, timeout_s: float = 30.0) -> None:
        """Returns when each named resource is built.

        TimeoutError says in what state they are instead; RuntimeError when the server ended.
        """
        deadline = time.monotonic() + timeout_s
        states: dict[str, str] = {}
        while True:
            with suppress(ConnectionError, asyncio.TimeoutError, GRPCError, StreamTerminatedError):
                states = await asyncio.wait_for(self._states(), _CONNECT_TIMEOUT_S)
            if all(states.get(name) == "READY" for name in names):
                return
            if not self.is_running:
                raise RuntimeError(f"viam-server ended before {names} were ready\n{self.log_tail()}")
            if time.monotonic() > deadline:
                missing = {name: states.get(name, "not there") for name in names}
                raise TimeoutError(f"not ready after {timeout_s} s: {missing}\n{self.log_tail()}")
            await asyncio.sleep(_POLL_S)

    async def _states(self) -> dict[str, str]:
        async with self.robot() as robot:
            status = await robot.get_machine_status()
        return {each.name.name: _state(each) for each in status.resources}

    def log_mark(self) -> int:
        """Where the log ends now, for `after`."""
        return self.log_path.stat().st_size if self.log_path.exists() else 0

    def log_text(self, after: int = 0) -> str:
        """What the server and its modules said, from that mark on."""
        if not self.log_path.exists():
            return ""
        with self.log_path.open("rb") as log:
            log.seek(after)
            return log.read().decode(errors="replace")

    def log_tail(self, lines: int = 60) -> str:
        return "\n".join(self.log_text().splitlines()[-lines:])

    async def wait_for_log(self, regex: str, timeout_s: float = 15.0, *, after: int = 0) -> re.Match[str]:
        """The first match in the log from that mark on; `^` and `$` match at lines.

        TimeoutError when there is none in time, RuntimeError when the server ended without it.
        """
        pattern = re.compile(regex, re.MULTILINE)
        deadline = time.monotonic() + timeout_s
        while True:
            ended = not self.is_running
            match = pattern.search(self.log_text(after))
            if match:
                return match
            if ended:
                raise RuntimeError(f"viam-server ended before it logged {regex!r}\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"viam-server did not log {regex!r} in {timeout_s} s\n{self.log_tail()}")
            await asyncio.sleep(_POLL_S)

    def sigterm(self) -> None:
        """Asks the server to end, and does not wait: see `wait_exit`."""
        self._signal(signal.SIGTERM)

    def sigkill(self) -> None:
        """Kills the server, not its modules, and returns when it is gone."""
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait(_KILL_TIMEOUT_S)

    async def wait_exit(self, timeout_s: float = 45.0) -> int:
        """The server's exit code (negative: the signal that ended it). TimeoutError when it lives on."""
        process = self._process
        if process is None:
            raise RuntimeError("viam-server was not started")
        if not await _until(lambda: process.poll() is not None, timeout_s):
            raise TimeoutError(f"viam-server lives on after {timeout_s} s\n{self.log_tail()}")
        return int(process.returncode)

    async def stop(self, timeout_s: float = 45.0) -> bool:
        """Ends the server and all that it started; says whether all of it ended by itself.

        The server is asked (SIGTERM) and has `timeout_s`; modules without a server get one second; what is
        left is killed. No process is left when this ends, also when it is cancelled; if one can't be killed,
        RuntimeError. May be called twice.
        """
        try:
            by_itself = True
            if self.is_running:
                self.sigterm()
                try:
                    await self.wait_exit(timeout_s)
                except TimeoutError:
                    by_itself = False
            return await _until(lambda: not self._processes(), 1.0) and by_itself
        finally:
            self.kill_all()

    def kill_all(self) -> None:
        """Kills the server, its modules and their children. RuntimeError when one survives."""
        deadline = time.monotonic() + _KILL_TIMEOUT_S
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(_KILL_TIMEOUT_S)
        while processes := self._processes():
            if time.monotonic() > deadline:
                raise RuntimeError(f"these processes outlive SIGKILL: {processes}")
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(processes, timeout=_POLL_S)
        if self._tmp is not None:
            shutil.rmtree(self._tmp, ignore_errors=True)
            self._tmp = None

    async def _launch(self, timeout_s: float) -> None:
        if self.is_running:
            raise RuntimeError("viam-server is running already")
        if self._tmp is None:
            self._tmp = Path(tempfile.mkdtemp(prefix="hf-"))
        mark = self.log_mark()
        self._process = self._spawn()
        await self.wait_for_log(r"\tserving\t", timeout_s, after=mark)

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                self._command(),
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C goes to pytest alone, whose teardown ends the server.
                start_new_session=True,
            )

    def _command(self) -> list[str]:
        return [*self.prefix, str(self._binary), "-config", str(self.config_path), "-disable-mdns", "-ftdc=false"]

    def _environment(self) -> dict[str, str]:
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(self.home),
            "VIAM_HOME": str(self.viam_home),
            "TMPDIR": str(self._tmp),
            "HOLDFAST_TEST_PYTHON": sys.executable,
            **self._extra_env,
            _MARK: self._mark,
        }
        return {name: value for name, value in environment.items() if value is not None}

    def _write(self, config: Mapping[str, Any]) -> None:
        # In place: viam-server watches the inode, and after a rename it looks for the new one only when
        # it is done with the change, so that a change meanwhile would be missed.
        self.config_path.write_text(json.dumps(config, indent=2))

    def _processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get(_MARK) == self._mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def _signal(self, number: int) -> None:
        if not self.is_running:
            raise RuntimeError("viam-server does not run")
        assert self._process is not None
        self._process.send_signal(number)


async def _until(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_POLL_S)
    return True


def _state(status: ResourceStatus) -> str:
    return ResourceStatus.State.Name(status.state).removeprefix("STATE_")
