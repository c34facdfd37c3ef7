"""One reading of a sensor as Python values, for the sensors that steer the data manager."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from google.protobuf.message import DecodeError
from viam.proto.common import GetReadingsRequest, GetReadingsResponse

from ..base.protobuf_values import plain
from ..base.tasks import in_thread
from ..capture.answer_memory import SMALL_BYTES
from ..capture.client import UnaryClient
from ..capture.methods import sensor
from ..errors import ResourceCallError, ResourceErrorKind

TIMEOUT_S = 5.0
_MOST_ON_LOOP_BYTES = 4 * 1024

Readings = Callable[[], Awaitable[Mapping[str, Any]]]
"""Asks one sensor for its readings. Raises ResourceCallError."""


async def sensor_readings(client: UnaryClient, name: str) -> dict[str, Any]:
    """Returns the readings of the sensor `name`.

    Raises ResourceCallError when it gives none within `TIMEOUT_S`, more than `SMALL_BYTES`, or an answer that can't
    be decoded.
    """
    request = GetReadingsRequest(name=name).SerializeToString()
    answer = await client.call(sensor.METHODS["Readings"].rpc, request, TIMEOUT_S, SMALL_BYTES)
    try:
        if len(answer) <= _MOST_ON_LOOP_BYTES:
            return _decoded(bytes(answer))
        return await in_thread(_decoded, bytes(answer))
    except DecodeError as error:
        raise ResourceCallError(ResourceErrorKind.FAILED, f"the answer of {name!r} is not readable") from error


def _decoded(answer: bytes) -> dict[str, Any]:
    return plain(GetReadingsResponse.FromString(answer).readings)
