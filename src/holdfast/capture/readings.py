"""One reading of a sensor as Python values: for the sensors that steer the data manager."""

from __future__ import annotations

from typing import Any

from viam.proto.common import GetReadingsRequest, GetReadingsResponse
from viam.utils import sensor_readings_value_to_native

from .client import UnaryClient
from .methods import sensor

TIMEOUT_S = 5.0


async def sensor_readings(client: UnaryClient, name: str) -> dict[str, Any]:
    """The readings of the sensor `name`, or ResourceCallError."""
    request = GetReadingsRequest(name=name).SerializeToString()
    answer = await client.call(sensor.METHODS["Readings"].rpc, request, TIMEOUT_S)
    return dict(sensor_readings_value_to_native(GetReadingsResponse.FromString(answer).readings))
