"""Resources of one short name: which one a name means, who says so, and for how long."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from holdfast.config import Host, parse
from holdfast.errors import CommandError
from holdfast.manager import Resources
from holdfast.status import status
from holdfast.steering import machine_resources
from tests.problems import problems_in
from tests.steered import Steered, override, steered
from tests.waiting import eventually

MOVEMENT, SENSOR, THING = "rdk:component:movement_sensor", "rdk:component:sensor", "acme:component:thing"
READINGS, POSITION = "Readings", "Position"
FULL = {MOVEMENT: f"{MOVEMENT}/imu", SENSOR: f"{SENSOR}/imu"}
BOTH = frozenset(FULL)


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Steered]:
    monkeypatch.setattr(machine_resources, "LOOK_AGAIN_S", 0.02)
    async with steered(tmp_path) as world:
        yield world


def configure(
    world: Steered, given: Mapping[str, frozenset[str]], *names: str | tuple[str, str], **attributes: Any
) -> None:
    """Applies a config with these names, each with its method if that is not Readings; viam-server gave `given`."""
    pairs = [(name, READINGS) if isinstance(name, str) else name for name in names]
    methods = [{"name": name, "method": method, "capture_frequency_hz": 100} for name, method in pairs]
    folder = str(world.folder / "capture")
    config = parse(
        {"capture_dir": folder, "sync_disabled": True, "capture_methods": methods, **attributes},
        Host.of(world.environment),
    )
    world.manager.apply(config, Resources(given, world.client))


def running(world: Steered) -> set[tuple[str, str, float]]:
    engine = world.manager.engine
    specs = [] if engine is None else [each.collector.spec for each in engine.capture.running]
    return {(spec.api, spec.method.method, spec.method.frequency_hz) for spec in specs}


async def until_running(world: Steered, *expected: tuple[str, str] | tuple[str, str, float]) -> None:
    await eventually(lambda: running(world) == {(*each, 100.0)[:3] for each in expected})


def problems(world: Steered) -> list[str]:
    return problems_in(status(world.manager), "config")


async def test_a_full_name_needs_no_dependency_when_the_machine_lists_it(world: Steered) -> None:
    world.client.listed = {"imu": BOTH}
    configure(world, {}, *FULL.values())
    await until_running(world, (MOVEMENT, READINGS), (SENSOR, READINGS))
    assert {each["found_as"] for each in status(world.manager)["capture"]["collectors"]} == {"listed"}
    configure(world, {"imu": BOTH}, *FULL.values())
    assert {each["found_as"] for each in status(world.manager)["capture"]["collectors"]} == {"dependency"}


async def test_a_resource_waits_for_itself_while_only_its_namesake_is_there(world: Steered) -> None:
    configure(world, {"imu": frozenset({MOVEMENT})}, *FULL.values())
    await until_running(world, (MOVEMENT, READINGS))
    assert status(world.manager)["capture"]["waiting_for"] == [FULL[SENSOR]] and problems(world) == []


async def test_a_short_name_means_whichever_resource_there_is_and_none_of_several(world: Steered) -> None:
    configure(world, {"imu": frozenset({SENSOR})}, "imu", ("imu", POSITION))
    await until_running(world, (SENSOR, READINGS))
    world.client.listed = {"imu": BOTH | {THING}}
    configure(world, {}, "imu", ("imu", POSITION))
    await until_running(world, (MOVEMENT, POSITION))
    (problem,) = problems(world)
    assert (
        problem == f"Readings of imu: several resources are named 'imu': write {FULL[MOVEMENT]} or {FULL[SENSOR]}"
    )
    configure(world, {"imu": frozenset({SENSOR})}, "imu", ("imu", POSITION))  # the list is old now
    await until_running(world, (SENSOR, READINGS))


async def test_a_short_name_beside_a_full_one_waits_for_no_dependency_to_be_told_apart(world: Steered) -> None:
    world.client.listed = {"imu": BOTH}
    configure(world, {"imu": frozenset({SENSOR})}, "imu", ("imu", POSITION), FULL[SENSOR])
    await until_running(world, (SENSOR, READINGS), (MOVEMENT, POSITION))
    assert len(problems(world)) == 1
    world.client.listed = {"imu": frozenset({SENSOR})}
    await eventually(lambda: any("appears twice" in problem for problem in problems(world)))
    await until_running(world, (SENSOR, READINGS))


async def test_a_pause_and_a_frequency_are_of_the_resource_that_a_full_name_means(world: Steered) -> None:
    world.client.listed = {"imu": BOTH}
    configure(world, {"imu": BOTH}, *FULL.values())
    await until_running(world, (MOVEMENT, READINGS), (SENSOR, READINGS))
    await world.command("pause", what=FULL[SENSOR])
    await until_running(world, (MOVEMENT, READINGS))
    assert (await world.command("resume", what=FULL[SENSOR]))["resumed"]
    await world.command("pause", what="imu")
    assert running(world) == set()
    assert (await world.command("resume", what="imu"))["resumed"]
    answer = await world.command("set_frequency", resource=FULL[MOVEMENT], method=READINGS, hz=50)
    assert (answer["resource"], answer["old_hz"], answer["new_hz"]) == (FULL[MOVEMENT], 100.0, 50.0)
    await until_running(world, (MOVEMENT, READINGS, 50.0), (SENSOR, READINGS))
    await world.command("set_frequency", resource=FULL[MOVEMENT], method=READINGS, hz=None)
    await until_running(world, (MOVEMENT, READINGS), (SENSOR, READINGS))


async def test_a_pause_by_full_name_is_also_of_an_entry_that_has_the_short_one(world: Steered) -> None:
    world.client.listed = {"imu": BOTH}
    configure(world, {}, ("imu", POSITION))
    await until_running(world, (MOVEMENT, POSITION))
    await world.command("pause", what=FULL[SENSOR])
    assert running(world) == {(MOVEMENT, POSITION, 100.0)}
    await world.command("pause", what=FULL[MOVEMENT])
    assert running(world) == set()


@pytest.mark.parametrize("command", ["capture_now", "set_frequency"])
@pytest.mark.parametrize("names", [(), tuple(FULL.values())], ids=["not configured", "configured"])
async def test_a_command_about_one_method_does_not_guess_which_resource_is_meant(
    world: Steered, command: str, names: tuple[str, ...]
) -> None:
    world.client.listed = {"imu": BOTH}
    configure(world, {"imu": BOTH} if names else {}, *names)
    more: dict[str, Any] = {"sync": False} if command == "capture_now" else {"hz": 20.0}
    with pytest.raises(CommandError) as refused:
        await world.command(command, resource="imu", method=READINGS, **more)
    assert f"resource: several resources are named 'imu': write {FULL[MOVEMENT]} or" in str(refused.value)
    with pytest.raises(CommandError, match="there is no resource 'rdk:component:sensr/imu'; did you mean"):
        await world.command(command, resource="rdk:component:sensr/imu", method=READINGS, **more)
    await world.command(command, resource="imu", method=POSITION, **more)
    await world.command(command, resource=FULL[SENSOR], method=READINGS, **more)


async def test_what_was_set_by_a_full_name_that_no_other_shared_is_undone_by_the_short_one(world: Steered) -> None:
    world.client.listed = {"imu": frozenset({SENSOR})}
    configure(world, {"imu": frozenset({SENSOR})}, FULL[SENSOR])
    await world.command("pause", what=FULL[SENSOR])
    assert (await world.command("resume", what="imu"))["resumed"]
    await until_running(world, (SENSOR, READINGS))


async def test_the_control_sensor_means_all_resources_by_a_short_name_and_one_by_a_full_one(world: Steered) -> None:
    given = {"imu": BOTH, "gate": frozenset({SENSOR, MOVEMENT})}
    world.client.listed = given
    world.client.controls = {"controls": [override("imu", 20), override(FULL[MOVEMENT], 50)]}
    control = {"name": "gate", "key": "controls"}
    configure(world, given, *FULL.values(), capture_control_sensor=control)
    await until_running(world, (MOVEMENT, READINGS, 50.0), (SENSOR, READINGS, 20.0))
    world.client.controls = {"controls": []}
    await until_running(world, (MOVEMENT, READINGS), (SENSOR, READINGS))


async def test_a_name_that_comes_into_question_is_asked_for_at_once(
    world: Steered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_resources, "LOOK_AGAIN_S", 3600.0)
    world.client.listed = {"a": frozenset({SENSOR})}
    configure(world, {}, "a", "never-there")
    await until_running(world, (SENSOR, READINGS))
    world.client.listed = {"imu": BOTH}
    configure(world, {}, ("imu", POSITION), "never-there")
    await until_running(world, (MOVEMENT, POSITION))
