"""Why and when readings were missing, on the real viam-server: a sensor that fails and stalls, a killed module."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from holdfast.base.filesystem import FileSystem
from holdfast.capture import gap_file
from holdfast.capture.gaps import Gap
from holdfast.cli import main

from .machines import MODULE, Machine, Servers, Status, a_machine, collector, readings_of, sensor, until

LONG_S = 120.0
HANGS_S = 3.0


def gaps_of(status: Status, resource: str) -> Sequence[Mapping[str, Any]]:
    """The gaps of a resource, the oldest first."""
    return [gap for gap in reversed(status["capture"]["gaps"]) if gap["resource"] == resource]


def ns(time: str) -> int:
    return round(datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp() * 1e9)


def shares(bounded_by: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    return {each["cause"]: each["share"] for each in bounded_by}


async def test_a_sensor_that_fails_and_stalls_is_named_by_both_and_not_the_processor(
    viam_server: Servers, tmp_path: Path
) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        flaky = sensor("flaky", "flaky", fails_each=7, stalls_each=20, stall_s=1.5)
        await machine.start(components=[flaky], sync_disabled=True, capture_methods=[readings_of("flaky", 5)])
        status = await machine.until_status(
            lambda status: collector(status, "flaky")["bounded_by"], "the shortfall of a minute is seen", LONG_S
        )
        found = collector(status, "flaky")
        by = shares(found["bounded_by"])
        ran_long = by.get("slow_call", 0.0) + by.get("computer", 0.0)  # whatever else runs here beside the test
        assert 0.5 < ran_long < 0.8 and 0.2 < by["error"] < 0.5, "6 and 20/7 of each 20 calls"
        assert ran_long + by["error"] > 0.9
        said = str(found["bounded_why"])
        assert "waited for a call that ran long (up to 1." in said and "the bus is gone" in said
        assert all(each["do"] for each in found["bounded_by"])
        log = machine.server.log_text()
        assert "of the readings that were due came: Readings of flaky" in log and "(up to 1." in log
        due = found["readings"] + sum(found["missing"].values())
        assert sum(found["missing"].values()) / due == pytest.approx(1 - found["reached_hz"] / 5, abs=0.1)
        (gap,) = gaps_of(status, "flaky")[-1:]
        assert gap["why"][0]["cause"] in ("slow_call", "computer", "error")


async def test_a_kill_makes_a_gap_in_which_no_reading_is_and_keeps_the_earlier_ones(
    viam_server: Servers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        source, path = machine.source("counting"), tmp_path / "reading.json"
        await machine.start(
            components=[source.component, sensor("reading", "reading", path=str(path))],
            sync_disabled=True,
            capture_methods=[readings_of("counting", 50), readings_of("reading", 10)],
        )
        await machine.until_status(lambda status: gaps_of(status, "reading"), "a sensor that fails has a gap")
        path.write_text('{"x": 1}')
        status = await machine.until_status(
            lambda status: "to" in gaps_of(status, "reading")[-1], "the gap ends when the sensor works"
        )
        (failed,) = gaps_of(status, "reading")
        assert failed["why"][0]["cause"] == "error" and failed["missed"] >= 10
        assert gaps_of(status, "counting") == []

        def gaps_on_disk() -> list[Gap]:
            kept = gap_file.read(FileSystem(), str(machine.capture_dir))
            return [gap for record in kept.records for gap in record.gaps] if kept is not None else []

        await until(lambda: [gap for gap in gaps_on_disk() if gap.to_ns is not None], "the gap is on the disk")

        pid = status["process"]["pid"]
        os.kill(int(pid), signal.SIGSTOP)  # a restart alone takes less than a second, which is no gap
        await asyncio.sleep(HANGS_S)
        os.kill(int(pid), signal.SIGKILL)
        await until(lambda: pid not in machine.server.module_pids(MODULE), "the module is gone")
        status = await machine.until_status(
            lambda status: (
                status["process"]["pid"] != pid
                and gaps_of(status, "counting")
                and collector(status, "counting")["readings"] >= 20
            ),
            "another process captures, and knows of the gap",
        )
        (killed,) = gaps_of(status, "counting")
        assert [each["cause"] for each in killed["why"]] == ["not_running"]
        assert killed["missed"] == pytest.approx(50 * killed["lasts_s"], rel=0.1, abs=5)
        kinds = [gap["why"][0]["cause"] for gap in gaps_of(status, "reading")]
        assert kinds == ["error", "not_running"]
        assert gaps_of(status, "reading")[0] == failed

        assert main(["gaps", str(machine.capture_dir), "--json"]) == 0
        kept = json.loads(capsys.readouterr().out)["gaps"]
        assert failed in kept
        await _nothing_lies_in(machine, killed)


async def _nothing_lies_in(machine: Machine, gap: Mapping[str, Any]) -> None:
    """Checks that no reading is in the gap, but for its first second, and that readings are before and after it."""
    machine.change(capture_disabled=True)
    await machine.until_status(lambda status: not status["capture"]["enabled"], "capture has ended")
    await until(lambda: not machine.capture_files(".prog"), "all files are complete")
    times = sorted(reading.requested_ns for reading in machine.on_disk("counting"))
    begin, end = ns(gap["from"]), ns(gap["to"])
    assert not [time for time in times if begin + 1_500_000_000 < time < end - 100_000_000]
    assert min(abs(time - begin) for time in times) < 2_500_000_000
    assert min(abs(time - end) for time in times) < 2_500_000_000
