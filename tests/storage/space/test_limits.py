"""What the limits delete and what they never delete, on real files, with a disk whose fullness the test sets."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.base.at import Identity
from holdfast.base.filesystem import Usage
from holdfast.config import CopySettings, SpaceLimits, WhenFull
from holdfast.storage import layout
from holdfast.storage.claims import Claims
from holdfast.storage.ledger.counts import ReadingCounts
from holdfast.storage.ledger.known_files import Acknowledged
from holdfast.storage.ledger.ledger import Ledger
from holdfast.storage.quarantine.limit import QuarantineLimit
from holdfast.storage.space import census, usage
from holdfast.storage.space import limits as limits_module
from holdfast.storage.space.deletion import Deletion
from holdfast.storage.space.limits import LOW_SHARE, Limits, Rules, Surroundings
from holdfast.storage.space.local_copy import LocalCopy
from holdfast.storage.space.usage import SpaceUsage
from tests.fakes import START_NS, FakeClock, FaultyFileSystem

from .. import samples
from ..ledgers import LIDAR, RADAR, capture

BLOCK = 4096
READINGS = 3
HOUR_NS = 3_600_000_000_000


class Disk(FaultyFileSystem):
    """A disk of which the share `used` of its `total_bytes` is taken."""

    def __init__(self) -> None:
        super().__init__()
        self.total_bytes = 100 * BLOCK
        self.used = 0.0
        self.listed = 0

    def usage(self, path: str) -> Usage:
        self._check("usage", path)
        return Usage(self.total_bytes, round(self.total_bytes * (1 - self.used)))

    def list_folder(self, path: str, *, with_status: bool = False) -> Any:
        self.listed += 1
        return super().list_folder(path, with_status=with_status)


class Folder:
    """A capture folder with limits; each file of `fill` takes one block."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.disk = Disk()
        self.clock = FakeClock()
        self.claims = Claims()
        self.ledger = Ledger(self.disk, str(root))
        self.ledger.attach(lambda: None)
        self.written_bytes = 0
        self.space = SpaceUsage(self.disk, self.clock, lambda: str(root), lambda: self.written_bytes)
        deletion = Deletion(self.disk, self.clock, self.ledger, self.claims)
        quarantine = QuarantineLimit(self.disk, self.clock, self.ledger, lambda: str(root))
        self.local_copy: LocalCopy | None = None
        self.neighbours: list[Limits] = []
        around = Surroundings(lambda: self.local_copy, lambda: self.neighbours)
        self.limits = Limits(self.disk, self.clock, deletion, self.space, quarantine, around)

    def configure(
        self, *, check_disk: bool = False, priorities: dict[str, int] | None = None, **values: Any
    ) -> None:
        by_folder = {
            layout.collector_folder("", samples.API, name, "Readings"): priority
            for name, priority in (priorities or {}).items()
        }
        self.limits.configure(Rules(SpaceLimits(**values), check_disk, by_folder))

    def fill(self, files: int, name: str = "lidar", begin_ns: int = START_NS) -> list[Path]:
        """Writes complete files, one for each second, as if capture had just finished them."""
        folder = self.root / layout.collector_folder("", samples.API, name, "Readings")
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for number in range(files):
            stem = layout.capture_file_stem(begin_ns + number * 1_000_000_000)
            path = folder / f"{stem}.capture"
            path.write_bytes(samples.our_file(samples.metadata(name), samples.messages(READINGS)))
            paths.append(path)
            capture(self.ledger, READINGS, str(path.with_suffix(".prog")), (samples.API, name, "Readings"))
            self.written_bytes += BLOCK
        return paths

    def left(self, name: str = "lidar") -> list[Path]:
        folder = self.root / layout.collector_folder("", samples.API, name, "Readings")
        return sorted(folder.glob("*.capture"))

    @property
    def counts(self) -> ReadingCounts:
        return self.ledger.readings()[LIDAR]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def full(folder: Folder, **values: Any) -> None:
    folder.disk.used = 0.95
    folder.configure(check_disk=True, **{"capture_dir_share": 0.0001, **values})


