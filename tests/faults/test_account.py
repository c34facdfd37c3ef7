"""`Account` finds each kind of wrong reading, and excuses what a fault may cost."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest
from viam.proto.app.datasync import SensorData, UploadMetadata

from tests.e2e.machines import Served

from .account import Account, Verdict
from .calls import SECOND_NS, Calls, Interruption
from .labels import Labels, Tags

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
    """Returns the verdict when 30 readings were served and these arrived."""
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


async def test_a_request_is_not_long_before_the_readings_before_it_were_served() -> None:
    account = an_account()
    early = reading(20)
    early.metadata.time_requested.FromNanoseconds(at_ns(20) - 2 * SECOND_NS)
    await upload(account, early)
    verdict = await judged(account, [seq for seq in range(30) if seq != 20])
    assert verdict.altered == 1
    assert "time of the request" in verdict.examples[0]


async def test_times_that_are_all_a_little_off_are_found() -> None:
    account = an_account()
    for seq in range(30):
        early = reading(seq)
        early.metadata.time_requested.FromNanoseconds(at_ns(seq) - SECOND_NS // 2)
        await upload(account, early)
    verdict = await judged(account, [])
    assert (verdict.altered, verdict.good) == (0, False)
    assert verdict.slow == ["half of counting was served 0.50 s behind its request"]


async def test_metadata_is_compared() -> None:
    account = an_account()
    account.labels = Labels(Tags(), file_extension=".dat")
    verdict = await judged(account, range(30))
    assert verdict.altered == 30
    assert "file_extension is '', not '.dat'" in verdict.examples[0]


async def test_tags_are_those_that_were_seen_on_the_disk() -> None:
    account = an_account()
    account.tags_on_disk.update({5: (), 6: ("one",)})
    verdict = await judged(account, range(30))
    assert verdict.altered == 1
    assert "tags were ['one'] on the disk and are []" in verdict.examples[0]


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


COUNTS = {
    "captured": 30,
    "adopted": 0,
    "delivered": 30,
    "quarantined": 0,
    "vanished": 0,
    "dropped": {},
    "on_disk": 0,
}


async def judged_with(account: Account, seqs: Sequence[int], **counts: object) -> Verdict:
    await upload(account, *map(reading, seqs))
    return account.verdict([Served(seq, at_ns(seq)) for seq in range(30)], {**COUNTS, **counts})


async def test_readings_of_a_removed_file_are_lost_and_counted_as_vanished() -> None:
    account = an_account(killed=False)
    account.taken_away.update({3, 4, 5})
    verdict = await judged_with(account, [*range(3), *range(5, 30)], delivered=28, vanished=2)
    assert verdict.good
    assert verdict.taken_away == 2


async def test_readings_of_a_removed_file_that_count_as_delivered_are_miscounted() -> None:
    account = an_account(killed=False)
    account.taken_away.update({3, 4})
    assert len((await judged_with(account, [*range(3), *range(5, 30)])).miscounted) >= 2


async def test_a_damaged_reading_is_lost_and_counted_as_quarantined() -> None:
    account = an_account(killed=False)
    account.damaged.add(7)
    seqs = [seq for seq in range(30) if seq != 7]
    verdict = await judged_with(account, seqs, delivered=29, quarantined=1)
    assert verdict.good
    assert verdict.damaged == 1


async def test_a_reading_beside_the_damaged_one_may_not_be_lost() -> None:
    account = an_account(killed=False)
    account.damaged.add(7)
    verdict = await judged_with(account, [*range(7), *range(9, 30)], delivered=28, quarantined=2)
    assert verdict.lost_beyond == 1
    assert verdict.miscounted


async def test_while_the_disk_is_full_readings_may_be_lost_and_count_as_dropped_for_want_of_space() -> None:
    account = an_account(killed=False)
    account.full_ns.append((at_ns(10), at_ns(12)))
    seqs = [*range(10), *range(13, 30)]
    verdict = await judged_with(account, seqs, delivered=27, dropped={"no_space": 3})
    assert verdict.good
    assert verdict.no_space == 3


async def test_a_torn_end_that_counts_beside_what_the_disk_refused_is_miscounted() -> None:
    account = an_account()
    account.full_ns.append((at_ns(10), at_ns(12)))
    seqs = [*range(10), *range(13, 30)]
    verdict = await judged_with(account, seqs, delivered=27, adopted=1, dropped={"no_space": 3, "torn": 1})
    assert len(verdict.miscounted) == 1
    assert "at most 0 are adopted" in verdict.miscounted[0]


async def test_what_was_given_when_the_disk_was_not_full_may_not_be_lost() -> None:
    account = an_account(killed=False)
    account.full_ns.append((at_ns(10), at_ns(12)))
    seqs = [*range(10), *range(14, 30)]
    verdict = await judged_with(account, seqs, delivered=26, dropped={"no_space": 4})
    assert (verdict.lost_beyond, verdict.no_space) == (1, 3)
    assert verdict.miscounted


@pytest.mark.parametrize(
    "counts",
    [
        {"delivered": 29},
        {"captured": 31},
        {"captured": 29, "adopted": 2},
        {"quarantined": 1, "captured": 31},
        {"vanished": 1, "adopted": 1},
        {"dropped": {"no_space": 1}, "adopted": 1},
        {"dropped": {"disk_too_slow": 1}, "adopted": 1},
        {"dropped": {"torn": 1}, "adopted": 1},
        {"on_disk": 1, "delivered": 29},
    ],
    ids=str,
)
async def test_counts_that_are_not_what_happened_are_found(counts: dict[str, object]) -> None:
    account = an_account(killed=False)
    assert (await judged_with(account, range(30))).good
    assert account.verdict([Served(seq, at_ns(seq)) for seq in range(30)], {**COUNTS, **counts}).miscounted


async def test_what_comes_while_the_link_is_troubled_may_come_twice_and_what_comes_long_after_may_not() -> None:
    account = an_account(killed=False)
    now_ns = time.time_ns()
    during = Interruption(1, "black hole", now_ns - SECOND_NS, 0, is_kill=False, until_ns=now_ns + SECOND_NS)
    account.calls.interruptions.append(during)
    await upload(account, reading(1))
    assert (await judged(account, range(1, 30))).twice_beyond == 0
    long_ago = replace(during, at_ns=now_ns - 20 * SECOND_NS, until_ns=now_ns - 10 * SECOND_NS)
    account.calls.interruptions[:] = [long_ago]
    assert account.verdict([Served(seq, at_ns(seq)) for seq in range(30)], None).twice_beyond == 1
