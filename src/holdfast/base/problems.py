"""What is wrong now, in one list: since when, how often, what it has cost, and what to do about it.

Each part of the program says which `Problem`s it has at this moment. `Problems` asks all of them every `LOOK_S`,
and whenever somebody wants to know. It remembers since when each lasts and how often it began. A problem that no
part names any more is over.

Belongs to the event loop. A look costs a few microseconds for each problem. Bounds: `MAX_PROBLEMS` at once, and
`MAX_KNOWN` of which it is known how often they began; beyond that, the one that was seen least lately is forgotten.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from .bounded import Newest
from .clock import Clock

LOOK_S = 1.0
MAX_PROBLEMS = 1_000
MAX_KNOWN = 2_000
_NS = 1_000_000_000
_CLOCK_WAS_SET_NS = 2 * _NS


class Kind(Enum):
    """What a problem is about. Its value is the word in the status."""

    DISK = "disk"
    """The disk, or what may be done in a folder on it."""
    STATE = "state"
    """What Holdfast itself keeps in `.holdfast`: the lock, the counts, the settings made by command."""
    CAPTURE = "capture"
    """Resources, and what keeps a collector from its rate."""
    LINK = "link"
    SYNC = "sync"
    MONGO = "mongo"
    STEERING = "steering"
    """The sensors that steer capture and sync."""
    CONFIG = "config"
    CLOCK = "clock"
    BUG = "bug"
    """A part of Holdfast that failed in a way that nobody foresaw."""


class Problem(NamedTuple):
    """Something that is wrong at this moment and that a person can do something about."""

    kind: Kind
    what: str
    """What is wrong, and what follows from it."""
    do: str = ""
    """What to do. It is empty where `what` says it."""
    cost: str = ""
    """What it has cost so far, with numbers. It is empty as long as nothing is lost and nothing waits."""
    key: str = ""
    """What stays the same while the problem lasts. It is empty where `what` does."""
    patience_s: float = 0.0
    """Nobody has to know of the problem before it has lasted so long, since it often ends by itself."""
    began_s: float | None = None
    """When it began, on the monotonic clock, if the part knows; else it begins when it is first named."""


@dataclass
class Lasting:
    """A problem that lasts."""

    problem: Problem
    times: int
    """How often it began since the start."""
    began_s: float
    """When it began, on the monotonic clock."""
    since_ns: int
    """When it began, on the wall clock. It is corrected when the wall clock is set."""
    lasts_s: float = 0.0


class Problems:
    """The problems that `wrong_now` names, each with its history."""

    def __init__(self, clock: Clock, wrong_now: Callable[[], Iterable[Problem]]) -> None:
        self._clock = clock
        self._wrong_now = wrong_now
        self._lasting: dict[tuple[Kind, str], Lasting] = {}
        self._times: Newest[tuple[Kind, str], int] = Newest(MAX_KNOWN)

    async def run(self) -> None:
        """Looks every `LOOK_S` until it is cancelled."""
        while True:
            self.look()
            await self._clock.sleep(LOOK_S)

    def look(self) -> list[Lasting]:
        """Returns the problems that last now, in the order in which the parts name them."""
        now_s, now_ns = self._clock.monotonic(), self._clock.time_ns()
        before, self._lasting = self._lasting, {}
        for problem in itertools.islice(self._wrong_now(), MAX_PROBLEMS):
            key = problem.kind, problem.key or problem.what
            lasting = before.get(key) or self._lasting.get(key)
            if lasting is None:
                self._times[key] = self._times.get(key, 0) + 1
                began_s = now_s if problem.began_s is None else problem.began_s
                lasting = Lasting(problem, self._times[key], began_s, now_ns - round((now_s - began_s) * _NS))
            lasting.problem, lasting.lasts_s = problem, now_s - lasting.began_s
            since_ns = now_ns - round(lasting.lasts_s * _NS)
            if abs(since_ns - lasting.since_ns) > _CLOCK_WAS_SET_NS:
                lasting.since_ns = since_ns
            self._lasting[key] = lasting
        return [each for each in self._lasting.values() if each.lasts_s >= each.problem.patience_s]
