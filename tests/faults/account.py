"""The account of one sensor: what it gave, what the cloud took, and what each fault may have cost.

Judged by outsiders alone: the source's own ledger, the cloud's record, and who did what when. What the module's
ledger says in the end must agree with them.

A lost reading is excused only when
- it is at the end of what a process was given, young enough at the kill, and was not on the disk by then;
- or it was in a capture file that somebody took away, or in a frame that somebody damaged;
- or it was given while the disk was full.
A reading that arrived twice is excused only when its call was under way at an interruption, see `calls`.
Its times are those of its call: it was served between them, and asked for when the readings before it were served.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from viam.proto.app.datasync import SensorData, SensorMetadata, UploadMetadata

from demo.received import struct_to_json
from tests.e2e.machines import Served

from .calls import SECOND_NS, SLACK_NS, Calls, Interruption
from .labels import Labels

_MOST_EXAMPLES = 12
_LONGEST_CALL_NS = 60 * SECOND_NS
"""A busy computer may hold a module up in the middle of a call."""
_IN_FLIGHT = 4
"""Calls that may be under way to a sensor, while a collector gives way to another one."""
_OVERTAKEN_NS = SECOND_NS
"""How much later than those behind it a call may come to the sensor."""
_USUAL_CALL_NS = SECOND_NS // 5
"""Half of the calls take less, however busy the computer is."""


@dataclass(frozen=True)
class Arrived:
    """One reading as the cloud took it."""

    seq: int
    data: Mapping[str, Any]
    requested_ns: int
    received_ns: int
    about: UploadMetadata | None = None
    """What its upload said of it, where there is one."""


@dataclass
class Verdict:
    """The totals of a run; `good` when everything that must be nothing is."""

    served: int = 0
    arrived: int = 0
    seen_on_disk: int = 0
    lost_within: int = 0
    oldest_lost_ns: int = 0
    """The age at its kill of the oldest of these."""
    lost_beyond: int = 0
    taken_away: int = 0
    """Lost in files that somebody removed."""
    damaged: int = 0
    """Lost in frames that somebody damaged."""
    no_space: int = 0
    """Lost while the disk was full."""
    twice: int = 0
    twice_answered: int = 0
    """Those of them whose call was answered a moment before the kill, too late for the module to act on it."""
    twice_allowed: int = 0
    """Readings in calls that were under way at a kill or a cut: the most that may arrive twice."""
    twice_beyond: int = 0
    altered: int = 0
    invented: int = 0
    slow: list[str] = field(default_factory=list)
    """What is strange about all times together."""
    miscounted: list[str] = field(default_factory=list)
    """What the module's own ledger says, where that is not so."""
    examples: list[str] = field(default_factory=list)
    """What was wrong, in words; the first few."""

    @property
    def good(self) -> bool:
        return not (
            self.lost_beyond or self.twice_beyond or self.altered or self.invented or self.slow or self.miscounted
        )

    @property
    def wrong(self) -> list[str]:
        """In words."""
        return [*self.slow, *self.miscounted, *self.examples]


