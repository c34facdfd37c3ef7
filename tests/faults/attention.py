"""`neglect` tells whether a sensor was read as often as it should be, by the sensor's own ledger.

The accounts can't tell: a module that no longer reads a sensor loses none of the readings that were served.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from tests.e2e.machines import Served

from .calls import SECOND_NS

LONGEST_SILENCE_S = 30.0
"""The longest time without a call: viam-server and its modules may be killed again while they start."""
LEAST_SHARE = 0.5
"""The least share of the calls that must be made. Two runs at once on two cores still make nine tenths."""
_SILENCE_S = 1.0
"""A gap beyond this is not lateness: no process was there to call."""


def silences_s(served: Sequence[Served], end_ns: int) -> list[float]:
    """Returns the gaps between readings, and from the last one to `end_ns`."""
    times = [*(each.time_ns for each in served), end_ns]
    return [(after - before) / SECOND_NS for before, after in pairwise(times)]


def share_asked(served: Sequence[Served], hz: float, end_ns: int) -> float:
    """Returns the share of the calls that were made, of those due outside of silences; 1 if none was due."""
    asked_s = sum(gap_s for gap_s in silences_s(served, end_ns) if gap_s <= _SILENCE_S)
    return len(served) / (hz * asked_s) if asked_s else 1.0


def neglect(served: Sequence[Served], hz: float, end_ns: int) -> list[str]:
    """Returns what is wrong with how often the sensor was read, in words.

    `end_ns` is when capture ended, and `served` are the readings until then.
    """
    if not served:
        return ["was never asked"]
    wrong = []
    if (longest_s := max(silences_s(served, end_ns))) > LONGEST_SILENCE_S:
        wrong.append(f"was not asked for {longest_s:.0f} s, {LONGEST_SILENCE_S:g} may be")
    if (share := share_asked(served, hz, end_ns)) < LEAST_SHARE:
        wrong.append(f"was asked {share:.0%} of the times at which it should be, {LEAST_SHARE:.0%} must be")
    return wrong
