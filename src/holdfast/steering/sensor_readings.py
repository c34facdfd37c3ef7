"""One reading of a sensor as Python values, for the sensors that steer the data manager."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from google.protobuf.message import DecodeError
from viam.proto.common import GetReadingsRequest, GetReadingsResponse

from ..base.protobuf_values import plain
from ..capture.answer_memory import SMALL_BYTES
from ..capture.client import UnaryClient
from ..capture.methods import sensor
from ..errors import ResourceCallError, ResourceErrorKind

TIMEOUT_S = 5.0

Readings = Callable[[], Awaitable[Mapping[str, Any]]]
"""Asks one sensor for its readings. Raises ResourceCallError."""


async def sensor_readings(client: UnaryClient, name: str) -> dict[str, Any]:
    """Returns the readings of the sensor `name`.

    Raises ResourceCallError when it gives none within `TIMEOUT_S`, or an answer that can't be decoded.
    """
    request = GetReadingsRequest(name=name).SerializeToString()
    answer = await client.call(sensor.METHODS["Readings"].rpc, request, TIMEOUT_S, SMALL_BYTES)
    try:
        return plain(GetReadingsResponse.FromString(answer).readings)
    except DecodeError as error:
        raise ResourceCallError(ResourceErrorKind.FAILED, f"the answer of {name!r} is not readable") from error
