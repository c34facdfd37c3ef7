"""The configuration: Viam's attributes, checked and typed.

`parse` refuses (ConfigError) only what makes the service meaningless: at the next boot a refused config would
capture nothing at all. Everything else that is wrong, an entry of `capture_methods` or an unknown attribute, is
left out and becomes a `problem` that names it, its value and the fix. Names, defaults and checks are the builtin's
(services/datamanager/builtin/config.go) where it has the attribute.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..base.words import MAX_SHOWN_CHARS, closest, shortened, shown
from ..errors import ConfigError
from . import space
from .mongo import KEYS as MONGO_KEYS
from .mongo import MongoSettings, mongo_settings
from .space import CopySettings, SpaceLimits

DEFAULT_SYNC_INTERVAL_MINS = 0.1
_SYNC_INTERVAL_EPSILON_MINS = 0.0001
_FREQUENCY_EPSILON_HZ = 0.000001
DEFAULT_SYNC_THREADS = 8
MOST_MS = 3_600_000.0
"""An hour: the longest that somebody waits for a flush, or a call for its answer."""
MAX_IN_FLIGHT = 100
"""viam-server answers no more calls at once to one resource."""
SYNC_ORDERS = ("oldest_first", "newest_first")
DEFAULT_CLOUD_ADDRESS = "https://app.viam.com:443"

CLOUD_SIDE = frozenset(
    {"delete_data_on_part_deletion", "retention_policy", "recent_data_store", "cache_size_kb", "capture_methods_ui"}
)
"""Documented attributes that other programs act on: accepted without a word."""

_METHOD_ATTRIBUTES = frozenset(
    {
        "name", "method", "capture_frequency_hz", "additional_params", "disabled", "capture_queue_size",
        "capture_buffer_size", "capture_directory", "tags", "timeout_ms", "priority", "type", "model",
        "max_in_flight",
    }
)  # fmt: skip


@dataclass(frozen=True)
class CaptureMethod:
    """What to capture: one method of one resource at one frequency."""

    name: str
    """The resource's name, short ("lidar") or full ("rdk:component:sensor/lidar")."""
    method: str
    frequency_hz: float
    params: tuple[tuple[str, Any], ...] = ()
    tags: tuple[str, ...] = ()
    timeout_s: float = 5.0
    capture_directory: str = ""
    """An absolute path; empty for the service's `capture_dir`."""
    priority: int = field(default=space.DEFAULT_PRIORITY, compare=False)
    """What is sent first, 9 before 0, and deleted first to free space, 0 before 9. A change of it is no change of
    the collector."""
    max_in_flight: int = 0
    """Calls that may be under way at once; 0 for what fits the frequency."""

    @property
    def interval_s(self) -> float:
        return 1.0 / self.frequency_hz


@dataclass(frozen=True)
class ControlSensorConfig:
    """The sensor that steers capture, and the key of its readings under which the overrides stand."""

    name: str
    key: str


@dataclass(frozen=True)
class Config:
    """A checked configuration; paths are absolute, times in the unit of their name."""

    capture_dir: str
    tags: tuple[str, ...] = ()
    capture_disabled: bool = False
    maximum_capture_file_size_bytes: int = 256 * 1024
    flush_interval_s: float = 1.0
    fsync_interval_s: float = 5.0
    methods: tuple[CaptureMethod, ...] = ()
    off_methods: tuple[CaptureMethod, ...] = ()
    """Entries that are switched off, which a control sensor or a command may switch on."""
    capture_control_sensor: ControlSensorConfig | None = None
    sync_disabled: bool = False
    sync_interval_s: float = DEFAULT_SYNC_INTERVAL_MINS * 60
    additional_sync_paths: tuple[str, ...] = ()
    selective_syncer_name: str = ""
    file_last_modified_s: float = 10.0
    maximum_num_sync_threads: int = DEFAULT_SYNC_THREADS
    sync_bandwidth_limit_bytes_per_sec: float = 0.0
    """0: no limit."""
    sync_order: str = SYNC_ORDERS[0]
    upload_roots: tuple[str, ...] = ()
    """Where upload commands may read; empty for the sync paths."""
    cloud_address: str = DEFAULT_CLOUD_ADDRESS
    allow_plaintext: bool = False
    mongo_capture_config: MongoSettings | None = None
    limits: SpaceLimits = field(default_factory=SpaceLimits)
    local_copy: CopySettings | None = None
    in_memory: bool = False
    """Whether `capture_dir` is to stand in memory, at `memory_dir`."""
    memory_dir: str = ""
    problems: tuple[str, ...] = field(default=(), compare=False)

    @property
    def dependencies(self) -> tuple[str, ...]:
        """Names of the resources that capture and sync ask; none of them has to be there."""
        names = [m.name for m in self.methods if _declarable(m.name)]
        if self.capture_control_sensor is not None:
            names += [m.name for m in self.off_methods if _declarable(m.name)]
            if _declarable(self.capture_control_sensor.name):
                names.append(self.capture_control_sensor.name)
        if self.selective_syncer_name and _declarable(self.selective_syncer_name):
            names.append(self.selective_syncer_name)
        return tuple(dict.fromkeys(short_name(name) for name in names))

    @property
    def capture_dirs(self) -> tuple[str, ...]:
        """Every folder that captured data may go to: `capture_dir` first, then those of single methods."""
        methods = (*self.methods, *self.off_methods)
        own = (method.capture_directory for method in methods if method.capture_directory)
        return tuple(dict.fromkeys((self.capture_dir, *own)))