@pytest.mark.parametrize(("files", "nth"), [(11, 5), (10, 5), (1, 5), (7, 2), (4, 1)])
def test_on_a_full_disk_every_nth_complete_file_goes_from_the_first_on(
    folder: Folder, files: int, nth: int
) -> None:
    paths = folder.fill(files)
    full(folder, every_nth=nth)
    folder.limits.check()
    assert folder.left() == [path for index, path in enumerate(paths) if index % nth]
    gone = len(paths[::nth])
    assert folder.counts == ReadingCounts(captured=files * READINGS, deleted=gone * READINGS)
    assert folder.counts.on_disk == (files - gone) * READINGS
    assert (folder.space.deleted.files, folder.space.deleted.readings) == (gone, gone * READINGS)


async def test_the_full_disk_is_looked_at_each_thirty_seconds(folder: Folder) -> None:
    folder.fill(10)
    full(folder)
    folder.limits.check()
    await folder.clock.advance(29)
    folder.limits.check()
    assert len(folder.left()) == 8
    await folder.clock.advance(1)
    folder.limits.check()
    assert len(folder.left()) == 6


@pytest.mark.parametrize(
    ("used", "share", "check_disk", "deletes"),
    [
        (0.90, 0.001, True, True),
        (0.89, 0.001, True, False),
        (1.0, 0.9, True, False),
        (1.0, 0.001, False, False),
    ],
)
def test_nothing_goes_below_either_threshold_or_without_capture(
    folder: Folder, used: float, share: float, check_disk: bool, deletes: bool
) -> None:
    folder.fill(10)
    folder.disk.used = used
    folder.configure(check_disk=check_disk, disk_usage=0.9, capture_dir_share=share)
    folder.limits.check()
    assert (len(folder.left()) < 10) == deletes


def test_all_our_folders_on_the_disk_count_together(folder: Folder, tmp_path: Path) -> None:
    folder.fill(10)
    folder.disk.total_bytes = 3 * sum(path.stat().st_size for path in folder.root.rglob("*") if path.is_file())
    full(folder, capture_dir_share=0.5)
    folder.limits.check()
    assert len(folder.left()) == 10
    other = Folder(tmp_path.parent / "other")
    other.fill(10)
    other.space.count(lambda _: 5)
    folder.neighbours = [folder.limits, other.limits]
    folder.limits.configure(Rules(SpaceLimits(capture_dir_share=0.49), True))
    folder.limits.check()
    assert len(folder.left()) == 8


def test_only_complete_capture_files_that_nobody_has_in_hand_are_deleted(folder: Folder) -> None:
    (sent, other) = folder.fill(2)
    never = [
        folder.root / "notes.txt",
        folder.root / "a.prog",
        folder.root / "failed" / "b.capture",
        folder.root / "failed" / "b.capture.cause.json",
        folder.root / "datasetUpload" / "c.capture",
        folder.root / ".holdfast" / "d.capture",
    ]
    for path in never:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(other.read_bytes())
    (folder.root / "link.capture").symlink_to(sent)
    assert folder.claims.try_claim(str(sent))
    full(folder, every_nth=1)
    folder.limits.check()
    assert folder.left() == [sent]
    assert all(path.exists() for path in never)
    assert (folder.root / "link.capture").is_symlink()


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (WhenFull.DROP_OLDEST, lambda paths: paths[11:]),
        (WhenFull.DROP_NEWEST, lambda paths: paths[:9]),
    ],
)
def test_beyond_the_limit_files_go_in_the_order_of_the_policy(
    folder: Folder, policy: WhenFull, expected: Callable[[list[Path]], list[Path]]
) -> None:
    paths = folder.fill(20)
    folder.configure(most_bytes=10 * BLOCK, when_full=policy)
    folder.limits.check()
    assert folder.left() == expected(paths)
    assert folder.space.captured_bytes == 9 * BLOCK
    assert folder.counts.deleted == 11 * READINGS


def test_thinning_leaves_something_of_the_whole_time(folder: Folder) -> None:
    paths = folder.fill(40)
    folder.configure(most_bytes=20 * BLOCK, when_full=WhenFull.THIN)
    folder.limits.check()
    left = folder.left()
    assert len(left) == 20 * LOW_SHARE
    for quarter in range(4):
        assert 2 <= len(set(left) & set(paths[quarter * 10 : quarter * 10 + 10])) <= 8


