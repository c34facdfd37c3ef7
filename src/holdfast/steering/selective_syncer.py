"""Conditional sync: the reading of a sensor says whether scheduled sync may run. A manual sync does not ask it."""

from __future__ import annotations

from ..errors import ResourceCallError
from .sensor_readings import Readings

SHOULD_SYNC_KEY = "should_sync"


async def reason_to_wait(name: str, readings: Readings | None) -> str:
    """Returns why scheduled sync has to wait; empty when the sensor `name` says that it may run.

    `readings` asks the sensor, and is None while it is not there. Sync waits unless there is a reading in which
    `should_sync` is true.
    """
    if readings is None:
        return f"the selective syncer {name!r} is not there"
    try:
        values = await readings()
    except ResourceCallError as error:
        return f"the selective syncer {name!r} gives no reading: {error}"
    if SHOULD_SYNC_KEY not in values:
        return f"the reading of the selective syncer {name!r} has no {SHOULD_SYNC_KEY!r}"
    value = values[SHOULD_SYNC_KEY]
    if not isinstance(value, bool):
        return f"{SHOULD_SYNC_KEY} of the selective syncer {name!r} must be true or false, it is {value!r}"
    return "" if value else f"the selective syncer {name!r} says {SHOULD_SYNC_KEY}: false"
