"""The entries of the attribute `capture_methods`, checked and typed.

An entry that can't be used is left out and becomes a problem that names it. It never keeps the others from running.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..base.words import shown
from ..errors import ConfigError
from .attributes import CLOUD_SIDE, Attributes
from .model import LEAST_HZ, MAX_IN_FLIGHT, MOST_HZ, MOST_MS, CaptureMethod, is_off, ordered
from .space import priority

CAPTURE_METHODS = "capture_methods"
_IGNORED = ("type", "model")
_ONLY_CHECKED = ("capture_queue_size", "capture_buffer_size")
"""The sizes of the builtin's buffers. Holdfast has no such buffers, but refuses what the builtin refuses."""


def capture_methods(attributes: Attributes) -> tuple[tuple[CaptureMethod, ...], tuple[CaptureMethod, ...]]:
    """Returns the entries that run, and those that are switched off.

    Of two entries that capture the same, the first one runs. An entry that is switched off is left out when one
    that runs captures the same. Raises ConfigError when the attribute is not a list.
    """
    on: dict[tuple[str, str, str], CaptureMethod] = {}
    off = []
    for index, values in enumerate(attributes.entries(CAPTURE_METHODS, "a list of capture methods")):
        where = f"{CAPTURE_METHODS}[{index}]"
        try:
            entry = _entry(attributes, where, values)
            method = _method(entry)
        except ConfigError as error:
            attributes.problems.append(f"{error}; this entry is not captured, the others are")
            continue
        if is_off(method.frequency_hz):
            off.append(method)
        elif _key(method) in on:
            attributes.problems.append(
                f"{where}: {method.method} of {method.name} with these parameters appears twice; "
                "the first entry is used"
            )
            continue
        else:
            on[_key(method)] = method
        attributes.problems += entry.problems
    return tuple(on.values()), tuple(method for method in off if _key(method) not in on)


def _key(method: CaptureMethod) -> tuple[str, str, str]:
    """Returns what is equal for two entries that capture the same."""
    return method.name, method.method, repr(method.params)


def _entry(attributes: Attributes, where: str, values: object) -> Attributes:
    """Returns the attributes of one entry; errors and problems give the resource and the method besides `where`."""
    if not isinstance(values, Mapping):
        wanted = "an object with name, method and capture_frequency_hz"
        raise ConfigError(where, f"must be {wanted}, not {shown(values)}")
    entry = attributes.child(values, f"{where}.")
    entry.rename(f"{where} ({entry.required('name')} {entry.required('method')}).")
    return entry


def _method(entry: Attributes) -> CaptureMethod:
    method = CaptureMethod(
        entry.text("name"),
        entry.text("method"),
        params=ordered(entry.mapping("additional_params")),
        frequency_hz=_frequency_hz(entry),
        tags=entry.tags("tags"),
        timeout_s=entry.number("timeout_ms", 5000.0, least=1, most=MOST_MS) / 1000,
        capture_directory=entry.path("capture_directory", "its data is kept in capture_dir", synced=True),
        priority=priority(entry),
        max_in_flight=entry.whole("max_in_flight", 0, most=MAX_IN_FLIGHT),
    )
    for size in _ONLY_CHECKED:
        entry.unbounded(size)
    entry.accept((*_IGNORED, *CLOUD_SIDE))
    entry.report_unknown()
    return method


def _frequency_hz(entry: Attributes) -> float:
    """Returns the frequency, 0 if the entry is switched off. That is a problem if `disabled` does not say so."""
    name = "capture_frequency_hz"
    value, disabled = entry.raw(name), entry.flag("disabled")
    if isinstance(value, bool) or not isinstance(value, (int, float, type(None))):
        raise entry.error(name, f"must be a number, not {shown(value)}")
    if value is None or is_off(value):
        if not disabled:
            why = "is missing" if value is None else f"it is {value:g}"
            entry.add_problem(name, f"{why}, so this entry is not captured; it is the number of readings a second")
        return 0.0
    frequency_hz = entry.number(name, 0.0, least=LEAST_HZ, most=MOST_HZ)
    return 0.0 if disabled else frequency_hz
