"""`holdfast config convert` on the real viam-server: Holdfast captures what the builtin did, and back again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from grpclib.exceptions import GRPCError, StreamTerminatedError
from viam.errors import ResourceNotFoundError

from module.data_manager import DataManagerClient

from .machines import RUN, until
from .viam_server import ViamServer

SRC = RUN.parent.parent / "src"
Collector = tuple[str, str, str]
"""API, resource, method."""

FAR_AWAY = {"name": "rdk:component:sensor/far_thermometer", "method": "Readings", "capture_frequency_hz": 5}
ANALOG = {"method": "Analogs", "capture_frequency_hz": 5, "additional_params": {"reader_name": "a"}}
NOT_CAPTURED = {"method": "Readings", "capture_frequency_hz": 0}
EXPECTED = {
    ("rdk:component:sensor", "thermometer", "Readings"),
    ("rdk:component:movement_sensor", "gps", "Position"),
    ("rdk:component:camera", "eye", "GetImages"),
    ("rdk:component:board", "pins", "Analogs"),
    ("rdk:component:sensor", "far_thermometer", "Readings"),
}


def capture(*methods: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"type": "data_manager", "attributes": {"capture_methods": list(methods)}}]


def with_the_builtin(capture_dir: Path, remote: str) -> dict[str, Any]:
    """A config in both forms that rdk knows, with what the builtin passes over among the rest."""
    fast = {"capture_frequency_hz": 5}
    return {
        "components": [
            {
                "name": "thermometer",
                "api": "rdk:component:sensor",
                "model": "rdk:builtin:fake",
                "service_configs": capture({"method": "Readings", **fast}),
            },
            {
                "name": "gps",
                "type": "movement_sensor",
                "model": "fake",
                "service_configs": [
                    *capture({"method": "CompassHeading", **fast}),
                    *capture(
                        {"method": "Position", **fast}, {"method": "LinearVelocity", **fast, "disabled": True}
                    ),
                ],
            },
            {
                "name": "eye",
                "namespace": "rdk",
                "type": "camera",
                "model": "fake",
                "attributes": {"width": 32, "height": 24},
                "service_configs": capture({"method": "GetImages", "capture_frequency_hz": 2}),
            },
            {
                "name": "pins",
                "api": "rdk:component:board",
                "model": "fake",
                "attributes": {"analogs": [{"name": "a", "pin": "1"}]},
                "service_configs": capture(
                    {"method": "Analogs", **fast, "additional_params": {"reader_name": "a"}}
                ),
            },
            {
                "name": "idle",
                "api": "rdk:component:sensor",
                "model": "rdk:builtin:fake",
                "service_configs": capture(NOT_CAPTURED),
            },
        ],
        "remotes": [
            {
                "name": "rem",
                "address": remote,
                "prefix": "far_",
                "insecure": True,
                "service_configs": capture(
                    {"name": "rdk:component:sensor/far_thermometer", "method": "Readings", **fast}
                ),
            }
        ],
        "services": [
            {
                "name": "data",
                "type": "data_manager",
                "attributes": {"capture_dir": str(capture_dir), "sync_disabled": True},
            }
        ],
    }


def converted(config: dict[str, Any], *arguments: str) -> dict[str, Any]:
    """What `python -m holdfast config convert` prints."""
    ran = subprocess.run(
        [sys.executable, "-m", "holdfast", "config", "convert", *arguments],
        input=json.dumps(config),
        env={"PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def files(capture_dir: Path) -> set[Path]:
    return {
        path
        for path in capture_dir.rglob("*")
        if path.suffix in (".prog", ".capture") and ".holdfast" not in path.parts
    }


def collectors_of(paths: set[Path], capture_dir: Path) -> set[Collector]:
    parts = (path.relative_to(capture_dir).parts for path in paths)
    return {(api.replace("_", ":", 2), resource, method) for api, resource, method, _ in parts}


async def collectors_that_read(server: ViamServer, service: str = "data") -> set[Collector]:
    """What Holdfast's collectors have readings of; none while the service is being built."""
    try:
        async with server.robot() as robot:
            status = await DataManagerClient.from_robot(robot, service).get_status()
    except (GRPCError, StreamTerminatedError, ResourceNotFoundError, OSError):
        return set()
    collectors = status.get("capture", {}).get("collectors", ())
    return {(each["api"], each["resource"], each["method"]) for each in collectors if each["readings"]}


@pytest.mark.parametrize("way", [[], ["--into-service"]], ids=["as-it-is", "into-service"])
async def test_what_the_builtin_captures_the_converted_config_captures_and_the_way_back_does_again(
    way: list[str], viam_server: Callable[..., ViamServer], tmp_path: Path
) -> None:
    remote, server = viam_server("remote"), viam_server("here")
    thermometer = {"name": "thermometer", "api": "rdk:component:sensor", "model": "rdk:builtin:fake"}
    await remote.start({"components": [thermometer]})
    captured = tmp_path / "captured"
    config = with_the_builtin(captured, remote.bind_address)
    await server.start(config)
    await until(lambda: collectors_of(files(captured), captured) >= EXPECTED, "the builtin captures everything")
    assert collectors_of(files(captured), captured) == EXPECTED

    with_holdfast = converted(config, "--executable", str(RUN), *way)
    assert (with_holdfast["components"] == config["components"]) == (not way)
    server.write_config(with_holdfast)
    await server.wait_until_ready("data")
    await until(lambda: server.module_pids("holdfast"), "the module runs")

    async def all_read() -> bool:
        return await collectors_that_read(server) >= EXPECTED

    await until(all_read, "Holdfast captures everything")
    assert await collectors_that_read(server) == EXPECTED

    server.write_config(converted(with_holdfast, "--back"))
    await until(lambda: not server.module_pids("holdfast"), "the module is gone")
    before = files(captured)
    server.sigterm()  # the builtin's next start begins files of its own
    await server.wait_exit()
    await server.start()
    await until(lambda: collectors_of(files(captured) - before, captured) >= EXPECTED, "the builtin captures again")
    assert collectors_of(files(captured) - before, captured) == EXPECTED
