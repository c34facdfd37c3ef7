"""Every example of docs/commands.md is run, in its order."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.steered import SENSOR, steered
from tests.waiting import eventually

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "commands.md"
METHODS = [{"name": "thermometer", "method": "Readings", "capture_frequency_hz": 10}]


async def test_every_example_of_docs_commands_works_as_it_is_shown(tmp_path: Path) -> None:
    examples = re.findall(r"```json\n(.*?)\n```", DOCUMENT.read_text(), re.DOTALL)
    answers: dict[str, dict[str, Any]] = {}
    async with steered(tmp_path) as world:
        world.client.listed = {"barometer": SENSOR}
        world.apply("thermometer", capture_methods=METHODS)
        await eventually(
            lambda: world.manager.engine is not None and world.running and world.manager.engine.store.owned
        )
        for example in examples:
            command = json.loads(example)
            name = command.pop("command")
            if command.get("path") == "<folder>":
                command["path"] = str(world.folder / "capture")
            if command.get("id") == "<id>":
                command["id"] = answers["sync"]["job"] if name == "job" else answers["start_sequence"]["id"]
            answers[name] = await world.command(name, **command)
    assert len(examples) == 19
    assert answers["pause"]["paused"][0]["what"] == "thermometer" and answers["resume"]["paused"] == []
    assert answers["set_frequency"]["resource"] == "barometer" and answers["set_frequency"]["old_hz"] == 1.0
    assert answers["job"]["job"] == answers["sync"]["job"] and answers["sync"]["kind"] == "sync"
    assert answers["upload"]["kind"] == "upload" and world.cloud.files_count == 1
    assert answers["failed"]["not_found"] == ["/no/longer/wanted"]
    assert answers["capture_now"]["delivery"] == "with the next sync"


async def test_the_documented_reading_of_the_control_sensor_steers(tmp_path: Path) -> None:
    (reading,) = re.findall(r"```\n(\{\n.*?)\n```", DOCUMENT.read_text(), re.DOTALL)
    async with steered(tmp_path) as world:
        world.client.listed = {"barometer": SENSOR}
        world.client.controls = json.loads(reading)
        gate = {"name": "gate", "key": "controls"}
        world.apply("thermometer", "gate", capture_methods=METHODS, capture_control_sensor=gate)
        await world.until_running(thermometer=50.0, barometer=1.0)
        assert world.running["thermometer"][1] == ("hot",)
        (opened,) = world.manager.steering.sequences.open
        assert opened.sequence.tags == ("boiling",) and opened.by_sensor
