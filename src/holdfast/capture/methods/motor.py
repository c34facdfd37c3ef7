"""rdk:component:motor."""

from __future__ import annotations

from collections.abc import Mapping

from viam.proto.component.motor import GetPositionRequest, GetPositionResponse, IsPoweredRequest, IsPoweredResponse

from .common import of_component, row
from .method import Method

API = "rdk:component:motor"
SERVICE = "viam.component.motor.v1.MotorService"

METHODS: Mapping[str, Method] = {
    # {"position"}: revolutions
    "Position": row(SERVICE, "GetPosition", GetPositionRequest, GetPositionResponse),
    # {"is_on": bool, "power_pct"}
    "IsPowered": row(SERVICE, "IsPowered", IsPoweredRequest, IsPoweredResponse),
    **of_component(SERVICE),
}
