"""The methods that are to run, by the config and by the orders of users and of the control sensor.

| precedence | what says so |
|---|---|
| 1 | a pause by command: the resource is not read at all |
| 2 | a frequency set by command |
| 3 | the capture control sensor: frequency and tags |
| 4 | the config |

A frequency of 0 is off; one above `MOST_HZ` counts as `MOST_HZ`. A pair that is not in the config runs when a
command or the sensor gives it a frequency. What is said of a full name goes before what is said of the short one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ..config import MOST_HZ, CaptureMethod, is_off
from .control_sensor import Override
from .machine_resources import Apis
from .pair import Pair, pairs_of


@dataclass(frozen=True)
class Orders:
    """What changes capture besides the config."""

    overrides: Mapping[Pair, Override] = field(default_factory=dict)
    """What the capture control sensor says."""
    frequencies: Mapping[Pair, float] = field(default_factory=dict)
    """What users set by command."""
    paused: frozenset[str] = frozenset()
    all_paused: bool = False


@dataclass(frozen=True)
class Wanted:
    """A method that is to run, with the frequency that applies, and all tags of its data."""

    method: CaptureMethod
    tags: tuple[str, ...]


def effective(
    configured: Iterable[CaptureMethod], tags: tuple[str, ...], orders: Orders, apis: Apis
) -> list[Wanted]:
    """Returns what is to run. `configured` may hold methods that are off; `orders` may name pairs besides them.

    `apis`, by the short names of resources, tell which one a short name in `configured` means.
    """
    if orders.all_paused:
        return []
    methods = list(configured)
    known = {pair for method in methods for pair in pairs_of(method, apis)}
    named = dict.fromkeys((*orders.frequencies, *orders.overrides))
    methods += [
        CaptureMethod(*pair, 0.0, source="command" if pair in orders.frequencies else "control sensor")
        for pair in named
        if pair not in known
    ]
    return [wanted for method in methods if (wanted := _wanted(method, tags, orders, apis)) is not None]


def _wanted(method: CaptureMethod, tags: tuple[str, ...], orders: Orders, apis: Apis) -> Wanted | None:
    pairs = pairs_of(method, apis)
    override = next((orders.overrides[pair] for pair in pairs if pair in orders.overrides), Override())
    said = (orders.frequencies[pair] for pair in pairs if pair in orders.frequencies)
    frequency_hz = next(said, override.frequency_hz)
    if frequency_hz is None:
        frequency_hz = method.frequency_hz
    if is_off(frequency_hz) or not orders.paused.isdisjoint(name for name, _ in pairs):
        return None
    found = override.tags if override.tags is not None else (*tags, *method.tags)
    return Wanted(replace(method, frequency_hz=min(frequency_hz, MOST_HZ)), tuple(dict.fromkeys(found)))
