"""`mongo_verdict` finds each kind of wrong document, and excuses what a fault may cost."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from tests.e2e.machines import Served

from .account import Account, Verdict
from .calls import SECOND_NS, Calls, Interruption
from .mongo_account import mongo_verdict

START_NS = 1_000_000 * SECOND_NS
STEP_NS = SECOND_NS // 10
HOUR_NS = 3600 * SECOND_NS


def at_ns(seq: int) -> int:
    return START_NS + seq * STEP_NS


def document(seq: int, *, ahead_ns: int = 0, **values: float) -> dict[str, Any]:
    asked, answered = (at_ns(seq) + ahead_ns + offset for offset in (-1_000_000, 1_000_000))
    return {
        "component_name": "counting",
        "time_requested": datetime.fromtimestamp(asked / SECOND_NS, timezone.utc).replace(tzinfo=None),
        "time_received": datetime.fromtimestamp(answered / SECOND_NS, timezone.utc).replace(tzinfo=None),
        "data": {"readings": {"seq": float(seq), **values}},
    }


def judged(documents: Iterable[dict[str, Any]], *interruptions: Interruption, ahead_ns: int = 0) -> Verdict:
    """Returns the verdict on documents when 30 readings were served."""
    account = Account("counting", lambda seq: {"seq": seq}, Calls(random.Random(1)))
    account.offsets_ns = (0, ahead_ns) if ahead_ns else (0,)
    served = [Served(seq, at_ns(seq)) for seq in range(30)]
    return mongo_verdict(documents, served, lambda seq: {"seq": seq}, account, interruptions)


def test_all_is_good_when_each_is_there_once() -> None:
    assert judged(map(document, range(30))).good


def test_what_is_missing_is_lost_unless_a_kill_explains_it() -> None:
    assert judged(map(document, range(29))).lost_beyond == 1
    cut = Interruption(1, "cut", at_ns(29), SECOND_NS, is_kill=False)
    assert judged(map(document, range(29)), cut).lost_beyond == 1
    verdict = judged(map(document, range(29)), Interruption(1, "module", at_ns(29), SECOND_NS))
    assert verdict.good and verdict.lost_within == 1


def test_what_is_there_twice_has_no_excuse() -> None:
    kill = Interruption(1, "module", at_ns(29), SECOND_NS)
    assert judged([*map(document, range(30)), document(29)], kill).twice_beyond == 1


def test_what_was_never_given_or_is_altered_is_found() -> None:
    assert judged([*map(document, range(30)), document(99)]).invented == 1
    assert judged([*map(document, range(29)), document(29, more=1.0)]).altered == 1


def test_times_may_be_those_of_a_clock_that_was_set() -> None:
    documents = [document(seq, ahead_ns=5 * HOUR_NS if seq > 10 else 0) for seq in range(30)]
    assert judged(documents, ahead_ns=5 * HOUR_NS).good
    assert judged(documents).altered == 19
