"""`make demo` shows half a minute in the life of a machine whose network fails and whose module is killed.

The inputs are real (figures of this computer, and log files that appear in a folder), the module is unmodified, and
a cloud on this computer keeps what it receives as ordinary files. At the end the inputs' own ledgers are compared
with what arrived. The exit code is 1 when something is missing, and 2 when the demo can't run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from grpclib import GRPCError
from grpclib.exceptions import StreamTerminatedError
from viam.proto.common import DoCommandRequest, GetStatusRequest
from viam.proto.service.datamanager import DataManagerServiceStub
from viam.utils import dict_to_struct, struct_to_dict

from demo.cloud import DEFAULT_API_KEYS, LocalCloud
from demo.display import Display, Snapshot
from demo.inputs import HostSensor, LogFiles
from demo.link import Link
from demo.machine import LocalMachine, ModuleFailedError
from demo.verdict import Verdict, compare
from demo.viam_server import NoViamServerError, ViamServerMachine, find_viam_server

ROOT = Path(__file__).parent.parent
SENSOR = "this-computer"
HZ = 20.0
CARD = {
    "type": "data_manager",
    "attributes": {"capture_methods": [{"method": "Readings", "capture_frequency_hz": HZ}]},
}
"""What is captured of the sensor, as Viam's app sets it on a component."""
FLUSH_S = 1.0
MODEL = "holdfast:data-manager:durable"
NETWORK_FAILS_S, MODULE_DIES_S, NETWORK_RETURNS_S, ENDS_S = 8.0, 12.0, 17.0, 26.0
DRAIN_TIMEOUT_S = 30.0
LOCK = ".lock"
"""The lock file in the output folder, held while a demo runs. A folder that has contents but no such file does not
belong to the demo."""
_FAILED_CALL = (GRPCError, StreamTerminatedError, OSError, asyncio.TimeoutError, ModuleFailedError)


class Demo:
    """The parts of the demo and its story. Everything that `run` started has ended when it returns the verdict."""

    def __init__(self, machine: str, output: Path) -> None:
        for folder in ("cloud", "machine", "source"):
            shutil.rmtree(output / folder, ignore_errors=True)
            (output / folder).mkdir(parents=True)
        self._output = output
        self._sensor_ledger = output / "source" / "readings.csv"
        self._file_ledger = output / "source" / "files.jsonl"
        self._cloud = LocalCloud(output / "cloud", api_keys=DEFAULT_API_KEYS)
        self._logs = LogFiles(output / "machine" / "logs", self._file_ledger)
        self._kind = machine
        self._network = "up"
        self._kills_ns: list[int] = []
        self._started_s = 0.0
        self._link: Link
        self._machine: LocalMachine | ViamServerMachine
        self._attributes: dict[str, Any] = {}

    async def run(self, display: Display) -> Verdict:
        async with AsyncExitStack() as ending:
            await self._run(display, ending)
        return compare(
            self._sensor_ledger,
            self._output / "cloud" / "readings" / SENSOR / "Readings.jsonl",
            self._file_ledger,
            self._output / "cloud" / "files.jsonl",
            self._kills_ns,
            FLUSH_S,
        )

    async def _run(self, display: Display, ending: AsyncExitStack) -> None:
        """Starts the parts and runs the story. `ending` stops what was started, the last first."""
        await self._cloud.start()
        ending.push_async_callback(self._cloud.stop)
        self._link = Link(int(self._cloud.address.rpartition(":")[2]))
        await self._link.start()
        ending.push_async_callback(self._link.stop)
        self._attributes = {
            "capture_dir": str(self._output / "machine" / "capture"),
            "additional_sync_paths": [str(self._output / "machine" / "logs")],
            "file_last_modified_millis": 1000,
            "sync_interval_mins": 0.02,
            "cloud_address": self._link.address,
            "capture_flush_interval_ms": FLUSH_S * 1000,
        }
        self._machine = self._new_machine()
        ending.push_async_callback(self._machine.stop)
        display.say("starting the machine …")
        await self._machine.start()
        await self._logs.start()
        ending.push_async_callback(self._logs.stop)
        self._started_s = time.monotonic()
        watching = asyncio.create_task(self._watch(display))
        try:
            await self._story(display)
            await self._drain(display)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    def _new_machine(self) -> LocalMachine | ViamServerMachine:
        log, home = self._output / "machine" / "module.log", self._output / "machine" / "home"
        executable = ROOT / "module" / "run.sh"
        if self._kind == "viam-server":
            key_id, key = next(iter(DEFAULT_API_KEYS.items()))
            environment = {"VIAM_API_KEY_ID": key_id, "VIAM_API_KEY": key, "VIAM_MACHINE_PART_ID": "demo-part"}
            return ViamServerMachine(
                find_viam_server(),
                executable,
                MODEL,
                self._attributes,
                sensor=SENSOR,
                sensor_ledger=self._sensor_ledger,
                card=CARD,
                log_path=log,
                home=home,
                env=environment,
            )
        sensor = HostSensor(SENSOR, self._sensor_ledger)
        components = [{"name": SENSOR, "api": "rdk:component:sensor", "service_configs": [CARD]}]
        return LocalMachine(
            executable, MODEL, self._attributes, [sensor], log_path=log, home=home, components=components
        )

    async def _story(self, display: Display) -> None:
        await self._at(NETWORK_FAILS_S)
        display.say(f"{self._elapsed_s:5.1f} s  the network fails", "red")
        self._network = "cut"
        await self._link.cut()
        await self._at(MODULE_DIES_S)
        display.say(f"{self._elapsed_s:5.1f} s  SIGKILL ends the module; the machine restarts it", "red")
        self._kills_ns.append(time.time_ns())
        self._machine.kill_module()
        await self._machine.wait_until_added()
        display.say(f"{self._elapsed_s:5.1f} s  the module is back", "green")
        await self._at(NETWORK_RETURNS_S)
        display.say(f"{self._elapsed_s:5.1f} s  the network is back", "green")
        await self._link.restore()
        self._network = "up"
        await self._at(ENDS_S)

    async def _drain(self, display: Display) -> None:
        """Stops the inputs, and waits at most `DRAIN_TIMEOUT_S` until all that they produced is delivered."""
        await self._logs.stop()
        await self._machine.reconfigure({**self._attributes, "capture_disabled": True})
        display.say(f"{self._elapsed_s:5.1f} s  the inputs stop; what is left is delivered", "")
        deadline_s = time.monotonic() + DRAIN_TIMEOUT_S
        while time.monotonic() < deadline_s:
            with contextlib.suppress(*_FAILED_CALL):
                status = await self._status()
                disabled = status.get("capture", {}).get("enabled") is False
                report = await self._command({"command": "sync"})
                if disabled and not report["failed_count"] and not report["too_recent"]:
                    return
            await asyncio.sleep(0.3)

    async def _watch(self, display: Display) -> None:
        before_s, before = time.monotonic(), 0
        while True:
            status = None
            with contextlib.suppress(*_FAILED_CALL):
                status = await self._status()
            now_s, served = time.monotonic(), _served(self._sensor_ledger)
            rate = (served - before) / max(now_s - before_s, 0.001)
            before_s, before = now_s, served
            display.show(
                Snapshot(
                    elapsed_s=self._elapsed_s,
                    network=self._network,
                    served=served,
                    served_per_s=rate,
                    cloud_readings=self._cloud.readings_count,
                    cloud_files=self._cloud.files_count,
                    written_files=self._logs.files_count,
                    status=status,
                )
            )
            await asyncio.sleep(0.5)

    async def _status(self) -> Mapping[str, Any]:
        request = GetStatusRequest(name=self._machine.name)
        return struct_to_dict(
            (await DataManagerServiceStub(self._machine.channel).GetStatus(request, timeout=2)).result
        )

    async def _command(self, command: Mapping[str, Any]) -> Mapping[str, Any]:
        request = DoCommandRequest(name=self._machine.name, command=dict_to_struct(command))
        stub = DataManagerServiceStub(self._machine.channel)
        return struct_to_dict((await stub.DoCommand(request, timeout=10)).result)

    @property
    def _elapsed_s(self) -> float:
        return time.monotonic() - self._started_s

    async def _at(self, elapsed_s: float) -> None:
        await asyncio.sleep(max(0.0, elapsed_s - self._elapsed_s))


