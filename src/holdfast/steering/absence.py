"""Why a collector that once ran does not run now, by the config and by orders.

The rules are those of `effective`, in its order of precedence.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..capture.causes import Absence
from ..capture.resolve import Resolution
from ..config import Config, is_off
from ..storage.ledger.counts import CollectorId
from .effective import Orders


def why_absent(collector: CollectorId, config: Config, orders: Orders, found: Sequence[Resolution]) -> Absence:
    """Returns why a collector does not run. `found` is what became of the methods that are wanted."""
    api, resource, method = collector
    names = (f"{api}/{resource}", resource)
    if config.capture_disabled:
        return Absence.CONFIG
    if orders.all_paused or not orders.paused.isdisjoint(names):
        return Absence.PAUSED
    said = next((orders.frequencies[name, method] for name in names if (name, method) in orders.frequencies), None)
    if said is not None and is_off(said):
        return Absence.PAUSED
    overrides = (orders.overrides[name, method] for name in names if (name, method) in orders.overrides)
    steered = next((each.frequency_hz for each in overrides), None)
    if said is None and steered is not None and is_off(steered):
        return Absence.CONTROL_SENSOR
    its = (each for each in found if each.method.name in names and each.method.method == method)
    return Absence.NO_RESOURCE if any(each.waiting for each in its) else Absence.CONFIG