class Account:
    """Give it to the cloud, tell it each fault, then ask for the verdict."""

    def __init__(
        self,
        resource: str,
        expected: Callable[[int], Mapping[str, Any]],
        calls: Calls,
        method: str = "Readings",
    ) -> None:
        """`expected` gives the whole payload of a reading by its number, or what stands for it."""
        self.resource = resource
        self._method = method
        self.arrived: list[Arrived] = []
        self.on_disk: set[int] = set()
        """The readings that were seen in a capture file, as after a kill."""
        self.tags_on_disk: dict[int, tuple[str, ...]] = {}
        """The tags with which they were seen there, if that is known."""
        self.taken_away: set[int] = set()
        """Those in complete files that somebody removed; some may be in the cloud."""
        self.damaged: set[int] = set()
        """Those in frames that somebody damaged, or in files that he made unreadable; some may be in the cloud."""
        self.headers_damaged = 0
        """Files whose readings the module can only estimate."""
        self.full_ns: list[tuple[int, int]] = []
        """From when to when readings found no room on the disk."""
        self.offsets_ns: Sequence[int] = (0,)
        """By how much the module's wall clock was ahead of the source's, at one time or another."""
        self.labels: Labels | None = None
        """What uploads have to say; None where nothing is known of it."""
        self.expected = expected
        self.calls = calls
        self._strangers: list[str] = []

    def note_reading(self, about: UploadMetadata, message: SensorData) -> None:
        """For `LocalCloud(on_reading=…)`."""
        data = struct_to_json(message.struct).get("readings", {})
        seq = data.get("seq") if isinstance(data, dict) else None
        if (about.component_name, about.method_name) != (self.resource, self._method) or not isinstance(seq, int):
            self._strangers.append(f"{about.component_name} {about.method_name} {data}")
            return
        self._note(about, seq, data, message.metadata)

    def note_payload(self, about: UploadMetadata, times: SensorMetadata, path: Path) -> None:
        """For `LocalCloud(on_payload=…)`: of a source whose payloads begin with their numbers."""
        payload = path.read_bytes()
        self._note(about, int.from_bytes(payload[:8], "big"), fingerprint(payload), times)

    def _note(self, about: UploadMetadata, seq: int, data: Mapping[str, Any], times: SensorMetadata) -> None:
        self.calls.carries((self.resource, seq))
        requested, received = times.time_requested.ToNanoseconds(), times.time_received.ToNanoseconds()
        self.arrived.append(Arrived(seq, data, requested, received, about))

    def verdict(self, served: Sequence[Served], ledger: Mapping[str, Any] | None) -> Verdict:
        """The judgement on everything until now, which should be when nothing is under way any more.

        `ledger` are this sensor's counts in the status at the end, if there is one.
        """
        verdict = Verdict(served=len(served), arrived=len(self.arrived), seen_on_disk=len(self.on_disk))
        self._judge_content(served, verdict)
        self._judge_lost(served, verdict)
        self._judge_twice(verdict)
        if ledger is not None:
            verdict.miscounted = self._miscounted(ledger, verdict)
        del verdict.examples[_MOST_EXAMPLES:]
        return verdict

    def _judge_content(self, served: Sequence[Served], verdict: Verdict) -> None:
        times = {each.seq: each.time_ns for each in served}
        verdict.invented = len(self._strangers)
        verdict.examples += [f"invented: {each}" for each in self._strangers]
        for each in self.arrived:
            if each.seq not in times:
                verdict.invented += 1
                verdict.examples.append(f"invented: {self.resource} {each.seq}: {each.data}")
            elif altered := list(self._altered(each, times)):
                verdict.altered += 1
                verdict.examples.append(
                    f"altered: {', '.join(altered)}: {self.resource} {each.seq}, served at {times[each.seq]}, "
                    f"{each.data} requested at {each.requested_ns}, received at {each.received_ns}"
                )
        gaps_ns = [self._gap_ns(times[each.seq], each.requested_ns) for each in self.arrived if each.seq in times]
        if gaps_ns and (usual_ns := median(gaps_ns)) > _USUAL_CALL_NS:
            verdict.slow = [f"half of {self.resource} was served {usual_ns / SECOND_NS:.2f} s behind its request"]

    def _altered(self, each: Arrived, times: Mapping[int, int]) -> Iterable[str]:
        """What is not as it was served, in words."""
        served_ns = times[each.seq]
        if each.data != self.expected(each.seq):
            yield "values"
        earliest_ns = times.get(each.seq - _IN_FLIGHT, served_ns) - _OVERTAKEN_NS
        earliest_ns = max(earliest_ns, served_ns - _LONGEST_CALL_NS)
        if not any(earliest_ns <= each.requested_ns - ahead_ns <= served_ns for ahead_ns in self.offsets_ns):
            yield "time of the request"
        latest_ns = served_ns + _LONGEST_CALL_NS
        if not any(served_ns <= each.received_ns - ahead_ns <= latest_ns for ahead_ns in self.offsets_ns):
            yield "time of the answer"
        if each.about is not None:
            tags, on_disk = tuple(each.about.tags), self.tags_on_disk.get(each.seq)
            if on_disk is not None and tags != on_disk:
                yield f"tags were {list(on_disk)} on the disk and are {list(tags)}"
            if self.labels is not None:
                yield from self.labels.wrong(each.about, served_ns)

    def _gap_ns(self, served_ns: int, requested_ns: int) -> int:
        """How long after its request it was served, by the clock with which that was least."""
        return min(abs(served_ns + ahead_ns - requested_ns) for ahead_ns in self.offsets_ns)

    def _judge_lost(self, served: Sequence[Served], verdict: Verdict) -> None:
        kills = [each for each in self.calls.interruptions if each.is_kill]
        arrived = {each.seq for each in self.arrived}
        times = {each.seq: each.time_ns for each in served}
        last_before = _last_before(times, arrived, [kill.at_ns for kill in kills])
        for reading in served:
            if reading.seq in arrived:
                continue
            if reading.seq in self.taken_away:
                verdict.taken_away += 1
                continue
            if reading.seq in self.damaged:
                verdict.damaged += 1
                continue
            was_on_disk = reading.seq in self.on_disk
            ages_ns = [
                kill.at_ns - reading.time_ns
                for kill, last in zip(kills, last_before, strict=True)
                if reading.seq > last and -kill.exposure_ns - SLACK_NS <= reading.time_ns - kill.at_ns <= SLACK_NS
            ]
            if ages_ns and not was_on_disk:
                verdict.lost_within += 1
                verdict.oldest_lost_ns = max(verdict.oldest_lost_ns, min(ages_ns))
            elif not was_on_disk and any(start <= reading.time_ns <= end for start, end in self.full_ns):
                verdict.no_space += 1
            else:
                verdict.lost_beyond += 1
                verdict.examples.append(
                    f"lost: {self.resource} {reading.seq}{', was on the disk' if was_on_disk else ''}"
                    f"{_around(reading, kills, last_before)}"
                )

    def _miscounted(self, ledger: Mapping[str, Any], verdict: Verdict) -> list[str]:
        """Everything has its fate: a reading counts once, however often it was sent.

        What was taken away or damaged while it was sent may be in the cloud without the module's knowing. Where the
        header's own check is damaged, the module misses one reading of the file and counts it as vanished.
        """
        arrived = {each.seq for each in self.arrived}
        unknown = len(arrived & (self.taken_away | self.damaged))
        missed = self.headers_damaged
        dropped = ledger["dropped"]
        kills = sum(1 for each in self.calls.interruptions if each.is_kill)
        gone = ledger["delivered"] + ledger["quarantined"] + ledger["vanished"] + sum(dropped.values())
        facts = {
            f"delivered is {len(arrived)}": _at_most(unknown, len(arrived) - ledger["delivered"]),
            f"quarantined is {verdict.damaged}": (
                _at_most(unknown + missed, ledger["quarantined"] - verdict.damaged + missed)
            ),
            f"vanished is {verdict.taken_away}": (
                _at_most(unknown + missed, ledger["vanished"] - verdict.taken_away)
            ),
            f"{len(arrived) + verdict.damaged + verdict.taken_away} are delivered, quarantined and vanished": (
                ledger["delivered"] + ledger["quarantined"] + ledger["vanished"]
                == len(arrived) + verdict.damaged + verdict.taken_away
            ),
            f"dropped for want of space is {verdict.no_space}": dropped.get("no_space", 0) == verdict.no_space,
            f"at most {kills} are torn": dropped.get("torn", 0) <= kills,
            "nothing is dropped for another reason": not set(dropped) - {"torn", "no_space"},
            f"at most {unknown + missed} are adopted": ledger["adopted"] <= unknown + missed,
            "captured and adopted are what has a fate": ledger["captured"] + ledger["adopted"] == gone,
            f"at most {verdict.served} are captured": ledger["captured"] <= verdict.served,
            "nothing is on disk": not ledger["on_disk"],
        }
        wrong = [fact for fact, holds in facts.items() if not holds]
        return [f"miscounted: {self.resource}: not so that {fact}: {dict(ledger)}" for fact in wrong]

    def _judge_twice(self, verdict: Verdict) -> None:
        allowed, unanswered = self.calls.repeatable()
        verdict.twice_allowed = sum(allowed[self.resource, seq] for seq in {each.seq for each in self.arrived})
        for seq, count in Counter(each.seq for each in self.arrived).items():
            key = self.resource, seq
            verdict.twice += count - 1
            verdict.twice_answered += max(0, min(count - 1, allowed[key]) - unanswered[key])
            if count - 1 > allowed[key]:
                verdict.twice_beyond += count - 1 - allowed[key]
                verdict.examples.append(f"{count} times: {self.resource} {seq}, {self.calls.story_of(key)}")