def _served(path: Path) -> int:
    """Returns how many readings the sensor's ledger has below its header."""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        return max(0, sum(1 for _ in file) - 1)
    return 0


def _rows(verdict: Verdict) -> list[tuple[str, str, str]]:
    rows = [
        ("produced by the inputs", f"{verdict.served}", f"{verdict.files_written}"),
        ("arrived", f"{verdict.arrived}", f"{verdict.files_arrived}"),
        (f"lost in the last {FLUSH_S:g} s before SIGKILL", f"{len(verdict.lost_to_kill)}", ""),
        ("missing otherwise", f"{len(verdict.missing)}", f"{len(verdict.files_missing)}"),
        ("arrived twice", f"{verdict.twice}", ""),
    ]
    if verdict.invented:
        rows.append(("arrived, but never produced", f"{len(verdict.invented)}", ""))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m demo.main", description=__doc__)
    parser.add_argument(
        "--machine",
        choices=("local", "viam-server"),
        default="local",
        help="what runs the module: the demo's own machine, or the real viam-server (make demo MACHINE=…)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=ROOT / "demo-output",
        help="a new folder, or one of an earlier demo, whose results are deleted (default: %(default)s)",
    )
    arguments = parser.parse_args()
    output: Path = arguments.output.resolve()
    display = Display()
    try:
        output.mkdir(parents=True, exist_ok=True)
        if not (output / LOCK).exists() and any(output.iterdir()):
            display.say(f"{output} contains something other than a demo; choose another --output", "bold red")
            return 2
        lock = (output / LOCK).open("w")
    except OSError as error:
        display.say(
            f"{output} can't be used for the results ({error.strerror}); choose another --output", "bold red"
        )
        return 2
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            display.say(
                f"another demo is running in {output}; wait until it ends, or choose another --output", "bold red"
            )
            return 2
        return _run(arguments.machine, output, display)


def _run(machine: str, output: Path, display: Display) -> int:
    try:
        with display:
            verdict = asyncio.run(Demo(machine, output).run(display))
    except KeyboardInterrupt:
        display.say("stopped; everything that the demo started has ended", "yellow")
        return 130
    except (NoViamServerError, ModuleFailedError) as error:
        display.say(str(error), "bold red")
        return 2
    display.result(_rows(verdict), verdict.said(FLUSH_S), good=verdict.good)
    display.say(f"readings as JSON lines:  {output}/cloud/readings/{SENSOR}/Readings.jsonl")
    display.say(f"files as files:          {output}/cloud/files")
    display.say(f"the module's log:        {output}/machine/module.log")
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
