"""`make bench-capture`: what a captured reading costs, beside a bare call at the same deadlines.

In one run, on the real viam-server: N fake sensors at a frequency, first read by `bench.bare_client`, then captured
by the module (sync goes to a local cloud meanwhile), in alternating rounds. The figures are ratios within the run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from grpclib import GRPCError

from demo.cloud import LocalCloud
from module.data_manager import DataManagerClient
from tests.e2e.viam_server import ViamServer

ROOT = Path(__file__).parent.parent


def machine_config(sensors: int, hz: float, capture_dir: Path, cloud: str, *, capture: bool) -> dict[str, Any]:
    names = [f"fake{i}" for i in range(sensors)]
    return {
        "components": [{"name": n, "api": "rdk:component:sensor", "model": "rdk:builtin:fake"} for n in names],
        "modules": [{"name": "holdfast", "type": "local", "executable_path": str(ROOT / "module/run.sh")}],
        "services": [
            {
                "name": "data",
                "api": "rdk:service:data_manager",
                "model": "holdfast:data-manager:durable",
                "attributes": {
                    "capture_dir": str(capture_dir),
                    "capture_disabled": not capture,
                    "cloud_address": cloud,
                    "capture_methods": [
                        {"name": n, "method": "Readings", "capture_frequency_hz": hz} for n in names
                    ],
                },
            }
        ],
    }


async def bare(server: ViamServer, sensors: int, hz: float, seconds: float) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.bare_client", str(server.parent_socket)]
    command += [str(sensors), str(hz), str(seconds)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, cwd=ROOT)
    output, _ = await process.communicate()
    return dict(json.loads(output))


async def captured(server: ViamServer, client: DataManagerClient, seconds: float) -> dict[str, float]:
    """Readings captured, missed and the module's CPU seconds within a window."""
    await asyncio.sleep(2)
    before = await client.get_status()
    started = time.monotonic()
    await asyncio.sleep(seconds)
    after = await client.get_status()
    elapsed = time.monotonic() - started

    def total(status: Any, field: str) -> float:
        return float(sum(collector[field] for collector in status["capture"]["collectors"]))

    return {
        "readings": total(after, "captured") - total(before, "captured"),
        "missed": total(after, "missed") - total(before, "missed"),
        "cpu_s": after["process"]["cpu_s"] - before["process"]["cpu_s"],
        "seconds": elapsed,
    }


def build_viam_server() -> Path:
    build = subprocess.run([ROOT / "tests/viam_server/build.sh"], stdout=subprocess.PIPE, text=True, check=True)
    return Path(build.stdout.strip())


async def main(binary: Path) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sensors", type=int, default=20)
    parser.add_argument("--hz", type=float, default=100.0)
    parser.add_argument("--seconds", type=float, default=30.0, help="length of each measured window")
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    ratios, fractions = [], []
    with tempfile.TemporaryDirectory(prefix="hf-bench-") as scratch:
        folder = Path(scratch)
        cloud = LocalCloud(folder / "cloud", api_keys={"id": "key"})
        await cloud.start()
        environment = {"VIAM_API_KEY_ID": "id", "VIAM_API_KEY": "key", "VIAM_MACHINE_PART_ID": "bench"}
        server = ViamServer(binary, folder / "server", env=environment)

        def config(capture: bool) -> dict[str, Any]:
            return machine_config(
                arguments.sensors, arguments.hz, folder / "capture", cloud.address, capture=capture
            )

        try:
            await server.start(config(capture=False))
            await server.wait_until_ready("data")
            async with server.robot() as robot:
                client = DataManagerClient.from_robot(robot, "data")
                for _ in range(arguments.rounds):
                    plain = await bare(server, arguments.sensors, arguments.hz, arguments.seconds)
                    server.write_config(config(capture=True))
                    await _collectors(client, arguments.sensors)
                    ours = await captured(server, client, arguments.seconds)
                    server.write_config(config(capture=False))
                    await _collectors(client, 0)
                    due = arguments.sensors * arguments.hz * ours["seconds"]
                    per_call = plain["cpu_s"] / plain["calls"] * 1e6
                    per_reading = ours["cpu_s"] / ours["readings"] * 1e6
                    ratios.append(per_reading / per_call)
                    fractions.append(ours["readings"] / due)
                    print(
                        f"bare: {plain['calls'] / plain['due']:.2%} answered, {per_call:.0f} us CPU per call; "
                        f"holdfast: {ours['readings'] / due:.2%} captured of due, {ours['missed']:.0f} missed, "
                        f"{per_reading:.0f} us CPU per reading; ratio {ratios[-1]:.2f}",
                        flush=True,
                    )
        finally:
            await server.stop()
            await cloud.stop()
    print(
        f"{arguments.sensors} sensors at {arguments.hz:g} Hz, {arguments.seconds:g} s each: captured / due "
        f"{min(fractions):.2%} at least; CPU per reading / bare call {sum(ratios) / len(ratios):.2f} on average "
        f"({platform.machine()}, {psutil.cpu_count()} cores, Python {platform.python_version()})"
    )


async def _collectors(client: DataManagerClient, count: int) -> None:
    """Waits until the module runs so many collectors; the config file is read every half second."""
    for _ in range(200):
        try:
            status = await client.get_status(timeout=1)
            if len(status["capture"]["collectors"]) == count:
                return
        except (GRPCError, asyncio.TimeoutError) as error:
            print(f"waiting: {error}", file=sys.stderr)
        await asyncio.sleep(0.1)
    raise TimeoutError(f"the module does not run {count} collectors")


if __name__ == "__main__":
    asyncio.run(main(build_viam_server()))
