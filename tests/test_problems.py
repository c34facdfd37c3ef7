"""What a person has to see to is in the list of problems while it is so, with what it costs and what helps. Each is
brought about by the fault itself, and mended."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from holdfast.base import clock, unforeseen
from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.base.problems import Kind, Problem
from holdfast.capture import engine, resolve
from holdfast.capture.causes import Cause
from holdfast.capture.rates import Totals
from holdfast.capture.shortfall import Load, Shortfall
from holdfast.manager import Manager
from holdfast.status import status
from holdfast.steering import steering, user_settings
from holdfast.storage.stores import Stores
from holdfast.sync import quarantine_count
from holdfast.sync.cloud import link
from tests.fakes import START_NS

from .acceptance import accept_something
from .steered import GATE, SENSOR, Steered, steered
from .waiting import eventually

SYNCED = {"sync_disabled": False}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What often ends by itself is a problem soon."""
    monkeypatch.setattr(link, "_ENDS_S", 0.2)
    monkeypatch.setattr(engine, "_STARTS_S", 0.2)
    monkeypatch.setattr(resolve, "_APPEARS_S", 0.2)
    monkeypatch.setattr(steering, "_PATIENCE_S", 0.2)
    monkeypatch.setattr(user_settings, "AGAIN_S", 0.1)
    monkeypatch.setattr(quarantine_count, "LOOK_S", 0.1)
    monkeypatch.setattr(quarantine_count, "MOST_COUNTING", 0.5)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Steered]:
    async with steered(tmp_path) as made:
        yield made


def of(world: Steered, kind: str) -> list[dict[str, Any]]:
    return [each for each in status(world.manager)["problems"] if each["kind"] == kind]


async def begins(world: Steered, kind: str, word: str) -> dict[str, Any]:
    """Returns the problem of this kind with this word as soon as it is there."""

    def found() -> list[dict[str, Any]]:
        return [each for each in of(world, kind) if word in each["what"]]

    await eventually(found)
    return found()[0]


async def ends(world: Steered, kind: str) -> None:
    await eventually(lambda: not of(world, kind))


async def test_all_is_well_where_nothing_is_wrong(world: Steered) -> None:
    world.apply(**SYNCED)
    await world.manager.sync()
    found = [each for each in status(world.manager)["problems"] if each["kind"] != "bug"]
    assert found == [] and status(world.manager)["paused"] == []


async def test_a_login_that_is_refused_is_a_problem_until_it_is_accepted(world: Steered) -> None:
    keys = world.cloud._api_keys
    assert isinstance(keys, dict)
    keys.clear()
    world.apply(**SYNCED)
    found = await begins(world, "link", "login refused")
    assert "API key" in found["do"] and found["times"] == 1
    keys["id"] = "key"
    await ends(world, "link")


