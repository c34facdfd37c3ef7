"""rdk:component:encoder."""

from __future__ import annotations

from collections.abc import Mapping

from viam.proto.component.encoder import GetPositionRequest, GetPositionResponse

from .common import of_component, row
from .method import Method

API = "rdk:component:encoder"
SERVICE = "viam.component.encoder.v1.EncoderService"

METHODS: Mapping[str, Method] = {
    # {"value", "position_type"}: the type is 1 for ticks, 2 for degrees
    "TicksCount": row(SERVICE, "GetPosition", GetPositionRequest, GetPositionResponse),
    **of_component(SERVICE),
}