def fingerprint(payload: bytes) -> dict[str, Any]:
    """What stands for a payload."""
    return {"bytes": len(payload), "hash": hashlib.sha256(payload).hexdigest()[:16]}


def _at_most(limit: int, difference: int) -> bool:
    return 0 <= difference <= limit


def _last_before(times: Mapping[int, int], arrived: set[int], moments_ns: Sequence[int]) -> list[int]:
    """For each moment, the last reading that was served before it and arrived; -1 for none."""
    ordered = sorted((times[seq], seq) for seq in arrived if seq in times)
    served_ns = [time_ns for time_ns, _ in ordered]
    highest = [-1]
    for _, seq in ordered:
        highest.append(max(highest[-1], seq))
    return [highest[bisect_right(served_ns, moment)] for moment in moments_ns]


def _around(reading: Served, kills: Sequence[Interruption], last_before: Sequence[int]) -> str:
    for kill, last in zip(kills, last_before, strict=True):
        if kill.at_ns + SLACK_NS >= reading.time_ns:
            before_s = (kill.at_ns - reading.time_ns) / SECOND_NS
            return (
                f", served {before_s:.3f} s before the kill of round {kill.round} ({kill.kind} {kill.what}), "
                f"before which {last} was the last to arrive"
            )
    return ", served after the last kill"
