"""What is to run: the config, and what steers it while it runs.

| it holds | who says so |
|---|---|
| first | a pause by command: nothing of that resource is read |
| then | a frequency set by command |
| then | the capture control sensor: frequency and tags |
| last | the config |

A frequency of 0 is off, one above `MAX_HZ` is that. A pair that is not in the config runs when a command or the
sensor gives it a frequency.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ..config import CaptureMethod, is_off
from .control_sensor import Override
from .pair import Pair, pair_of

MAX_HZ = 1e6
"""Far beyond what can be reached, and within what deadlines can be counted in."""


@dataclass(frozen=True)
class Orders:
    """What steers capture beyond the config. Resources are short names."""

    overrides: Mapping[Pair, Override] = field(default_factory=dict)
    """Of the capture control sensor."""
    frequencies: Mapping[Pair, float] = field(default_factory=dict)
    """Set by command."""
    paused: frozenset[str] = frozenset()
    all_paused: bool = False


@dataclass(frozen=True)
class Wanted:
    """A method that is to run, at the frequency that holds, and all tags of its data."""

    method: CaptureMethod
    tags: tuple[str, ...]


def effective(configured: Iterable[CaptureMethod], tags: tuple[str, ...], orders: Orders) -> list[Wanted]:
    """What is to run of `configured`, which may hold methods that are off, and of what else `orders` name."""
    if orders.all_paused:
        return []
    methods = list(configured)
    known = {pair_of(method) for method in methods}
    named = dict.fromkeys((*orders.frequencies, *orders.overrides))
    methods += [CaptureMethod(*pair, 0.0) for pair in named if pair not in known]
    return [wanted for method in methods if (wanted := _wanted(method, tags, orders)) is not None]


def _wanted(method: CaptureMethod, tags: tuple[str, ...], orders: Orders) -> Wanted | None:
    pair = pair_of(method)
    override = orders.overrides.get(pair, Override())
    frequency_hz = orders.frequencies.get(pair, override.frequency_hz)
    if frequency_hz is None:
        frequency_hz = method.frequency_hz
    if is_off(frequency_hz) or pair[0] in orders.paused:
        return None
    found = override.tags if override.tags is not None else (*tags, *method.tags)
    return Wanted(replace(method, frequency_hz=min(frequency_hz, MAX_HZ)), tuple(dict.fromkeys(found)))
