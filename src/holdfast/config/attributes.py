"""Typed values out of attributes. Part of `config`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ..base.words import MAX_SHOWN_CHARS, closest, shortened, shown
from ..errors import ConfigError
from . import space
from .model import MAX_IN_FLIGHT, MOST_MS, CaptureMethod, ControlSensorConfig, is_off, ordered
from .mongo import KEYS as MONGO_KEYS
from .mongo import MongoSettings, mongo_settings

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
