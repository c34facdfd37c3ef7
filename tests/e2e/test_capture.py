"""Capture on the real viam-server: what the sensors say arrives, each reading once, whatever other sensors do."""

from __future__ import annotations

from pathlib import Path

import pytest

from .machines import PART_ID, Machine, Servers, a_machine, collector, lines_with_key, readings_of, sensor, until

BOTH = pytest.mark.parametrize("connected", [False, True], ids=["local-config", "cloud-config"])


def assert_at_rate(machine: Machine, name: str, hz: float) -> None:
    """Generous: a busy computer may miss half of the ticks, but nothing is ever read faster than asked."""
    times = sorted(reading.requested_ns for reading in machine.of(name))
    rate_hz = (len(times) - 1) / ((times[-1] - times[0]) / 1e9)
    assert 0.5 * hz <= rate_hz <= 1.1 * hz, f"{name} came at {rate_hz:.1f} Hz instead of {hz} Hz"


@BOTH
async def test_every_reading_of_every_sensor_arrives_once_and_at_its_rate(
    viam_server: Servers, tmp_path: Path, connected: bool
) -> None:
    async with a_machine(viam_server, tmp_path, connected=connected) as machine:
        sources = {machine.source("fast"): 100.0, machine.source("slow"): 7.0}
        fakes = {"fake-1": 20.0, "fake-2": 4.0}
        await machine.start(
            components=[*(source.component for source in sources), *(sensor(name) for name in fakes)],
            tags=["all"],
            capture_methods=[
                *(readings_of(source.name, hz, tags=[source.name]) for source, hz in sources.items()),
                *(readings_of(name, hz) for name, hz in fakes.items()),
            ],
        )
        await until(lambda: len(machine.of("fast")) >= 300 and len(machine.of("fake-2")) >= 8, "readings arrive")
        await machine.stop_capture_and_sync()

        for source, hz in sources.items():
            arrived = sorted(machine.of(source.name), key=lambda reading: reading.seq)
            served = source.served
            assert [reading.seq for reading in arrived] == [each.seq for each in served]
            for reading, each in zip(arrived, served, strict=True):
                assert reading.requested_ns <= each.time_ns <= reading.received_ns
            assert {reading.tags for reading in arrived} == {("all", source.name)}
            assert_at_rate(machine, source.name, hz)
        for name, hz in fakes.items():
            assert all(reading.data == {"readings": {"a": 1, "b": 2, "c": 3}} for reading in machine.of(name))
            assert_at_rate(machine, name, hz)
        assert {(r.component_type, r.method, r.part_id) for r in machine.arrived} == {
            ("rdk:component:sensor", "Readings", PART_ID)
        }
        assert not any(reading.unknown_fields for reading in machine.arrived)  # the checks in our files stay there
        counts = (await machine.status())["readings"]
        assert counts["captured"] == counts["delivered"] == len(machine.arrived)
        assert counts["on_disk"] == 0 and counts["dropped"] == {}
        assert not lines_with_key(machine.server.log_text())


async def test_a_broken_and_a_late_sensor_stop_no_other(viam_server: Servers, tmp_path: Path) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        source = machine.source("counting")
        await machine.start(
            components=[
                sensor("broken", "broken"),
                sensor("late", "late", delay_s=60.0),
                sensor("a-little-late", "late", delay_s=0.3),
                source.component,
            ],
            capture_methods=[
                readings_of("broken", 50),
                readings_of("late", 50, timeout_ms=500),
                readings_of("a-little-late", 50),
                readings_of("counting", 50),
            ],
        )
        status = await machine.until_status(
            lambda status: (
                collector(status, "counting")["captured"] >= 150
                and collector(status, "broken")["errors"] >= 50
                and collector(status, "late")["errors"] >= 2
                and collector(status, "a-little-late")["captured"] >= 5
            ),
            "all four sensors were asked for seconds",
        )
        assert "this sensor is broken" in collector(status, "broken")["last_error"]
        assert collector(status, "late")["missed"] > 0
        await machine.stop_capture_and_sync()
        assert sorted(machine.seqs("counting")) == source.seqs
        assert_at_rate(machine, "counting", 50)
        assert {reading.data["readings"]["delay_s"] for reading in machine.of("a-little-late")} == {0.3}
        assert machine.of("broken") == machine.of("late") == []
        # Fifty failures a second are one line in the log.
        assert machine.server.log_text().count("no reading from Readings of broken") == 1


async def test_a_resource_that_appears_later_is_captured_from_then_on_and_touches_no_other(
    viam_server: Servers, tmp_path: Path
) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        source = machine.source("counting")
        appear = tmp_path / "appear"
        await machine.start(
            components=[source.component, sensor("late-start", "late_start", path=str(appear))],
            sync_disabled=True,
            capture_methods=[
                readings_of("counting", 100),
                readings_of("late-start", 20),
                readings_of("never-there", 20),
            ],
        )
        status = await machine.until_captured("counting", 50)
        assert status["capture"]["waiting_for"] == ["late-start", "never-there"]
        [in_progress] = await until(lambda: machine.capture_files_of("counting"), "a file in progress")
        appear.touch()
        status = await machine.until_captured("late-start", 10)
        assert status["capture"]["waiting_for"] == ["never-there"]
        # The other's file went on: its collector was not even begun anew.
        assert machine.capture_files_of("counting") == [in_progress]
        await machine.stop_capture_and_sync()
        assert sorted(machine.seqs("counting")) == source.seqs
        assert all(reading.data == {"readings": {"started": True}} for reading in machine.of("late-start"))


async def test_the_status_lists_what_else_of_the_machine_could_be_captured(
    viam_server: Servers, tmp_path: Path
) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        await machine.start(
            components=[sensor("fake-1"), sensor("fake-2")], capture_methods=[readings_of("fake-1", 1)]
        )
        told = await machine.until_status(lambda status: "not_captured" in status["capture"], "it was asked")
        assert told["capture"]["not_captured"]["resources"] == [
            {"resource": "fake-2", "api": "rdk:component:sensor", "methods": ["Readings"]}
        ], "and none of the services that viam-server brings"
