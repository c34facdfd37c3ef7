"""rdk:component:power_sensor. Its readings come from its own service, like those of a movement sensor."""

from __future__ import annotations

from collections.abc import Mapping

from viam.proto.common import GetReadingsRequest
from viam.proto.component.powersensor import (
    GetCurrentRequest,
    GetCurrentResponse,
    GetPowerRequest,
    GetPowerResponse,
    GetVoltageRequest,
    GetVoltageResponse,
)

from ...storage.capture_files.frames import readings_payload
from .common import of_component, row
from .method import Method, TabularMethod, by_name

API = "rdk:component:power_sensor"
SERVICE = "viam.component.powersensor.v1.PowerSensorService"

METHODS: Mapping[str, Method] = {
    # {"volts", "is_ac": bool}
    "Voltage": row(SERVICE, "GetVoltage", GetVoltageRequest, GetVoltageResponse),
    # {"amperes", "is_ac": bool}
    "Current": row(SERVICE, "GetCurrent", GetCurrentRequest, GetCurrentResponse),
    # {"watts"}
    "Power": row(SERVICE, "GetPower", GetPowerRequest, GetPowerResponse),
    # {"readings": {…}}, the bytes as they came
    "Readings": TabularMethod(f"/{SERVICE}/GetReadings", by_name(GetReadingsRequest), readings_payload),
    **of_component(SERVICE),
}
