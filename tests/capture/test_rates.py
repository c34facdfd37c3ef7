"""A collector's figures: the rate it reaches, how late it is, how long a call takes; and when it is too slow."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from holdfast.base.filesystem import FileSystem
from holdfast.capture.causes import Cause
from holdfast.capture.engine import MOST_TOLD, Capture, RunningCollector
from holdfast.capture.rates import RECENT_CALLS, SAMPLE_S, RateWindow, RecentDurations, Totals
from holdfast.capture.shortfall import Load
from holdfast.capture.watch import ENOUGH, cpu_seconds
from holdfast.errors import ResourceCallError, ResourceErrorKind
from holdfast.storage.ledger.ledger import Ledger
from holdfast.storage.writing.disk_writer import DiskWriter
from tests.fakes import FakeClient, FakeClock, FaultyFileSystem
from tests.storage.samples import response

from .specs import no_tee, spec

BROKEN = ResourceCallError(ResourceErrorKind.FAILED, "the bus is gone")


@dataclass
class Cpu:
    """A CPU of which the given shares are used from now on."""

    clock: FakeClock
    process: float = 0.1
    computer: float = 0.2
    _used: list[float] = field(default_factory=lambda: [0.0, 0.0])
    _then_s: float = 0.0

    def __call__(self) -> tuple[float, float]:
        elapsed_s, self._then_s = self.clock.monotonic() - self._then_s, self.clock.monotonic()
        self._used[0] += elapsed_s * self.process
        self._used[1] += elapsed_s * self.computer
        return self._used[0], self._used[1]


@dataclass
class Setup:
    clock: FakeClock
    writer: DiskWriter
    capture: Capture
    client: FakeClient
    cpu: Cpu
    files: FaultyFileSystem

    def start(self, count: int = 1, **others: float) -> list[RunningCollector]:
        specs = [spec(self.client, self.writer, f"lidar{n}", **others) for n in range(count)]  # type: ignore[arg-type]
        self.capture.configure(specs)
        return self.capture.running


@pytest.fixture
async def setup(tmp_path: Path) -> AsyncIterator[Setup]:
    clock, files = FakeClock(), FaultyFileSystem()
    writer = DiskWriter(files, clock, Ledger(FileSystem(), str(tmp_path)), str(tmp_path), 3600.0)
    cpu = Cpu(clock)
    setup = Setup(
        clock,
        writer,
        Capture(clock, no_tee, cpu),
        FakeClient(response({"t": 1.0})),
        cpu,
        files,
    )
    yield setup
    await setup.capture.stop()
    await writer.close()


def reached_hz(running: RunningCollector) -> float:
    share = running.window.until(running.totals()).share
    assert share is not None
    return running.hz * share


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if "of the readings that were due came" in r.getMessage()]


def test_percentiles_are_those_of_the_last_calls() -> None:
    recent = RecentDurations()
    assert recent.percentiles_ms() == (None, None)
    for _ in range(1000):
        recent.add(9.0)
    for number in range(RECENT_CALLS):
        recent.add(number / 1000)
    assert recent.percentiles_ms() == (63.0, 126.0)


def test_a_window_forgets_what_is_older_than_a_minute() -> None:
    window = RateWindow(0.1, 0.0, Totals())
    for second in range(1, 600):
        totals = Totals(min(second, 300) * 10, unused={Cause.LOOP: max(0, second - 300) * 10})
        if window.is_due(second):
            window.sample(second, totals, 0.0)
        share = window.until(totals).share
        assert share is not None
        if second <= 300:
            assert share == 1.0
        elif second >= 366:
            assert share == 0.0
        else:
            assert share == pytest.approx(1 - (second - 300) / 60, abs=0.1)


def test_the_window_of_a_slow_collector_holds_two_dozen_deadlines() -> None:
    """So that one failed deadline of a slow collector raises no alarm."""
    window = RateWindow(3600.0, 0.0, Totals())
    samples = 0
    for hour in range(1, 200):
        totals = Totals(hour - 1 if hour > 100 else hour, unused={Cause.ERROR: int(hour > 100)})
        if window.is_due(hour * 3600.0):
            window.sample(hour * 3600.0, totals, 0.0)
            samples += 1
        if hour == 110:
            share = window.until(totals).share
            assert share is not None
            assert ENOUGH < share < 1.0
    assert samples < 105


async def test_the_rate_the_lateness_and_the_call_time_of_a_collector_are_known(setup: Setup) -> None:
    setup.clock.oversleep_s = 0.0005
    (running,) = setup.start(hz=100.0)
    await setup.clock.advance(10.0)
    assert reached_hz(running) == pytest.approx(100.0)
    late_p50_ms, late_p99_ms = running.collector.lateness.percentiles_ms()
    assert late_p50_ms == pytest.approx(0.5, abs=0.01)
    assert late_p99_ms == pytest.approx(0.5, abs=0.01)
    for _ in range(10):
        setup.client.hang()
        await setup.clock.advance(0.030)
        setup.client.answer()
        await setup.clock.settle()
    assert running.collector.call_times.percentiles_ms()[1] == pytest.approx(30, abs=11)
    assert reached_hz(running) < 100.0


async def test_a_call_counts_with_its_time_while_it_waits_and_however_it_ends(setup: Setup) -> None:
    (running,) = setup.start(hz=10.0)
    setup.client.hang()
    await setup.clock.advance(0.1)
    await setup.clock.advance(2.0)
    assert running.take_longest_s() == pytest.approx(2.0, abs=0.2)
    setup.client.answer(BROKEN)
    await setup.clock.settle()
    assert running.take_longest_s() == pytest.approx(2.0, abs=0.2)
    assert running.take_longest_s() == 0.0


async def test_a_component_that_is_too_slow_is_warned_of_once_and_named(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    (running,) = setup.start(hz=10.0)
    setup.client.hang()
    with caplog.at_level(logging.INFO):
        await setup.clock.advance(55.0)
        assert warnings(caplog) == []
        await setup.clock.advance(300.0)
    (warning,) = warnings(caplog)
    for part in ("Readings of lidar0", "(0 of 10 Hz", "waited for a call that ran long", "max_in_flight"):
        assert part in warning
    assert running.slow
    assert set(running.totals().missing) == {Cause.SLOW_CALL}


async def test_a_component_a_little_slower_than_the_interval_is_what_bounds_the_rate(setup: Setup) -> None:
    """Even though each call waits for the previous one, and so leaves late."""

    class Slow(FakeClient):
        async def call(self, method: str, request: bytes, timeout_s: float, most_bytes: int) -> bytes:
            await setup.clock.sleep(0.112)
            return await super().call(method, request, timeout_s, most_bytes)

    setup.client = Slow(response({"t": 1.0}))
    (running,) = setup.start(hz=10.0)
    await setup.clock.advance(120.0)
    assert reached_hz(running) == pytest.approx(1 / 0.112, rel=0.01), "one call follows the other"
    assert running.slow
    assert set(running.totals().missing) == {Cause.SLOW_CALL}


async def test_a_collector_that_recovers_is_slow_no_more(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    (running,) = setup.start(hz=10.0)
    setup.client.outcome, good = BROKEN, setup.client.outcome
    with caplog.at_level(logging.INFO):
        await setup.clock.advance(120.0)
        assert running.slow
        setup.client.outcome = good
        await setup.clock.advance(70.0)
    assert not running.slow
    assert "Readings of lidar0 reaches its 10 Hz again" in caplog.text


async def test_a_collector_at_the_border_stays_slow_and_is_told_of_once(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    (running,) = setup.start(hz=10.0)
    good = setup.client.outcome
    setup.client.outcome = BROKEN
    with caplog.at_level(logging.INFO):
        await setup.clock.advance(120.0)
        for number in range(1000):
            setup.client.outcome = BROKEN if number % 100 >= 96 else good
            await setup.clock.advance(0.1)
    assert running.slow
    assert len(warnings(caplog)) == 1 and "reaches its" not in caplog.text


async def test_what_a_filter_holds_back_is_no_shortfall(setup: Setup) -> None:
    setup.client.outcome = ResourceCallError(ResourceErrorKind.FILTERED, "no capture from filter module")
    (running,) = setup.start(hz=10.0)
    await setup.clock.advance(120.0)
    assert running.collector.filtered > 1000
    assert not running.slow and reached_hz(running) == 10.0


async def test_one_warning_names_the_first_of_many(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    setup.start(50, hz=1.0)
    setup.client.outcome = BROKEN
    with caplog.at_level(logging.WARNING):
        await setup.clock.advance(180.0)
    (warning,) = warnings(caplog)
    assert "and 47 more" in warning


async def test_each_collector_that_falls_short_is_a_problem_since_its_first_missing_reading(setup: Setup) -> None:
    setup.start(22, hz=1.0)
    await setup.clock.advance(120.0)
    assert list(setup.capture.problems) == []
    setup.client.outcome, began_s = BROKEN, setup.clock.monotonic()
    await setup.clock.advance(30.0)
    *own, rest = setup.capture.problems
    assert len({problem.key for problem in own}) == len(own) == MOST_TOLD
    assert own[0].what.startswith("Readings of lidar0 reads less than it should: 100 % are calls that failed")
    assert rest.what == "beside these, 2 of 22 collectors read less than they should: " + ", ".join(
        f"Readings of lidar{number}" for number in (20, 21)
    )
    for problem in (*own, rest):
        assert problem.began_s == pytest.approx(began_s, abs=SAMPLE_S)


async def test_readings_that_the_disk_refuses_are_not_reached(setup: Setup) -> None:
    (running,) = setup.start(hz=10.0)
    with setup.files.failing("create", code=28):
        for _ in range(80):
            await setup.clock.advance(1.0)
            await setup.writer.flush()
    assert reached_hz(running) < 1.0
    assert running.slow
    assert running.totals().missing == {Cause.DISK: running.collector.readings}


async def test_readings_that_the_buffers_refuse_are_not_reached(setup: Setup) -> None:
    (running,) = setup.start(hz=10.0)
    await setup.clock.advance(1.0)
    await setup.writer.close()
    await setup.clock.advance(9.0)
    assert running.totals().dropped == {"stopped": pytest.approx(90, abs=1)}
    assert reached_hz(running) == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("share", [0.96, 1.0])
async def test_a_collector_that_reads_enough_is_not_warned_of(
    setup: Setup, caplog: pytest.LogCaptureFixture, share: float
) -> None:
    (running,) = setup.start(hz=10.0)
    good = setup.client.outcome
    with caplog.at_level(logging.WARNING):
        for number in range(2000):
            setup.client.outcome = BROKEN if number % 100 >= share * 100 else good
            await setup.clock.advance(0.1)
    assert warnings(caplog) == []
    assert not running.slow


async def test_nothing_is_looked_at_while_nothing_runs(setup: Setup) -> None:
    assert setup.capture.load == Load()
    setup.start()
    setup.cpu.process, setup.cpu.computer = 0.5, 0.75
    await setup.clock.advance(120.0)
    assert setup.capture.load.process == pytest.approx(0.5)
    assert setup.capture.load.computer == pytest.approx(0.75)
    assert setup.capture.load.at_s == setup.clock.monotonic()


def test_the_cpu_seconds_go_on() -> None:
    before = cpu_seconds()
    while cpu_seconds()[0] - before[0] < 0.02:
        pass
    assert cpu_seconds()[1] >= before[1]
