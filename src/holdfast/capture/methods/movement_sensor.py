"""rdk:component:movement_sensor. Its readings come from its own service: that of sensors does not know it."""

from __future__ import annotations

from collections.abc import Mapping

from viam.proto.common import GetReadingsRequest
from viam.proto.component.movementsensor import (
    GetAngularVelocityRequest,
    GetAngularVelocityResponse,
    GetCompassHeadingRequest,
    GetCompassHeadingResponse,
    GetLinearAccelerationRequest,
    GetLinearAccelerationResponse,
    GetLinearVelocityRequest,
    GetLinearVelocityResponse,
    GetOrientationRequest,
    GetOrientationResponse,
    GetPositionRequest,
    GetPositionResponse,
)

from ...storage.capture_files.frames import readings_payload
from .common import of_component, row
from .method import Method, TabularMethod, by_name

API = "rdk:component:movement_sensor"
SERVICE = "viam.component.movementsensor.v1.MovementSensorService"

METHODS: Mapping[str, Method] = {
    # {"coordinate": {"latitude", "longitude"}, "altitude_m"}
    "Position": row(SERVICE, "GetPosition", GetPositionRequest, GetPositionResponse),
    # {"linear_velocity": {"x", "y", "z"}}: m/s
    "LinearVelocity": row(SERVICE, "GetLinearVelocity", GetLinearVelocityRequest, GetLinearVelocityResponse),
    # {"angular_velocity": {"x", "y", "z"}}: degrees/s
    "AngularVelocity": row(SERVICE, "GetAngularVelocity", GetAngularVelocityRequest, GetAngularVelocityResponse),
    # {"value"}: degrees
    "CompassHeading": row(SERVICE, "GetCompassHeading", GetCompassHeadingRequest, GetCompassHeadingResponse),
    # {"linear_acceleration": {"x", "y", "z"}}: m/s²
    "LinearAcceleration": row(
        SERVICE, "GetLinearAcceleration", GetLinearAccelerationRequest, GetLinearAccelerationResponse
    ),
    # {"orientation": {"o_x", "o_y", "o_z", "theta"}}: degrees
    "Orientation": row(SERVICE, "GetOrientation", GetOrientationRequest, GetOrientationResponse),
    # {"readings": {…}}, the bytes as they came
    "Readings": TabularMethod(f"/{SERVICE}/GetReadings", by_name(GetReadingsRequest), readings_payload),
    **of_component(SERVICE),
}
