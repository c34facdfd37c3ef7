"""One capture method, as a user writes it: checked and typed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..base.words import MAX_SHOWN_CHARS, shortened, shown
from ..errors import ConfigError
from .attributes import CLOUD_SIDE, Attributes
from .model import LEAST_HZ, MAX_IN_FLIGHT, MOST_HZ, MOST_LEVELS, MOST_MS, CaptureMethod, is_off, ordered, too_deep
from .space import priority

CAPTURE_DIRECTORY = "capture_directory"
_FREQUENCY = "capture_frequency_hz"
_MEANING = "it is the number of readings a second"
_IGNORED = ("type", "model")
_ONLY_CHECKED = ("capture_queue_size", "capture_buffer_size")
"""The sizes of the builtin's buffers. Holdfast has no such buffers, but refuses what the builtin refuses."""


class Identity(NamedTuple):
    """What is equal for two entries that capture the same."""

    name: str
    """The resource's name, as it is written."""
    method: str
    params: str


def entry_of(attributes: Attributes, where: str, values: object) -> Attributes:
    """Returns the attributes of one entry; errors and problems give the resource and the method besides `where`."""
    if not isinstance(values, Mapping):
        wanted = "an object with name, method and capture_frequency_hz"
        raise ConfigError(where, f"must be {wanted}, not {shown(values)}")
    refuse_too_deep(f"{where}.", values)
    entry = attributes.child(values, f"{where}.")
    entry.rename(f"{where} ({entry.required('name')} {entry.required('method')}).")
    return entry


def refuse_too_deep(prefix: str, values: Mapping[str, Any]) -> None:
    """Raises ConfigError if a value has more than `MOST_LEVELS` lists and objects in each other."""
    name = too_deep(values)
    if name is not None:
        name = shortened(name, MAX_SHOWN_CHARS)
        raise ConfigError(f"{prefix}{name}", f"has more than {MOST_LEVELS} lists and objects in each other")


def identity_of(entry: Attributes) -> Identity:
    """Raises ConfigError."""
    params = ordered(entry.mapping("additional_params"))
    return Identity(entry.required("name"), entry.required("method"), repr(params))


def is_addition(entry: Attributes) -> bool:
    """Tells whether an entry only adds to a card, since it has no frequency."""
    return not entry.has(_FREQUENCY)


def runs(entry: Attributes) -> bool:
    """Tells whether an entry has a frequency and is not disabled. What can't be used is not captured either."""
    hz, disabled = entry.raw(_FREQUENCY), entry.raw("disabled")
    return not disabled and isinstance(hz, (int, float)) and not is_off(hz)


def method_of(entry: Attributes, source: str = "service", without_frequency: str = _MEANING) -> CaptureMethod:
    """Returns what an entry means. Raises ConfigError; what costs less than the entry is a problem of `entry`.

    `without_frequency` says what to do if the frequency is missing.
    """
    method = CaptureMethod(
        entry.text("name"),
        entry.text("method"),
        params=ordered(entry.mapping("additional_params")),
        frequency_hz=_frequency_hz(entry, without_frequency),
        tags=entry.tags("tags"),
        timeout_s=entry.number("timeout_ms", 5000.0, least=1, most=MOST_MS) / 1000,
        capture_directory=entry.path(CAPTURE_DIRECTORY, "its data is kept in capture_dir", synced=True),
        priority=priority(entry),
        max_in_flight=entry.whole("max_in_flight", 0, most=MAX_IN_FLIGHT),
        source=source,
    )
    for size in _ONLY_CHECKED:
        entry.unbounded(size)
    entry.accept((*_IGNORED, *CLOUD_SIDE))
    entry.report_unknown()
    return method


def names_in_entry(attributes: Attributes) -> frozenset[str]:
    """Returns the names of what may stand in an entry and has an effect, each in lower case."""
    entry = attributes.child({}, "")
    method_of(entry)
    return entry.known.difference(_IGNORED, _ONLY_CHECKED, CLOUD_SIDE)


def _frequency_hz(entry: Attributes, without: str) -> float:
    """Returns the frequency, 0 if the entry is switched off. That is a problem if `disabled` does not say so."""
    value, disabled = entry.raw(_FREQUENCY), entry.flag("disabled")
    if isinstance(value, bool) or not isinstance(value, (int, float, type(None))):
        raise entry.error(_FREQUENCY, f"must be a number, not {shown(value)}")
    if value is None or is_off(value):
        if not disabled:
            why, hint = (
                ("is missing", without)
                if value is None
                else (f"it is {max(value, -sys.float_info.max):g}", _MEANING)
            )
            entry.add_problem(_FREQUENCY, f"{why}, so this entry is not captured; {hint}")
        return 0.0
    frequency_hz = entry.number(_FREQUENCY, 0.0, least=LEAST_HZ, most=MOST_HZ)
    return 0.0 if disabled else frequency_hz
