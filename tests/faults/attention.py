"""Whether a sensor was asked as often as it should be, by its own account.

A module that no longer asks loses nothing that anybody could miss.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from tests.e2e.machines import Served

from .calls import SECOND_NS

LONGEST_SILENCE_S = 30.0
"""viam-server and its modules may be killed again while they start."""
LEAST_SHARE = 0.1
"""Of what a busy computer leaves nobody can say more."""
_SILENCE_S = 1.0
"""What is longer is no lateness: nothing asked then."""


def silences_s(served: Sequence[Served], end_ns: int) -> list[float]:
    """Between readings, and from the last one to `end_ns`."""
    times = [*(each.time_ns for each in served), end_ns]
    return [(after - before) / SECOND_NS for before, after in pairwise(times)]


def neglect(served: Sequence[Served], hz: float, end_ns: int) -> list[str]:
    """What is wrong with how often it was asked until `end_ns`, when that ended."""
    before_end = [each for each in served if each.time_ns <= end_ns]
    if not before_end:
        return ["was never asked"]
    gaps_s = silences_s(before_end, end_ns)
    wrong = []
    if (longest_s := max(gaps_s)) > LONGEST_SILENCE_S:
        wrong.append(f"was not asked for {longest_s:.0f} s, {LONGEST_SILENCE_S:g} may be")
    asked_s = sum(gap_s for gap_s in gaps_s if gap_s <= _SILENCE_S)
    if len(before_end) < LEAST_SHARE * hz * asked_s:
        wrong.append(f"was asked {len(before_end)} times in {asked_s:.0f} s at {hz:g} Hz")
    return wrong
