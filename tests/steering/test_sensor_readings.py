"""The readings of the sensors that steer the data manager, as Python values."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from viam.proto.common import GetReadingsResponse

from holdfast.base import protobuf_values
from holdfast.errors import ResourceCallError
from holdfast.steering.sensor_readings import sensor_readings
from tests.fakes import FakeClient
from tests.storage.samples import response


async def test_a_reading_is_plain_values() -> None:
    values = {"flag": True, "n": 2.0, "t": "x", "none": None, "list": [{"a": 1.0}], "object": {"b": "c"}}
    assert await sensor_readings(FakeClient(response(values)), "gate") == values


async def test_a_value_that_only_looks_like_one_of_viams_types_is_kept_as_it_is() -> None:
    values = {"should_sync": True, "wind": {"_type": "vector3", "x": 1.0}}
    assert await sensor_readings(FakeClient(response(values)), "gate") == values


async def test_an_answer_that_can_not_be_decoded_is_no_reading() -> None:
    """Returns values that are nested deeper than protobuf can read."""
    value = Struct()
    for _ in range(40):
        outer = Struct()
        outer.fields["in"].struct_value.CopyFrom(value)
        value = outer
    deep = GetReadingsResponse()
    deep.readings["deep"].struct_value.CopyFrom(value)
    with pytest.raises(ResourceCallError, match="gate"):
        await sensor_readings(FakeClient(deep.SerializeToString()), "gate")


async def test_a_large_answer_is_decoded_on_a_worker_thread_and_a_small_one_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: list[threading.Thread] = []
    plain = protobuf_values.plain

    def noted(fields: Any) -> dict[str, Any]:
        threads.append(threading.current_thread())
        return plain(fields)

    monkeypatch.setattr(sys.modules["holdfast.steering.sensor_readings"], "plain", noted)
    await sensor_readings(FakeClient(response({"a": [1.0] * 100})), "gate")
    await sensor_readings(FakeClient(response({"a": [1.0] * 5000})), "gate")
    assert [thread is threading.main_thread() for thread in threads] == [True, False]


async def test_an_answer_that_no_sensor_for_steering_gives_is_not_decoded() -> None:
    with pytest.raises(ResourceCallError, match="more than its call allows"):
        await sensor_readings(FakeClient(response({"a": [1.0] * 10_000})), "gate")
