"""`mongo_verdict` judges what MongoDB's collection holds of a sensor at the end, by the rules for the cloud.

Each reading must be there once. It may be missing only for two of the reasons that `account` accepts: it is among
the last ones that a killed process received, or it was served while the disk was full. No outage of the server
excuses anything.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from tests.e2e.machines import Served

from .account import Account, Arrived, Verdict
from .calls import Calls, Interruption

COLLECTION = "readings"
_MILLISECOND_NS = 1_000_000


def mongo_verdict(
    documents: Iterable[Mapping[str, Any]],
    served: Sequence[Served],
    expected: Callable[[int], Mapping[str, Any]],
    account: Account,
    interruptions: Sequence[Interruption],
) -> Verdict:
    """Returns the verdict on `documents`.

    `account` is the sensor's account in the cloud, which knows when the disk was full and how the clock was set.
    """
    calls = Calls(random.Random(0))  # it has no calls, so nothing may come twice
    calls.interruptions = [each for each in interruptions if each.is_kill]
    mine = Account(account.resource, expected, calls)
    mine.offsets_ns = account.offsets_ns
    mine.full_ns = account.full_ns
    mine.arrived = [_arrived(each) for each in documents if each["component_name"] == account.resource]
    return mine.verdict(served, None)


def _arrived(document: Mapping[str, Any]) -> Arrived:
    data = document["data"]["readings"]
    requested, received = (_nanoseconds(document[name]) for name in ("time_requested", "time_received"))
    return Arrived(int(data["seq"]), data, requested, received + _MILLISECOND_NS)


def _nanoseconds(time: datetime) -> int:
    """Returns a time in nanoseconds. MongoDB keeps whole milliseconds, rounded down."""
    return round(time.replace(tzinfo=timezone.utc).timestamp() * 1000) * _MILLISECOND_NS
