"""Conditional sync: the reading of a sensor says whether scheduled sync may run. A manual sync does not ask it."""

from __future__ import annotations

from functools import partial

from ..capture.client import UnaryClient
from ..capture.methods import sensor
from ..config import short_name
from ..errors import ResourceCallError
from .machine_resources import Apis
from .sensor_readings import Readings, sensor_readings

SHOULD_SYNC_KEY = "should_sync"


class SelectiveSyncer:
    """The sensor `name`. `readings` asks it, and is None while it is not there."""

    def __init__(self, name: str, readings: Readings | None) -> None:
        self._name = name
        self._readings = readings
        self.problem = ""
        """Why its last answer says neither yes nor no, in words; empty if it says one of them."""

    async def reason_to_wait(self) -> str:
        """Asks the sensor. Returns why scheduled sync has to wait; empty when it says that sync may run.

        Sync waits unless there is a reading in which `should_sync` is true.
        """
        answer, why = await self._ask()
        self.problem = why if answer is None else ""
        return why

    async def _ask(self) -> tuple[bool | None, str]:
        """Returns what the sensor says, None if nothing, and why sync has to wait."""
        if self._readings is None:
            return None, f"the selective syncer {self._name!r} is not there"
        try:
            values = await self._readings()
        except ResourceCallError as error:
            return None, f"the selective syncer {self._name!r} gives no reading: {error}"
        if SHOULD_SYNC_KEY not in values:
            return None, f"the reading of the selective syncer {self._name!r} has no {SHOULD_SYNC_KEY!r}"
        value = values[SHOULD_SYNC_KEY]
        if not isinstance(value, bool):
            must = f"{SHOULD_SYNC_KEY} of the selective syncer {self._name!r} must be true or false"
            return None, f"{must}, it is {value!r}"
        return value, "" if value else f"the selective syncer {self._name!r} says {SHOULD_SYNC_KEY}: false"


def selective_syncer(name: str, apis: Apis, client: UnaryClient | None) -> SelectiveSyncer | None:
    """Returns the sensor with the configured `name`, which `client` asks if `apis` has it; None without a name."""
    if not name:
        return None
    short = short_name(name)
    if client is None or sensor.API not in apis.get(short, ()):
        return SelectiveSyncer(name, None)
    return SelectiveSyncer(name, partial(sensor_readings, client, short))
