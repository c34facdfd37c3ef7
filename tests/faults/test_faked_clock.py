"""A clock that is set is set in the processes that are told, and only their wall clock."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from .faked_clock import FakedClock

DAY_S = 24 * 3600
SECOND_NS = 1_000_000_000
SLACK_NS = 60 * SECOND_NS


@pytest.mark.usefixtures("needs_faked_clock")
@pytest.mark.parametrize("offset_s", [0, DAY_S, -3 * 365 * DAY_S])
def test_the_wall_clock_steps_and_the_monotonic_one_does_not(tmp_path: Path, offset_s: int) -> None:
    clock = FakedClock(tmp_path / "clock")
    clock.set(offset_s)
    wall_ns, monotonic_ns = clock.times_ns()
    assert abs(wall_ns - time.time_ns() - offset_s * SECOND_NS) < SLACK_NS
    assert abs(monotonic_ns - time.monotonic_ns()) < SLACK_NS
    assert clock.offsets_ns == [0, offset_s * SECOND_NS]
