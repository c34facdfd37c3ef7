"""The capture control sensor, whose readings say what is captured, at which rate and with which tags.

The readings have the builtin's format (services/datamanager, CaptureConfigReading and SequenceReading): a list of
overrides under the configured key, and a list of the open sequences under "sequences". While there is no such
reading, the config applies. One task polls at `POLL_HZ`. Belongs to the event loop.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..base.clock import Clock
from ..base.tasks import begin, supervised
from ..base.words import shown
from ..errors import ResourceCallError
from .open_sequences import SequenceSpec
from .pair import Pair
from .sensor_readings import Readings

POLL_HZ = 10.0
SEQUENCES_KEY = "sequences"
MAX_ENTRIES = 1000
"""The most entries of a list in a reading. They are read on the event loop, ten times a second."""
_MOST_FLOAT32 = 3.4028235677973366e38

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Override:
    """What applies to a pair instead of the config. None leaves the config's value; 0 Hz is off."""

    frequency_hz: float | None = None
    tags: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Controls:
    """What one reading says. `problem` says in words why some of it does not apply; it is empty otherwise."""

    overrides: Mapping[Pair, Override] = field(default_factory=dict)
    sequences: tuple[SequenceSpec, ...] = ()
    problem: str = ""


def controls_in(readings: Mapping[str, Any], key: str) -> Controls:
    """Returns what `readings` say. One entry that can't be understood voids its whole list, as in the builtin."""
    problems: list[str] = []
    overrides: dict[Pair, Override] = {}
    sequences: tuple[SequenceSpec, ...] = ()
    try:
        overrides = dict(map(_override, _list(readings.get(key))))
    except ValueError as error:
        problems.append(f"its {key!r} can't be understood: {error}; the config applies")
    try:
        sequences = tuple(map(_sequence_spec, _list(readings.get(SEQUENCES_KEY))))
    except ValueError as error:
        problems.append(f"its {SEQUENCES_KEY!r} can't be understood: {error}; no sequence is open")
    if any(not spec.resources for spec in sequences):
        problems.append("a sequence without resources is ignored")
    if key not in readings:
        problems.insert(0, f"its reading has no {key!r}; the config applies")
    return Controls(overrides, tuple(spec for spec in sequences if spec.resources), "; ".join(problems))


def _list(value: object) -> list[Mapping[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"it must be a list, not {shown(value)}")
    if len(value) > MAX_ENTRIES:
        raise ValueError(f"it has {len(value)} entries; at most {MAX_ENTRIES} are read")
    for each in value:
        if not isinstance(each, (Mapping, type(None))):
            raise ValueError(f"{shown(each)} must be an object")
    return [each or {} for each in value]


def _override(entry: Mapping[str, Any]) -> tuple[Pair, Override]:
    frequency = entry.get("capture_frequency_hz")
    if frequency is not None:
        if isinstance(frequency, bool) or not isinstance(frequency, (int, float)):
            raise ValueError(f"capture_frequency_hz must be a number, not {shown(frequency)}")
        if not math.isfinite(frequency) or abs(frequency) > _MOST_FLOAT32:
            raise ValueError(f"capture_frequency_hz {frequency!r} is out of range")
    tags = _texts(entry, "tags")
    return _pair(entry), Override(None if frequency is None else max(0.0, float(frequency)), tags)


def _sequence_spec(entry: Mapping[str, Any]) -> SequenceSpec:
    return SequenceSpec(tuple(map(_pair, _list(entry.get("resources")))), _texts(entry, "sequence_tags") or ())


def _pair(entry: Mapping[str, Any]) -> Pair:
    return _text(entry, "resource_name"), _text(entry, "method")


def _text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    if not isinstance(value, (str, type(None))):
        raise ValueError(f"{name} must be a string, not {shown(value)}")
    return value or ""


def _texts(entry: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    value = entry.get(name)
    if value is None:
        return None
    if not isinstance(value, (list, tuple)) or not all(isinstance(each, (str, type(None))) for each in value):
        raise ValueError(f"{name} must be a list of strings, not {shown(value)}")
    return tuple(each or "" for each in value)


class ControlSensor:
    """Polls the sensor from its creation until `stop`.

    `changed` is called with the overrides and sequences when these differ from before; it must not block.
    """

    def __init__(
        self, clock: Clock, name: str, key: str, readings: Readings, changed: Callable[[Controls], None]
    ) -> None:
        self.state = "no reading yet"
        """What the sensor does, or why the config applies instead, in words for the status."""
        self.problem = ""
        """Why some of its last reading does not apply, in words; empty if all of it does."""
        self.name = name
        self.key = key
        self._clock = clock
        self._readings = readings
        self._changed = changed
        self._last: Controls | None = None
        self._suspended = False
        self._task = begin(supervised("the capture control sensor", self._run), "holdfast-control-sensor")

    def stop(self) -> None:
        """Ends the polling: `changed` is not called again."""
        self._task.cancel()

    def suspend(self) -> None:
        """Until `resume`, ignores the sensor: neither its readings nor its errors change anything."""
        self._suspended = True

    def resume(self) -> None:
        """Polls again after `suspend`."""
        self._suspended = False

    async def _run(self) -> None:
        due_s = self._clock.monotonic()
        while True:
            # As a ticker does: a poll is never early, and missed polls are not made up for.
            due_s += max(1.0, math.ceil((self._clock.monotonic() - due_s) * POLL_HZ)) / POLL_HZ
            await self._clock.sleep(due_s - self._clock.monotonic())
            if self._suspended:
                continue
            try:
                controls = controls_in(await self._readings(), self.key)
            except ResourceCallError as error:
                controls = Controls(problem=f"it gives no reading: {error}; the config applies")
            if not self._suspended:
                self._compare(controls)

    def _compare(self, controls: Controls) -> None:
        if controls == self._last:
            return
        before, self._last = self._last or Controls(), controls
        self.problem = controls.problem
        self.state = controls.problem or f"in control of {len(controls.overrides)} resources and methods"
        if controls.problem:
            logger.warning("the capture control sensor %r: %s", self.name, controls.problem)
        if (controls.overrides, controls.sequences) != (before.overrides, before.sequences):
            self._changed(controls)
