"""What the status says of sync while files wait, move and are refused, and what it leaves out of long lists."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from demo.cloud import LocalCloud
from holdfast import status as status_module
from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.base.noted import Noted
from holdfast.config import Host, parse
from holdfast.manager import Manager, Resources
from holdfast.status import status
from holdfast.steering import machine_resources
from tests.acceptance import accept_something

from .problems import problems_in
from .steered import SENSOR, steered
from .waiting import eventually


async def test_the_status_tells_what_waits_since_when_how_fast_it_goes_and_what_failed(tmp_path: Path) -> None:
    environment = {
        "HOME": str(tmp_path),
        "VIAM_API_KEY_ID": "id",
        "VIAM_API_KEY": "key",
        "VIAM_MACHINE_PART_ID": "part",
    }
    files = tmp_path / "files"
    files.mkdir()
    for name in ("refused", "a", "b"):
        (files / name).write_bytes(bytes(1000))
        os.utime(files / name, (time.time() - 100, time.time() - 100))
    answers = asyncio.Event()
    cloud = LocalCloud(tmp_path / "cloud", api_keys={"id": "key"})

    def refuse(method: str, request: bytes | None) -> grpc.StatusCode | None:
        return grpc.StatusCode.INVALID_ARGUMENT if request and b"/refused" in request else None

    async def hold() -> None:
        await answers.wait()

    cloud.fail_while, cloud.before_answer = refuse, hold
    await cloud.start()
    attributes = {
        "capture_dir": str(tmp_path / "capture"),
        "cloud_address": cloud.address,
        "additional_sync_paths": [str(files), str(tmp_path / "later")],
        "file_last_modified_millis": 1,
        "sync_interval_mins": 0.001,
    }
    manager = Manager(environment, FileSystem(), SystemClock())
    manager.apply(parse(attributes, Host.of(environment)), Resources())

    def sync() -> dict[str, Any]:
        found: dict[str, Any] = status(manager)["sync"]
        return found

    await eventually(lambda: "INVALID_ARGUMENT" in (sync()["last_error"] or ""))
    assert "it stays" in sync()["last_error"] and manager.engine is not None
    await accept_something(manager.engine.uplink.link)
    await eventually(lambda: sync()["failed_files"] == 1 and sync()["pending_files"] == 2)
    problem = f"additional_sync_paths: {tmp_path / 'later'} is not there; it is synced as soon as it is"
    assert problems_in(status(manager), "config") == [problem]
    assert [each["kind"] for each in sync()["additional_paths"]] == ["folder", "missing"]
    (tmp_path / "later").mkdir()
    await eventually(lambda: problems_in(status(manager), "config") == [])
    waiting = sync()
    assert (waiting["link"], waiting["state"], waiting["selector"]) == ("up", "syncing", "")
    assert (waiting["pending_bytes"], waiting["failed_bytes"], waiting["in_flight"]) == (2000, 1000, 2)
    assert 99 < waiting["oldest_age_s"] < 200
    assert waiting["throughput_bytes_per_s"] > 0
    assert waiting["time_left_s"] == 0, "all of it is sent, and the answers are missing"
    answers.set()
    await eventually(lambda: sync()["pending_files"] == 0)
    assert (sync()["pending_bytes"], sync()["oldest_age_s"], sync()["time_left_s"]) == (0, None, 0)
    answers.clear()
    tomorrow = files / "dated-tomorrow"
    tomorrow.write_bytes(b"as from a clock that was set back since")
    os.utime(tomorrow, (time.time() + 86_400,) * 2)
    await eventually(lambda: sync()["pending_files"] == 1)
    assert sync()["oldest_age_s"] == 0
    answers.set()
    await eventually(lambda: sync()["pending_files"] == 0)
    await manager.stop()
    await cloud.stop()


async def test_of_too_many_collectors_the_status_shows_those_with_problems_first_and_counts_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_module, "MOST_COLLECTORS", 3)
    async with steered(tmp_path) as world:
        names = [f"sensor-{number}" for number in range(8)]
        world.client.broken.add("sensor-6")
        methods = [{"name": name, "method": "Readings", "capture_frequency_hz": 100} for name in names]
        world.apply(*names, capture_methods=methods)

        def found() -> dict[str, Any]:
            return status(world.manager)

        await eventually(lambda: any(each["last_error"] for each in found()["capture"]["collectors"]))
        await eventually(lambda: len(found()["ledger"]["collectors"]) == 3)
        await eventually(lambda: found()["not_shown"] == {"capture.collectors": 5, "ledger.collectors": 4})
        shown = [each["resource"] for each in found()["capture"]["collectors"]]
        assert shown == ["sensor-6", "sensor-0", "sensor-1"]
        await eventually(lambda: found()["readings"]["captured"] >= 7)


async def test_gaps_that_are_not_shown_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_module, "MOST_GAPS", 2)
    async with steered(tmp_path) as world:
        names = [f"sensor-{number}" for number in range(5)]
        world.client.broken.update(names)
        methods = [{"name": name, "method": "Readings", "capture_frequency_hz": 20} for name in names]
        world.apply(*names, capture_methods=methods)
        await eventually(lambda: status(world.manager)["not_shown"] == {"capture.gaps": 3})
        assert len(status(world.manager)["capture"]["gaps"]) == 2


async def test_what_else_could_be_captured_is_listed_as_of_when_the_machine_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_resources, "LOOK_AGAIN_S", 0.05)
    monkeypatch.setattr(machine_resources, "LIST_AGAIN_S", 0.05)
    monkeypatch.setattr(status_module, "MOST_NOT_CAPTURED", 2)
    movement = "rdk:component:movement_sensor"
    async with steered(tmp_path) as world:
        world.client.listed = {
            "a": SENSOR | {movement},
            "off": SENSOR,
            "spare": SENSOR,
            "gripper": frozenset({"rdk:component:gripper"}),
        }
        off = {"name": "off", "method": "Readings", "disabled": True}
        by_full_name = {"name": "rdk:component:sensor/a", "method": "Readings", "capture_frequency_hz": 1}
        world.apply("a", capture_methods=[by_full_name, off])
        assert status(world.manager)["capture"]["not_captured"] is None, "the machine was not asked yet"

        def found() -> dict[str, list[str]]:
            told = status(world.manager)["capture"]["not_captured"] or {"resources": []}
            return {f"{each['api']}/{each['resource']}": each["methods"] for each in told["resources"]}

        spare = "rdk:component:sensor/spare"
        await eventually(lambda: found().keys() == {f"{movement}/a", spare})
        assert found()[spare] == ["Readings"] and "Position" in found()[f"{movement}/a"]
        await world.command("set_frequency", resource="spare", method="Readings", hz=1)
        await eventually(lambda: found().keys() == {f"{movement}/a"})
        world.client.listed = dict.fromkeys(("x", "y", "z"), SENSOR)
        await eventually(lambda: len(found()) == 2)
        assert status(world.manager)["not_shown"] == {"capture.not_captured.resources": 1}
        world.client.listed = {}  # it does not answer any more, or lists nothing
        await eventually(lambda: status(world.manager)["capture"]["not_captured"]["as_of_s"] > 0.2)
        assert len(found()) == 2


async def test_an_error_of_long_ago_is_told_with_its_age(tmp_path: Path) -> None:
    async with steered(tmp_path) as world:
        world.apply("a")
        await eventually(lambda: status(world.manager)["capture"]["collectors"])
        found = status(world.manager)
        assert (found["sync"]["last_error"], found["sync"]["last_error_age_s"]) == ("", None)
        assert (found["capture"]["last_disk_error"], found["capture"]["last_disk_error_age_s"]) == ("", None)
        engine, now_s = world.manager.engine, world.manager.clock.monotonic()
        assert engine is not None
        engine.uplink.delivery.last_error = Noted("refused", now_s - 7200)
        engine.store.writer.completion.last_error = Noted("no sync", now_s - 60)
        engine.capture.running[0].collector.last_error = Noted("no answer", now_s - 5)
        found = status(world.manager)
        assert found["sync"]["last_error"] == "refused"
        assert 7200 <= found["sync"]["last_error_age_s"] < 7260
        assert found["capture"]["last_disk_error"] == "no sync"
        assert 60 <= found["capture"]["last_disk_error_age_s"] < 120
        assert 5 <= found["capture"]["collectors"][0]["last_error_age_s"] < 65
