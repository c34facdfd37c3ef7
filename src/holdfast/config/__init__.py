"""The configuration: from Viam's attributes to a checked `Config`."""

from .attributes import CLOUD_SIDE
from .model import (
    DEFAULT_CLOUD_ADDRESS,
    MAX_IN_FLIGHT,
    MOST_MS,
    CaptureMethod,
    Config,
    ControlSensorConfig,
    is_off,
    ordered,
    short_name,
)
from .parse import default_capture_dir, parse

__all__ = [
    "CLOUD_SIDE",
    "DEFAULT_CLOUD_ADDRESS",
    "MAX_IN_FLIGHT",
    "MOST_MS",
    "CaptureMethod",
    "Config",
    "ControlSensorConfig",
    "default_capture_dir",
    "is_off",
    "ordered",
    "parse",
    "short_name",
]
