"""rdk:component:servo."""

from __future__ import annotations

from collections.abc import Mapping

from viam.proto.component.servo import GetPositionRequest, GetPositionResponse

from .common import of_component, row
from .method import Method

API = "rdk:component:servo"
SERVICE = "viam.component.servo.v1.ServoService"

METHODS: Mapping[str, Method] = {
    # {"position_deg"}
    "Position": row(SERVICE, "GetPosition", GetPositionRequest, GetPositionResponse),
    **of_component(SERVICE),
}