def test_what_has_a_low_priority_goes_first(folder: Folder) -> None:
    folder.fill(10, "lidar")
    folder.fill(10, "radar")
    folder.configure(most_bytes=20 * BLOCK - 1, priorities={"lidar": 7, "radar": 2}, when_full=WhenFull.THIN)
    folder.limits.check()
    assert (len(folder.left("lidar")), len(folder.left("radar"))) == (10, 7)
    folder.configure(most_bytes=10 * BLOCK, priorities={"lidar": 7, "radar": 2}, when_full=WhenFull.THIN)
    folder.limits.check()
    assert (len(folder.left("lidar")), len(folder.left("radar"))) == (9, 0)
    assert folder.ledger.readings()[RADAR].deleted == 10 * READINGS


def test_what_is_too_old_goes_whatever_its_priority(folder: Folder) -> None:
    old = folder.fill(3, begin_ns=START_NS - 3 * HOUR_NS)
    young = folder.fill(3)
    folder.configure(most_age_s=2 * 3600.0, priorities={"lidar": 9})
    folder.limits.check()
    assert folder.left() == young
    assert not any(path.exists() for path in old)


def test_a_file_from_before_the_clock_was_right_has_no_age(folder: Folder) -> None:
    folder.fill(3, begin_ns=1_000_000_000)
    folder.configure(most_age_s=3600.0)
    folder.limits.check()
    assert len(folder.left()) == 3


async def test_a_clock_that_jumps_ahead_and_comes_back_deletes_nothing(folder: Folder) -> None:
    folder.fill(3)
    folder.configure(most_age_s=3600.0)
    folder.limits.check()
    folder.clock.step_wall(3 * 365 * 24 * 3600)
    for _ in range(10):
        await folder.clock.advance(60)
        folder.limits.check()
    folder.clock.step_wall(-3 * 365 * 24 * 3600)
    await folder.clock.advance(60)
    folder.limits.check()
    assert len(folder.left()) == 3


async def test_what_gets_old_goes_soon_without_being_written_to(folder: Folder) -> None:
    folder.fill(3)
    folder.configure(most_age_s=3600.0)
    folder.limits.check()
    await folder.clock.advance(3599)
    folder.limits.check()
    assert len(folder.left()) == 3
    await folder.clock.advance(60)
    folder.limits.check()
    assert folder.left() == []


async def test_nothing_is_listed_while_no_limit_is_near(folder: Folder) -> None:
    folder.fill(5)
    folder.configure(check_disk=True, most_bytes=100 * BLOCK, most_age_s=3600.0)
    folder.limits.check()
    listed = folder.disk.listed
    for _ in range(300):
        await folder.clock.advance(1)
        folder.written_bytes += BLOCK // 4
        folder.limits.check()
    assert folder.disk.listed == listed
    folder.fill(30)
    await folder.clock.advance(1)
    folder.limits.check()
    assert folder.disk.listed > listed


def test_a_census_of_many_files_remembers_few(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census, "MAX_SORTED", 7)
    monkeypatch.setattr(limits_module, "MAX_CHOSEN", 4)
    paths = folder.fill(50)
    folder.configure(most_bytes=20 * BLOCK, when_full=WhenFull.DROP_OLDEST)
    folder.limits.check()
    assert folder.left() == paths[-18:]


def test_readings_that_the_cloud_has_already_are_not_counted_as_deleted(folder: Folder) -> None:
    (path,) = folder.fill(1)
    modified_ns = path.stat().st_mtime_ns
    folder.ledger.count_delivered(LIDAR, str(path), Acknowledged(2, modified_ns), 2, ours=True)
    full(folder)
    folder.limits.check()
    assert folder.counts == ReadingCounts(captured=3, delivered=2, deleted=1)


def test_files_of_the_builtin_are_counted_as_adopted_and_deleted(folder: Folder) -> None:
    path = folder.root / "builtin" / "x.capture"
    path.parent.mkdir()
    path.write_bytes(samples.builtin_file(samples.metadata(), samples.messages(4)))
    full(folder)
    folder.limits.check()
    assert not path.exists()
    assert folder.counts == ReadingCounts(adopted=4, deleted=4)


