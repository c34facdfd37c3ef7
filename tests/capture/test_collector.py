"""A collector stores what a resource answered, and when it was asked and answered; a failure costs one reading."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct, Value
from viam.proto.app.datasync import DataType, SensorData
from viam.proto.common import GetReadingsRequest

from holdfast.capture.answers import Answers
from holdfast.capture.causes import Conditions
from holdfast.capture.collector import Collector, CollectorSpec, Occupancy
from holdfast.errors import ResourceCallError, ResourceErrorKind
from tests.fakes import START_NS, FakeClient, FakeClock
from tests.storage.samples import response

from .specs import API, NOWHERE, FakeSink, history, spec

FAILED = ResourceCallError(ResourceErrorKind.FAILED, "resource not found")
TIMED_OUT = ResourceCallError(ResourceErrorKind.TIMEOUT, "Deadline Exceeded")
FILTERED = ResourceCallError(ResourceErrorKind.FILTERED, "no capture from filter module")


class Setup:
    def __init__(self, client: FakeClient, clock: FakeClock, spec: CollectorSpec) -> None:
        self.client = client
        self.clock = clock
        self.sink = FakeSink()
        self.stored = self.sink.messages
        self.collector = Collector(
            spec, clock, self.sink, lambda: True, Occupancy(), Answers(), Conditions(), history()
        )

    async def read(self) -> bool:
        """Starts a reading, and returns when an immediate answer has been stored."""
        before = self.collector.unused.total()
        self.collector.read(self.clock.monotonic())
        await self.clock.settle()
        return self.collector.unused.total() == before


@pytest.fixture
async def setup() -> Setup:
    client = FakeClient(response({"t": 21.5, "ok": True, "list": [1.0, "a", None]}))
    return Setup(client, FakeClock(), spec(client, NOWHERE, timeout_s=0.25))


async def test_a_reading_is_stored_with_its_times_and_its_value(setup: Setup) -> None:
    setup.client.hang()
    await setup.clock.advance(1.0)
    await setup.read()
    await setup.clock.advance(0.125)
    setup.client.answer()
    await setup.clock.settle()
    (stored,) = map(SensorData.FromString, setup.stored)
    assert stored.metadata.time_requested.ToNanoseconds() == START_NS + 1_000_000_000
    assert stored.metadata.time_received.ToNanoseconds() == START_NS + 1_125_000_000
    expected = Struct()
    expected.update({"readings": {"t": 21.5, "ok": True, "list": [1.0, "a", None]}})
    assert stored.struct == expected
    assert setup.collector.last_reading_s == setup.clock.monotonic()


async def test_the_resource_is_asked_by_its_short_name_as_the_data_manager_asks(tmp_path: Path) -> None:
    client = FakeClient()
    setup = Setup(client, FakeClock(), spec(client, NOWHERE, f"{API}/rem:lidar", timeout_s=0.25))
    await setup.read()
    ((method, request, timeout_s),) = client.calls
    assert method == "/viam.component.sensor.v1.SensorService/GetReadings"
    asked = GetReadingsRequest.FromString(request)
    assert asked.name == "rem:lidar"
    assert dict(asked.extra) == {"fromDataManagement": True}
    assert timeout_s == 0.25


async def test_readings_are_stored_in_the_order_of_their_requests(setup: Setup) -> None:
    for number in range(20):
        setup.client.outcome = response({"number": number})
        await setup.read()
    numbers = [
        SensorData.FromString(stored).struct.fields["readings"].struct_value.fields["number"].number_value
        for stored in setup.stored
    ]
    assert numbers == list(range(20))


async def test_one_call_at_a_time_is_in_flight(setup: Setup) -> None:
    setup.client.hang()
    assert [await setup.read() for _ in range(4)] == [True, True, False, False]
    assert setup.client.in_flight == 1
    setup.client.answer()
    await setup.clock.settle()
    assert await setup.read()
    assert len(setup.stored) == 3
    assert setup.client.most_in_flight == 1


async def test_a_deadline_that_comes_during_a_call_is_used_when_it_ends_and_never_more_than_one(
    setup: Setup,
) -> None:
    setup.client.hang()
    await setup.read()
    for _ in range(3):
        await setup.clock.advance(0.25)
        await setup.read()
    await setup.clock.advance(0.125)
    setup.client.answer()
    await setup.clock.settle()
    requested = [SensorData.FromString(each).metadata.time_requested.ToNanoseconds() for each in setup.stored]
    assert requested == [START_NS, START_NS + 875_000_000]
    assert setup.collector.lateness.percentiles_ms()[1] == 125.0, "after the newest deadline"
    await setup.clock.advance(10.0)
    assert len(setup.client.calls) == 2


async def test_a_deadline_that_came_during_a_call_is_used_however_it_ends(setup: Setup) -> None:
    for outcome in (FAILED, FILTERED, RuntimeError("nobody foresaw this")):
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        setup.client.calls.clear()
        setup.client.hang()
        await setup.read()
        await setup.read()
        setup.client.outcome = outcome
        setup.client.answer()
        await setup.clock.settle()
        assert len(setup.client.calls) == 2, outcome
        await setup.clock.settle()
        assert setup.collector.in_flight == 0


async def test_a_stopped_collector_uses_no_deadline_that_waited(setup: Setup) -> None:
    setup.client.hang()
    await setup.read()
    await setup.read()
    stopped = asyncio.ensure_future(setup.collector.stop())
    await setup.clock.settle()
    setup.client.answer()
    await stopped
    await setup.clock.settle()
    assert len(setup.client.calls) == 1


@pytest.mark.parametrize("error", [FAILED, TIMED_OUT])
async def test_a_failure_is_counted_each_time_and_logged_once(
    setup: Setup, caplog: pytest.LogCaptureFixture, error: ResourceCallError
) -> None:
    setup.client.outcome = error
    with caplog.at_level(logging.WARNING):
        for _ in range(10):
            assert await setup.read()
    assert setup.collector.errors == 10
    assert setup.collector.last_error == str(error)
    assert setup.stored == []
    (record,) = caplog.records
    for part in ("Readings", "lidar", str(error)):
        assert part in record.getMessage()


async def test_another_cause_is_logged_too(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for error in (FAILED, TIMED_OUT, FAILED):
            setup.client.outcome = error
            await setup.read()
    assert len(caplog.records) == 2


async def test_a_failure_whose_text_changes_does_not_flood_the_log(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for number in range(100):
            setup.client.outcome = ResourceCallError(ResourceErrorKind.FAILED, f"attempt {number} failed")
            await setup.read()
    assert len(caplog.records) < 10


async def test_a_filtered_reading_is_no_error(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    setup.client.outcome = FILTERED
    with caplog.at_level(logging.DEBUG, "holdfast"):
        for _ in range(3):
            await setup.read()
    assert (setup.collector.filtered, setup.collector.errors, setup.collector.last_error) == (3, 0, None)
    assert setup.stored == []
    assert caplog.records == []


async def test_after_a_failure_the_next_reading_is_stored(setup: Setup) -> None:
    good = setup.client.outcome
    for error in (FAILED, TIMED_OUT, FILTERED):
        setup.client.outcome = error
        await setup.read()
        setup.client.outcome = good
        assert await setup.read()
    assert len(setup.stored) == 3


async def test_an_error_that_nobody_foresaw_costs_that_reading_only(setup: Setup) -> None:
    good, setup.client.outcome = setup.client.outcome, RuntimeError("not a ResourceCallError")
    await setup.read()
    setup.client.outcome = good
    assert await setup.read()
    assert len(setup.stored) == 1
    assert (setup.collector.errors, setup.collector.unexpected_errors) == (0, 1)
    assert setup.collector.last_error == "RuntimeError: not a ResourceCallError"


async def test_stop_waits_for_the_reading_in_flight(setup: Setup) -> None:
    setup.client.hang()
    await setup.read()
    stopping = asyncio.ensure_future(setup.collector.stop())
    await setup.clock.settle()
    assert not stopping.done()
    setup.client.answer()
    await stopping
    assert len(setup.stored) == 1
    assert setup.client.cancelled == 0


async def test_stop_gives_up_a_reading_that_does_not_come(setup: Setup) -> None:
    setup.client.hang()
    await setup.read()
    await setup.collector.stop()
    await setup.clock.settle()
    assert setup.client.cancelled == 1
    assert setup.client.in_flight == 0
    assert setup.stored == []


async def test_stop_of_an_idle_collector_has_nothing_to_wait_for(setup: Setup) -> None:
    await setup.collector.stop()
    await setup.read()
    await setup.collector.stop()
    assert len(setup.stored) == 1


def test_the_header_says_what_is_captured(tmp_path: Path) -> None:
    params: dict[str, Any] = {"b": "text", "a": 1.0, "list": [True, None]}
    found = spec(FakeClient(), NOWHERE, f"{API}/lidar", params=params, tags=("front", "x")).metadata()
    assert (found.component_type, found.component_name, found.method_name) == (API, "lidar", "Readings")
    assert found.type == DataType.DATA_TYPE_TABULAR_SENSOR
    assert (found.file_extension, list(found.tags)) == (".dat", ["front", "x"])
    unpacked = Struct()
    for name, packed in found.method_parameters.items():
        value = Value()
        assert packed.Unpack(value)
        unpacked.fields[name].CopyFrom(value)
    expected = Struct()
    expected.update(params)
    assert unpacked == expected
