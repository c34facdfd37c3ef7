"""Resources of one short name on the real viam-server: each is captured under its own API, and none is guessed."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.problems import problems_in

from .machines import Machine, Servers, Status, a_machine, readings_of, sensor, until
from .parity.records import Captured, captured
from .parity.rows import Compared
from .viam_server import ViamServer

APIS = tuple(f"rdk:component:{kind}" for kind in ("movement_sensor", "power_sensor", "sensor"))
MOVEMENT, POWER, SENSOR = APIS
NAME = "imu"


def fake(api: str, name: str = NAME) -> dict[str, Any]:
    return {"name": name, "api": api, "model": "fake", "attributes": {}}


def method(name: str, method: str = "Readings", hz: float = 20) -> dict[str, Any]:
    return {**readings_of(name, hz), "method": method}


def running(status: Status) -> dict[tuple[str, str], str]:
    """How each collector's resource was found, by its full name and the method."""
    found = status["capture"]["collectors"]
    return {(f"{each['api']}/{each['resource']}", each["method"]): each["found_as"] for each in found}


async def until_it_reads(machine: Machine, *expected: tuple[str, str], count: int = 3) -> Status:
    """Returns when exactly the collectors of these full names and methods run, and each has so many readings."""

    def met(status: Status) -> bool:
        readings = [each["readings"] for each in status["capture"]["collectors"]]
        return set(running(status)) == set(expected) and min(readings, default=count) >= count

    return await machine.until_status(met, f"{expected} have readings")


async def test_resources_of_one_short_name_are_captured_by_their_full_names_as_the_builtin_does(
    viam_server: Servers, tmp_path: Path
) -> None:
    entries = {api: method(f"{api}/{NAME}") for api in APIS}
    far = {api: method(f"{api}/far-{NAME}") for api in (MOVEMENT, SENSOR)}
    remote = viam_server("remote")
    await remote.start({"components": [fake(api) for api in far]})
    remotes = [{"name": "far", "address": remote.bind_address, "prefix": "far-", "insecure": True}]
    async with a_machine(viam_server, tmp_path) as machine:
        machine.change(
            components=[fake(api) for api in APIS],
            capture_methods=[*entries.values(), *far.values()],
            sync_disabled=True,
        )
        machine.take({**machine.config(), "remotes": remotes})
        await machine.start_again()
        status = await until_it_reads(
            machine, *((each["name"], "Readings") for each in (*entries.values(), *far.values()))
        )
        assert set(running(status).values()) == {"dependency"}
        assert problems_in(status, "config") == [] and status["capture"]["waiting_for"] == []
        assert {(each["api"], each["resource"]) for each in status["ledger"]["collectors"]} == {
            *((api, NAME) for api in entries),
            *((api, f"far-{NAME}") for api in far),
        }
        ours = await end(machine.server, machine.capture_dir)
        builtin = await of_builtin(viam_server("builtin"), tmp_path / "of-the-builtin", entries, far, remotes)
        folders = {f"{api}/{NAME}/Readings".replace(":", "_") for api in entries}
        folders |= {f"{api}/far-{NAME}/Readings".replace(":", "_") for api in far}
        assert set(ours.parts) == set(builtin.parts) == folders
        for folder in folders:
            assert ours.readings(folder, {}, Compared.EXACT) == builtin.readings(folder, {}, Compared.EXACT)

        machine.change(sync_disabled=False)
        machine.take({**machine.config(), "remotes": remotes})
        await machine.start_again()
        await until(
            lambda: len({(each.component_type, each.component) for each in machine.arrived}) == len(folders),
            "the cloud has readings of each, by its API",
        )


async def of_builtin(
    server: ViamServer,
    folder: Path,
    entries: Mapping[str, Mapping[str, Any]],
    far: Mapping[str, Mapping[str, Any]],
    remotes: Sequence[Mapping[str, Any]],
) -> Captured:
    """What viam-server's own data manager writes of the same."""
    await server.start(
        {
            "components": [{**fake(api), **associated(entry)} for api, entry in entries.items()],
            "remotes": [
                {
                    **remotes[0],
                    "service_configs": [associated(entry)["service_configs"][0] for entry in far.values()],
                }
            ],
            "services": [
                {
                    "name": "data",
                    "api": "rdk:service:data_manager",
                    "model": "rdk:builtin:builtin",
                    "attributes": {"capture_dir": str(folder), "sync_disabled": True},
                }
            ],
        }
    )
    await until(lambda: len(list(folder.glob("*/*/Readings/*"))) >= len(entries) + len(far), "the builtin captures")
    return await end(server, folder)


def associated(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"service_configs": [{"type": "data_manager", "attributes": {"capture_methods": [entry]}}]}


async def end(server: ViamServer, folder: Path) -> Captured:
    until_ns = time.time_ns()
    await server.stop()
    return captured(folder, server.log_text(), until_ns)


