"""What steers the data manager now, as plain values: for the status, and for the answers of commands."""

from __future__ import annotations

from typing import Any

from .manager import Manager
from .steering import Held
from .storage.sequence_files import rfc3339


def steering_status(manager: Manager) -> dict[str, Any]:
    steering, engine = manager.steering, manager.engine
    delivery = None if engine is None else engine.uplink.sequences
    return {
        "paused": paused(manager),
        "frequencies": [
            {"resource": held.setting.what, "method": held.setting.method, "hz": held.setting.hz, **_time_of(held)}
            for held in steering.settings.held
            if held.setting.method
        ],
        "control_sensor": steering.control,
        "settings_problem": steering.settings.problem,
        "sequences": [
            {
                "id": each.identity,
                "since": rfc3339(each.sequence.start_ns),
                "resources": [{"resource": name, "method": method} for name, method in each.sequence.resources],
                "tags": list(each.sequence.tags),
                "by": "sensor" if each.by_sensor else "command",
            }
            for each in steering.sequences.open
        ],
        "sequences_delivered": delivery.delivered if delivery else 0,
        "sequences_quarantined": delivery.quarantined if delivery else 0,
    }


def paused(manager: Manager) -> list[dict[str, Any]]:
    """What is paused, and until when."""
    return [{"what": held.setting.what, **_time_of(held)} for held in manager.steering.settings.pauses]


def _time_of(held: Held) -> dict[str, Any]:
    until_ns = held.setting.until_ns
    return {"until": "" if until_ns is None else rfc3339(until_ns), "persist": held.persist}
