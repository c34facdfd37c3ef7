"""The cloud's side of every upload: when it took it, when it answered, and which interruptions came in between.

What may arrive twice follows from this alone: a call that was under way at an interruption. The cloud had it and
the answer was not out, or was out for so short a time that the module may not have acted on it.
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
"""A busy computer runs a thread late, and an answer may be on its way."""
UNHEARD_NS = 300_000_000
"""An answer that was out for so short a time the module may not have noted yet: for that it writes to the disk."""
MAX_HOLD_S = 0.06
"""The cloud answers after up to this time, so that kills find calls under way."""
_AFTER_WINDOW_NS = 3 * SECOND_NS
"""A connection that outlived its trouble may be given up so long behind it."""


@dataclass(frozen=True)
class Interruption:
    """A kill, or trouble of the way to the cloud, and the age at which readings may be lost by it."""

    round: int
    kind: str
    at_ns: int
    exposure_ns: int
    what: str = ""
    """The system call at which it happened."""
    is_kill: bool = True
    until_ns: int = 0
    """When the trouble was over; 0 for what takes no time."""
    lag_ns: int = 0
    """How long an answer was under way on a slow link."""


@dataclass
class _Call:
    """One upload: when the cloud had it, and when it let its answer go."""

    taken_ns: int
    keys: tuple[Hashable, ...]
    answered_ns: int | None = None


class Calls:
    """Tell it what each call carries, each login and each interruption; `rng` decides how long answers are held."""

    def __init__(self, rng: random.Random) -> None:
        self.interruptions: list[Interruption] = []
        self._rng = rng
        self._incoming: list[Hashable] = []
        self._calls: list[_Call] = []
        self._logins_ns: list[int] = []

    def carries(self, key: Hashable) -> None:
        """The call that comes to `before_answer` next carries this."""
        self._incoming.append(key)

    async def before_answer(self) -> None:
        """For `LocalCloud.before_answer`: nothing runs between what a call carries and this."""
        call = _Call(time.time_ns(), tuple(self._incoming))
        self._incoming.clear()
        self._calls.append(call)
        await asyncio.sleep(self._rng.uniform(0, MAX_HOLD_S))
        call.answered_ns = time.time_ns()

    def note_login(self) -> None:
        self._logins_ns.append(time.time_ns())

    def repeatable(self) -> tuple[Counter[Hashable], Counter[Hashable]]:
        """How often each thing may have come again; and how often without an answer being out before."""
        allowed: Counter[Hashable] = Counter()
        unanswered: Counter[Hashable] = Counter()
        for call, interruption in self._open_calls():
            allowed.update(call.keys)
            if call.answered_ns is None or call.answered_ns >= interruption.at_ns:
                unanswered.update(call.keys)
        return allowed, unanswered

    def story_of(self, key: Hashable) -> str:
        """When the calls that carried it were taken and answered, and what interrupted next."""
        calls = [call for call in self._calls if key in call.keys]
        if not calls:
            return "by no call to the cloud"
        after = [each for each in self.interruptions if each.at_ns >= calls[0].taken_ns - SLACK_NS]
        times = [(call.taken_ns, call.answered_ns) for call in calls]
        return f"calls {times}, next interruption: {after[0] if after else None}"

    def _open_calls(self) -> Iterable[tuple[_Call, Interruption]]:
        """The calls that were under way at an interruption, once for each.

        A call belongs to the interruption that is followed by the first login after the call. What the cloud
        finds on the wire when the sender is dead already belongs to that death.
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
