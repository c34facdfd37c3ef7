"""The entries of the attribute `capture_methods`, checked and typed.

An entry that can't be used is left out and becomes a problem that names it. It never keeps the others from running.
"""

from __future__ import annotations

from ..errors import ConfigError
from .attributes import Attributes
from .capture_entry import entry_of, method_of
from .model import CaptureMethod, is_off

CAPTURE_METHODS = "capture_methods"


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
            entry = entry_of(attributes, where, values)
            method = method_of(entry)
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
