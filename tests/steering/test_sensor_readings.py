"""The readings of the sensors that steer the data manager, as Python values."""

from __future__ import annotations

import pytest
from google.protobuf.struct_pb2 import Struct
from viam.proto.common import GetReadingsResponse

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
