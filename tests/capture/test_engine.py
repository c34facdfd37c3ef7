"""The engine goes from one set of collectors to another without a missed deadline or a file left behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.base.filesystem import FileSystem
from holdfast.capture.collector import MAX_CALLS_TO_A_RESOURCE
from holdfast.capture.engine import Capture
from holdfast.errors import ResourceCallError, ResourceErrorKind
from holdfast.storage.ledger.ledger import Ledger
from holdfast.storage.writing.disk_writer import DiskWriter
from tests.fakes import FakeClient, FakeClock
from tests.storage.samples import files_under, readings_under, response

from .specs import API, no_tee, spec


@dataclass
class Setup:
    clock: FakeClock
    writer: DiskWriter
    ledger: Ledger
    capture: Capture
    client: FakeClient
    folder: Path

    def captured(self, name: str = "lidar") -> int:
        counts = self.ledger.readings().get((API, name, "Readings"))
        return counts.captured if counts else 0

    def names(self) -> list[str]:
        return sorted(running.collector.spec.resource for running in self.capture.running)


@pytest.fixture
async def setup(tmp_path: Path) -> AsyncIterator[Setup]:
    clock = FakeClock(start_s=1000.013)  # off the grid
    ledger = Ledger(FileSystem(), str(tmp_path))
    writer = DiskWriter(FileSystem(), clock, ledger, str(tmp_path), 3600.0)
    setup = Setup(
        clock,
        writer,
        ledger,
        Capture(clock, no_tee),
        FakeClient(response({"t": 1.0})),
        tmp_path,
    )
    yield setup
    await setup.capture.stop()
    await writer.close()


async def completed(setup: Setup) -> list[Path]:
    """Returns the complete files, after the collectors that `apply` stopped have ended."""
    await setup.clock.settle()
    await setup.clock.settle()  # their end has reached the disk thread,
    await setup.writer.complete(())  # which does one thing after the other
    return files_under(setup.folder, ".capture")


async def test_what_is_applied_is_captured(setup: Setup) -> None:
    setup.capture.configure(spec(setup.client, setup.writer, name) for name in ("lidar", "radar"))
    await setup.clock.advance(1.0)
    assert (setup.captured("lidar"), setup.captured("radar")) == (10, 10)
    await setup.capture.stop()
    assert len(readings_under(setup.folder)) == 20


async def test_an_unchanged_collector_goes_on_untouched(setup: Setup) -> None:
    setup.capture.configure([spec(setup.client, setup.writer)])
    (before,) = setup.capture.running
    for number in range(20):
        setup.capture.configure(
            [spec(setup.client, setup.writer), spec(setup.client, setup.writer, f"other {number}")]
        )
        await setup.clock.advance(0.1)
    after = next(running for running in setup.capture.running if running.collector.spec.resource == "lidar")
    assert after is before
    assert setup.captured() == 20
    assert after.missed == 0
    await setup.writer.flush()
    assert len([path for path in files_under(setup.folder, ".prog") if "lidar" in path.parts]) == 1
    assert not [path for path in files_under(setup.folder, ".capture") if "lidar" in path.parts]


@pytest.mark.parametrize(
    "change",
    [
        {"hz": 20.0},
        {"tags": ("new",)},
        {"params": {"a": 1.0}},
        {"timeout_s": 1.0},
        {"max_in_flight": 2},
        {"max_file_bytes": 1000},
        {"writer": None},
        {"client": None},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_a_changed_collector_is_replaced_and_its_file_is_completed(
    setup: Setup, change: dict[str, object]
) -> None:
    setup.capture.configure([spec(setup.client, setup.writer)])
    (before,) = setup.capture.running
    await setup.clock.advance(1.0)
    client = FakeClient(response({"t": 2.0})) if "client" in change else setup.client
    elsewhere = DiskWriter(FileSystem(), setup.clock, setup.ledger, str(setup.folder / "elsewhere"), 3600.0)
    writer = elsewhere if "writer" in change else setup.writer
    others = {key: value for key, value in change.items() if key not in ("client", "writer")}
    setup.capture.configure([spec(client, writer, **others)])  # type: ignore[arg-type]
    (after,) = setup.capture.running
    assert after.collector is not before.collector
    (path,) = await completed(setup)
    assert len(readings_under(setup.folder)) == 10
    await setup.clock.advance(1.0)
    assert setup.captured() == (30 if "hz" in change else 20)
    await setup.capture.stop()
    await elsewhere.close()
    assert len(readings_under(setup.folder)) == setup.captured()
    assert path.exists()


async def test_a_removed_collector_completes_its_file_and_reads_no_more(setup: Setup) -> None:
    setup.capture.configure(spec(setup.client, setup.writer, name) for name in ("lidar", "radar"))
    await setup.clock.advance(1.0)
    setup.capture.configure([spec(setup.client, setup.writer, "radar")])
    assert setup.names() == ["radar"]
    (path,) = await completed(setup)
    assert "lidar" in path.parts
    await setup.clock.advance(1.0)
    assert (setup.captured("lidar"), setup.captured("radar")) == (10, 20)


async def test_a_reading_in_flight_at_a_change_is_kept(setup: Setup) -> None:
    setup.client.hang()
    setup.capture.configure([spec(setup.client, setup.writer)])
    await setup.clock.advance(0.2)
    assert setup.client.in_flight == 1
    setup.capture.configure(())
    await setup.clock.settle()
    setup.client.answer()
    await setup.capture.stop()
    assert setup.captured() == 1
    assert len(readings_under(setup.folder)) == 1


async def test_apply_does_not_wait_for_a_resource_that_hangs(setup: Setup) -> None:
    setup.client.hang()
    setup.capture.configure([spec(setup.client, setup.writer)])
    await setup.clock.advance(0.2)
    other = FakeClient(response({"t": 2.0}))
    setup.capture.configure([spec(other, setup.writer)])
    await setup.clock.advance(1.0)
    assert setup.captured() == 10
    assert setup.client.in_flight == 1


async def test_who_waits_for_the_end_of_collectors_and_is_cancelled_leaves_them_their_end(setup: Setup) -> None:
    """As a store does that waits to close a folder, when the folder is configured again meanwhile."""
    setup.client.hang()
    setup.capture.configure([spec(setup.client, setup.writer)])
    await setup.clock.advance(0.2)
    setup.capture.configure(())
    waiting = asyncio.create_task(setup.capture.settled())
    await setup.clock.settle()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await setup.capture.settled()
    assert setup.client.cancelled == 1, "it hangs, and was given up as at any end"
    setup.client.answer()
    await setup.clock.settle()
    assert setup.captured() == 0


async def test_a_collector_that_hangs_or_fails_stops_no_other(setup: Setup) -> None:
    hanging, failing = FakeClient(), FakeClient(ResourceCallError(ResourceErrorKind.FAILED, "broken"))
    hanging.hang()
    setup.capture.configure(
        [
            spec(hanging, setup.writer, "hangs"),
            spec(failing, setup.writer, "fails"),
            spec(setup.client, setup.writer, "lidar"),
        ]
    )
    await setup.clock.advance(1.0)
    assert setup.captured("lidar") == 10
    by_name = {running.collector.spec.resource: running for running in setup.capture.running}
    assert by_name["fails"].collector.errors == 10
    assert by_name["hangs"].missed == 8  # of ten, one is in flight and one waits for it
    assert len(hanging.calls) == 1


async def test_after_stop_all_files_are_complete_and_nothing_is_read(setup: Setup) -> None:
    setup.capture.configure(spec(setup.client, setup.writer, f"sensor {n}") for n in range(5))
    await setup.clock.advance(1.0)
    await setup.capture.stop()
    calls = len(setup.client.calls)
    await setup.clock.advance(1.0)
    assert len(setup.client.calls) == calls == 50
    assert setup.capture.running == []
    assert files_under(setup.folder, ".prog") == []
    assert len(readings_under(setup.folder)) == 50


async def test_the_same_method_with_other_parameters_is_a_collector_of_its_own(setup: Setup) -> None:
    setup.capture.configure(spec(setup.client, setup.writer, params={"a": value}) for value in (1.0, 2.0))
    await setup.clock.advance(1.0)
    assert len(setup.capture.running) == 2
    assert setup.captured() == 20


async def test_without_a_service_in_front_failures_are_counted_in_silence(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    setup.client.outcome = ResourceCallError(ResourceErrorKind.FAILED, "gone")
    setup.capture.configure([spec(setup.client, setup.writer)])
    setup.capture.mute_warnings()
    with caplog.at_level(logging.WARNING):
        await setup.clock.advance(1.0)
        assert caplog.records == []
        (running,) = setup.capture.running
        assert running.collector.errors == 10
        setup.capture.unmute_warnings()
        await setup.clock.advance(1.0)
    assert len(caplog.records) == 1


async def test_hundreds_of_collectors_start_and_end_together(setup: Setup) -> None:
    names = [f"sensor {n}" for n in range(400)]
    setup.capture.configure(spec(setup.client, setup.writer, name, hz=1.0) for name in names)
    await setup.clock.advance(2.0)
    counts = [setup.captured(name) for name in names]
    assert min(counts) >= 1 and max(counts) <= 2
    setup.capture.configure(())
    await setup.capture.settled()
    assert files_under(setup.folder, ".prog") == []
    assert len(readings_under(setup.folder)) == sum(counts)


async def test_a_resource_that_hangs_costs_its_own_deadlines_only(setup: Setup) -> None:
    """Even with as many calls in flight as one resource may have."""
    hanging = FakeClient()
    hanging.hang()
    methods = [spec(hanging, setup.writer, "hangs", params={"a": n}, hz=100.0, max_in_flight=60) for n in (1, 2)]
    setup.capture.configure([*methods, spec(setup.client, setup.writer, hz=100.0)])
    await setup.clock.advance(2.0)
    assert hanging.most_in_flight == len(hanging.calls) == MAX_CALLS_TO_A_RESOURCE < 100, "others get in"
    by_name = {running.collector.spec.resource: running for running in setup.capture.running}
    assert by_name["lidar"].missed == 0
    assert setup.captured() == 200
    hung = [r for r in setup.capture.running if r.collector.spec.resource == "hangs"]
    assert sum(r.missed for r in hung) == 400 - MAX_CALLS_TO_A_RESOURCE


async def test_resources_of_one_short_name_have_a_limit_of_calls_each(setup: Setup) -> None:
    setup.client.hang()
    apis = (API, "rdk:component:movement_sensor")
    setup.capture.configure(
        spec(setup.client, setup.writer, api=api, hz=100.0, max_in_flight=MAX_CALLS_TO_A_RESOURCE) for api in apis
    )
    await setup.clock.advance(2.0)
    in_flight = [running.collector.in_flight for running in setup.capture.running]
    assert in_flight == [MAX_CALLS_TO_A_RESOURCE] * len(apis)
