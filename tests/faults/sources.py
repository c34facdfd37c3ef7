"""This module defines what the torture captures, two sensors and a camera, and how each is judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from viam.proto.app.datasync import DataType

from tests.e2e.machines import PART_ID, Source, readings_of

from .account import Account
from .calls import Calls
from .labels import Labels, Tags
from .rigs import HZ, SENSOR, bare, pictured

SECOND = "second"
CAMERA = "camera"
PICTURES_OF_CAMERA = {"name": CAMERA, "method": "NextPointCloud", "capture_frequency_hz": 2.0}

_READINGS = {
    "part_id": PART_ID,
    "type": DataType.DATA_TYPE_TABULAR_SENSOR,
    "component_type": "rdk:component:sensor",
    "method_name": "Readings",
    "file_extension": ".dat",
    "mime_type": "",
}
_PICTURES = _READINGS | {
    "type": DataType.DATA_TYPE_BINARY_SENSOR,
    "component_type": "rdk:component:camera",
    "method_name": "NextPointCloud",
    "file_extension": ".pcd",
    "mime_type": "pointcloud/pcd",
}


def sources(folder: Path, first: Source) -> dict[str, Source]:
    """Returns the sources by name; `first` is the first sensor."""
    camera = Source(CAMERA, folder, "counting_camera", "rdk:component:camera")
    return {SENSOR: first, SECOND: Source(SECOND, folder), CAMERA: camera}


def accounts(calls: Calls, tags: Tags) -> dict[str, Account]:
    """Returns the accounts of the sources by name."""
    found = {name: Account(name, bare, calls) for name in (SENSOR, SECOND)}
    found[CAMERA] = Account(CAMERA, pictured, calls, "NextPointCloud")
    for name, account in found.items():
        account.labels = Labels(tags, **(_PICTURES if name == CAMERA else _READINGS))
    return found


def methods(second_hz: float | None, **of_second: Any) -> list[dict[str, Any]]:
    """Returns `capture_methods`; without `second_hz` the second sensor is left out."""
    second = [readings_of(SECOND, second_hz, **of_second)] if second_hz else []
    return [readings_of(SENSOR, HZ), PICTURES_OF_CAMERA, *second]
