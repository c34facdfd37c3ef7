"""`ViamServerMachine` is a machine with the real viam-server. The demo uses it like a `LocalMachine`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import psutil
from grpclib import GRPCError
from grpclib.client import Channel
from viam.proto.common import GetStatusRequest
from viam.proto.service.datamanager import DataManagerServiceStub

READY_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 30.0
_POLL_S = 0.2


class NoViamServerError(Exception):
    """No viam-server was found, or the data manager did not come up in it."""


def find_viam_server() -> Path:
    """Returns the path of the program that VIAM_SERVER names, or of viam-server on the PATH.

    Raises NoViamServerError when there is none.
    """
    named = os.environ.get("VIAM_SERVER") or "viam-server"
    found = shutil.which(named)
    if found is None:
        raise NoViamServerError(
            f"no program {named} found: put viam-server on the PATH, or name it: "
            "make demo MACHINE=viam-server VIAM_SERVER=/path/to/viam-server"
        )
    return Path(found).resolve()


class ViamServerMachine:
    """Runs viam-server with the module of the host sensor and that of the data manager.

    Thread: all calls must come from one event loop.
    """

    def __init__(
        self,
        program: Path,
        executable: Path,
        model: str,
        attributes: Mapping[str, Any],
        *,
        sensor: str,
        sensor_ledger: Path,
        card: Mapping[str, Any],
        log_path: Path,
        home: Path,
        name: str = "data-manager",
        env: Mapping[str, str],
    ) -> None:
        self.name = name
        self._program = program
        self._executable = executable.resolve()
        self._model = model
        self._attributes = dict(attributes)
        self._sensor = sensor
        self._sensor_ledger = sensor_ledger
        self._card = card
        self._log_path = log_path
        self._home = home
        self._env = dict(env)
        self._config_path = home / "machine.json"
        self._port = 0
        self._log: BinaryIO | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._channel: Channel | None = None

    @property
    def channel(self) -> Channel:
        """A channel to viam-server, which passes calls on to the module."""
        assert self._channel is not None, "not started"
        return self._channel

    async def start(self) -> None:
        """Starts viam-server, and returns when the data manager answers.

        Raises NoViamServerError when it does not answer in time; viam-server is stopped then.
        """
        self._home.mkdir(parents=True, exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._write_config()
        self._log = self._log_path.open("ab", buffering=0)
        self._process = await asyncio.create_subprocess_exec(
            str(self._program),
            "-config",
            str(self._config_path),
            "-disable-mdns",
            cwd=self._home,
            env=os.environ | {"HOME": str(self._home), "VIAM_HOME": str(self._home / ".viam")} | self._env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        self._channel = Channel("127.0.0.1", self._port)
        try:
            await self.wait_until_added(READY_TIMEOUT_S)
        except asyncio.TimeoutError as error:
            await self.stop()
            raise NoViamServerError(
                f"the data manager did not come up in viam-server; see {self._log_path}"
            ) from error

    async def stop(self) -> None:
        """Sends SIGTERM, and SIGKILL after 30 s; ends the modules too. Does nothing when it is not running."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        if self._log is not None:
            self._log.close()
            self._log = None

    async def reconfigure(self, attributes: Mapping[str, Any]) -> None:
        """Writes the config with these attributes; viam-server applies it within about a second."""
        self._attributes = dict(attributes)
        self._write_config()

    def kill_module(self) -> None:
        """Sends SIGKILL to the data manager's process; viam-server starts it again."""
        assert self._process is not None, "not started"
        for child in psutil.Process(self._process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if child.environ().get("VIAM_MODULE_NAME") == "holdfast":
                    child.kill()

    async def wait_until_added(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Returns when the data manager answers. Raises asyncio.TimeoutError."""
        await asyncio.wait_for(self._answering(), timeout_s)

    async def _answering(self) -> None:
        stub = DataManagerServiceStub(self.channel)
        while True:
            try:
                await stub.GetStatus(GetStatusRequest(name=self.name), timeout=2)
                return
            except (GRPCError, OSError, asyncio.TimeoutError):
                await asyncio.sleep(_POLL_S)

    def _write_config(self) -> None:
        root = Path(__file__).parent.parent
        config = {
            "network": {"bind_address": f"127.0.0.1:{self._port}"},
            "modules": [
                {"name": "holdfast", "type": "local", "executable_path": str(self._executable)},
                {"name": "host", "type": "local", "executable_path": str(root / "demo" / "sensor_module.sh")},
            ],
            "components": [
                {
                    "name": self._sensor,
                    "api": "rdk:component:sensor",
                    "model": "holdfast:demo:host",
                    "attributes": {"ledger": str(self._sensor_ledger)},
                    "service_configs": [self._card],
                }
            ],
            "services": [
                {
                    "name": self.name,
                    "api": "rdk:service:data_manager",
                    "model": self._model,
                    "attributes": self._attributes,
                }
            ],
        }
        self._config_path.write_text(json.dumps(config, indent=1))
