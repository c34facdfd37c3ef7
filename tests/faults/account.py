"""The account of a kill loop: what the source gave, what the cloud took, and what each kill may have cost.

Judged by outsiders alone: the source's own ledger, the cloud's record, and when who was killed. What the module's
ledger says in the end must agree with them.

A lost reading is excused only when it is at the end of what a process was given, young enough at the kill, and was
not on the disk by then. A reading that arrived twice is excused only when its call was under way at a kill or a
cut: the cloud had it and the answer was not out, or was out for so short a time that the module may not have acted
on it.
"""

from __future__ import annotations

import asyncio
import random
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from viam.proto.app.datasync import SensorData, UploadMetadata

from demo.received import struct_to_json
from tests.e2e.machines import Served

SECOND_NS = 1_000_000_000
SLACK_NS = 150_000_000
"""A busy computer runs a thread late, and an answer may be on its way."""
MAX_HOLD_S = 0.06
"""The cloud answers after up to this time, so that kills find calls under way."""
_MOST_EXAMPLES = 12


@dataclass(frozen=True)
class Interruption:
    """A kill, or a cut of the connection to the cloud, and the age at which readings may be lost by it."""

    round: int
    kind: str
    at_ns: int
    exposure_ns: int
    what: str = ""
    """The system call at which it happened."""

    @property
    def is_kill(self) -> bool:
        return self.kind != "cut"


@dataclass(frozen=True)
class Arrived:
    """One reading as the cloud took it."""

    seq: int
    data: Mapping[str, Any]
    requested_ns: int
    received_ns: int


@dataclass
class _Call:
    """One upload: when the cloud had it, and when it let its answer go."""

    taken_ns: int
    seqs: tuple[int, ...]
    answered_ns: int | None = None


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
    twice: int = 0
    twice_answered: int = 0
    """Those of them whose call was answered a moment before the kill, too late for the module to act on it."""
    twice_allowed: int = 0
    """Readings in calls that were under way at a kill or a cut: the most that may arrive twice."""
    twice_beyond: int = 0
    altered: int = 0
    invented: int = 0
    miscounted: list[str] = field(default_factory=list)
    """What the module's own ledger says, where that is not so."""
    examples: list[str] = field(default_factory=list)
    """What was wrong, in words; the first few."""

    @property
    def good(self) -> bool:
        return not (self.lost_beyond or self.twice_beyond or self.altered or self.invented or self.miscounted)


