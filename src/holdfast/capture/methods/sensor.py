"""rdk:component:sensor."""

from __future__ import annotations

from collections.abc import Mapping

from viam.proto.common import GetReadingsRequest

from ...storage.capture_files.frames import readings_payload
from .common import of_component
from .method import Method, TabularMethod, Target, from_data_management

API = "rdk:component:sensor"
SERVICE = "viam.component.sensor.v1.SensorService"


def _request(target: Target) -> bytes:
    """Builds a request that has the parameters in its `extra` too, as a sensor expects."""
    extra = from_data_management()
    extra.update(dict(target.params))
    return GetReadingsRequest(name=target.name, extra=extra).SerializeToString()


METHODS: Mapping[str, Method] = {
    # {"readings": {…}}, the bytes as they came
    "Readings": TabularMethod(f"/{SERVICE}/GetReadings", _request, readings_payload),
    **of_component(SERVICE),
}
