"""The configuration: from Viam's attributes to a checked `Config`."""

from .attributes import CLOUD_SIDE
from .capture_methods import CAPTURE_METHODS
from .model import CaptureMethod, Config, ControlSensorConfig, is_off, ordered, short_name
from .mongo import MongoSettings
from .parse import parse
from .space import (
    DEFAULT_PRIORITY,
    FAILED_SHARE_OF_MEMORY,
    HIGHEST_PRIORITY,
    MEMORY_LIMIT_BYTES,
    CopySettings,
    SpaceLimits,
    WhenFull,
)

__all__ = [
    "CAPTURE_METHODS",
    "CLOUD_SIDE",
    "DEFAULT_PRIORITY",
    "FAILED_SHARE_OF_MEMORY",
    "HIGHEST_PRIORITY",
    "MEMORY_LIMIT_BYTES",
    "CaptureMethod",
    "Config",
    "ControlSensorConfig",
    "CopySettings",
    "MongoSettings",
    "SpaceLimits",
    "WhenFull",
    "is_off",
    "ordered",
    "parse",
    "short_name",
]