def test_deleting_the_builtins_takes_nothing_off_what_we_have_there(folder: Folder) -> None:
    ours = folder.fill(1)
    builtin = folder.root / "builtin" / "x.capture"
    builtin.parent.mkdir()
    builtin.write_bytes(samples.builtin_file(samples.metadata(), samples.messages(4)))
    full(folder)
    folder.limits.check()
    assert folder.left() == ours and not builtin.exists()
    assert folder.counts == ReadingCounts(captured=READINGS, adopted=4, deleted=4)
    assert folder.counts.on_disk == READINGS


@pytest.mark.parametrize("code", [errno.EROFS, errno.EIO, errno.ENOENT])
def test_what_the_disk_refuses_to_delete_is_not_counted_and_stays_to_be_sent(folder: Folder, code: int) -> None:
    (path,) = folder.fill(1)
    full(folder)
    with folder.disk.failing("remove", code=code):
        folder.limits.check()
    assert path.exists()
    assert folder.counts == ReadingCounts(captured=3)
    assert folder.ledger.acknowledged_of(str(path), path.stat().st_mtime_ns) == 0
    assert folder.claims.try_claim(str(path))


def test_after_a_crash_before_the_removal_the_file_is_there_to_be_sent(folder: Folder) -> None:
    class Crash(BaseException):
        pass

    (path,) = folder.fill(1)
    full(folder)

    def crash(path: str, identity: Identity | None = None) -> None:
        raise Crash

    folder.disk.remove = crash  # type: ignore[method-assign]
    with pytest.raises(Crash):
        folder.limits.check()
    after = Ledger(FaultyFileSystem(), str(folder.root))
    after.attach(lambda: None)
    assert after.readings()[LIDAR] == ReadingCounts(captured=3)
    assert after.acknowledged_of(str(path), path.stat().st_mtime_ns) == 0


@pytest.mark.parametrize("operation", ["usage", "open", "list_folder", "stat"])
def test_a_disk_that_fails_stops_no_later_check(folder: Folder, operation: str) -> None:
    folder.fill(5)
    full(folder, every_nth=1)
    with folder.disk.failing(operation, code=errno.EIO):
        folder.limits.check()
    assert len(folder.left()) == 5
    folder.configure(check_disk=True, every_nth=1, capture_dir_share=0.00001)
    folder.limits.check()
    assert folder.left() == []


async def test_after_close_nothing_is_deleted_any_more(folder: Folder) -> None:
    folder.fill(50)
    entered, may_go_on = threading.Event(), threading.Event()
    remove = folder.disk.remove

    def slow(path: str, identity: Identity | None = None) -> None:
        entered.set()
        may_go_on.wait()
        remove(path, identity)

    folder.disk.remove = slow  # type: ignore[method-assign]
    full(folder, every_nth=1)
    running = asyncio.create_task(folder.limits.run())
    await asyncio.to_thread(entered.wait)
    running.cancel()
    closing = asyncio.create_task(folder.limits.close())
    await asyncio.sleep(0)
    assert not closing.done()
    may_go_on.set()
    await closing
    assert len(folder.left()) == 49
    assert folder.counts.deleted == READINGS


async def test_the_status_knows_how_long_the_disk_lasts(folder: Folder) -> None:
    folder.configure()
    assert folder.space.lasts_s(None) is None
    folder.limits.check()
    folder.written_bytes = 30 * 1000
    await folder.clock.advance(30)
    folder.limits.check()
    assert folder.space.growth_bytes_per_s == 1000
    assert folder.space.lasts_s(None) == 100 * BLOCK / 1000
    for _ in range(15):
        folder.space.note_removed(BLOCK - 1)
    await folder.clock.advance(30)
    folder.limits.check()
    assert folder.space.growth_bytes_per_s == (30 * 1000 - 15 * BLOCK) / 60
    assert folder.space.lasts_s(None) is None


async def test_of_a_disk_that_hangs_the_status_tells_the_age_of_its_figures_and_no_rate(folder: Folder) -> None:
    folder.configure()
    folder.limits.check()
    folder.written_bytes = 30 * 1000
    await folder.clock.advance(30)
    folder.limits.check()
    measured_s = folder.clock.monotonic()
    await folder.clock.advance(usage.FRESH_S)
    assert folder.space.measured_s == measured_s and folder.space.growth_bytes_per_s == 1000
    await folder.clock.advance(1)
    assert folder.space.growth_bytes_per_s is None and folder.space.lasts_s(None) is None
    assert folder.space.usage is not None and folder.space.measured_s == measured_s
    folder.limits.check()
    assert folder.space.growth_bytes_per_s is not None


