"""The readings that are dropped because the disk does not take them: how many, why, and for how long.

A *loss* is a time in which readings are dropped for one reason. It begins with the first of them. It is over when
nothing keeps its readings from the disk any more, and none was dropped for `QUIET_S`: a disk that is full again and
again is one loss. The log has a line when a loss begins, one every `SAY_S` with what was dropped since the last
one, and one with the whole number when it is over.

`note` may be called from any thread and never waits for the disk; the rest belongs to the event loop. Bounds: one
loss for each of the few reasons and one that is over, and the names of `MAX_NAMED` collectors in each.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ...base import unforeseen
from ...base.clock import Clock
from ...base.problems import Kind, Problem
from ...base.words import duration, number_of, some
from ...errors import StorageError
from ..ledger.counts import CollectorId

LOOK_S = 1.0
SAY_S = 60.0
QUIET_S = 5.0
HELD_S = 900.0
"""For so long after its end a loss is a problem, in the past tense. One that begins anew meanwhile is the same."""
MAX_NAMED = 2_000

logger = logging.getLogger(__name__)


class WhyDropped(NamedTuple):
    """Why readings are dropped: the reason by which they count, what the disk answered or does, and what helps."""

    reason: str
    why: str
    do: str


def why_dropped(error: Exception) -> WhyDropped:
    """Returns what an error of the disk, or one that nobody foresaw, says."""
    if isinstance(error, StorageError):
        return WhyDropped(error.reason, str(error), error.remedy)
    return WhyDropped(unforeseen.REASON, unforeseen.in_words(error), unforeseen.REMEDY)


@dataclass
class _Loss:
    cause: WhyDropped
    """The last one; those of one loss differ in their words only."""
    began_s: float
    said_s: float
    last_s: float = 0.0
    """When a reading was dropped last."""
    readings: int = 0
    unsaid: int = 0
    """How many of them are in no line of the log yet."""
    collectors: dict[CollectorId, str] = field(default_factory=dict)
    """Those whose readings were dropped, each with its resource; the first ones first."""
    earlier: _Loss | None = None
    """What was dropped before for this reason, if that ended less than `HELD_S` ago."""

    @property
    def names(self) -> str:
        """The resources whose readings were dropped, in words."""
        return some(self.collectors.values())

    @property
    def cost(self) -> str:
        """How many readings of how many collectors were dropped, in words."""
        return f"{number_of(self.readings, 'reading')} of {number_of(len(self.collectors), 'collector')}"

    def with_earlier(self) -> _Loss:
        """Returns this loss with what it cost earlier: what a person has to know of the reason."""
        before = self.earlier
        if before is None:
            return self
        readings, collectors = before.readings + self.readings, {**before.collectors, **self.collectors}
        return replace(self, readings=readings, collectors=collectors, earlier=None)


class Losses:
    """The losses of one capture folder. `is_stuck` says whether readings are still dropped for a reason, when some
    come."""

    def __init__(self, clock: Clock, folder: str, is_stuck: Callable[[str], bool]) -> None:
        self._clock = clock
        self._folder = folder
        self._is_stuck = is_stuck
        self._lock = threading.Lock()
        self._losses: dict[str, _Loss] = {}
        self._over: dict[str, _Loss] = {}
        """Those that ended less than `HELD_S` ago, with what they cost earlier."""

    def note(self, cause: WhyDropped, collector: CollectorId, readings: int) -> None:
        """Notes that readings of a collector were dropped."""
        now_s = self._clock.monotonic()
        with self._lock:
            before = self._losses.get(cause.reason)
            loss = before or _Loss(cause, now_s, now_s, earlier=self._over.pop(cause.reason, None))
            self._losses[cause.reason] = loss
            loss.cause, loss.last_s = cause, now_s
            loss.readings += readings
            loss.unsaid += readings
            if len(loss.collectors) < MAX_NAMED:
                loss.collectors[collector] = collector[1]
        if before is None:
            logger.error(
                "%s; readings of %s are dropped and counted until the disk takes them again",
                cause.why,
                collector[1],
            )

    @property
    def problems(self) -> list[Problem]:
        """What keeps readings from the disk now, or did a short while ago."""
        now_s = self._clock.monotonic()
        with self._lock:
            lasting = [loss.with_earlier() for loss in self._losses.values()]
            over = list(self._over.values())
        return [
            *(self._problem(each, "are dropped until the disk takes them again") for each in lasting),
            *(self._problem(each, f"were dropped until {duration(now_s - each.last_s)} ago") for each in over),
        ]

    def _problem(self, loss: _Loss, what: str) -> Problem:
        return Problem(
            Kind.DISK,
            f"{loss.cause.why}; readings of {loss.names} {what}",
            loss.cause.do,
            f"{loss.cost} dropped",
            f"{self._folder} {loss.cause.reason}",
        )

    async def run(self) -> None:
        """Looks every `LOOK_S` whether a loss is over or a line is due. Runs until it is cancelled."""
        while True:
            await self._clock.sleep(LOOK_S)
            self.look()

    def look(self) -> None:
        """Ends what is over, forgets what is over for long, and says what is due."""
        now_s = self._clock.monotonic()
        with self._lock:
            self._over = {reason: each for reason, each in self._over.items() if now_s - each.last_s < HELD_S}
        quiet = [loss for loss in list(self._losses.values()) if now_s - loss.last_s >= QUIET_S]
        self._end([loss for loss in quiet if not self._is_stuck(loss.cause.reason)], now_s)
        for loss in list(self._losses.values()):
            if now_s - loss.said_s >= SAY_S and loss.unsaid:
                self._say(loss, now_s)

    def close(self) -> None:
        """Says what was dropped and is in no line yet."""
        for loss in list(self._losses.values()):
            if loss.unsaid:
                self._say(loss, self._clock.monotonic())

    def _say(self, loss: _Loss, now_s: float) -> None:
        with self._lock:
            unsaid, loss.unsaid = loss.unsaid, 0
            since_s, loss.said_s = now_s - loss.said_s, now_s
        logger.error(
            "%s; dropped in the last %s: %s of %s; since this began: %d (%s)",
            loss.cause.why,
            duration(since_s),
            number_of(unsaid, "reading"),
            loss.names,
            loss.readings,
            loss.cause.reason,
        )

    def _end(self, losses: list[_Loss], now_s: float) -> None:
        """Ends `losses`, except for those in which a reading was dropped meanwhile."""
        with self._lock:
            over = [loss for loss in losses if now_s - loss.last_s >= QUIET_S]
            for loss in over:
                self._over[loss.cause.reason] = self._losses.pop(loss.cause.reason).with_earlier()
            left = list(self._losses)
        for loss in over:
            cost, lasted, reason = loss.cost, duration(loss.last_s - loss.began_s), loss.cause.reason
            if left:
                logger.warning("%s is over, which cost %s in %s; still: %s", reason, cost, lasted, ", ".join(left))
            else:
                logger.warning("the disk takes readings again: %s cost %s in %s", reason, cost, lasted)
