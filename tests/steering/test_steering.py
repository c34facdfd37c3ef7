"""The control sensor and users steer the data manager, through changes of the config and restarts."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from holdfast import manager as manager_module
from holdfast.status import status
from holdfast.steering import machine_resources

from ..problems import problems_in
from ..steered import BOARD, GATE, SENSOR, Steered, override, steered
from ..waiting import eventually


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Steered]:
    async with steered(tmp_path) as world:
        yield world


def delivered_sequences(world: Steered) -> list[dict[str, Any]]:
    path = world.folder / "cloud" / "sequences.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def test_the_sensor_changes_frequency_and_tags_and_switches_off(world: Steered) -> None:
    world.apply(**GATE)
    await world.until_running(a=100.0)
    world.client.controls = {"controls": [override("a", 50, tags=["hot"])]}
    await world.until_running(a=50.0)
    assert world.running["a"][1] == ("hot",)
    assert status(world.manager)["steering"]["control_sensor"] == "in control of 1 resources and methods"
    world.client.controls = {"controls": [override("a", 0)]}
    await world.until_running()
    world.client.controls = None
    await world.until_running(a=100.0)
    assert world.running["a"][1] == ("all",)
    assert "out of order" in status(world.manager)["steering"]["control_sensor"]


async def test_polling_leaves_what_does_not_change_alone(world: Steered) -> None:
    methods = [{"name": name, "method": "Readings", "capture_frequency_hz": 50} for name in ("a", "b")]
    world.apply("a", "b", "gate", **GATE, capture_methods=methods)
    await world.until_running(a=50.0, b=50.0)
    (unchanged,) = [r for r in world.manager.engine.capture.running if r.collector.spec.resource == "a"]  # type: ignore[union-attr]
    for hz in (10, 20, 40):
        world.client.controls = {"controls": [override("b", hz), override("a", 50)]}
        await world.until_running(a=50.0, b=float(hz))
    await world.polled()
    assert unchanged in world.manager.engine.capture.running  # type: ignore[union-attr]


async def test_a_pair_that_is_not_configured_runs_when_the_sensor_gives_it_a_frequency(
    world: Steered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_resources, "LOOK_AGAIN_S", 0.05)
    world.client.listed = {"b": SENSOR, "pins": BOARD}
    pins = {"resource_name": "pins", "method": "Gpios", "capture_frequency_hz": 5}
    unknown = {"resource_name": "b", "method": "Position", "capture_frequency_hz": 5}
    world.apply(**GATE)
    world.client.controls = {"controls": [override("b", 20), override("c", 20), pins, unknown]}
    await world.until_running(a=100.0, b=20.0)
    problems = problems_in(status(world.manager), "config")
    assert any("pin_name" in each for each in problems) and any("Position of b" in each for each in problems)
    world.client.listed["c"] = SENSOR
    await world.until_running(a=100.0, b=20.0, c=20.0)
    world.client.controls = {"controls": []}
    await world.until_running(a=100.0)


async def test_a_command_takes_nobodys_eyes_off_a_resource_that_is_to_come(
    world: Steered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_resources, "LOOK_AGAIN_S", 0.05)
    world.apply(**GATE)
    world.client.controls = {"controls": [override("c", 20)]}
    await eventually(lambda: status(world.manager)["capture"]["waiting_for"] == ["c"])
    await world.command("capture_now", resource="a", method="Readings", sync=False)
    await world.served(10)
    world.client.listed["c"] = SENSOR
    await world.until_running(a=100.0, c=20.0)


@pytest.mark.parametrize("off", [{"disabled": True}, {"capture_frequency_hz": 0}])
async def test_an_entry_that_is_off_writes_to_its_own_folder_when_it_is_switched_on(
    world: Steered, off: dict[str, Any]
) -> None:
    entry = {"name": "b", "method": "Readings", "capture_directory": str(world.folder / "own"), **off}
    world.apply("a", "b", capture_methods=[entry])
    await world.command("set_frequency", resource="b", method="Readings", hz=50)
    await world.served(3, "b")
    world.apply("a", "b", capture_methods=[entry])
    await world.until_running(b=50.0)
    await world.manager.stop()
    assert len(list((world.folder / "own").rglob("*.capture"))) == 1


async def test_a_sensor_that_is_not_there_yet_steers_when_it_comes(world: Steered) -> None:
    world.client.controls = {"controls": [override("a", 50)]}
    world.apply("a", **GATE)
    await world.until_running(a=100.0)
    assert "'gate' is not there" in status(world.manager)["steering"]["control_sensor"]
    world.apply("a", "gate", **GATE)
    await world.until_running(a=50.0)
    world.apply("a", "gate")
    await world.until_running(a=100.0)
    assert status(world.manager)["steering"]["control_sensor"] == ""


async def test_a_change_of_the_config_leaves_what_the_sensor_says_in_force(world: Steered) -> None:
    world.client.controls = {"controls": [override("a", 50)]}
    world.apply(**GATE)
    await world.until_running(a=50.0)
    (before,) = world.manager.engine.capture.running  # type: ignore[union-attr]
    await world.manager.hand_over()
    world.client.controls = None  # viam-server is rebuilding it
    await world.served(5)
    world.client.controls = {"controls": [override("a", 50)]}
    world.apply(**GATE)
    await world.polled()
    assert world.manager.engine.capture.running == [before]  # type: ignore[union-attr]


async def test_a_command_goes_before_the_sensor_and_a_pause_before_both(world: Steered) -> None:
    world.client.controls = {"controls": [override("a", 50, tags=["hot"])]}
    world.apply(**GATE)
    await world.until_running(a=50.0)
    answer = await world.command("set_frequency", resource="a", method="Readings", hz=20.0)
    assert (answer["old_hz"], answer["new_hz"]) == (50.0, 20.0)
    assert world.running == {"a": (20.0, ("hot",))}
    await world.command("pause", what="a")
    assert world.running == {}
    answer = await world.command("set_frequency", resource="a", method="Readings", hz=None)
    assert (answer["old_hz"], answer["new_hz"]) == (20.0, 50.0), "a pause is no frequency"
    assert answer["paused"] == status(world.manager)["paused"] == [{"what": "a", "until": "", "persist": False}]
    await world.command("resume", what="a")
    assert world.running == {"a": (50.0, ("hot",))}


@pytest.mark.parametrize("what", ["capture", "a", "rdk:component:sensor/a"])
async def test_a_pause_of_capture_holds_through_a_change_and_ends_with_its_time(world: Steered, what: str) -> None:
    world.apply()
    await world.served(3)
    answer = await world.command("pause", what=what, for_s=0.3)
    assert world.running == {} and re.fullmatch(r".{19}\.\d{3}Z", answer["paused"][0]["until"])
    await world.manager.hand_over()
    world.apply(tags=["other"])
    assert world.running == {}
    await world.until_running(a=100.0)
    assert (await world.command("resume", what=what))["resumed"] is False


async def test_what_is_to_persist_holds_after_a_restart_from_the_first_reading_on(world: Steered) -> None:
    world.apply()
    await world.served(1)
    assert (await world.command("pause", what="a", persist=True))["problem"] == ""
    await world.manager.stop()
    served = world.client.served["a"]
    world.new_process()
    world.apply()
    await eventually(lambda: world.manager.steering.settings.loaded)
    assert status(world.manager)["paused"] == [{"what": "a", "until": "", "persist": True}]
    assert world.running == {} and world.client.served["a"] == served
    await world.command("resume", what="a")
    await world.served(1)
    await world.manager.stop()
    world.new_process()
    world.apply()
    await world.served(1)


async def test_a_paused_sync_waits_through_a_change_of_the_config(world: Steered) -> None:
    world.apply(sync_disabled=False)
    await eventually(lambda: world.cloud.readings_count)
    await world.command("pause", what="sync")
    await eventually(lambda: status(world.manager)["sync"]["state"].startswith("paused by command"))
    await eventually(lambda: not status(world.manager)["sync"]["in_flight"])
    count = world.cloud.calls["DataCaptureUpload"]
    await world.manager.hand_over()
    world.apply(sync_disabled=False, tags=["other"])
    world.apply(sync_disabled=False, cloud_address=world.cloud.address.replace("127.0.0.1", "localhost"))
    await world.served(30)
    assert world.cloud.calls["DataCaptureUpload"] == count
    assert (await world.command("sync"))["files"] > 0, "a manual sync works"
    count = world.cloud.readings_count
    await world.command("resume", what="sync")
    await eventually(lambda: world.cloud.readings_count > count)


async def test_a_reading_now_lies_in_a_file_and_is_delivered(world: Steered) -> None:
    world.client.listed = {"b": SENSOR}
    world.apply()
    engine = world.manager.engine
    assert engine is not None
    await eventually(lambda: engine.store.owned)
    await world.command("pause", what="capture")
    answer = await world.command("capture_now", resource="b", method="Readings")
    (file,) = answer["files"]
    assert answer["delivery"] == "delivered" and answer["readings"] == 1
    assert "/b/Readings/" in file and not Path(file).exists()
    assert world.client.served["b"] == 1 and "b" not in world.running
    answer = await world.command("capture_now", resource="b", method="Readings", params={"deep": 1}, sync=False)
    assert Path(answer["files"][0]).exists() and answer["delivery"] == "with the next sync"
    await world.cloud.stop()
    answer = await world.command("capture_now", resource="a", method="Readings")
    assert answer["delivery"].startswith("later: ") and Path(answer["files"][0]).exists()
    readings = status(world.manager)["readings"]
    gone = readings["delivered"] + readings["on_disk"] + sum(readings["dropped"].values())
    assert readings["captured"] == gone


async def test_a_sequence_by_command_reaches_the_cloud_behind_its_data(world: Steered) -> None:
    world.apply()
    started = await world.command(
        "start_sequence", resources=[{"resource": "a", "method": "Readings"}], tags=["boiling"]
    )
    await world.served(5)
    (opened,) = status(world.manager)["steering"]["sequences"]
    assert opened["id"] == started["id"] and opened["by"] == "command" and opened["tags"] == ["boiling"]
    await world.manager.hand_over()
    world.apply(sync_disabled=False)
    await eventually(lambda: world.cloud.readings_count)
    assert delivered_sequences(world) == []
    stopped = await world.command("stop_sequence", id=started["id"])
    await eventually(lambda: delivered_sequences(world))
    (found,) = delivered_sequences(world)
    assert found["resources"] == [{"resource_name": "a", "method_name": "Readings"}]
    assert found["sequence_tags"] == ["boiling"] and stopped["start"] < stopped["end"]


async def test_the_sensors_sequences_end_when_it_fails_or_capture_does(world: Steered) -> None:
    marked = {"resources": [{"resource_name": "a", "method": "Readings"}]}
    world.client.controls = {"controls": [], "sequences": [marked]}
    world.apply(**GATE)

    def open_now() -> list[Any]:
        return list(status(world.manager)["steering"]["sequences"])

    await eventually(open_now)
    world.client.controls = None
    await eventually(lambda: not open_now())
    world.client.controls = {"controls": [], "sequences": [marked]}
    await eventually(open_now)
    world.apply(**GATE, capture_disabled=True)
    assert open_now() == []
    await eventually(lambda: len(list(world.folder.rglob("*.seq"))) == 2)


async def test_an_open_sequence_ends_with_the_process_and_with_its_service_when_no_successor_comes(
    world: Steered, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = [{"resource": "a", "method": "Readings"}]
    world.apply()
    await world.command("start_sequence", resources=pair)
    await world.manager.stop()
    assert len(list(world.folder.rglob("*.seq"))) == 1
    monkeypatch.setattr(manager_module, "HAND_OVER_S", 0.2)
    world.apply(sync_disabled=False)
    await eventually(lambda: len(delivered_sequences(world)) == 1)
    await world.command("start_sequence", resources=pair)
    await world.manager.hand_over()
    assert len(list(world.folder.rglob("*.seq"))) == 1
    await eventually(lambda: world.manager.engine is None)
    assert not list(world.folder.rglob("*.progseq")) and len(list(world.folder.rglob("*.seq"))) == 1