async def test_a_short_name_is_captured_while_it_means_one_resource_and_a_problem_while_it_means_several(
    viam_server: Servers, tmp_path: Path
) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        source = machine.source(NAME)
        await machine.start(components=[source.component], capture_methods=[method(NAME), method(NAME, "Position")])
        readings, position = (f"{SENSOR}/{NAME}", "Readings"), (f"{MOVEMENT}/{NAME}", "Position")
        status = await until_it_reads(machine, readings)
        assert running(status)[readings] == "dependency"

        machine.change(components=[source.component, fake(MOVEMENT)])
        # viam-server gives neither, and only one of them has this method.
        status = await until_it_reads(machine, position)
        assert running(status) == {position: "listed"}
        (problem,) = problems_in(status, "config")
        assert all(part in problem for part in (f"{SENSOR}/{NAME}", f"{MOVEMENT}/{NAME}", "Readings of imu"))

        machine.change(components=[source.component])
        # viam-server looked for the dependency before it removed the other one, and does not look again.
        status = await until_it_reads(machine, readings)
        assert not any("several" in problem for problem in problems_in(status, "config"))
        await machine.stop_capture_and_sync()
        arrived = [each for each in machine.of(NAME) if each.component_type == SENSOR]
        assert sorted(each.seq for each in arrived) == source.seqs


async def test_a_short_name_beside_a_full_one_is_not_taken_for_what_the_full_one_brought(
    viam_server: Servers, tmp_path: Path
) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        await machine.start(
            components=[fake(SENSOR), fake(MOVEMENT)],
            capture_methods=[method(NAME), method(NAME, "Position"), method(f"{SENSOR}/{NAME}")],
        )
        status = await until_it_reads(machine, (f"{SENSOR}/{NAME}", "Readings"), (f"{MOVEMENT}/{NAME}", "Position"))
        assert running(status) == {
            (f"{SENSOR}/{NAME}", "Readings"): "dependency",
            (f"{MOVEMENT}/{NAME}", "Position"): "listed",
        }
        (problem,) = problems_in(status, "config")
        assert f"write {MOVEMENT}/{NAME} or {SENSOR}/{NAME}" in problem


async def test_a_full_name_of_another_api_is_a_problem_that_says_what_the_resource_is(
    viam_server: Servers, tmp_path: Path
) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        await machine.start(components=[fake(SENSOR)], capture_methods=[method(f"{MOVEMENT}/{NAME}", "Position")])
        status = await machine.until_status(lambda status: problems_in(status, "config"), "the problem")
        (problem,) = problems_in(status, "config")
        assert problem.startswith(f"{NAME} is a {SENSOR}, not a {MOVEMENT}")


async def test_the_sensors_that_steer_are_found_though_another_resource_has_their_name(
    viam_server: Servers, tmp_path: Path
) -> None:
    controls, gate = tmp_path / "controls.json", tmp_path / "gate.json"
    controls.write_text(
        json.dumps({"controls": [{"resource_name": NAME, "method": "Readings", "capture_frequency_hz": 0}]})
    )
    gate.write_text(json.dumps({"should_sync": False}))
    async with a_machine(viam_server, tmp_path) as machine:
        await machine.start(
            components=[
                sensor("controls", "reading", path=str(controls)),
                sensor("gate", "reading", path=str(gate)),
                *(fake(POWER, name) for name in ("controls", "gate")),
                *(fake(api) for api in (SENSOR, MOVEMENT)),
            ],
            capture_methods=[
                method(f"{SENSOR}/{NAME}"),
                method(f"{MOVEMENT}/{NAME}"),
                method(f"{MOVEMENT}/{NAME}", "Position"),
            ],
            capture_control_sensor={"name": "controls", "key": "controls"},
            selective_syncer_name="gate",
        )
        # A short name in the sensor's reading is of both, as in the builtin.
        status = await until_it_reads(machine, (f"{MOVEMENT}/{NAME}", "Position"))
        assert status["steering"]["control_sensor"] == "in control of 1 resources and methods"
        status = await machine.until_status(
            lambda status: "should_sync: false" in status["sync"]["selector"], "the selective syncer is asked"
        )


async def test_commands_tell_resources_of_one_short_name_apart(viam_server: Servers, tmp_path: Path) -> None:
    both = {api: (f"{api}/{NAME}", "Readings") for api in (SENSOR, MOVEMENT)}
    async with a_machine(viam_server, tmp_path) as machine:
        await machine.start(
            components=[fake(api) for api in both], capture_methods=[method(name) for name, _ in both.values()]
        )
        await until_it_reads(machine, *both.values())
        await machine.command(command="pause", what=both[SENSOR][0])
        await until_it_reads(machine, both[MOVEMENT])
        await machine.command(command="resume", what=both[SENSOR][0])
        await machine.command(command="set_frequency", resource=both[MOVEMENT][0], method="Readings", hz=0)
        await until_it_reads(machine, both[SENSOR])
        captured_now = await machine.command(
            command="capture_now", resource=both[MOVEMENT][0], method="Readings", sync=False
        )
        (path,) = captured_now["files"]
        assert MOVEMENT.replace(":", "_") in path