def test_what_is_known_of_space_follows_without_a_listing(folder: Folder) -> None:
    folder.fill(10)
    folder.space.count(lambda _: 5)
    listed = folder.disk.listed
    folder.written_bytes += 3 * BLOCK
    folder.space.note_removed(5 * BLOCK)
    assert folder.space.captured_bytes == 8 * BLOCK
    assert folder.disk.listed == listed


def test_the_sum_holds_after_each_deletion(folder: Folder) -> None:
    folder.fill(30)
    for most in (25, 10, 3, 1):
        folder.configure(most_bytes=most * BLOCK, when_full=WhenFull.THIN)
        folder.limits.check()
        counts = folder.counts
        stored = sum(len(samples.scan(path.read_bytes()).readings) for path in folder.left())
        assert counts.captured == 30 * READINGS == counts.deleted + counts.on_disk
        assert counts.on_disk == stored
    assert os.path.isdir(folder.root)


@pytest.mark.parametrize(("kept", "captured_left"), [(10, 10), (2, 8)])
def test_on_a_full_disk_the_local_copy_goes_before_captured_data(
    folder: Folder, tmp_path: Path, kept: int, captured_left: int
) -> None:
    folder.fill(10)
    settings = CopySettings(str(tmp_path.parent / f"{tmp_path.name}-kept"))
    copy = folder.local_copy = LocalCopy(folder.disk, folder.clock, settings)
    for number in range(kept):
        path = tmp_path / f"{number}.log"
        path.write_bytes(b"x")
        assert copy.keep(str(path), None, 1, str(tmp_path), ())
    full(folder)  # by five blocks of a hundred
    folder.limits.check()
    assert len(folder.left()) == captured_left
    assert (copy.bytes or 0) < kept * BLOCK


async def test_each_file_that_a_limit_deletes_is_in_one_line_a_minute_and_in_the_problem(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    folder.configure(most_bytes=10 * BLOCK)
    assert list(folder.limits.problems) == []
    for number in range(60):
        folder.fill(4, begin_ns=START_NS + number * 10_000_000_000)
        await folder.clock.advance(5)
        folder.limits.check()
    await folder.limits.close()
    gone = folder.space.deleted.files
    said = [int(found) for found in re.findall(r"bytes were kept: (\d+) capture files", caplog.text)]
    assert sum(said) == gone > 200 and len(said) <= 60 * 5 / limits_module.SAY_S + 2
    (problem,) = folder.limits.problems
    assert problem.cost == f"{gone * READINGS} readings in {gone} files deleted since the start"
    assert problem.what.endswith("bytes were kept") and "raise capture_dir_limit_bytes" in problem.do
    await folder.clock.advance(240)
    (problem,) = folder.limits.problems
    assert f"was deleted from {folder.space.root}, last 4 min ago: more than" in problem.what
    await folder.clock.advance(limits_module.DELETING_S - 240)
    assert list(folder.limits.problems) == []


def test_a_disk_that_does_not_say_how_full_it_is_is_a_problem_until_it_does(folder: Folder) -> None:
    with folder.disk.failing("usage", code=errno.EIO):
        folder.limits.check()
    (problem,) = folder.limits.problems
    assert "do not hold until that works" in problem.what and problem.do
    folder.configure(most_age_s=3600.0)
    folder.limits.check()
    assert list(folder.limits.problems) == []


def test_limits_that_do_not_hold_are_a_problem_until_the_disk_was_looked_at_again(folder: Folder) -> None:
    folder.configure(check_disk=True)
    with folder.disk.failing("usage", code=errno.EIO):
        for _ in range(100):
            folder.limits.check()
            (problem,) = folder.limits.problems
            assert "do not hold until that works" in problem.what and "dmesg" in problem.do
            asyncio.run(folder.clock.advance(1))
    asyncio.run(folder.clock.advance(limits_module.DISK_CHECK_S))
    folder.limits.check()
    assert list(folder.limits.problems) == []
