"""A faked clock changes the wall clock of the processes that have it, and nothing else."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from .faked_clock import FakedClock

DAY_S = 24 * 3600
SECOND_NS = 1_000_000_000
SLACK_NS = 60 * SECOND_NS
WAIT_S = 0.2
TIMED_WAIT = f"""
import ctypes, time

def call(name, *arguments):
    return getattr(ctypes.CDLL(None), name)(*arguments)

attributes, condition, mutex = (ctypes.create_string_buffer(64) for _ in range(3))
call("pthread_condattr_init", attributes)
call("pthread_condattr_setclock", attributes, time.CLOCK_MONOTONIC)
call("pthread_cond_init", condition, attributes)
call("pthread_mutex_init", mutex, None)
call("pthread_mutex_lock", mutex)
began_s = time.monotonic()
end_ns = int((began_s + {WAIT_S}) * 1e9)
call("pthread_cond_timedwait", condition, mutex, (ctypes.c_long * 2)(*divmod(end_ns, 1_000_000_000)))
print(time.monotonic() - began_s)
"""
"""A program that waits in the way in which Python itself waits for its interpreter."""


@pytest.mark.usefixtures("needs_faked_clock")
@pytest.mark.parametrize("offset_s", [0, DAY_S, -3 * 365 * DAY_S])
def test_the_wall_clock_steps_and_the_monotonic_one_does_not(tmp_path: Path, offset_s: int) -> None:
    clock = FakedClock(tmp_path / "clock")
    clock.set(offset_s)
    wall_ns, monotonic_ns = clock.times_ns()
    assert abs(wall_ns - time.time_ns() - offset_s * SECOND_NS) < SLACK_NS
    assert abs(monotonic_ns - time.monotonic_ns()) < SLACK_NS
    assert clock.offsets_ns == [0, offset_s * SECOND_NS]


@pytest.mark.usefixtures("needs_faked_clock")
@pytest.mark.parametrize("offset_s", [0, DAY_S, -DAY_S])
def test_a_timed_wait_lasts_as_long_as_ever(tmp_path: Path, offset_s: int) -> None:
    clock = FakedClock(tmp_path / "clock")
    clock.set(offset_s)
    assert float(clock.told_by(TIMED_WAIT)) >= 0.9 * WAIT_S
