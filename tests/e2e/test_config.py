"""Configurations on the real viam-server: Viam's own examples work as they are, and a mistake costs only itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.documented import DOCUMENTED
from tests.problems import problems_in

from .machines import SERVICE, Servers, a_machine, collector, readings_of, until


@pytest.mark.parametrize("attributes", DOCUMENTED, ids=["all-attributes", "few-attributes"])
async def test_viam_s_documented_samples_are_accepted_as_they_are(
    viam_server: Servers, tmp_path: Path, attributes: dict[str, Any]
) -> None:
    async with a_machine(viam_server, tmp_path, env={}) as machine:  # without credentials nobody calls Viam's cloud
        machine.attributes.clear()
        await machine.start(**attributes)
        assert (await machine.status())["capture"]["enabled"]
        capture_dir = machine.server.viam_home / "capture"
        status = await machine.until_status(
            lambda status: status["sync"]["link"] == "no credentials", "recovery and sync have begun"
        )
        assert status["capture"]["capture_dir"] == str(capture_dir)
        assert (capture_dir / ".holdfast").is_dir()
        # What works and what has no effect yet are all that may be said of a documented config.
        assert [each for each in problems_in(status, "config") if "does not act on it yet" not in each] == []


async def test_wrong_entries_and_attributes_cost_only_themselves_and_are_told(
    viam_server: Servers, tmp_path: Path
) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        source, other = machine.source("counting"), machine.source("other")
        await machine.start(
            components=[source.component, other.component],
            sync_intervall_mins=3,
            capture_methods=[
                {"name": "other", "method": "Readings", "capture_frequency_hz": "fast"},
                {"name": "other", "method": "Raedings", "capture_frequency_hz": 1},
                {"method": "Readings", "capture_frequency_hz": 1},
                readings_of("counting", 50, tgas=["typo"]),
            ],
        )
        await until(lambda: len(machine.of("counting")) >= 50, "the good entry is captured")
        status = await machine.status()
        for words in (
            ["capture_methods[0]", "other", "capture_frequency_hz", "must be a number", "'fast'"],
            ["Raedings", "other", "did you mean 'Readings'"],
            ["capture_methods[2]", "name", "is missing"],
            ["capture_methods[3]", "tgas", "did you mean 'tags'"],
            ["sync_intervall_mins", "did you mean 'sync_interval_mins'"],
        ):
            [problem] = [each for each in problems_in(status, "config") if all(word in each for word in words)]
            [line] = [line for line in machine.server.log_text().splitlines() if problem in line]
            assert "\tERROR\t" in line
        assert len(problems_in(status, "config")) == 5
        assert [each["resource"] for each in status["capture"]["collectors"]] == ["counting"]
        assert other.served == []
        await machine.stop_capture_and_sync()
        assert sorted(machine.seqs("counting")) == source.seqs


async def test_a_negative_interval_is_refused_by_name_and_works_when_it_is_mended(
    viam_server: Servers, tmp_path: Path
) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        source = machine.source("counting")
        machine.change(
            components=[source.component],
            sync_interval_mins=-1,
            capture_methods=[readings_of("counting", 50)],
        )
        await machine.server.start()
        await machine.server.wait_for_log(r"ERROR.*sync_interval_mins: can't be negative, it is -1")
        with pytest.raises(TimeoutError, match=SERVICE):
            await machine.server.wait_until_ready(SERVICE, timeout_s=0.5)
        assert source.served == []
        machine.change(sync_interval_mins=0.005)
        await machine.server.wait_until_ready(SERVICE)
        await until(lambda: len(machine.of("counting")) >= 20, "readings arrive")

        # The same at run time: what was captured until then is kept, and goes on when it is mended.
        mark = machine.server.log_mark()
        machine.change(sync_interval_mins=-1)
        await machine.server.wait_for_log(r"ERROR.*sync_interval_mins: can't be negative", after=mark)
        machine.change(sync_interval_mins=0.005)
        await machine.server.wait_until_ready(SERVICE)
        await machine.disconnect()
        count = len(machine.of("counting"))
        await until(lambda: len(machine.of("counting")) >= count + 20, "readings arrive again")
        status = await machine.status()
        assert collector(status, "counting")["hz"] == 50
        await machine.stop_capture_and_sync()
        assert sorted(machine.seqs("counting")) == source.seqs
