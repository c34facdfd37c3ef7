"""The harness itself: a real viam-server starts, answers, follows its config and ends without a trace."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from grpclib.exceptions import GRPCError
from viam.components.sensor import Sensor
from viam.proto.robot import ResourceNamesRequest, ResourceNamesResponse

from demo.cloud import LocalCloud

from .viam_server import ViamServer, sensors_module

Servers = Callable[..., ViamServer]
BUILD = Path(__file__).parent.parent / "viam_server" / "build.sh"


def sensor(name: str, model: str, **attributes: Any) -> dict[str, Any]:
    return {"name": name, "api": "rdk:component:sensor", "model": model, "attributes": attributes}


FAKES = [sensor("fake-1", "fake"), sensor("fake-2", "fake")]


async def test_sensors_of_the_server_and_of_the_module_answer(viam_server: Servers, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.csv"
    server = viam_server()
    own = [
        sensor("counting", "holdfast:test:counting", ledger=str(ledger)),
        sensor("broken", "holdfast:test:broken"),
        sensor("late", "holdfast:test:late", delay_s=0.3),
    ]
    await server.start({"modules": [sensors_module()], "components": FAKES + own})
    await server.wait_until_ready("fake-1", "fake-2", "counting", "broken", "late")
    async with server.robot() as robot:
        for name in ("fake-1", "fake-2"):
            assert await Sensor.from_robot(robot, name).get_readings(timeout=5) == {"a": 1, "b": 2, "c": 3}

        counting = Sensor.from_robot(robot, "counting")
        assert [await counting.get_readings(timeout=5) for _ in range(3)] == [{"seq": n} for n in range(3)]
        lines = [line.split(",") for line in ledger.read_text().splitlines()]
        assert [seq for seq, _ in lines] == ["0", "1", "2"]
        assert all(abs(time.time_ns() - int(at)) < 60e9 for _, at in lines)

        with pytest.raises(GRPCError, match="this sensor is broken"):
            await Sensor.from_robot(robot, "broken").get_readings(timeout=5)

        begin = time.monotonic()
        await Sensor.from_robot(robot, "late").get_readings(timeout=5)
        assert time.monotonic() - begin >= 0.3


async def test_the_switch_answers_as_its_file_says(viam_server: Servers, tmp_path: Path) -> None:
    word = tmp_path / "word"
    server = viam_server()
    own = [sensor("switch", "holdfast:test:switch", path=str(word))]
    await server.start({"modules": [sensors_module()], "components": own})
    await server.wait_until_ready("switch")
    async with server.robot() as robot:
        switch = Sensor.from_robot(robot, "switch")
        for text, readings in (
            ("true", {"should_sync": True}),
            ("false\n", {"should_sync": False}),
            ("missing", {"something_else": 1}),
            ("text", {"should_sync": "yes"}),
        ):
            word.write_text(text)
            assert await switch.get_readings(timeout=5) == readings
        word.write_text("error")
        with pytest.raises(GRPCError):
            await switch.get_readings(timeout=5)


async def test_a_config_change_adds_a_sensor(viam_server: Servers) -> None:
    server = viam_server()
    await server.start({"components": FAKES})
    await server.wait_until_ready("fake-1")
    server.write_config({"components": [*FAKES, sensor("fake-3", "fake")]})
    await server.wait_until_ready("fake-3", timeout_s=10)


async def test_a_resource_can_appear_later(viam_server: Servers, tmp_path: Path) -> None:
    cause = tmp_path / "now"
    server = viam_server()
    own = [sensor("late-start", "holdfast:test:late_start", path=str(cause))]
    await server.start({"modules": [sensors_module()], "components": own})
    await server.wait_for_log("does not exist yet")
    cause.touch()
    await server.wait_until_ready("late-start")


async def test_a_raw_channel_reaches_the_server_by_port_and_by_socket(viam_server: Servers) -> None:
    server = viam_server()
    await server.start({"components": FAKES})
    async with server.channel() as channel:
        names = channel.unary_unary(
            "/viam.robot.v1.RobotService/ResourceNames",
            request_serializer=ResourceNamesRequest.SerializeToString,
            response_deserializer=ResourceNamesResponse.FromString,
        )
        response = await names(ResourceNamesRequest(), timeout=5)
    assert {"fake-1", "fake-2"} <= {each.name for each in response.resources}
    assert server.parent_socket.is_socket()


async def test_a_connected_server_takes_its_config_from_the_cloud(viam_server: Servers, tmp_path: Path) -> None:
    server = viam_server()
    cloud = LocalCloud(tmp_path / "cloud", api_keys={})
    machine = {"network": {"bind_address": server.bind_address}, "components": FAKES}
    cloud.set_machine_config(machine)
    await cloud.start()
    try:
        await server.start_connected(cloud.address, part_id=cloud.part_id)
        await server.wait_until_ready("fake-1", "fake-2")
        async with server.robot() as robot:
            assert (await robot.get_cloud_metadata()).machine_part_id == cloud.part_id
        cloud.set_machine_config({**machine, "components": [*FAKES, sensor("fake-3", "fake")]})
        await server.wait_until_ready("fake-3", timeout_s=15)
        assert await server.stop()
    finally:
        await cloud.stop()


async def test_stop_leaves_no_process_behind(viam_server: Servers) -> None:
    server = viam_server()
    own = [sensor("counting", "holdfast:test:counting")]
    await server.start({"modules": [sensors_module()], "components": own})
    await server.wait_until_ready("counting")
    pids = [server.pid, *server.module_pids("test-sensors")]
    assert len(pids) == 2
    assert await server.stop()
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    assert not server.is_running


async def test_stop_finds_a_module_whose_server_was_killed(viam_server: Servers) -> None:
    server = viam_server()
    own = [sensor("counting", "holdfast:test:counting")]
    await server.start({"modules": [sensors_module()], "components": own})
    await server.wait_until_ready("counting")
    pids = server.module_pids("test-sensors")
    server.sigkill()
    assert server.module_pids("test-sensors") == pids != []
    assert not await server.stop()
    assert server.module_pids("test-sensors") == []


async def test_a_killed_server_starts_again_in_its_folder(viam_server: Servers, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.csv"
    server = viam_server()
    own = [sensor("counting", "holdfast:test:counting", ledger=str(ledger))]
    await server.start({"modules": [sensors_module()], "components": own})
    for expected in (0, 1):
        await server.wait_until_ready("counting")
        async with server.robot() as robot:
            assert await Sensor.from_robot(robot, "counting").get_readings(timeout=5) == {"seq": expected}
        if expected == 0:
            server.sigkill()
            await server.start()


async def test_waiting_for_a_log_line_ends_with_the_server(viam_server: Servers) -> None:
    server = viam_server()
    await server.start({"components": FAKES})
    with pytest.raises(TimeoutError):
        await server.wait_for_log("no such line", 0.2)
    server.sigterm()
    assert await asyncio.wait_for(server.wait_exit(), 30) == 0
    with pytest.raises(RuntimeError, match="ended before"):
        await server.wait_for_log("no such line", 30)


def build(**env: str) -> subprocess.CompletedProcess[str]:
    base = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
    return subprocess.run([str(BUILD)], capture_output=True, text=True, env=base | env, timeout=60, check=False)


def test_a_server_of_the_user_s_is_taken_as_it_is(tmp_path: Path) -> None:
    result = build(VIAM_SERVER="/bin/true", HOLDFAST_CACHE=str(tmp_path / "cache"))
    assert (result.returncode, result.stdout) == (0, "/bin/true\n")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("version", [None, "go1.9.7", "go1.25.9"])
def test_without_a_usable_go_the_build_says_so_and_exits_with_3(tmp_path: Path, version: str | None) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("awk", "bash", "cat", "cut", "dirname", "head", "mkdir", "sha256sum", "sort"):
        (tools / name).symlink_to(str(shutil.which(name)))
    if version:
        (tools / "go").write_text(f"#!/bin/sh\necho {version}\n")
        (tools / "go").chmod(0o755)
    result = build(PATH=str(tools), HOLDFAST_CACHE=str(tmp_path / "cache"))
    assert (result.returncode, result.stdout) == (3, "")
    assert "can't be built" in result.stderr
    assert "go.mod asks for" in result.stderr if version else "there is no Go" in result.stderr
