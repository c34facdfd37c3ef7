"""When readings of a collector are missing: its last gaps.

A *gap* is a time in which readings are missing in a row, as many as are due in a second, and at least one. One that
begins within `NEIGHBOURS_S` of the end of the one before is one gap with it. What is missing for a shorter time, or
in a gap that is no longer listed, is counted as `scattered`. So all that is missing is in a gap or there.

Readings can be missing in three ways: none come, they come and are dropped, or the collector
does not run (an *absence*). Nobody counts what would have been due in an absence, so it is computed from its length
and the frequency; one that is too short for a gap is in no count. What a filter holds back is not missing.

Times of gaps are those of the wall clock when they began and ended, as readings have them; lengths are measured by
the monotonic clock. Runs on the event loop. Bound: `MOST_GAPS`, and one of each kind that lasts.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field, replace

from ..base.clock import Clock
from ..storage.ledger.counts import CollectorId
from ..storage.writing.dropped import Drop
from .causes import Absence, Cause

MOST_GAPS = 20
NEIGHBOURS_S = 60.0
_DROPPING_IS_OVER_S = 5.0
_NS = 1_000_000_000


@dataclass
class Gap:
    """A time in which readings are missing."""

    from_ns: int
    missing: dict[str, int] = field(default_factory=dict)
    """How many readings are missing, by the value of their `Cause` or `Absence`; 0 of one whose length is not
    known."""
    to_ns: int | None = None
    """None while it lasts."""
    lasts_s: float | None = None
    """None if it is not known, since the clock was set back meanwhile, and while it lasts."""

    @property
    def missed(self) -> int | None:
        """How many readings are missing; None if it is not known."""
        return None if 0 in self.missing.values() else sum(self.missing.values())

    def last_until(self, at_ns: int, hz: float) -> None:
        """Makes a gap that lasts as long, and as much is missing in it, as when it lasts until `at_ns`."""
        more_s = 0.0 if self.lasts_s is None else (at_ns - self.from_ns) / _NS - self.lasts_s
        if self.lasts_s is not None and more_s > 0.0 and self.missing:
            self.lasts_s += more_s
            largest = max(self.missing, key=lambda cause: self.missing[cause])
            self.missing[largest] += int(more_s * hz)


@dataclass
class Away:
    """An absence that lasts, with how long each cause of it held. `cause` holds since `since_ns`."""

    from_ns: int
    cause: Absence
    since_ns: int
    seconds: dict[str, float] = field(default_factory=dict)
    is_known: bool = True
    """Whether its length is known."""

    def spend(self, held_s: float) -> None:
        """Adds a time in which the present cause held."""
        self.seconds[self.cause.value] = self.seconds.get(self.cause.value, 0.0) + max(0.0, held_s)


@dataclass
class _Hole:
    """A time that lasts in which no readings come, or in which they are dropped. Its times are monotonic."""

    from_s: float
    gap: Gap
    until_s: float = 0.0
    """Of readings that are dropped, until when it is known."""
    last_s: float = 0.0
    """Of readings that are dropped, how long the last of these times was."""
    is_noted: bool = False
    """Whether it was noted that this is a gap."""


@dataclass
class _Before:
    """The absence before this process, with the frequency until then, and when it ended, on the monotonic clock;
    None while it lasts."""

    away: Away
    hz: float
    ended_s: float | None


class History:
    """The gaps of one collector, which outlives it."""

    def __init__(self, clock: Clock, key: str, collector: CollectorId, hz: float) -> None:
        self.key = key
        self.collector = collector
        self.hz = hz
        self._scattered = 0
        self.gaps: deque[Gap] = deque()
        """The gaps that are over, the newest last."""
        self.changed = True
        """Whether there is something to write to the disk."""
        self.turned = True
        """Whether a gap or an absence began or ended among that."""
        self.away: Away | None = None
        """The absence that lasts; None while the collector runs."""
        self.started_s: float | None = None
        """When the collector began to run last, on the monotonic clock; None if it did not, in this process."""
        self.is_silent = False
        """Whether a reading is missing since the last one that came."""
        self._clock = clock
        self._silence: _Hole | None = None
        self._dropping: _Hole | None = None
        self._ended_s: float | None = None
        """When the newest gap ended, if another may still become one with it."""
        self._began_s = 0.0
        """When that gap began."""
        self._between: Counter[str] = Counter()
        """What is scattered since then."""
        self._away_since_s = 0.0
        self._before: _Before | None = None

    @property
    def scattered(self) -> int:
        """How many readings are missing that are in no listed gap."""
        short = (hole for hole in (self._silence, self._dropping) if hole is not None and not self._is_gap(hole))
        return self._scattered + sum(sum(hole.gap.missing.values()) for hole in short)

    def missed(self, cause: Cause, count: int, due_s: float) -> None:
        """Takes note of readings that are missing since the deadline `due_s`."""
        if self.away is not None:  # the last call of a collector that was ended
            self._scatter({cause.value: count})
            return
        hole = self._silence
        if hole is None:
            hole = self._silence = _Hole(due_s, Gap(self._wall_ns(due_s)))
            self.is_silent = True
        hole.gap.missing[cause.value] = hole.gap.missing.get(cause.value, 0) + count

    def came(self) -> None:
        """Takes note of a reading, or of one that a filter held back."""
        hole, self._silence, self.is_silent = self._silence, None, False
        if hole is not None:
            self._close(hole, self._clock.monotonic())

    def dropped(self, drop: Drop) -> None:
        """Takes note of readings that came and were dropped."""
        hole = self._dropping
        if hole is not None and drop.from_s - hole.until_s > max(1.0, 1.5 / self.hz):
            self._close(hole, hole.until_s)
            hole = None
        if hole is None:
            hole = self._dropping = _Hole(drop.from_s, Gap(self._wall_ns(drop.from_s)))
        hole.until_s, hole.last_s = max(hole.until_s, drop.to_s), drop.to_s - drop.from_s
        missing = hole.gap.missing
        missing[Cause.DISK.value] = missing.get(Cause.DISK.value, 0) + drop.readings

    def look(self) -> None:
        """Ends a time of dropping that is over, and notes whether a gap lasts."""
        hole = self._dropping
        if hole is not None and self._clock.monotonic() - hole.until_s > max(_DROPPING_IS_OVER_S, 2 * hole.last_s):
            self._dropping = None
            self._close(hole, hole.until_s)
        for hole in (self._silence, self._dropping):
            if hole is not None and self._is_gap(hole):
                self.changed, self.turned, hole.is_noted = True, self.turned or not hole.is_noted, True

    def starts(self, hz: float) -> None:
        """Takes note that the collector runs from now on."""
        away, self.away = self.away, None
        self.started_s = self._clock.monotonic()
        if away is not None:
            self._spend(away)
            self._end_absence(away, self._clock.time_ns(), self.hz)
            if self._before is not None and self._before.away is away:
                self._before.ended_s = self.started_s
        self.hz, self.changed, self.turned = hz, True, True

    def stops(self, why: Absence) -> None:
        """Takes note that the collector does not run from now on."""
        self.came()
        self._away_since_s, now_ns = self._clock.monotonic(), self._clock.time_ns()
        self.away = Away(now_ns, why, now_ns)
        self.changed = self.turned = True

    def explain(self, why: Absence) -> None:
        """Says why the collector does not run from now on."""
        away = self.away
        if away is not None and away.cause is not why:
            self._spend(away)
            away.cause, away.since_ns = why, self._clock.time_ns()
            self._away_since_s = self._clock.monotonic()
            self.changed = self.turned = True

    def adopt(self, gaps: list[Gap], scattered: int, away: Away | None, began_s: float, hz: float) -> None:
        """Puts what an earlier process knew before what this one knows.

        `away` is the absence that lasted until this process began, at `began_s`; `hz` is the frequency until then.
        """
        own, self.gaps = self.gaps, deque()
        self._before = None if away is None else _Before(away, hz, self.started_s)
        self._scattered += scattered
        for gap in gaps:
            self._append(gap)
        if away is not None and self.started_s is not None:
            away.spend(self.started_s - began_s)
            self._end_absence(away, self._wall_ns(self.started_s), hz)
        elif away is not None:
            self.away, self._away_since_s = away, began_s
        for gap in own:
            self._append(gap)

    def lengthen(self, by_s: float) -> None:
        """Makes the time before this process longer, in which nothing ran: the clock was slow by so much."""
        before = self._before
        if before is None or not before.away.is_known:
            return
        away, not_running = before.away, Absence.NOT_RUNNING.value
        away.seconds[not_running] = away.seconds.get(not_running, 0.0) + by_s
        self.changed = self.turned = True
        if before.ended_s is None:
            away.since_ns += round(by_s * _NS)
            return
        gap = gap_of(away, before.hz)
        if gap is not None:
            gap.to_ns = self._wall_ns(before.ended_s)
            found = [each for each in self.gaps if each.from_ns != gap.from_ns]
            found.insert(sum(each.from_ns < gap.from_ns for each in found), gap)
            self.gaps = deque(found)

    def lasting(self) -> list[Gap]:
        """Returns the gaps that last now."""
        now_s = self._clock.monotonic()
        found = []
        for hole in (self._silence, self._dropping):
            if hole is not None and self._is_gap(hole):
                found.append(Gap(hole.gap.from_ns, dict(hole.gap.missing), lasts_s=now_s - hole.from_s))
        if self.away is not None and self.away.cause is not Absence.CONFIG:
            away = replace(self.away, seconds=dict(self.away.seconds))
            away.spend(now_s - self._away_since_s)
            found += filter(None, [gap_of(away, self.hz)])
        return found

    def _is_gap(self, hole: _Hole | None) -> bool:
        return hole is not None and _is_enough(hole.gap.missing, self.hz)

    def _close(self, hole: _Hole, to_s: float) -> None:
        if not self._is_gap(hole):
            self._scatter(hole.gap.missing)
            return
        ended_s = self._ended_s
        if ended_s is None or hole.from_s - ended_s > NEIGHBOURS_S:
            self._append(replace(hole.gap, to_ns=self._wall_ns(to_s), lasts_s=to_s - hole.from_s))
            self._began_s, self._ended_s = hole.from_s, to_s
            return
        last, self._ended_s = self.gaps.pop(), max(to_s, ended_s)
        self._scattered -= self._between.total()
        missing = Counter(last.missing) + Counter(hole.gap.missing) + self._between
        self._began_s = min(self._began_s, hole.from_s)
        from_ns, to_ns = min(last.from_ns, hole.gap.from_ns), self._wall_ns(self._ended_s)
        self.gaps.append(Gap(from_ns, dict(missing), to_ns, self._ended_s - self._began_s))
        self._between.clear()
        self.changed = self.turned = True

    def _end_absence(self, away: Away, to_ns: int, hz: float) -> None:
        gap = gap_of(away, hz)
        if gap is not None:
            gap.to_ns = to_ns
            self._append(gap)

    def _append(self, gap: Gap) -> None:
        self.gaps.append(gap)
        if len(self.gaps) > MOST_GAPS:
            oldest = self.gaps.popleft()
            self._scattered += sum(oldest.missing.get(cause.value, 0) for cause in Cause)
        self._ended_s = None
        self.changed = self.turned = True
        self._between.clear()

    def _scatter(self, missing: dict[str, int]) -> None:
        self._scattered += sum(missing.values())
        if self._ended_s is not None:
            self._between.update(missing)
        self.changed = True

    def _spend(self, away: Away) -> None:
        away.spend(self._clock.monotonic() - self._away_since_s)

    def _wall_ns(self, at_s: float) -> int:
        return self._clock.time_ns() - round((self._clock.monotonic() - at_s) * _NS)


def gap_of(away: Away, hz: float) -> Gap | None:
    """Returns the gap that an absence is; None if nothing was due in it."""
    if not away.is_known:
        return Gap(away.from_ns, dict.fromkeys(away.seconds, 0))
    missing = {cause: count for cause, seconds in away.seconds.items() if (count := int(seconds * hz))}
    return Gap(away.from_ns, missing, lasts_s=sum(away.seconds.values())) if _is_enough(missing, hz) else None


def _is_enough(missing: dict[str, int], hz: float) -> bool:
    return sum(missing.values()) >= max(1.0, hz)
