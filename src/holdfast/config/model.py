"""What a checked configuration consists of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .former_folders import FormerFolder
from .host import ConfiguredPath
from .mongo import MongoSettings
from .protected import Protected
from .space import DEFAULT_PRIORITY, CopySettings, SpaceLimits

DEFAULT_SYNC_INTERVAL_MINS = 0.1
_FREQUENCY_EPSILON_HZ = 0.000001
LEAST_HZ, MOST_HZ = 0.00001, 5000.0
"""The range of a frequency. More can't be reached, and less is hardly more than a reading a day."""
DEFAULT_SYNC_THREADS = 8
MOST_MS = 3_600_000.0
"""An hour: the longest flush interval, and the longest timeout of a call."""
MAX_IN_FLIGHT = 100
"""viam-server answers at most this many calls to one resource at once."""
MOST_LEVELS = 32
"""How many lists and objects may be in each other in a value of a capture method. Deeper ones fit into no call:
protobuf's readers stop at a hundred messages, and an object takes three."""
SYNC_ORDERS = ("oldest_first", "newest_first")
DEFAULT_CLOUD_ADDRESS = "https://app.viam.com:443"
_SENSOR = "rdk:component:sensor"


@dataclass(frozen=True)
class Card:
    """One capture method that stands in the settings of a component, a service or a remote, as in Viam's app."""

    source: str
    """Whose settings: those of a "component", which may be a service such as SLAM, or of a "remote"."""
    where: str
    """The same for people, with the name: "the component thermometer", "the service map", "the remote far"."""
    values: Mapping[str, Any]
    """The capture method, unchecked. Its `name` is the full name of the resource, as the machine lists it."""


@dataclass(frozen=True)
class CaptureMethod:
    """One method of one resource, to be captured at one frequency."""

    name: str
    """The resource's name, short ("lidar") or full ("rdk:component:sensor/lidar")."""
    method: str
    frequency_hz: float
    params: tuple[tuple[str, Any], ...] = ()
    tags: tuple[str, ...] = ()
    timeout_s: float = 5.0
    capture_directory: str = ""
    """An absolute path; empty for the service's `capture_dir`."""
    priority: int = field(default=DEFAULT_PRIORITY, compare=False)
    """From 0 to 9. Sync sends the highest first; to free space, the lowest is deleted first. Two methods that
    differ only in this are equal, so that a new priority does not restart the collector."""
    max_in_flight: int = 0
    """The calls that may be under way at once; 0 for a number that fits the frequency."""
    source: str = "service"
    """Where it comes from: `capture_methods` of the "service", the `source` of a card, or who steers capture."""

    @property
    def interval_s(self) -> float:
        return 1.0 / self.frequency_hz


@dataclass(frozen=True)
class ControlSensorConfig:
    """The sensor whose readings override what is captured, and the key in its readings that holds the overrides."""

    name: str
    key: str


@dataclass(frozen=True)
class Config:
    """A checked configuration, in which all paths are absolute. Two that differ only in problems are equal."""

    capture_dir: str
    tags: tuple[str, ...] = ()
    capture_disabled: bool = False
    maximum_capture_file_size_bytes: int = 256 * 1024
    flush_interval_s: float = 1.0
    fsync_interval_s: float = 5.0
    adopt_component_settings: bool = True
    """Whether the cards are captured too."""
    methods: tuple[CaptureMethod, ...] = ()
    """What runs: the entries of `capture_methods`, then the cards that none of these replaces."""
    off_methods: tuple[CaptureMethod, ...] = ()
    """The entries that are switched off; a control sensor or a command may switch them on."""
    capture_control_sensor: ControlSensorConfig | None = None
    sync_disabled: bool = False
    sync_interval_s: float = DEFAULT_SYNC_INTERVAL_MINS * 60
    additional_sync_paths: tuple[str, ...] = ()
    selective_syncer_name: str = ""
    file_last_modified_s: float = 10.0
    maximum_num_sync_threads: int = DEFAULT_SYNC_THREADS
    sync_bandwidth_limit_bytes_per_sec: float = 0.0
    """0 for no limit."""
    sync_order: str = SYNC_ORDERS[0]
    upload_roots: tuple[str, ...] | None = None
    """The folders that upload commands may read; None for the sync paths."""
    cloud_address: str = DEFAULT_CLOUD_ADDRESS
    allow_plaintext: bool = False
    mongo_capture_config: MongoSettings | None = None
    limits: SpaceLimits = field(default_factory=SpaceLimits)
    local_copy: CopySettings | None = None
    in_memory: bool = False
    """Whether captured data is kept in memory, in `memory_dir` in place of `capture_dir`."""
    memory_dir: str = ""
    paths: tuple[ConfiguredPath, ...] = field(default=(), compare=False)
    """The paths that are written in the config, in its order."""
    former_folders: tuple[FormerFolder, ...] = ()
    protected: Protected = field(default_factory=Protected)
    """The folders that are not synced even if a capture folder leads there."""
    problems: tuple[str, ...] = field(default=(), compare=False)

    @property
    def dependencies(self) -> tuple[str, ...]:
        """The names of the resources that capture, steering and sync call. All of them are optional.

        viam-server gives none for a short name that several have, so each is full where its API is known.
        """
        names = [method.name for method in self.methods]
        if self.capture_control_sensor is not None:
            names += [method.name for method in self.off_methods]
            names.append(f"{_SENSOR}/{short_name(self.capture_control_sensor.name)}")
        if self.selective_syncer_name:
            names.append(f"{_SENSOR}/{short_name(self.selective_syncer_name)}")
        return tuple(dict.fromkeys(name for name in names if _declarable(name)))

    @property
    def protected_with_copy(self) -> Protected:
        """The folders that are not synced even if one of `additional_sync_paths` leads there."""
        return replace(self.protected, local_copy=self.local_copy.folder) if self.local_copy else self.protected

    @property
    def capture_dirs(self) -> tuple[str, ...]:
        """The folders that captured data may go to: `capture_dir`, then those of single methods."""
        methods = (*self.methods, *self.off_methods)
        own = (method.capture_directory for method in methods if method.capture_directory)
        return tuple(dict.fromkeys((self.capture_dir, *own)))


def is_off(frequency_hz: float) -> bool:
    """Tells whether a frequency means that nothing is captured, by the builtin's threshold."""
    return frequency_hz <= _FREQUENCY_EPSILON_HZ


def too_deep(values: Mapping[str, Any]) -> str | None:
    """Returns the name of the first value that has more than `MOST_LEVELS` lists and objects in each other."""
    return next((name for name, value in values.items() if _is_too_deep(value)), None)


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MOST_LEVELS + 1):
        level = [each for each in level if isinstance(each, (Mapping, list, tuple))]
        if not level:
            return False
        level = [inner for each in level for inner in (each.values() if isinstance(each, Mapping) else each)]
    return True


def short_name(name: str) -> str:
    """Returns a resource's name without its API."""
    return name.rpartition("/")[2]


def ordered(params: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Returns parameters sorted by name, and so the objects inside them, with all numbers as floats.

    Protobuf gives the fields of an object in any order, and each number as a float. Neither that order nor an
    integer of a file must look like a change.
    """
    return tuple((name, _ordered(params[name])) for name in sorted(params))


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(ordered(value))
    if isinstance(value, (list, tuple)):
        return [_ordered(item) for item in value]
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _declarable(name: str) -> bool:
    """Tells whether viam-server could offer `name` as a dependency. It never offers a `remote:name`."""
    return ":" not in short_name(name)
