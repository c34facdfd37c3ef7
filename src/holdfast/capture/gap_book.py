"""The gaps of all collectors, also of those that do not run now.

Runs on the event loop. Bound: `MAX_COLLECTORS`; beyond that, the collector that has not run for longest is
forgotten.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import replace

from ..base.clock import Clock
from ..storage.ledger.counts import CollectorId
from ..storage.writing.dropped import Dropped
from .causes import Absence
from .gap_file import Kept, Record
from .gaps import Away, Gap, History

MAX_COLLECTORS = 1000
_SLACK_NS = 1_000_000_000
_STEP_S = 2.0
_CLOCK_IS_SET_S = 600.0
"""For so long after its start a process believes that a clock that is set forward was slow when it started."""
_NS = 1_000_000_000
_ABSENCES = frozenset(each.value for each in Absence)

Why = Callable[[CollectorId], Absence]
"""Says why a collector does not run."""


class GapBook:
    """The histories of all collectors, by the collector's key."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._histories: dict[str, History] = {}
        self._records: dict[str, Record] = {}
        self._dropped: dict[History, list[Dropped]] = {}
        """What is dropped of each, by its appenders: one that ends may still drop readings beside its successor."""
        self._why: Why = lambda collector: Absence.NOT_RUNNING
        self._began_s = clock.monotonic()
        self._offset_s = self._offset()

    def starts(self, key: str, collector: CollectorId, hz: float, dropped: Dropped) -> History:
        """Returns the history of a collector that begins to run. `dropped` are its readings that are dropped."""
        history = self._histories.get(key)
        if history is None:
            history = self._add(History(self._clock, key, collector, hz))
        self._take_drops(history)
        history.starts(hz)
        self._dropped.setdefault(history, []).append(dropped)
        return history

    def ends(self, history: History, dropped: Dropped) -> None:
        """Takes note that nothing more comes to `dropped`."""
        self._take_drops(history)
        if dropped in self._dropped.get(history, ()):
            self._dropped[history].remove(dropped)

    def explain(self, why: Why) -> None:
        """Says from now on by `why` why collectors do not run."""
        self._why = why
        for history in self._histories.values():
            if history.away is not None:
                history.explain(why(history.collector))

    def look(self) -> None:
        """Takes note of the readings that were dropped, of what is over, and of a clock that was set. To be called
        each second."""
        self._follow_clock()
        for history in self._histories.values():
            self._take_drops(history)
            history.look()

    def adopt(self, kept: Kept) -> None:
        """Takes over what an earlier process knew, which was last alive at `kept.alive_ns`."""
        self._offset_s = self._offset()
        for record in kept.records:
            history = self._histories.get(record.key)
            if history is None:
                history = self._add(History(self._clock, record.key, record.collector, record.hz))
            for gap in record.gaps:
                if gap.to_ns is None:
                    _end(gap, kept.alive_ns)
            away = self._away_until_began(record.away, kept.alive_ns)
            history.adopt(record.gaps, record.scattered, away, self._began_s, record.hz)
        self.explain(self._why)

    def records(self) -> list[Record]:
        """Returns all that is to be written to the disk. What has not changed since the last call is the same
        record as then."""
        for history in self._histories.values():
            if history.changed or history.key not in self._records:
                self._records[history.key] = _record(history)
                history.changed = history.turned = False
        return [self._records[key] for key in self._histories]

    @property
    def changed(self) -> bool:
        """Whether anything has changed since the last call of `records`."""
        return any(history.changed for history in self._histories.values())

    @property
    def turned(self) -> bool:
        """Whether a gap or an absence has begun or ended since the last call of `records`."""
        return any(history.turned for history in self._histories.values())

    def newest(self, most: int) -> tuple[list[tuple[History, Gap]], int]:
        """Returns up to `most` gaps, the newest first, and how many more there are: those that last are taken
        first, then the newest of each collector, then the others."""
        lasting = [(history, gap) for history in self._histories.values() for gap in history.lasting()]
        chosen = _newest(lasting, most)
        count = len(lasting) + sum(len(history.gaps) for history in self._histories.values())
        rank = 1
        while len(chosen) < most:
            of_rank = [(each, each.gaps[-rank]) for each in self._histories.values() if len(each.gaps) >= rank]
            if not of_rank:
                break
            chosen += _newest(of_rank, most - len(chosen))
            rank += 1
        return sorted(chosen, key=_begin, reverse=True), count - len(chosen)

    def _add(self, history: History) -> History:
        self._histories[history.key] = history
        if len(self._histories) > MAX_COLLECTORS:
            away = [each for each in self._histories.values() if each.away is not None]
            if away:
                oldest = min(away, key=lambda each: each.away.from_ns if each.away else 0)
                del self._histories[oldest.key]
                self._dropped.pop(oldest, None)
                self._records.pop(oldest.key, None)
        return history

    def _take_drops(self, history: History) -> None:
        drops = [drop for dropped in self._dropped.get(history, ()) for drop in dropped.take()]
        for drop in sorted(drops):
            history.dropped(drop)

    def _offset(self) -> float:
        return self._clock.time_ns() / _NS - self._clock.monotonic()

    def _follow_clock(self) -> None:
        """Lengthens the time before this process when the clock is set forward soon after the start: a computer
        whose clock stands without power knows only then how long it was off."""
        before_s, self._offset_s = self._offset_s, self._offset()
        step_s = self._offset_s - before_s
        if step_s > _STEP_S and self._clock.monotonic() - self._began_s < _CLOCK_IS_SET_S:
            for history in self._histories.values():
                history.lengthen(step_s)

    def _away_until_began(self, away: Away | None, alive_ns: int) -> Away | None:
        """Returns the absence that lasted until this process began; None if the earlier one ended after that."""
        now_ns = self._clock.time_ns()
        began_ns = now_ns - round((self._clock.monotonic() - self._began_s) * _NS)
        is_known = alive_ns <= now_ns + _SLACK_NS  # or else the clock was set back
        if away is None:
            if is_known and alive_ns >= began_ns:
                return None
            away = Away(alive_ns, Absence.NOT_RUNNING, alive_ns)
        away.spend((alive_ns - away.since_ns) / _NS)
        away.cause, away.since_ns = Absence.NOT_RUNNING, began_ns
        away.spend((began_ns - alive_ns) / _NS)
        away.is_known = away.is_known and is_known
        return away


def _end(gap: Gap, at_ns: int) -> None:
    """Ends a gap that lasted when its process ended."""
    gap.to_ns = at_ns
    gap.lasts_s = (at_ns - gap.from_ns) / _NS if at_ns >= gap.from_ns else None


def _record(history: History) -> Record:
    lasting = [gap for gap in history.lasting() if _ABSENCES.isdisjoint(gap.missing)]
    away = history.away
    return Record(
        history.key,
        history.collector,
        history.hz,
        history.scattered,
        [*history.gaps, *lasting],
        None if away is None else replace(away, seconds=dict(away.seconds)),
    )


def _newest(found: Iterable[tuple[History, Gap]], most: int) -> list[tuple[History, Gap]]:
    return heapq.nlargest(most, found, key=_begin)


def _begin(found: tuple[History, Gap]) -> int:
    return found[1].from_ns
