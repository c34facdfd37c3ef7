"""The judge of the kill loop finds what it is there to find."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from viam.proto.app.datasync import SensorData, UploadMetadata

from tests.e2e.machines import Served

from .account import Account, Verdict
from .calls import SECOND_NS, Calls, Interruption

START_NS = 1_000 * SECOND_NS
STEP_NS = SECOND_NS // 10
KILLED_NS = START_NS + 2 * SECOND_NS
"""The kill comes after the readings 0 to 20."""


def at_ns(seq: int) -> int:
    return START_NS + seq * STEP_NS


def reading(seq: int, **values: int) -> SensorData:
    message = SensorData()
    message.metadata.time_requested.FromNanoseconds(at_ns(seq) - 1_000_000)
    message.metadata.time_received.FromNanoseconds(at_ns(seq) + 1_000_000)
    message.struct.update({"readings": {"seq": seq, **values}})
    return message


def an_account(killed: bool = True) -> Account:
    account = Account("counting", lambda seq: {"seq": seq}, Calls(random.Random(1)))
    if killed:
        account.calls.interruptions.append(Interruption(1, "module", KILLED_NS, SECOND_NS))
    return account


async def upload(account: Account, *readings: SensorData) -> None:
    for each in readings:
        account.note_reading(UploadMetadata(component_name="counting", method_name="Readings"), each)
    await account.calls.before_answer()


async def judged(account: Account, seqs: Sequence[int]) -> Verdict:
    """The verdict when 30 readings were given and these arrived."""
    await upload(account, *map(reading, seqs))
    return account.verdict([Served(seq, at_ns(seq)) for seq in range(30)], None)


async def test_all_is_good_when_all_arrived() -> None:
    verdict = await judged(an_account(), range(30))
    assert verdict.good
    assert (verdict.served, verdict.arrived, verdict.lost_within, verdict.twice) == (30, 30, 0, 0)


async def test_the_end_before_a_kill_may_be_lost() -> None:
    verdict = await judged(an_account(), [*range(12), *range(21, 30)])
    assert verdict.good
    assert verdict.lost_within == 9


async def test_without_a_kill_nothing_may_be_lost() -> None:
    assert (await judged(an_account(killed=False), range(29))).lost_beyond == 1


async def test_what_is_older_than_the_flush_interval_may_not_be_lost() -> None:
    verdict = await judged(an_account(), [*range(5), *range(21, 30)])
    assert (verdict.lost_beyond, verdict.lost_within) == (4, 12)


async def test_what_is_not_at_the_end_may_not_be_lost() -> None:
    verdict = await judged(an_account(), [*range(15), *range(16, 18), *range(21, 30)])
    assert (verdict.lost_beyond, verdict.lost_within) == (1, 3)


async def test_what_was_on_the_disk_at_a_kill_may_not_be_lost() -> None:
    account = an_account()
    account.on_disk.update({17, 18})
    verdict = await judged(account, [*range(17), *range(21, 30)])
    assert (verdict.lost_beyond, verdict.lost_within) == (2, 2)


async def test_a_call_that_was_under_way_at_a_kill_may_come_twice() -> None:
    account = an_account(killed=False)
    await upload(account, reading(1), reading(2))
    account.calls.interruptions.append(Interruption(1, "module", time.time_ns(), SECOND_NS))
    account.calls.note_login()
    verdict = await judged(account, range(1, 30))
    assert (verdict.twice, verdict.twice_allowed, verdict.twice_beyond) == (2, 2, 0)


async def test_a_call_that_was_answered_long_before_a_kill_may_not_come_twice() -> None:
    account = an_account(killed=False)
    await upload(account, reading(1), reading(2))
    account.calls.interruptions.append(Interruption(1, "module", time.time_ns() + SECOND_NS, SECOND_NS))
    assert (await judged(account, range(1, 30))).twice_beyond == 2


async def test_a_call_of_the_next_process_may_not_come_twice() -> None:
    account = an_account(killed=False)
    account.calls.interruptions.append(Interruption(1, "module", time.time_ns(), SECOND_NS))
    account.calls.note_login()
    await upload(account, reading(1), reading(2))
    assert (await judged(account, range(1, 30))).twice_beyond == 2


async def test_values_and_times_are_compared() -> None:
    account = an_account()
    late = reading(4)
    late.metadata.time_requested.FromNanoseconds(at_ns(4) + 1)
    await upload(account, reading(3, more=1), late, reading(30))
    verdict = await judged(account, [seq for seq in range(30) if seq not in (3, 4)])
    assert (verdict.altered, verdict.invented) == (2, 1)
