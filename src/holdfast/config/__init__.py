"""The configuration: from Viam's attributes to a checked `Config`."""

from .parse import (
    CLOUD_SIDE,
    DEFAULT_CLOUD_ADDRESS,
    MAX_IN_FLIGHT,
    MOST_MS,
    CaptureMethod,
    Config,
    ControlSensorConfig,
    default_capture_dir,
    is_off,
    ordered,
    parse,
    short_name,
)

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
