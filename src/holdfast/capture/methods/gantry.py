"""rdk:component:gantry."""

from __future__ import annotations

from collections.abc import Mapping

from viam.proto.component.gantry import (
    GetLengthsRequest,
    GetLengthsResponse,
    GetPositionRequest,
    GetPositionResponse,
)

from .common import of_component, row
from .method import Method

API = "rdk:component:gantry"
SERVICE = "viam.component.gantry.v1.GantryService"

METHODS: Mapping[str, Method] = {
    # {"positions_mm": […]}
    "Position": row(SERVICE, "GetPosition", GetPositionRequest, GetPositionResponse),
    # {"lengths_mm": […]}
    "Lengths": row(SERVICE, "GetLengths", GetLengthsRequest, GetLengthsResponse),
    **of_component(SERVICE),
}
