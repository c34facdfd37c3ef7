"""A clock that shows an impossible time for three seconds, in the real module: no thread ends, and the sum is true.

The sensor is in this process, whose clock stays as it is: its numbers tell what is missing.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.e2e.machines import collector, readings_in, until

from .counting_rig import SENSOR, Rig
from .faked_clock import FakedClock

YEAR_S = 31_556_952
NOW = 2026
JUMP_S = 3.0
SECOND_NS = 1_000_000_000
WHOLE_CALLS = [1, 1500, 1960, 1969, 2250]
"""gRPC's core goes by the computer's clock: where it shows a later time than Python can, each call is too late."""


@pytest.mark.usefixtures("needs_faked_clock")
@pytest.mark.parametrize("year", [*WHOLE_CALLS, 2300, 9998, 10_001, 40_000])
async def test_a_clock_that_jumps_out_of_range_for_three_seconds_ends_no_thread(tmp_path: Path, year: int) -> None:
    clock = FakedClock(tmp_path / "clock")
    rig = Rig(tmp_path, env=clock.environment)
    await rig.machine.start()

    async def captured_more(count: int) -> None:
        before = (await rig.status())["readings"]["captured"]

        async def enough() -> bool:
            return bool((await rig.status())["readings"]["captured"] >= before + count)

        await until(enough, f"{count} more readings")

    try:
        await captured_more(50)
        clock.set((year - NOW) * YEAR_S)
        await asyncio.sleep(JUMP_S)
        during = await rig.status()
        clock.set(0)
        await captured_more(50)
        after = await rig.status()
    finally:
        await rig.machine.stop()
    assert rig.on_disk == rig.source.seqs
    assert after["unexpected_errors"] == []
    assert during["readings"]["on_disk"] == during["readings"]["captured"] <= len(rig.source.seqs)
    found = collector(after, SENSOR)
    assert year not in WHOLE_CALLS or found["errors"] == 0
    log = rig.log_path.read_text()
    assert "Traceback" not in log and "never retrieved" not in log
    assert ("the computer's clock is wrong" in log) == (not 1678 <= year <= 2261)
    times = [each.requested_ns for path in sorted(rig.folder.rglob("*.capture")) for each in readings_in(path)]
    assert 1678 <= year <= 2261 or times == sorted(times)
