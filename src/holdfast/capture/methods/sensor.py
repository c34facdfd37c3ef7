"""rdk:component:sensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from viam.proto.common import GetReadingsRequest

from ...storage.frames import readings_payload
from .method import TabularMethod, from_data_management

API = "rdk:component:sensor"


def _readings(name: str, params: Mapping[str, Any]) -> bytes:
    return GetReadingsRequest(name=name, extra=from_data_management()).SerializeToString()


METHODS = {
    "Readings": TabularMethod(
        rpc="/viam.component.sensor.v1.SensorService/GetReadings",
        request=_readings,
        payload=readings_payload,
    ),
}
