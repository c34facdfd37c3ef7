"""`Calls` records every upload on the cloud's side: when it came, when it was answered, and what interrupted it.

It alone decides what may arrive twice: what was in a call that was under way at an interruption. The cloud had the
call, and its answer was not out, or was out for so short a time that the module may not have acted on it.
"""

from __future__ import annotations

import asyncio
import random
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

SECOND_NS = 1_000_000_000
SLACK_NS = 150_000_000
"""The tolerance of times: a busy computer runs threads late, and an answer may be on its way."""
UNHEARD_NS = 300_000_000
"""For this long after an answer the module may not have noted it yet, since noting it means writing to the disk."""
MAX_HOLD_S = 0.06
"""The most time that the cloud holds back an answer, so that kills find calls under way."""
_AFTER_WINDOW_NS = 3 * SECOND_NS
"""For this long after a trouble the module may still give up a connection that outlived it."""


@dataclass(frozen=True)
class Interruption:
    """A kill, or trouble on the way to the cloud.

    `exposure_ns` is the greatest age at which readings may be lost by it; 0 for what costs no reading.
    """

    round: int
    kind: str
    at_ns: int
    exposure_ns: int
    what: str = ""
    """The system call at which it happened, if it was a trap."""
    is_kill: bool = True
    until_ns: int = 0
    """When the trouble was over; 0 for what takes no time."""
    lag_ns: int = 0
    """How long an answer may have been under way on a slow link."""


@dataclass
class _Call:
    """One upload: what it carried, when the cloud had all of it, and when it sent its answer."""

    taken_ns: int
    keys: tuple[Hashable, ...]
    answered_ns: int | None = None


class Calls:
    """Records what each call carries, each login and each interruption. `rng` decides how late answers are."""

    def __init__(self, rng: random.Random) -> None:
        self.interruptions: list[Interruption] = []
        self._rng = rng
        self._incoming: list[Hashable] = []
        self._calls: list[_Call] = []
        self._logins_ns: list[int] = []

    def carries(self, key: Hashable) -> None:
        """Notes that the call that awaits `before_answer` next carries this reading or file."""
        self._incoming.append(key)

    async def before_answer(self) -> None:
        """Notes a call, and holds back its answer for a moment; to be set as `LocalCloud.before_answer`.

        Nothing else runs between the `carries` of a call and this.
        """
        call = _Call(time.time_ns(), tuple(self._incoming))
        self._incoming.clear()
        self._calls.append(call)
        await asyncio.sleep(self._rng.uniform(0, MAX_HOLD_S))
        call.answered_ns = time.time_ns()

    def note_login(self) -> None:
        self._logins_ns.append(time.time_ns())

    def repeatable(self) -> tuple[Counter[Hashable], Counter[Hashable]]:
        """Returns how often each reading or file may have come again, and how often without an answer before."""
        allowed: Counter[Hashable] = Counter()
        unanswered: Counter[Hashable] = Counter()
        for call, interruption in self._open_calls():
            allowed.update(call.keys)
            if call.answered_ns is None or call.answered_ns >= interruption.at_ns:
                unanswered.update(call.keys)
        return allowed, unanswered

    def story_of(self, key: Hashable) -> str:
        """Returns when the calls that carried it came and were answered, and the next interruption, in words."""
        calls = [call for call in self._calls if key in call.keys]
        if not calls:
            return "by no call to the cloud"
        after = [each for each in self.interruptions if each.at_ns >= calls[0].taken_ns - SLACK_NS]
        times = [(call.taken_ns, call.answered_ns) for call in calls]
        return f"calls {times}, next interruption: {after[0] if after else None}"

    def _open_calls(self) -> Iterable[tuple[_Call, Interruption]]:
        """Yields the calls that were under way at an interruption, with each such interruption.

        A call belongs to the interruption that is followed by the first login after the call. So what the cloud
        still receives after the death of its sender belongs to that death.
        """
        begin_ns = 0
        for each in sorted(self.interruptions, key=lambda each: each.at_ns):
            index = bisect_right(self._logins_ns, max(each.at_ns, each.until_ns))
            end_ns = self._logins_ns[index] if index < len(self._logins_ns) else time.time_ns()
            if each.until_ns:
                end_ns = min(end_ns, each.until_ns + _AFTER_WINDOW_NS)
            for call in self._calls:
                heard_ns = each.at_ns - UNHEARD_NS - each.lag_ns
                unanswered = call.answered_ns is None or call.answered_ns >= heard_ns
                if begin_ns <= call.taken_ns < end_ns and unanswered:
                    yield call, each
            begin_ns = max(begin_ns, end_ns)
