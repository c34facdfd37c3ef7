from __future__ import annotations

import asyncio
import time

import pytest

from holdfast.sync.cloud.bandwidth import WINDOW_S, Bandwidth, Meter

from ..conftest import World, write_old_file


async def test_without_a_limit_nobody_waits() -> None:
    bandwidth = Bandwidth()
    await asyncio.wait_for(asyncio.gather(*(bandwidth.take(10**9) for _ in range(100))), 5)
    assert list(bandwidth.shaped(lambda: iter([bytes(10**6)] * 10))()) == [bytes(10**6)] * 10


async def test_calls_and_streams_together_stay_below_the_limit() -> None:
    bandwidth = Bandwidth()
    bandwidth.set_limit(1_000_000)
    started = time.monotonic()
    stream = asyncio.to_thread(lambda: sum(map(len, bandwidth.shaped(lambda: iter([bytes(50_000)] * 5))())))
    await asyncio.gather(stream, *(bandwidth.take(50_000) for _ in range(10)))
    seconds = time.monotonic() - started
    assert (750_000 - 50_000) / seconds <= 1_000_000, "all but the last one were paid for"


async def test_a_change_of_the_limit_acts_on_who_waits() -> None:
    bandwidth = Bandwidth()
    bandwidth.set_limit(1)
    await bandwidth.take(1_000_000)
    waiting = asyncio.create_task(bandwidth.take(10))
    await asyncio.sleep(0)
    assert not waiting.done()
    bandwidth.set_limit(0)
    await asyncio.wait_for(waiting, 5)


async def test_who_is_cancelled_leaves_the_turn_to_the_next() -> None:
    bandwidth = Bandwidth()
    bandwidth.set_limit(1000)
    await bandwidth.take(100)
    giant = asyncio.create_task(bandwidth.take(10**9))
    await asyncio.sleep(0)
    after = asyncio.create_task(bandwidth.take(10))
    await asyncio.sleep(0)
    giant.cancel()
    await asyncio.wait_for(after, 5)


async def test_uploads_of_files_and_readings_are_capped(world: World) -> None:
    world.connection.bandwidth.set_limit(500_000)
    write_old_file(world.folder / "a.bin", bytes(400_000))
    world.capture_file("9999-a", [1])
    world.rounds.configure(world.settings(disabled=True))
    started = time.monotonic()
    assert (await world.rounds.sync_now()).files == 2
    assert time.monotonic() - started >= (400_000 - 2 * 64 * 1024 - 125_000) / 500_000


class Now:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.s = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.s)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    return Now(monkeypatch)


def test_the_rate_is_that_of_the_last_minute(now: Now) -> None:
    meter = Meter()
    for _ in range(100):
        meter.add(600)
        now.s += 1
    assert meter.bytes_per_s == pytest.approx(600, rel=0.02)
    now.s += WINDOW_S / 2
    assert meter.bytes_per_s == pytest.approx(300, rel=0.05)
    now.s += WINDOW_S
    assert meter.bytes_per_s == 0


def test_in_its_first_minute_it_counts_from_its_beginning(now: Now) -> None:
    meter = Meter()
    meter.add(1000)
    assert meter.bytes_per_s == 1000
    now.s += 10
    assert meter.bytes_per_s == 100


def test_it_remembers_no_more_than_a_number_for_each_second(now: Now) -> None:
    meter = Meter()
    for _ in range(5000):
        meter.add(1)
        now.s += 0.1
    assert len(meter._seconds) <= WINDOW_S + 1