def is_off(frequency_hz: float) -> bool:
    """Whether a frequency means no capture at all, by the builtin's threshold."""
    return frequency_hz <= _FREQUENCY_EPSILON_HZ


def short_name(name: str) -> str:
    """A resource's name without its API."""
    return name.rpartition("/")[2]


def ordered(params: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Parameters in the order of their names, in objects within them too: protobuf gives these in any order, and
    what is the same must not look like a change."""

    def sorted_in(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: sorted_in(value[name]) for name in sorted(value)}
        return [sorted_in(item) for item in value] if isinstance(value, (list, tuple)) else value

    return tuple((name, sorted_in(params[name])) for name in sorted(params))


def _declarable(name: str) -> bool:
    """Whether viam-server could give `name` as a dependency: `remote:name` it never does."""
    return ":" not in short_name(name)


def default_capture_dir(environment: Mapping[str, str]) -> str:
    """Where the builtin captures to when it is not told."""
    home = environment.get("VIAM_HOME") or os.path.join(environment.get("HOME", "/"), ".viam")
    return os.path.join(home, "capture")


def parse(attributes: Mapping[str, Any], environment: Mapping[str, str]) -> Config:
    """Checks `attributes` as they come from a Viam config (numbers are floats).

    Raises ConfigError naming the attribute; see the module's docstring for what becomes a problem instead.
    """
    reader = _Reader(attributes)
    home = environment.get("HOME", "")

    def path(value: str) -> str:
        return os.path.abspath(
            os.path.join(home, value[1:].lstrip("/")) if value.startswith("~") and home else value
        )

    interval_mins = reader.number("sync_interval_mins", 0.0)
    if interval_mins < _SYNC_INTERVAL_EPSILON_MINS:
        interval_mins = DEFAULT_SYNC_INTERVAL_MINS
    capture_dir = path(reader.text("capture_dir", "") or default_capture_dir(environment))
    config = Config(
        capture_dir=capture_dir,
        tags=reader.texts("tags"),
        capture_disabled=reader.flag("capture_disabled"),
        maximum_capture_file_size_bytes=reader.whole("maximum_capture_file_size_bytes", 256 * 1024),
        flush_interval_s=reader.number("capture_flush_interval_ms", 1000.0, most=MOST_MS) / 1000,
        fsync_interval_s=reader.number("capture_fsync_interval_ms", 5000.0, most=MOST_MS) / 1000,
        methods=reader.methods(path),
        off_methods=tuple(reader.off_methods),
        capture_control_sensor=reader.control_sensor(),
        sync_disabled=reader.flag("sync_disabled"),
        sync_interval_s=interval_mins * 60,
        additional_sync_paths=tuple(path(p) for p in reader.texts("additional_sync_paths") if p),
        selective_syncer_name=reader.text("selective_syncer_name", ""),
        file_last_modified_s=reader.number("file_last_modified_millis", 10_000.0) / 1000,
        maximum_num_sync_threads=reader.whole("maximum_num_sync_threads", DEFAULT_SYNC_THREADS),
        sync_bandwidth_limit_bytes_per_sec=reader.number("sync_bandwidth_limit_bytes_per_sec", 0.0),
        sync_order=space.choice(reader, "sync_order", SYNC_ORDERS),
        upload_roots=tuple(path(p) for p in reader.texts("upload_roots") if p),
        cloud_address=reader.text("cloud_address", "") or DEFAULT_CLOUD_ADDRESS,
        allow_plaintext=reader.flag("allow_plaintext"),
        mongo_capture_config=reader.mongo(),
        limits=space.space_limits(reader),
        local_copy=space.copy_settings(reader, _Reader, path),
        in_memory=space.choice(reader, "capture_store", ("disk", "memory")) == "memory",
        memory_dir=space.memory_dir(environment, capture_dir),
    )  # fmt: skip
    if config.local_copy is not None:
        space.refuse_copy_in(
            config.local_copy, (*config.capture_dirs, *config.additional_sync_paths, config.memory_dir)
        )
    return _with_problems(config, reader)


def _with_problems(config: Config, reader: _Reader) -> Config:
    problems = list(reader.problems)
    problems += [_unknown(name, reader.known | CLOUD_SIDE) for name in reader.unknown()]
    return replace(config, problems=tuple(problems))


def _unknown(name: str, known: frozenset[str] | set[str], where: str = "") -> str:
    close = closest(name, sorted(known))
    hint = f"; did you mean {close!r}?" if close else "; remove it"
    return f"{where}{shortened(name, MAX_SHOWN_CHARS)}: there is no such attribute, it has no effect{hint}"


class _Reader:
    """Takes typed values out of attributes. A missing or null value, or a zero where zero means "unset" to the
    builtin, is the default; a wrong type or a negative number is a ConfigError."""

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        self._attributes = attributes
        self.known: set[str] = {"capture_methods"}
        self.problems: list[str] = []
        self.off_methods: list[CaptureMethod] = []
        """After `methods`: its entries that are switched off."""

    def is_set(self, name: str) -> bool:
        return bool(self._attributes.get(name))

    def unknown(self) -> list[str]:
        return [name for name in self._attributes if name not in self.known and name not in CLOUD_SIDE]

    def text(self, name: str, default: str) -> str:
        value = self._take(name, str, "a string")
        if value is not None and "\0" in value:
            raise ConfigError(name, "must not hold a NUL character")
        return default if value is None else str(value)

    def flag(self, name: str) -> bool:
        return bool(self._take(name, bool, "true or false"))

    def number(self, name: str, default: float, most: float = math.inf) -> float:
        """A finite number ≥ 0; 0 means the default, as to the builtin. Above `most` is a problem, and `most`."""
        value = self._take(name, (int, float), "a number")
        if value is None:
            return default
        if isinstance(value, bool) or not math.isfinite(value):
            raise ConfigError(name, f"must be a number, not {shown(value)}")
        if value < 0:
            raise ConfigError(name, f"can't be negative, it is {value:g}")
        if value > most:
            self.problems.append(f"{name}: at most {most:g} is possible and used, not {value:g}")
        return min(float(value), most) or default

    def whole(self, name: str, default: int, most: float = math.inf) -> int:
        value = self.number(name, default, most)
        if value != int(value):
            raise ConfigError(name, f"must be a whole number, it is {value:g}")
        return int(value)

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._take(name, (list, tuple), "a list of strings")
        for item in value or ():
            if not isinstance(item, str):
                raise ConfigError(name, f"must be a list of strings; {shown(item)} is not one")
            if "\0" in item:
                raise ConfigError(name, "must not hold a NUL character")
        return tuple(value or ())

    def mapping(self, name: str) -> Mapping[str, Any]:
        return dict(self._take(name, Mapping, "an object") or {})

    def mongo(self) -> MongoSettings | None:
        """`mongo_capture_config`; None where it is not usable, with a problem said. Shows no value of it."""
        name = "mongo_capture_config"
        self.known.add(name)
        value = self._attributes.get(name)
        if isinstance(value, Mapping):
            self.problems += [_unknown(key, MONGO_KEYS, f"{name}.") for key in value if key not in MONGO_KEYS]
        return mongo_settings(name, value, self.problems)

    def control_sensor(self) -> ControlSensorConfig | None:
        """`capture_control_sensor`; None where it is not usable, with a problem said as the builtin logs it."""
        name = "capture_control_sensor"
        reader = _Reader(self.mapping(name))
        try:
            sensor, key = reader.text("name", ""), reader.text("key", "")
        except ConfigError as error:
            raise ConfigError(f"{name}.{error.attribute}", str(error).partition(": ")[2]) from error
        self.problems += [_unknown(unknown, reader.known, f"{name}.") for unknown in reader.unknown()]
        if sensor and not key:
            self.problems.append(f"{name}.key: is missing; the sensor {sensor!r} has no effect until that is there")
        if key and not sensor:
            self.problems.append(f"{name}.name: is missing; it has no effect until that is there")
        return ControlSensorConfig(sensor, key) if sensor and key else None

    def methods(self, path: Callable[[str], str]) -> tuple[CaptureMethod, ...]:
        """The usable entries of `capture_methods`; each other one becomes a problem. `path` completes paths."""
        entries = self._take("capture_methods", (list, tuple), "a list of capture methods")
        methods: dict[tuple[str, str, str], CaptureMethod] = {}
        for index, entry in enumerate(entries or ()):
            where = f"capture_methods[{index}]"
            try:
                method = self._method(where, entry, path)
            except ConfigError as error:
                self.problems.append(f"{error}; this entry is not captured, the others are")
                continue
            if is_off(method.frequency_hz):
                self.off_methods.append(method)
                continue
            key = (method.name, method.method, repr(method.params))
            if key in methods:
                self.problems.append(
                    f"{where}: {method.method} of {method.name} with these parameters appears twice; "
                    "the first entry is used"
                )
                continue
            methods[key] = method
        self.off_methods = [m for m in self.off_methods if (m.name, m.method, repr(m.params)) not in methods]
        return tuple(methods.values())

    def _method(self, where: str, entry: object, path: Callable[[str], str]) -> CaptureMethod:
        if not isinstance(entry, Mapping):
            wanted = "an object with name, method and capture_frequency_hz"
            raise ConfigError(where, f"must be {wanted}, not {shown(entry)}")
        reader = _Reader(entry)
        reader.known |= _METHOD_ATTRIBUTES
        try:
            name, method = reader._required("name"), reader._required("method")
            where = f"{where} ({name} {method})"
            params = reader.mapping("additional_params")
            disabled = reader.flag("disabled")
            frequency = self._frequency(where, entry.get("capture_frequency_hz"), disabled)
            tags = reader.texts("tags")
            timeout_s = reader.number("timeout_ms", 5000.0, MOST_MS) / 1000
            directory = reader.text("capture_directory", "")
            priority = space.priority(entry.get("priority"))
            max_in_flight = reader.whole("max_in_flight", 0, MAX_IN_FLIGHT)
            for unused in ("capture_queue_size", "capture_buffer_size"):
                reader.number(unused, 0.0)
        except ConfigError as error:
            raise (
                error
                if error.attribute.startswith("capture_methods")
                else ConfigError(f"{where}.{error.attribute}", str(error).partition(": ")[2])
            ) from error
        self.problems += [f"{where}.{problem}" for problem in reader.problems]
        self.problems += [_unknown(key, reader.known | CLOUD_SIDE, f"{where}.") for key in reader.unknown()]
        return CaptureMethod(
            name,
            method,
            0.0 if disabled or frequency is None else frequency,
            ordered(params),
            tags,
            timeout_s,
            path(directory) if directory else "",
            priority,
            max_in_flight,
        )

    def _required(self, name: str) -> str:
        value = self.text(name, "")
        if not value:
            raise ConfigError(name, "is missing")
        return value

    def _frequency(self, where: str, value: object, disabled: bool) -> float | None:
        """The frequency in Hz; None, with a problem said, where the entry is switched off by this alone."""
        attribute = f"{where}.capture_frequency_hz"
        if isinstance(value, bool) or not isinstance(value, (int, float, type(None))):
            raise ConfigError(attribute, f"must be a number, not {shown(value)}")
        if value is None or is_off(value):
            if not disabled:
                self.problems.append(f"{attribute}: it is {value or 0:g}, so this entry is not captured")
            return None
        if not math.isfinite(value):
            raise ConfigError(attribute, f"must be a finite number, it is {value}")
        return float(value)

    def _take(self, name: str, types: type | tuple[type, ...], wanted: str) -> Any:
        self.known.add(name)
        value = self._attributes.get(name)
        if value is not None and not isinstance(value, types):
            raise ConfigError(name, f"must be {wanted}, not {shown(value)}")
        return value
