"""The watch over an event loop: each long turn is found, with what held the loop in it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from bench.hostile.watch import LEAST_S, Busy, Hold, Watch

LONG_S = 10 * LEAST_S
PATIENCE_S = 10.0


def watched(folder: Path, main: Callable[[], Coroutine[Any, Any, None]], wanted: Callable[[Hold], bool]) -> Hold:
    """Runs `main` on a watched loop and returns the hold that is `wanted`. The machine may add others."""
    path = folder / "holds"
    watch = Watch(path)
    loop = watch.new_event_loop()
    deadline_s = time.monotonic() + PATIENCE_S
    try:
        loop.run_until_complete(main())
        while time.monotonic() < deadline_s:
            loop.run_until_complete(asyncio.sleep(0.01))
            found = [Hold.read(line) for line in path.read_text().split("\n")[:-1]]
            if any(map(wanted, found)):
                return next(filter(wanted, found))
    finally:
        watch.stop()
        loop.close()
    raise AssertionError(f"no such hold among {found}")


def work() -> None:
    """Uses a processor, and lets other threads run."""
    began_s = time.thread_time()
    while time.thread_time() - began_s < LONG_S:
        pass


def keep_the_lock() -> None:
    """Uses a processor, and lets no other thread of Python run."""
    began_s = time.thread_time()
    while time.thread_time() - began_s < LONG_S:
        sum(range(10_000_000))


def is_long(hold: Hold) -> bool:
    return hold.cpu_ms >= LONG_S * 1000


def test_a_hold_by_the_loop_itself_tells_its_cpu_time_and_the_line(tmp_path: Path) -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(work)
        await asyncio.sleep(0)

    hold = watched(tmp_path, main, is_long)
    assert hold.wall_ms >= hold.cpu_ms
    assert any(stack[0].startswith("tests/bench/test_watch.py:") and "work" in stack[0] for _, stack in hold.stacks)


def test_a_hold_by_another_thread_names_the_thread_and_its_line(tmp_path: Path) -> None:
    async def main() -> None:
        ended, loop = asyncio.Event(), asyncio.get_running_loop()

        def other() -> None:
            keep_the_lock()
            loop.call_soon_threadsafe(ended.set)
            may_end.wait(PATIENCE_S)

        await asyncio.sleep(LEAST_S)
        threading.Thread(target=other, name="the other").start()
        await ended.wait()

    def blames_it(hold: Hold) -> bool:
        return any(busy.thread == "the other" and "other" in busy.stack[-1] for busy in hold.others)

    may_end = threading.Event()
    try:
        assert not is_long(watched(tmp_path, main, blames_it))
    finally:
        may_end.set()


def test_a_wait_of_any_length_is_no_hold_and_the_next_hold_begins_after_it(tmp_path: Path) -> None:
    async def main() -> None:
        await asyncio.sleep(LONG_S)
        began_ns.append(time.monotonic_ns())
        asyncio.get_running_loop().call_soon(work)
        await asyncio.sleep(0)

    began_ns: list[int] = []
    assert watched(tmp_path, main, is_long).begin_ns >= began_ns[0]


@pytest.mark.parametrize(
    ("cpu_ms", "delay_ms", "others", "own_ms"),
    [
        (80.0, 0.0, [], 80.0),  # it worked
        (5.0, 70.0, [], 10.0),  # it had no processor
        (5.0, 90.0, [], 5.0),
        (5.0, 0.0, [], 80.0),  # it waited for something unknown, such as a disk
        (5.0, 0.0, [Busy("disk", 60.0)], 80.0),  # another thread kept Python's lock
        (5.0, 0.0, [Busy("disk", 1.0, 70.0)], 10.0),  # one that may have kept it had no processor
        (5.0, 0.0, [Busy("disk", 60.0), Busy("mongo", 0.0, 70.0)], 65.0),
        (5.0, 0.0, [Busy("disk", 200.0)], 80.0),
    ],
)
def test_what_other_programs_took_is_no_hold_of_ours(
    cpu_ms: float, delay_ms: float, others: list[Busy], own_ms: float
) -> None:
    hold = Hold(0, 80_000_000, 0.0, cpu_ms, delay_ms, 0.0, (), others)
    assert hold.wall_ms == 80.0 and hold.own_ms == pytest.approx(own_ms)
