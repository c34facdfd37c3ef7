"""The account of what the disk did not take: each dropped reading is in the log and a problem has its number."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.base.problems import Kind
from holdfast.base.words import number_of
from holdfast.errors import StorageError
from holdfast.storage.ledger.counts import CollectorId
from holdfast.storage.ledger.ledger import Ledger
from holdfast.storage.writing import disk_writer, losses
from holdfast.storage.writing.disk_writer import DiskWriter
from holdfast.storage.writing.losses import Losses, WhyDropped, why_dropped
from tests.fakes import FakeClock, FaultyFileSystem

from .. import samples
from .test_disk_writer import LIDAR, NEVER_S, append, open_lidar

FULL = why_dropped(StorageError("write", "/data/a.prog", OSError(errno.ENOSPC, "No space left on device")))
DENIED = why_dropped(StorageError("create", "/data/b.prog", OSError(errno.EACCES, "Permission denied")))


def collector(name: str) -> CollectorId:
    return samples.API, name, "Readings"


class Account:
    """Losses, and what is still stuck."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.stuck: set[str] = set()
        self.losses = Losses(self.clock, "/data", lambda reason: reason in self.stuck)

    async def drop(self, cause: WhyDropped, *names: str, seconds: int) -> None:
        """Drops a reading of each every second."""
        for _ in range(seconds):
            for name in names:
                self.losses.note(cause, collector(name), 1)
            await self.clock.advance(1)
            self.losses.look()

    async def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            await self.clock.advance(1)
            self.losses.look()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Returns what was logged since the last call."""

    def taken() -> list[str]:
        found = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return found

    return taken


async def test_each_minute_has_its_number_and_the_end_the_whole(lines: Callable[[], list[str]]) -> None:
    account = Account()
    await account.drop(FULL, "a", "b", seconds=30)
    (begin,) = lines()
    assert begin.startswith(f"{FULL.why}; readings of a are dropped")
    await account.drop(FULL, "a", "b", seconds=100)
    first, second = lines()
    assert first.endswith("; dropped in the last 60 s: 120 readings of a, b; since this began: 120 (no_space)")
    assert "in the last 60 s: 120 readings" in second and "began: 240" in second
    await account.wait(round(losses.QUIET_S) + 1)
    (end,) = lines()
    assert end == "the disk takes readings again: no_space cost 260 readings of 2 collectors in 2 min"
    (problem,) = account.losses.problems
    assert problem.what == f"{FULL.why}; readings of a, b were dropped until 7 s ago"
    await account.wait(round(losses.HELD_S))
    assert lines() == [] and account.losses.problems == []


async def test_a_loss_that_comes_again_and_again_is_one_problem_with_all_that_it_cost() -> None:
    account = Account()
    for number in range(1, 5):
        await account.drop(FULL, "a" if number % 2 else "b", seconds=10)
        (now,) = account.losses.problems
        await account.wait(60)
        (over,) = account.losses.problems
        assert (now.key, now.cost) == (over.key, over.cost)
        assert over.cost == f"{number * 10} readings of {number_of(min(number, 2), 'collector')} dropped"
        assert "are dropped" in now.what and "were dropped until 61 s ago" in over.what


async def test_while_it_lasts_it_is_a_problem_with_its_cost_and_what_to_do() -> None:
    account = Account()
    assert account.losses.problems == []
    await account.drop(FULL, *"abcde", seconds=2)
    (problem,) = account.losses.problems
    assert problem.kind is Kind.DISK
    assert problem.what == f"{FULL.why}; readings of a, b, c and 2 more are dropped until the disk takes them again"
    assert problem.cost == "10 readings of 5 collectors dropped"
    assert "free space" in problem.do
    await account.drop(FULL, "a", seconds=1)
    (later,) = account.losses.problems
    assert (later.key, later.cost) == (problem.key, "11 readings of 5 collectors dropped")


async def test_a_disk_that_is_full_again_and_again_is_one_loss(lines: Callable[[], list[str]]) -> None:
    account = Account()
    for _ in range(20):
        await account.drop(FULL, "a", seconds=1)
        await account.wait(2)
    assert len(lines()) == 1 + 1, "its beginning, and one minute"


async def test_a_collector_that_seldom_reads_is_stuck_until_it_writes_again(lines: Callable[[], list[str]]) -> None:
    account = Account()
    account.stuck.add("no_permission")
    await account.drop(DENIED, "a", seconds=1)
    await account.wait(600)
    assert account.losses.problems and len(lines()) == 2, "nothing is said of minutes in which nothing was dropped"
    account.stuck.clear()
    await account.wait(1)
    assert "were dropped until 10 min ago" in account.losses.problems[0].what and len(lines()) == 1


async def test_each_reason_is_a_loss_of_its_own() -> None:
    account = Account()
    await account.drop(FULL, "a", seconds=1)
    await account.drop(DENIED, "b", seconds=1)
    assert ["chown" in problem.do for problem in account.losses.problems] == [False, True]


async def test_the_disk_takes_readings_again_only_when_no_loss_is_left(lines: Callable[[], list[str]]) -> None:
    account = Account()
    account.stuck = {FULL.reason}
    await account.drop(FULL, "lidar", seconds=5)
    account.stuck = {DENIED.reason}
    await account.drop(DENIED, "lidar", seconds=10)
    *_, over = lines()
    assert over == "no_space is over, which cost 5 readings of 1 collector in 4 s; still: no_permission"
    account.stuck.clear()
    await account.wait(round(losses.QUIET_S))
    assert lines() == ["the disk takes readings again: no_permission cost 10 readings of 1 collector in 9 s"]


async def test_losses_that_end_together_are_over_for_good(lines: Callable[[], list[str]]) -> None:
    account = Account()
    await account.drop(FULL, "a", seconds=1)
    account.losses.note(DENIED, collector("a"), 1)
    await account.clock.advance(losses.QUIET_S)
    lines()
    account.losses.look()
    assert [line.partition(":")[0] for line in lines()] == ["the disk takes readings again"] * 2


async def test_what_nobody_foresaw_is_a_loss_to_be_reported() -> None:
    assert why_dropped(ValueError("a mistake")) == (
        "unexpected_error",
        "ValueError: a mistake",
        "please report it, with what the log says",
    )


async def test_at_the_end_what_is_in_no_line_yet_is_said(lines: Callable[[], list[str]]) -> None:
    account = Account()
    await account.drop(FULL, "a", seconds=5)
    lines()
    account.losses.close()
    account.losses.close()
    (line,) = lines()
    assert ": 5 readings of a;" in line


@pytest.mark.parametrize("ends", ["written", "released"])
async def test_a_collector_whose_last_reading_was_refused_is_a_problem_until_one_is_written_or_it_ends(
    files: FaultyFileSystem, ledger: Ledger, tmp_path: Path, ends: str
) -> None:
    clock = FakeClock()
    writer = DiskWriter(files, clock, ledger, str(tmp_path), NEVER_S)
    seldom, often = open_lidar(writer), writer.open(samples.metadata(name="often"), 10_000)
    append(seldom, 1)
    with files.failing("create", code=errno.EACCES):
        await writer.flush()
    for number in range(100):  # it reads nothing more, and others do
        append(often, 1, first=number)
        await writer.flush()
        await clock.advance(1)
        writer.losses.look()
        assert [problem.cost for problem in writer.losses.problems] == ["1 reading of 1 collector dropped"]
    if ends == "written":
        append(seldom, 1, first=1)
        await writer.flush()
    else:
        await writer.release([seldom])
    writer.losses.look()
    assert ["were dropped until" in problem.what for problem in writer.losses.problems] == [True]
    await writer.close()


async def test_memory_that_is_full_is_a_problem_until_the_disk_has_caught_up(
    files: FaultyFileSystem, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_writer, "MAX_PENDING_BYTES", 10_000)
    clock = FakeClock()
    writer = DiskWriter(files, clock, ledger, str(tmp_path), NEVER_S)
    files.stall_writes()
    append(open_lidar(writer), 1000)
    dropped = ledger.readings()[LIDAR].dropped["disk_too_slow"]
    await clock.advance(600)
    writer.losses.look()
    (problem,) = writer.losses.problems
    assert problem.cost == f"{dropped} readings of 1 collector dropped" and "faster disk" in problem.do
    files.resume_writes()
    await writer.flush()
    writer.losses.look()
    assert ["were dropped until" in problem.what for problem in writer.losses.problems] == [True]
    await writer.close()
