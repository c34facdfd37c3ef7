"""A wrong argument is an error that names it, what is allowed, and the closest known name."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bench.hostile.arguments import ANYTHING, LONG, PAIR, USUAL
from holdfast.commands import COMMANDS, run_command
from holdfast.commands.command import did_you_mean
from holdfast.errors import BusyError, CommandError, HoldfastError, ResourceCallError
from holdfast.manager import MAX_CAPTURES_NOW, MAX_QUARANTINE_LISTS
from tests.steered import BOARD, SENSOR, Resourceful, Steered, steered
from tests.waiting import as_long_as_others_take, eventually


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Steered]:
    async with steered(tmp_path) as world:
        world.client.listed = {"barometer": SENSOR, "pins": BOARD}
        world.apply("a", "gate")
        yield world


MAX_ERROR_CHARS = 1000


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ({"command": "pause"}, "pause: what is missing"),
        ({"command": "pause", "what": None}, "pause: what is missing"),
        ({"command": "pause", "what": 5.0}, "what must be a string, not 5.0"),
        ({"command": "pause", "what": "baromter"}, "did you mean 'barometer'"),
        ({"command": "pause", "what": "captur"}, "did you mean 'capture'"),
        ({"command": "pause", "what": "a", "fors": 1.0}, "no argument 'fors'; did you mean 'for_s'"),
        ({"command": "pause", "what": "a", "for_s": 0.0}, "for_s must be from 0.001 to"),
        (
            {"command": "pause", "what": "a", "for_s": 1e12},
            "to 3.1536e+09 seconds, not 1e+12",
        ),
        ({"command": "pause", "what": "a", "for_s": float("nan")}, "for_s must be a number"),
        ({"command": "pause", "what": "a", "for_s": True}, "for_s must be a number"),
        ({"command": "pause", "what": "a", "persist": 1.0}, "persist must be true or false"),
        ({"command": "resume", "what": "x"}, "there is no resource 'x'"),
        ({"command": "set_frequency", "resource": "a"}, "method is missing"),
        ({"command": "set_frequency", "resource": "a", "method": "Reading", "hz": 1.0}, "did you mean 'Readings'"),
        ({"command": "set_frequency", **PAIR, "hz": -1.0}, "hz must be a number, 0 or more"),
        ({"command": "set_frequency", **PAIR, "hz": 5001.0}, "hz must be 0, or from 1e-05 to 5000, not 5001"),
        ({"command": "set_frequency", **PAIR, "hz": 1e308}, "hz must be 0, or from 1e-05 to 5000, not 1e+308"),
        (
            {"command": "set_frequency", **PAIR, "hz": 5e-324},
            "hz must be 0, or from 1e-05 to 5000, not 4.9",
        ),
        ({"command": "set_frequency", **PAIR, "hz": 9e-6}, "hz must be 0, or from 1e-05 to 5000, not 9e-06"),
        ({"command": "set_frequency", **PAIR, "hz": float("inf")}, "hz must be a number, 0 or more, not inf"),
        ({"command": "set_frequency", **PAIR, "hz": 10**400}, "hz must be a number, 0 or more"),
        ({"command": "set_frequency", **PAIR, "hz": "50"}, "hz must be a number, 0 or more, not '50'"),
        ({"command": "set_frequency", **PAIR, "hz": 1.0, "for_s": 5e-324}, "for_s must be from 0.001 to"),
        ({"command": "sync", "timeout_s": 1e308}, "timeout_s must be from 0.001 to 3.1536e+09 seconds, not 1e+308"),
        ({"command": "failed", "action": "list", "limit": 1e308}, "limit must be a whole number from 1 to 1000"),
        ({"command": "failed", "action": "list", "limit": 0.5}, "limit must be a whole number from 1 to 1000"),
        ({"command": "job", "id": "sync-1", "cancel": 1.0}, "cancel must be true or false"),
        ({"command": "set_frequency", "resource": "pins", "method": "Gpios", "hz": 1.0}, "pin_name"),
        ({"command": "capture_now", "resource": "pins", "method": "Gpios"}, "pin_name"),
        ({"command": "capture_now", **PAIR, "params": [1.0]}, "params must be an object"),
        ({"command": "capture_now", **PAIR, "sync": "yes"}, "sync must be true or false"),
        ({"command": "start_sequence"}, "resources is missing"),
        ({"command": "start_sequence", "resources": []}, "resources must be the list"),
        ({"command": "start_sequence", "resources": [PAIR] * 1001}, "at most 1000, not of 1001"),
        ({"command": "start_sequence", "resources": [{"resource": "a"}]}, "resources[0] must be"),
        (
            {"command": "start_sequence", "resources": [{"resource": "aa", "method": "Readings"}]},
            "did you mean 'a'",
        ),
        ({"command": "start_sequence", "resources": [PAIR], "tags": "x"}, "tags must be a list of strings"),
        (
            {"command": "start_sequence", "resources": [PAIR], "tags": ["x", 5.0]},
            "tags[1] must be a string, not 5.0",
        ),
        ({"command": "start_sequence", "resources": [PAIR], "tags": [""]}, "tags[0] must be a string of 1 to 4096"),
        ({"command": "stop_sequence", "id": "x"}, "no sequence 'x' is open"),
        ({"command": "status", "verbose": True}, "no argument 'verbose'; there is none"),
        ({"command": "upload", "path": "/a\0b"}, "path must not contain a NUL character"),
        ({"command": "sync", "paths": ["/a\0b"]}, "paths[0] must not contain a NUL character"),
    ],
)
async def test_an_argument_that_can_not_be_is_named(world: Steered, command: dict[str, Any], told: str) -> None:
    arguments = {name: value for name, value in command.items() if name != "command"}
    with pytest.raises(CommandError) as refused:
        await world.command(command["command"], **arguments)
    assert told in str(refused.value) and str(refused.value).startswith(f"{command['command']}: ")
    assert world.manager.steering.settings.active == [] and world.manager.steering.sequences.open == []


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


@pytest.mark.parametrize("name", COMMANDS)
async def test_whatever_is_given_it_is_an_answer_or_an_error_that_fits_into_a_header(
    world: Steered, name: str
) -> None:
    await eventually(lambda: world.running and world.manager.engine.store.owned)  # type: ignore[union-attr]
    arguments = [argument.name for argument in COMMANDS[name].arguments]
    for argument in (*arguments, "no such argument", LONG):
        for value in ANYTHING:
            try:
                await world.command(name, **{**USUAL.get(name, {}), argument: value})
            except HoldfastError as error:
                assert len(str(error)) < MAX_ERROR_CHARS, (argument, str(value)[:50])
    assert (await world.command("status"))["running"]


@pytest.mark.parametrize("name", [None, "", 5.0, ["sync"], {"command": "sync"}, LONG, "stauts"])
async def test_what_is_no_command_is_an_error_that_says_what_is(world: Steered, name: Any) -> None:
    with pytest.raises(
        CommandError, match=r"(did you mean '(status|sync)'|there are: help, status).*help"
    ) as refused:
        await run_command(world.manager, {"command": name})
    assert len(str(refused.value)) < MAX_ERROR_CHARS


def test_of_many_names_a_hint_lists_some() -> None:
    assert did_you_mean("?", [f"name-{number}" for number in range(1000)]).endswith("name-19, ….")


async def test_the_pause_of_a_resource_that_is_gone_ends_by_either_of_its_names(world: Steered) -> None:
    await world.command("pause", what="barometer", persist=True)
    await world.manager.stop()
    world.client.listed = {}
    world.new_process()
    world.apply("a")
    await eventually(lambda: world.manager.steering.settings.loaded)
    assert (await world.command("resume", what="rdk:component:sensor/barometer"))["resumed"]


async def test_the_pages_of_what_failed_end_with_an_empty_next_that_begins_anew(world: Steered) -> None:
    page = await world.command("failed", action="list")
    assert page["next"] == "" and await world.command("failed", action="list", after=page["next"]) == page


async def test_the_machine_is_asked_once_for_all_the_resources_of_a_sequence(
    world: Steered, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"sensor-{number}" for number in range(20)]
    world.client.listed = dict.fromkeys(names, SENSOR)
    asked = 0

    async def call(method: str, request: bytes, timeout_s: float, most_bytes: int) -> bytes:
        nonlocal asked
        asked += method.endswith("/ResourceNames")
        return await Resourceful.call(world.client, method, request, timeout_s, most_bytes)

    monkeypatch.setattr(world.client, "call", call)
    await world.command("start_sequence", resources=[{"resource": name, "method": "Readings"} for name in names])
    assert asked == 1
    (opened,) = world.manager.steering.sequences.open
    assert [name for name, _ in opened.sequence.resources] == names


async def test_captures_and_lists_that_do_not_end_keep_out_no_other_command(
    world: Steered, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, listing = asyncio.Event(), threading.Event()
    call = world.client.call

    async def held(*arguments: Any) -> bytes:
        await go_on.wait()
        return await call(*arguments)

    monkeypatch.setattr(world.client, "call", held)
    monkeypatch.setattr("holdfast.commands.failed.list_page", lambda *_: listing.wait(30))
    begun = [
        asyncio.create_task(world.command(name, **arguments))
        for name, arguments, most in (
            ("capture_now", {**PAIR, "sync": False}, MAX_CAPTURES_NOW),
            ("failed", {"action": "list"}, MAX_QUARANTINE_LISTS),
        )
        for _ in range(most)
    ]
    await as_long_as_others_take()
    with pytest.raises(BusyError, match=f"{MAX_CAPTURES_NOW} captures by command are under way already"):
        await world.command("capture_now", **PAIR)
    with pytest.raises(BusyError, match=f"{MAX_QUARANTINE_LISTS} lists of what failed are under way already"):
        await world.command("failed", action="list")
    assert len((await world.command("job"))["jobs"]) == 0 and (await world.command("status"))["running"]
    go_on.set()
    listing.set()
    await asyncio.gather(*begun, return_exceptions=True)
    assert (await world.command("capture_now", **{**PAIR, "sync": False}))["readings"] == 1
