"""Arguments that can't be: the error names the argument, what is allowed, and the closest known name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import CommandError, ResourceCallError
from tests.steered import BOARD, SENSOR, Steered, steered


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Steered]:
    async with steered(tmp_path) as world:
        world.client.listed = {"barometer": SENSOR, "pins": BOARD}
        world.apply("a", "gate")
        yield world


PAIR = {"resource": "a", "method": "Readings"}


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ({"command": "pause"}, "pause: what is missing"),
        ({"command": "pause", "what": None}, "pause: what is missing"),
        ({"command": "pause", "what": 5.0}, "what must be a text, not 5.0"),
        ({"command": "pause", "what": "baromter"}, "did you mean 'barometer'"),
        ({"command": "pause", "what": "captur"}, '"capture", or "sync"'),
        ({"command": "pause", "what": "a", "fors": 1.0}, "no argument 'fors'; did you mean 'for_s'"),
        ({"command": "pause", "what": "a", "for_s": 0.0}, "for_s must be more than 0"),
        ({"command": "pause", "what": "a", "for_s": 1e12}, "for_s must be more than 0 and at most"),
        ({"command": "pause", "what": "a", "for_s": float("nan")}, "for_s must be a number"),
        ({"command": "pause", "what": "a", "for_s": True}, "for_s must be a number"),
        ({"command": "pause", "what": "a", "persist": 1.0}, "persist must be true or false"),
        ({"command": "resume", "what": "x"}, "there is no resource 'x'"),
        ({"command": "set_frequency", "resource": "a"}, "method is missing"),
        ({"command": "set_frequency", "resource": "a", "method": "Reading", "hz": 1.0}, "did you mean 'Readings'"),
        ({"command": "set_frequency", **PAIR, "hz": -1.0}, "hz must be a number, 0 or more"),
        ({"command": "set_frequency", "resource": "pins", "method": "Gpios", "hz": 1.0}, "pin_name"),
        ({"command": "capture_now", "resource": "pins", "method": "Gpios"}, "pin_name"),
        ({"command": "capture_now", **PAIR, "params": [1.0]}, "params must be an object"),
        ({"command": "capture_now", **PAIR, "sync": "yes"}, "sync must be true or false"),
        ({"command": "start_sequence"}, "resources is missing"),
        ({"command": "start_sequence", "resources": []}, "resources must be the list"),
        ({"command": "start_sequence", "resources": [{"resource": "a"}]}, "resources[0] must be"),
        (
            {"command": "start_sequence", "resources": [{"resource": "aa", "method": "Readings"}]},
            "did you mean 'a'",
        ),
        ({"command": "start_sequence", "resources": [PAIR], "tags": "x"}, "tags must be a list of texts"),
        ({"command": "stop_sequence", "id": "x"}, "no sequence 'x' is open"),
        ({"command": "status", "verbose": True}, "no argument 'verbose'; there is none"),
    ],
)
async def test_an_argument_that_can_not_be_is_named(world: Steered, command: dict[str, Any], told: str) -> None:
    arguments = {name: value for name, value in command.items() if name != "command"}
    with pytest.raises(CommandError) as refused:
        await world.command(command["command"], **arguments)
    assert told in str(refused.value)
    assert world.manager.steering.settings.held == [] and world.manager.steering.sequences.open == []


async def test_a_resource_that_gives_no_reading_is_an_error_of_its_own(world: Steered) -> None:
    world.client.broken.add("barometer")
    with pytest.raises(ResourceCallError, match="out of order"):
        await world.command("capture_now", resource="barometer", method="Readings")


async def test_a_configured_resource_that_is_not_there_can_be_paused_and_gives_no_reading_now(
    world: Steered,
) -> None:
    world.apply("gate")
    await world.command("pause", what="a")
    with pytest.raises(CommandError, match="configured, but not there"):
        await world.command("capture_now", **PAIR)


async def test_commands_before_anything_is_configured_say_so(tmp_path: Path) -> None:
    async with steered(tmp_path) as world:
        for name, arguments in (("pause", {"what": "a"}), ("capture_now", PAIR)):
            with pytest.raises(CommandError, match="not configured yet"):
                await world.command(name, **arguments)
