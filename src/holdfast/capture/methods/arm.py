"""rdk:component:arm."""

from __future__ import annotations

from collections.abc import Mapping

from viam.proto.component.arm import (
    GetEndPositionRequest,
    GetEndPositionResponse,
    GetJointPositionsRequest,
    GetJointPositionsResponse,
)

from .common import of_component, row
from .method import Method

API = "rdk:component:arm"
SERVICE = "viam.component.arm.v1.ArmService"

METHODS: Mapping[str, Method] = {
    # {"pose": {"x", "y", "z", "o_x", "o_y", "o_z", "theta"}}: mm, an orientation vector, degrees
    "EndPosition": row(SERVICE, "GetEndPosition", GetEndPositionRequest, GetEndPositionResponse),
    # {"positions": {"values": […]}}: degrees, mm for prismatic joints
    "JointPositions": row(SERVICE, "GetJointPositions", GetJointPositionsRequest, GetJointPositionsResponse),
    **of_component(SERVICE),
}
