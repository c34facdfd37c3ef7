"""The configuration of the service: `parse` makes a checked `Config` of the attributes in a Viam config.

Terms: *attributes* are the names and values that a user writes; a *capture method* is one entry of
`capture_methods`; a *card* is a capture method in the settings of a component, a service or a remote, as Viam's app
shows it; a *problem* is a sentence about something wrong that costs only a part. The *host* is what paths and
defaults depend on besides the config.

This package decides what each value means and what its default is. It never reads a file or calls a resource, so it
does not know whether a folder or a resource is there. A whole machine's config is the matter of `machine_config`,
one layer above. Other packages import the names below, from the package and not from its modules.
"""

from .attributes import CLOUD_SIDE
from .capture_methods import CAPTURE_METHODS, SettledCard, settled_cards
from .cloud_address import Endpoint, endpoint, joined
from .former_folders import FormerFolder
from .host import ConfiguredPath, Host
from .model import (
    LEAST_HZ,
    MOST_HZ,
    MOST_LEVELS,
    CaptureMethod,
    Card,
    Config,
    ControlSensorConfig,
    is_off,
    ordered,
    short_name,
    too_deep,
)
from .mongo import MongoSettings
from .parse import ADDITIONAL_PATHS, ADOPT, adopts, parse
from .protected import Protected
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
    "ADDITIONAL_PATHS",
    "ADOPT",
    "CAPTURE_METHODS",
    "CLOUD_SIDE",
    "DEFAULT_PRIORITY",
    "FAILED_SHARE_OF_MEMORY",
    "HIGHEST_PRIORITY",
    "LEAST_HZ",
    "MEMORY_LIMIT_BYTES",
    "MOST_HZ",
    "MOST_LEVELS",
    "CaptureMethod",
    "Card",
    "Config",
    "ConfiguredPath",
    "ControlSensorConfig",
    "CopySettings",
    "Endpoint",
    "FormerFolder",
    "Host",
    "MongoSettings",
    "Protected",
    "SettledCard",
    "SpaceLimits",
    "WhenFull",
    "adopts",
    "endpoint",
    "is_off",
    "joined",
    "ordered",
    "parse",
    "settled_cards",
    "short_name",
    "too_deep",
]