async def test_missing_credentials_are_a_problem_and_it_is_not_said_that_data_is_kept(
    world: Steered, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("VIAM_API_KEY_ID", "VIAM_API_KEY"):
        del world.environment[name]
    world.apply(**SYNCED)
    found = await begins(world, "link", "no VIAM_API_KEY_ID and no VIAM_API_KEY in the environment")
    assert "API key" in found["do"]
    assert caplog.text.count("no credentials: ") == 1 and "kept" not in caplog.text
    world.apply(sync_disabled=True)
    assert of(world, "link") == [], "nobody has to see to a link that nothing uses"


async def test_an_outage_is_a_problem_when_it_lasts_and_says_how_long_and_ends(world: Steered) -> None:
    world.apply(**SYNCED)
    await world.cut_off()
    found = await begins(world, "link", "not connected to the cloud")
    assert found["lasts_s"] >= 0.2 and "network" in found["do"]
    await world.cloud.start()
    await ends(world, "link")


async def test_files_that_the_cloud_refuses_are_a_problem_until_they_are_discarded(world: Steered) -> None:
    def refuse(method: str, request: bytes | None) -> grpc.StatusCode | None:
        return grpc.StatusCode.INVALID_ARGUMENT if request and b"refused" in request else None

    world.cloud.fail_while = refuse
    files = world.folder / "files"
    files.mkdir()
    (files / "refused.log").write_bytes(bytes(2048))
    world.apply(capture_methods=[], additional_sync_paths=[str(files)], file_last_modified_millis=1, **SYNCED)
    assert world.manager.engine is not None
    uplink = world.manager.engine.uplink
    await eventually(lambda: "INVALID_ARGUMENT" in (uplink.delivery.last_error or ""))
    await accept_something(uplink.link)
    found = await begins(world, "sync", "can't be delivered is in failed/: 1 file (2.0 KiB)")
    assert "failed" in found["do"] and found["cost"] == "1 file not delivered"
    await world.command("failed", action="discard", all=True)
    await ends(world, "sync")


async def test_resources_that_are_missing_or_never_read_are_problems_until_they_are_there_and_read(
    world: Steered,
) -> None:
    world.client.broken.add("a")
    methods = [{"name": name, "method": "Readings", "capture_frequency_hz": 100} for name in ("a", "b")]
    world.apply("a", capture_methods=methods)
    missing = await begins(world, "capture", "the machine does not have b: nothing of it is captured")
    silent = await begins(world, "capture", "Readings of a has read nothing yet: a is out of order")
    assert "appears" in missing["do"] and silent["cost"].endswith("calls failed")
    assert silent["do"] == "fix the resource"
    running = world.manager.engine.capture.running[0]  # type: ignore[union-attr]
    running.slow = Shortfall(0.0, Totals(0, 0, {Cause.ERROR: 30}), 60.0, 1, 0.1, Load())
    now_slow = await begins(world, "capture", "Readings of a has read nothing yet")
    assert (now_slow["times"], now_slow["since"]) == (1, silent["since"]), "it is one problem all the time"
    running.slow = None
    world.client.broken.clear()
    world.apply("a", "b", capture_methods=methods)
    await ends(world, "capture")


async def test_a_name_with_a_typo_is_told_with_the_one_that_is_meant_before_what_costs_no_reading(
    world: Steered,
) -> None:
    def about_names() -> list[dict[str, Any]]:
        return [each for each in status(world.manager)["problems"] if each["kind"] in ("capture", "config")]

    methods = [{"name": name, "method": "Readings", "capture_frequency_hz": 100} for name in ("thermometr", "zzz")]
    world.apply(capture_methods=methods[:1], tag=["a"])
    await begins(world, "capture", "the machine does not have thermometr: nothing of it is captured")
    world.client.listed = {"thermometer": SENSOR}
    await world.manager.steering.resources.look_now()
    found, tag = about_names()
    assert found["do"].startswith("did you mean 'thermometer'? Else correct the name") and found["times"] == 1
    assert tag["what"].startswith("tag: ")
    world.apply(capture_methods=methods)
    (found,) = about_names()
    assert found["what"] == "the machine does not have thermometr, zzz: nothing of them is captured"
    assert found["do"].startswith("did you mean 'thermometer' by 'thermometr'? Else ")


async def test_a_collector_that_falls_short_is_a_problem_with_what_is_missing(world: Steered) -> None:
    world.apply()
    await world.served(5)
    assert world.manager.engine is not None
    (running,) = world.manager.engine.capture.running
    missing = {Cause.ERROR: 26, Cause.UNKNOWN: 3, Cause.SLOW_CALL: 1}
    running.slow = Shortfall(0.0, Totals(570, 0, missing), 60.0, 1, 0.1, Load(), "no echo")
    running.slow_since_s = world.manager.clock.monotonic() - 40
    (found,) = of(world, "capture")
    assert (
        found["what"] == "Readings of a reads less than it should: 87 % are calls that failed (the last: no echo), "
        "10 % are missing for a reason that is not known"
    )
    assert (found["do"], found["cost"]) == ("fix the resource", "30 of 600 readings missing in the last 60 s")
    assert 40 <= found["lasts_s"] < 100
    running.slow = None
    assert of(world, "capture") == []


async def test_sensors_that_steer_and_say_nothing_are_problems_until_they_do(world: Steered) -> None:
    world.client.controls = None
    world.apply(**GATE, **SYNCED, selective_syncer_name="gate")
    await begins(world, "steering", "the capture control sensor 'gate': it gives no reading")
    found = await begins(world, "steering", "the selective syncer 'gate' gives no reading")
    assert found["what"].endswith("nothing is sent by itself")
    world.client.controls = {"controls": [], "should_sync": False}
    await ends(world, "steering")
    world.apply("a", **GATE, **SYNCED)
    await begins(world, "steering", "'gate' is not there; the config applies")


async def test_settings_that_can_not_be_written_are_a_problem_until_they_are(world: Steered) -> None:
    world.apply()
    await eventually(lambda: world.manager.engine is not None and world.manager.engine.store.owned)
    blocked = world.folder / "capture" / ".holdfast" / "control.prog"
    blocked.mkdir()
    (blocked / "something").touch()
    await world.command("pause", what="a", persist=True)
    await begins(world, "state", "settings made by command: ")
    (blocked / "something").unlink()
    blocked.rmdir()
    await ends(world, "state")
    assert blocked.is_file()


async def test_a_folder_of_another_process_is_a_problem_until_it_is_free(
    world: Steered, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("holdfast.storage.store._PATIENCE_S", 0.2)
    world.apply()
    await eventually(lambda: world.manager.engine is not None and world.manager.engine.store.owned)
    first = world.manager
    world.new_process()
    world.apply()
    found = await begins(world, "state", f"process {os.getpid()} has ")
    assert "nothing is sent from there until it ends" in found["what"] and "end that process" in found["do"]
    assert "sync waits until then" in caplog.text
    assert "capture goes on" not in found["what"] + caplog.text, "the disk may be full, too"
    await first.stop()
    await ends(world, "state")


class SlowClock(SystemClock):
    """A computer without a battery, that has not heard of the time yet."""

    is_set = False

    def time_ns(self) -> int:
        return START_NS if self.is_set else 86_400_000_000_000


async def test_a_clock_that_is_not_set_is_a_problem_until_it_is(world: Steered) -> None:
    slow = SlowClock()
    world.manager = Manager(world.environment, FileSystem(), slow)
    world.apply()
    found = await begins(world, "clock", "days slow or more")
    assert found["since"].startswith("1970-") and found["do"] == "set the clock"
    slow.is_set = True
    await ends(world, "clock")


def test_a_clock_with_an_impossible_time_is_said_to_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def overflow() -> int:
        raise OverflowError

    assert clock.why_wrong(SystemClock.time_ns()) == ""
    monkeypatch.setattr(clock._wall_clock, "_computers_ns", overflow)
    assert "impossible time" in clock.why_wrong(SystemClock.time_ns())
    monkeypatch.undo()
    assert clock.why_wrong(SystemClock.time_ns()) == ""


async def test_what_nobody_foresaw_is_a_problem_for_some_minutes(
    world: Steered, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.apply()
    unforeseen.note("a part of this test", ValueError("a mistake"), "it goes on")
    found = await begins(world, "bug", "a part of this test failed unexpectedly (ValueError: a mistake)")
    assert "report" in found["do"]
    monkeypatch.setattr(unforeseen, "RECENT_S", 0.0)
    assert of(world, "bug") == []


async def test_a_pause_is_a_line_of_the_log_and_after_a_restart_too_and_the_status_has_it_at_its_top(
    world: Steered, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world.apply()
    await world.command("pause", what="sync", persist=True)
    await world.command("set_frequency", resource="a", method="Readings", hz=5, for_s=60)
    assert "set by command: sync is paused until a command ends it, also after a restart" in caplog.text
    assert "set by command: Readings of a is captured at 5 Hz until 2" in caplog.text
    await world.manager.stop()
    caplog.clear()
    world.new_process()
    world.apply()
    await eventually(lambda: status(world.manager)["paused"])
    assert list(status(world.manager))[:4] == ["version", "running", "paused", "problems"]
    assert status(world.manager)["paused"] == [{"what": "sync", "until": "", "persist": True}]
    (line,) = [each for each in caplog.records if "before the restart, and holds again" in each.getMessage()]
    assert line.levelno == logging.WARNING and "sync is paused" in line.getMessage()
    await world.command("resume", what="sync")
    assert "ended by command: sync is paused" in caplog.text and status(world.manager)["paused"] == []


async def test_a_part_that_fails_to_say_what_is_wrong_with_it_costs_no_other_problem_and_no_beginning(
    world: Steered, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.apply()
    unforeseen.note("a part of this test", ValueError("a mistake"), "it goes on")
    since = (await begins(world, "bug", "a part of this test"))["since"]

    def fail(stores: Stores) -> Iterator[Problem]:
        yield Problem(Kind.DISK, "what it says before it fails")
        raise ValueError("a mistake")

    monkeypatch.setattr(Stores, "problems", property(fail))
    found = await begins(world, "bug", "what is wrong with the disk failed unexpectedly")
    assert found["do"] and of(world, "disk")
    assert (await begins(world, "bug", "a part of this test"))["since"] == since
    monkeypatch.setattr(unforeseen, "RECENT_S", 0.0)
