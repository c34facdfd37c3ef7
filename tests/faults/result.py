"""`Result` is what a torture found: the figures, what is wrong, and the command that repeats the plan."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from .account import Verdict
from .calls import SECOND_NS
from .file_account import FileVerdict
from .tables import counted, rows_of

MOST_IDLE = 4
"""A kind of fault that had no effect this often, and an effect never, did not test anything."""


@dataclass
class Result:
    """The result of a whole run."""

    seed: int
    minutes: float
    folder: Path
    faults: Counter[str] = field(default_factory=Counter)
    idle: Counter[str] = field(default_factory=Counter)
    """Faults that had no effect, by name."""
    planned: int = 0
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    files: FileVerdict = field(default_factory=FileVerdict)
    wrong: list[str] = field(default_factory=list)
    in_mongo: dict[str, Verdict] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    """Why some faults are left out, by what they need."""
    longest_silences_s: dict[str, float] = field(default_factory=dict)
    shares_asked: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return not self.all_wrong

    @property
    def all_wrong(self) -> list[str]:
        """Everything that is wrong, in words; of readings and files, the first few examples."""
        wrong = [*self.wrong, *self._not_tried(), *self.files.wrong]
        for name, verdict in self.verdicts.items():
            wrong += [f"nothing of {name} arrived"] if not verdict.arrived else []
            wrong += verdict.wrong
        for verdict in self.in_mongo.values():
            wrong += [f"in MongoDB: {each}" for each in verdict.wrong]
        return wrong

    def _not_tried(self) -> list[str]:
        """Returns what was planned and not tested: a run in which nothing happened proves nothing."""
        happened = sum(self.faults.values())
        wrong = [
            f"{name}: found nothing to do, {count} times of {count}"
            for name, count in sorted(self.idle.items())
            if count >= MOST_IDLE and not self.faults[name]
        ]
        if (met := happened + sum(self.idle.values())) != self.planned:
            wrong.append(f"{met} of {self.planned} planned faults were tried")
        if self.planned and not happened:
            wrong.append("no fault happened")
        return wrong

    def __str__(self) -> str:
        rows = [("seed", f"{self.seed}"), ("faults", f"{sum(self.faults.values())} of {self.planned}")]
        rows += [(f"  {name}", f"{count}") for name, count in sorted(self.faults.items())]
        rows += [("found nothing to do", counted(self.idle))]
        for name, verdict in self.verdicts.items():
            rows += [(f"{name}: {what}", value) for what, value in _reading_rows(verdict)]
        for name, silence_s in self.longest_silences_s.items():
            rows += [(f"{name}: longest time without a call", f"{silence_s:.1f} s")]
        for name, share in self.shares_asked.items():
            rows += [(f"{name}: calls made of those due", f"{share:.0%}")]
        for name, verdict in self.in_mongo.items():
            rows += [(f"{name}, MongoDB: {what}", value) for what, value in _mongo_rows(verdict)]
        rows += [(f"files: {what}", value) for what, value in _file_rows(self.files)]
        rows += [("seconds", f"{self.seconds:.1f}"), ("verdict", "good" if self.good else "NOT GOOD")]
        kept = [f"everything is kept in {self.folder}", self.again]
        return "\n".join(
            [
                *rows_of(rows),
                *(f"SKIPPED: what needs {what}: {why}" for what, why in self.skipped.items()),
                *(f"WRONG: {each}" for each in self.all_wrong),
                *([] if self.good else kept),
            ]
        )

    @property
    def again(self) -> str:
        """The command that repeats the plan."""
        return f"the same plan: make torture MINUTES={self.minutes!r} SEED={self.seed}"


def _reading_rows(verdict: Verdict) -> list[tuple[str, str]]:
    oldest_s = verdict.oldest_lost_ns / SECOND_NS
    return [
        ("served, arrived", f"{verdict.served}, {verdict.arrived}"),
        ("lost within the interval", f"{verdict.lost_within}, the oldest {oldest_s:.2f} s before its kill"),
        ("removed, damaged, no space", f"{verdict.taken_away}, {verdict.damaged}, {verdict.no_space}"),
        ("lost beyond", f"{verdict.lost_beyond}"),
        ("twice, allowed, beyond", f"{verdict.twice}, {verdict.twice_allowed}, {verdict.twice_beyond}"),
        ("altered, invented", f"{verdict.altered}, {verdict.invented}"),
        ("miscounted", f"{len(verdict.miscounted)}"),
    ]


def _mongo_rows(verdict: Verdict) -> list[tuple[str, str]]:
    return [
        ("there", f"{verdict.arrived}"),
        ("lost within, no space, beyond", f"{verdict.lost_within}, {verdict.no_space}, {verdict.lost_beyond}"),
        ("twice, altered, invented", f"{verdict.twice}, {verdict.altered}, {verdict.invented}"),
    ]


def _file_rows(verdict: FileVerdict) -> list[tuple[str, str]]:
    return [
        ("put, changed, removed", f"{verdict.put}, {verdict.changed}, {verdict.removed}"),
        ("arrived, lost", f"{verdict.arrived}, {verdict.lost}"),
        ("twice, beyond", f"{verdict.twice}, {verdict.twice_beyond}"),
        ("altered, invented", f"{verdict.altered}, {verdict.invented}"),
        ("miscounted", f"{len(verdict.miscounted)}"),
    ]