class Account:
    """Give its three methods to the cloud, tell it each interruption, then ask for the verdict."""

    def __init__(self, resource: str, expected: Callable[[int], Mapping[str, Any]], rng: random.Random) -> None:
        """`expected` gives the whole payload of a reading by its number."""
        self.arrived: list[Arrived] = []
        self.interruptions: list[Interruption] = []
        self.on_disk: set[int] = set()
        """The readings that were seen in a capture file after a kill."""
        self._resource = resource
        self._expected = expected
        self._rng = rng
        self._strangers: list[str] = []
        self._incoming: list[int] = []
        self._calls: list[_Call] = []
        self._logins_ns: list[int] = []

    def note_reading(self, about: UploadMetadata, message: SensorData) -> None:
        """For `LocalCloud(on_reading=…)`."""
        data = struct_to_json(message.struct).get("readings", {})
        seq = data.get("seq") if isinstance(data, dict) else None
        if (about.component_name, about.method_name) != (self._resource, "Readings") or not isinstance(seq, int):
            self._strangers.append(f"{about.component_name} {about.method_name} {data}")
            return
        times = message.metadata
        self._incoming.append(seq)
        self.arrived.append(
            Arrived(seq, data, times.time_requested.ToNanoseconds(), times.time_received.ToNanoseconds())
        )

    async def before_answer(self) -> None:
        """For `LocalCloud.before_answer`: nothing runs between the readings of a call and this."""
        call = _Call(time.time_ns(), tuple(self._incoming))
        self._incoming.clear()
        self._calls.append(call)
        await asyncio.sleep(self._rng.uniform(0, MAX_HOLD_S))
        call.answered_ns = time.time_ns()

    def fail_while(self, method: str, _request: bytes | None) -> grpc.StatusCode | None:
        """For `LocalCloud.fail_while`: fails nothing, notes logins."""
        if method == "Authenticate":
            self._logins_ns.append(time.time_ns())
        return None

    def verdict(self, served: Sequence[Served], ledger: Mapping[str, Any] | None) -> Verdict:
        """The judgement on everything until now, which should be when nothing is under way any more.

        `ledger` are the counts in the status at the end, if there is one.
        """
        verdict = Verdict(served=len(served), arrived=len(self.arrived), seen_on_disk=len(self.on_disk))
        self._judge_content(served, verdict)
        self._judge_lost(served, verdict)
        self._judge_twice(verdict)
        if ledger is not None:
            verdict.miscounted = self._miscounted(ledger, served)
        del verdict.examples[_MOST_EXAMPLES:]
        return verdict

    def _judge_content(self, served: Sequence[Served], verdict: Verdict) -> None:
        times = {each.seq: each.time_ns for each in served}
        verdict.invented = len(self._strangers)
        verdict.examples += [f"invented: {each}" for each in self._strangers]
        for each in self.arrived:
            if each.seq not in times:
                verdict.invented += 1
                verdict.examples.append(f"invented: {each}")
            elif each.data != self._expected(each.seq) or not (
                each.requested_ns <= times[each.seq] <= each.received_ns
            ):
                verdict.altered += 1
                verdict.examples.append(f"altered: {each}, served at {times[each.seq]}")

    def _judge_lost(self, served: Sequence[Served], verdict: Verdict) -> None:
        kills = [each for each in self.interruptions if each.is_kill]
        arrived = {each.seq for each in self.arrived}
        last_before = _last_before(self.arrived, [kill.at_ns for kill in kills])
        for reading in served:
            if reading.seq in arrived:
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
            else:
                verdict.lost_beyond += 1
                verdict.examples.append(
                    f"lost: {reading.seq}{', was on the disk' if was_on_disk else ''}"
                    f"{_around(reading, kills, last_before)}"
                )

    def _miscounted(self, ledger: Mapping[str, Any], served: Sequence[Served]) -> list[str]:
        """Everything is delivered: a reading counts once, however often it was sent; it is in the cloud or torn."""
        arrived = len({each.seq for each in self.arrived})
        came = ledger["captured"] + ledger["adopted"]
        dropped = sum(ledger["dropped"].values())
        torn = ledger["dropped"].get("torn", 0)
        kills = sum(1 for each in self.interruptions if each.is_kill)
        facts = {
            f"delivered is {arrived}": ledger["delivered"] == arrived,
            f"captured and adopted are {arrived} and what is dropped": came == arrived + dropped,
            f"at most {len(served)} are captured": ledger["captured"] <= len(served),
            f"at most {kills} are torn, and nothing else is dropped": torn == dropped <= kills,
            "nothing is on disk, quarantined or vanished": not (
                ledger["on_disk"] or ledger["quarantined"] or ledger["vanished"]
            ),
        }
        return [f"miscounted: not so that {fact}: {dict(ledger)}" for fact, holds in facts.items() if not holds]

    def _judge_twice(self, verdict: Verdict) -> None:
        allowed: Counter[int] = Counter()
        unanswered: Counter[int] = Counter()
        for call, interruption in self._open_calls():
            allowed.update(call.seqs)
            if call.answered_ns is None or call.answered_ns >= interruption.at_ns:
                unanswered.update(call.seqs)
        verdict.twice_allowed = sum(allowed.values())
        for seq, count in Counter(each.seq for each in self.arrived).items():
            verdict.twice += count - 1
            verdict.twice_answered += max(0, min(count - 1, allowed[seq]) - unanswered[seq])
            if count - 1 > allowed[seq]:
                verdict.twice_beyond += count - 1 - allowed[seq]
                calls = [(call.taken_ns, call.answered_ns) for call in self._calls if seq in call.seqs]
                verdict.examples.append(f"{count} times: {seq}, calls {calls}, {self._near(calls[0][0])}")

    def _open_calls(self) -> Iterable[tuple[_Call, Interruption]]:
        """The calls that were under way at an interruption, once for each.

        A call belongs to the interruption that is followed by the first login after the call. What the cloud
        finds on the wire when the sender is dead already belongs to that death.
        """
        begin_ns = 0
        for each in sorted(self.interruptions, key=lambda each: each.at_ns):
            index = bisect_right(self._logins_ns, each.at_ns)
            end_ns = self._logins_ns[index] if index < len(self._logins_ns) else time.time_ns()
            for call in self._calls:
                unanswered = call.answered_ns is None or call.answered_ns >= each.at_ns - SLACK_NS
                if begin_ns <= call.taken_ns < end_ns and unanswered:
                    yield call, each
            begin_ns = end_ns

    def _near(self, time_ns: int) -> str:
        after = [each for each in self.interruptions if each.at_ns >= time_ns - SLACK_NS]
        return f"next interruption: {after[0] if after else None}"


def _last_before(arrived: Sequence[Arrived], moments_ns: Sequence[int]) -> list[int]:
    """For each moment, the last reading that was asked for before it and arrived; -1 for none."""
    ordered = sorted(arrived, key=lambda each: each.requested_ns)
    requested_ns = [each.requested_ns for each in ordered]
    highest = [-1]
    for each in ordered:
        highest.append(max(highest[-1], each.seq))
    return [highest[bisect_right(requested_ns, moment)] for moment in moments_ns]


def _around(reading: Served, kills: Sequence[Interruption], last_before: Sequence[int]) -> str:
    for kill, last in zip(kills, last_before, strict=True):
        if kill.at_ns + SLACK_NS >= reading.time_ns:
            before_s = (kill.at_ns - reading.time_ns) / SECOND_NS
            return (
                f", served {before_s:.3f} s before the kill of round {kill.round} ({kill.kind} {kill.what}), "
                f"before which {last} was the last to arrive"
            )
    return ", served after the last kill"
