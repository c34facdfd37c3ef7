"""`Account` judges one source: what it served, what arrived in the cloud, and what each fault may have cost.

The evidence comes from outside the module: the source's own ledger, the cloud's record, and the list of faults with
their times. The module's own ledger is not evidence; at the end it must agree.

A lost reading is excused only if
- it is among the last ones that a killed process received, was young enough at the kill, and was not on disk by
  then;
- or it was in a capture file that a fault removed, or in a frame that a fault damaged;
- or it was served while the disk was full.
A reading that arrived twice is excused only if its call was under way at an interruption, see `calls`.
The times of a reading must be those of its call: it was served between them, and it was requested when the readings
shortly before it were served.
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
"""The longest time of a call: a busy computer may hold up the module in the middle of one."""
_IN_FLIGHT = 4
"""The most calls that may be under way to a sensor, while one collector replaces another."""
_OVERTAKEN_NS = SECOND_NS
"""By how much later calls may overtake a call on its way to the sensor."""
_USUAL_CALL_NS = SECOND_NS // 5
"""At least half of the calls take less than this, however busy the computer is."""


@dataclass(frozen=True)
class Arrived:
    """One reading as the cloud received it."""

    seq: int
    data: Mapping[str, Any]
    requested_ns: int
    received_ns: int
    about: UploadMetadata | None = None
    """The metadata of its upload; None for a document in MongoDB."""


@dataclass
class Verdict:
    """The totals of a run for one source. It is `good` if everything that must be zero or empty is."""

    served: int = 0
    arrived: int = 0
    seen_on_disk: int = 0
    lost_within: int = 0
    oldest_lost_ns: int = 0
    """The age of the oldest of these at its kill."""
    lost_beyond: int = 0
    taken_away: int = 0
    """Readings that were lost in files that a fault removed."""
    damaged: int = 0
    """Readings that were lost in frames that a fault damaged."""
    no_space: int = 0
    """Readings that were lost while the disk was full."""
    twice: int = 0
    twice_answered: int = 0
    """Those of them whose call was answered a moment before the kill, too late for the module to act on it."""
    twice_allowed: int = 0
    """Readings in calls that were under way at an interruption: the most that may arrive twice."""
    twice_beyond: int = 0
    altered: int = 0
    invented: int = 0
    slow: list[str] = field(default_factory=list)
    """What is wrong with the times of all readings together."""
    miscounted: list[str] = field(default_factory=list)
    """What is wrong in the module's own ledger."""
    examples: list[str] = field(default_factory=list)
    """The first few wrong readings, in words."""

    @property
    def good(self) -> bool:
        return not (
            self.lost_beyond or self.twice_beyond or self.altered or self.invented or self.slow or self.miscounted
        )

    @property
    def wrong(self) -> list[str]:
        """Everything that is wrong, in words."""
        return [*self.slow, *self.miscounted, *self.examples]


class Account:
    """Collects what arrives of one source and what the faults did, and then gives the verdict."""

    def __init__(
        self,
        resource: str,
        expected: Callable[[int], Mapping[str, Any]],
        calls: Calls,
        method: str = "Readings",
    ) -> None:
        """`expected` returns the whole payload of a reading by its number, or its `fingerprint`."""
        self.resource = resource
        self._method = method
        self.arrived: list[Arrived] = []
        self.on_disk: set[int] = set()
        """The numbers of readings that were seen in a capture file, for example after a kill."""
        self.tags_on_disk: dict[int, tuple[str, ...]] = {}
        """The tags with which they were seen there, as far as they are known."""
        self.taken_away: set[int] = set()
        """The numbers of readings in complete files that a fault removed; some may be in the cloud."""
        self.damaged: set[int] = set()
        """The numbers of readings in frames that a fault damaged, or in files that it made unreadable; some may be
        in the cloud."""
        self.headers_damaged = 0
        """The number of files with a damaged header, whose readings the module can only estimate."""
        self.full_ns: list[tuple[int, int]] = []
        """The periods, from begin to end, in which the disk had no room for readings."""
        self.offsets_ns: Sequence[int] = (0,)
        """All amounts by which the module's wall clock was ahead of the source's at some time."""
        self.labels: Labels | None = None
        """The metadata that uploads must have; None: it is not judged."""
        self.expected = expected
        self.calls = calls
        self._strangers: list[str] = []

    def note_reading(self, about: UploadMetadata, message: SensorData) -> None:
        """Notes a reading; to be passed to `LocalCloud(on_reading=…)`."""
        data = struct_to_json(message.struct).get("readings", {})
        seq = data.get("seq") if isinstance(data, dict) else None
        if (about.component_name, about.method_name) != (self.resource, self._method) or not isinstance(seq, int):
            self._strangers.append(f"{about.component_name} {about.method_name} {data}")
            return
        self._note(about, seq, data, message.metadata)

    def note_payload(self, about: UploadMetadata, times: SensorMetadata, path: Path) -> None:
        """Notes a payload that begins with its number; to be passed to `LocalCloud(on_payload=…)`."""
        payload = path.read_bytes()
        self._note(about, int.from_bytes(payload[:8], "big"), fingerprint(payload), times)

    def _note(self, about: UploadMetadata, seq: int, data: Mapping[str, Any], times: SensorMetadata) -> None:
        self.calls.carries((self.resource, seq))
        requested, received = times.time_requested.ToNanoseconds(), times.time_received.ToNanoseconds()
        self.arrived.append(Arrived(seq, data, requested, received, about))

    def verdict(self, served: Sequence[Served], ledger: Mapping[str, Any] | None) -> Verdict:
        """Judges everything until now; it should be called when nothing is under way any more.

        `ledger` is this source's counts in the status at the end; None: they are not judged.
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
        """Yields what differs from what was served, in words."""
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
        """Returns the time from its request until it was served, by the clock offset that makes it shortest."""
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
        """Returns what is wrong in the module's ledger: each reading must count once, however often it was sent.

        A reading that was removed or damaged while it was sent may be in the cloud without the module's knowledge.
        If the check of a header is damaged, the module misses one reading of the file and counts it as vanished.
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
    """Returns what an account compares instead of a payload."""
    return {"bytes": len(payload), "hash": hashlib.sha256(payload).hexdigest()[:16]}


def _at_most(limit: int, difference: int) -> bool:
    return 0 <= difference <= limit


def _last_before(times: Mapping[int, int], arrived: set[int], moments_ns: Sequence[int]) -> list[int]:
    """Returns, for each moment, the last reading that was served before it and arrived; -1 for none."""
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
