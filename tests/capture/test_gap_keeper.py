"""Gaps outlast a restart, and a time in which nothing ran is a gap: once, as long as it was, and only then."""

from __future__ import annotations

import asyncio
import os
import random
import zlib
from pathlib import Path

import pytest

from holdfast.base.filesystem import FileSystem
from holdfast.capture import gap_file
from holdfast.capture.causes import Absence, Cause
from holdfast.capture.gap_book import GapBook
from holdfast.capture.gap_file import Kept, Record
from holdfast.capture.gap_keeper import LOOK_S, RARELY_S, WRITE_S, GapKeeper
from holdfast.capture.gaps import Away, Gap, History
from holdfast.errors import DamagedFileError, NewerStateError
from holdfast.storage.writing.dropped import Drop, Dropped
from tests.fakes import START_NS, FakeClock, FaultyFileSystem

ID = ("rdk:component:sensor", "lidar", "Readings")
NS = 1_000_000_000
NO_SPACE = 28


class Watched:
    """A clock on which it can be seen whether the one who uses it sleeps."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.asleep = asyncio.Event()
        self.time_ns, self.monotonic = clock.time_ns, clock.monotonic

    async def sleep(self, seconds: float) -> None:
        self.asleep.set()
        try:
            await self._clock.sleep(seconds)
        finally:
            self.asleep.clear()


class Life:
    """One life of the module, with one collector at 10 Hz. The clock and the folder outlast it."""

    def __init__(self, clock: FakeClock, folder: Path, files: FileSystem | None = None) -> None:
        self.clock, self.folder = clock, folder
        self.files = files or FileSystem()
        self.book = GapBook(clock)
        self.watched = Watched(clock)
        self.keeper = GapKeeper(self.files, self.watched, self.book)
        self.owned = True
        self.why = Absence.CONFIG
        self.keeper.place(str(folder), lambda: self.owned)

    def starts(self) -> History:
        self.book.explain(lambda collector: self.why)
        return self.book.starts("lidar", ID, 10.0, Dropped())

    async def runs(self, seconds: float) -> None:
        """Lets time pass, and each second the keeper does on a thread what it has to."""
        for _ in range(round(seconds / LOOK_S)):
            await self.clock.advance(LOOK_S)
            await self.settled()

    async def settled(self) -> None:
        """Returns when the keeper has done what is due, however long its thread takes."""
        await self.clock.settle()
        await asyncio.wait_for(self.watched.asleep.wait(), 60.0)

    async def is_killed(self) -> None:
        """SIGKILL: nothing more is written."""
        task = self.keeper._task
        assert task is not None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def history(self) -> History:
        return self.book._histories["lidar"]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def fails(life: Life, seconds: int) -> None:
    """The collector fails each of its calls for that long."""
    history = life.history()
    for _ in range(seconds):
        history.missed(Cause.ERROR, 10, life.clock.monotonic())
        await life.runs(1.0)


async def test_gaps_outlast_a_restart_and_the_time_between_is_one(clock: FakeClock, tmp_path: Path) -> None:
    life = Life(clock, tmp_path)
    life.starts()
    await life.runs(10.0)
    await fails(life, 5)
    life.history().came()
    await life.runs(10.0)
    life.history().stops(Absence.NOT_RUNNING)
    await life.keeper.stop()
    await clock.advance(100.0)
    next_life = Life(clock, tmp_path)
    history = next_life.starts()
    await next_life.runs(5.0)
    failed, down = history.gaps
    assert failed.missing == {"error": 50} and failed.lasts_s == pytest.approx(5.0, abs=0.1)
    assert down.missing == {"not_running": pytest.approx(1000, abs=15)}
    assert down.lasts_s == pytest.approx(100.0, abs=1.5)
    assert down.to_ns is not None and down.to_ns - down.from_ns == pytest.approx(100 * NS, abs=1.5 * NS)
    await next_life.keeper.stop()


async def test_a_kill_costs_the_last_seconds_and_makes_a_gap_as_long_as_it_was(
    clock: FakeClock, tmp_path: Path
) -> None:
    life = Life(clock, tmp_path)
    life.starts()
    await life.runs(30.0)
    await life.is_killed()
    await clock.advance(20.0)
    next_life = Life(clock, tmp_path)
    history = next_life.starts()
    await next_life.runs(5.0)
    (gap,) = history.gaps
    assert 20.0 <= (gap.lasts_s or 0.0) <= 20.0 + LOOK_S + 0.1
    assert set(gap.missing) == {"not_running"}
    await next_life.keeper.stop()


async def test_a_kill_and_a_start_at_once_make_no_gap(clock: FakeClock, tmp_path: Path) -> None:
    for _ in range(5):
        life = Life(clock, tmp_path)
        history = life.starts()
        await life.runs(7.0)
        assert not history.gaps and history.scattered == 0
        await life.is_killed()


async def test_a_gap_that_lasts_when_the_process_is_killed_ends_with_it(clock: FakeClock, tmp_path: Path) -> None:
    life = Life(clock, tmp_path)
    life.starts()
    await life.runs(10.0)
    await fails(life, 20)
    await life.is_killed()
    await clock.advance(50.0)
    next_life = Life(clock, tmp_path)
    history = next_life.starts()
    await next_life.runs(5.0)
    failed, down = history.gaps
    assert failed.to_ns is not None and failed.lasts_s == pytest.approx(20.0, abs=2 * LOOK_S)
    assert failed.missing == {"error": pytest.approx(200, abs=15)}, "of the last seconds that is computed"
    assert set(down.missing) == {"not_running"}
    await next_life.keeper.stop()


async def test_a_pause_goes_on_through_a_restart(clock: FakeClock, tmp_path: Path) -> None:
    life = Life(clock, tmp_path)
    life.starts()
    await life.runs(10.0)
    life.history().stops(Absence.PAUSED)
    life.why = Absence.PAUSED
    await life.runs(10.0)
    await life.is_killed()
    await clock.advance(30.0)
    next_life = Life(clock, tmp_path)
    next_life.why = Absence.PAUSED
    next_life.book.explain(lambda collector: Absence.PAUSED)
    await next_life.runs(10.0)
    (gap,) = next_life.history().lasting()
    assert gap.from_ns == pytest.approx(START_NS + 10 * NS, abs=2 * NS)
    assert gap.missing == {"paused": pytest.approx(200, abs=25), "not_running": pytest.approx(300, abs=25)}
    history = next_life.starts()
    assert [set(gap.missing) for gap in history.gaps] == [{"paused", "not_running"}]
    await next_life.keeper.stop()


async def test_what_the_config_no_longer_wants_after_a_restart_is_no_gap(clock: FakeClock, tmp_path: Path) -> None:
    life = Life(clock, tmp_path)
    life.starts()
    await life.runs(10.0)
    await life.is_killed()
    await clock.advance(1000.0)
    next_life = Life(clock, tmp_path)
    next_life.book.explain(lambda collector: Absence.CONFIG)
    await next_life.runs(10.0)
    assert next_life.book.newest(100) == ([], 0)
    await next_life.keeper.stop()


async def test_a_predecessor_that_ended_after_the_start_leaves_no_gap(clock: FakeClock, tmp_path: Path) -> None:
    """viam-server was killed: the old module captures on for a while, and has the folder until it ends."""
    old = Life(clock, tmp_path)
    old.starts()
    await old.runs(10.0)
    new = Life(clock, tmp_path)
    new.owned = False
    history = new.starts()
    for _ in range(5):
        await old.runs(1.0)
    await old.is_killed()
    new.owned = True
    await new.runs(3.0)
    assert not history.gaps and history.lasting() == []
    await new.keeper.stop()


async def test_after_a_clock_that_was_set_back_the_length_is_not_known(clock: FakeClock, tmp_path: Path) -> None:
    life = Life(clock, tmp_path)
    life.starts()
    await life.runs(10.0)
    await life.is_killed()
    clock.step_wall(-86_400.0)
    await clock.advance(30.0)
    next_life = Life(clock, tmp_path)
    history = next_life.starts()
    await next_life.runs(3.0)
    (gap,) = history.gaps
    assert (set(gap.missing), gap.missed, gap.lasts_s) == ({"not_running"}, None, None)
    await next_life.keeper.stop()


async def test_a_clock_that_is_set_right_after_the_start_is_believed(clock: FakeClock, tmp_path: Path) -> None:
    """A computer without a battery for its clock starts in the past; the folder is ours when the time is known."""
    life = Life(clock, tmp_path)
    life.starts()
    await life.runs(10.0)
    await life.is_killed()
    await clock.advance(100.0)
    clock.step_wall(-1e6)
    next_life = Life(clock, tmp_path)
    next_life.owned = False
    history = next_life.starts()
    await next_life.runs(3.0)
    clock.step_wall(1e6)
    next_life.owned = True
    await next_life.runs(3.0)
    (gap,) = history.gaps
    assert gap.lasts_s == pytest.approx(100.0, abs=2.0)
    await next_life.keeper.stop()


@pytest.mark.parametrize("hz", [10.0, 0.01])
async def test_a_clock_that_is_set_soon_after_the_start_tells_how_long_the_computer_was_off(
    clock: FakeClock, tmp_path: Path, hz: float
) -> None:
    """A computer without a battery for its clock goes on where it stood; 0.01 Hz has no gap until then."""
    life = Life(clock, tmp_path)
    life.book.starts("lidar", ID, hz, Dropped())
    await life.runs(200.0)
    life.history().stops(Absence.NOT_RUNNING)
    await life.keeper.stop()
    off_ns = clock.time_ns()
    await clock.advance(25.0)
    next_life = Life(clock, tmp_path)
    next_life.book.starts("lidar", ID, hz, Dropped())
    history = next_life.history()
    await next_life.runs(10.0)
    assert len(history.gaps) == (1 if hz > 1.0 else 0)
    clock.step_wall(3 * 86_400.0)
    await next_life.runs(60.0)
    for _ in range(2):  # a clock that is set later was not wrong since the start
        (gap,) = history.gaps
        assert gap.lasts_s == pytest.approx(3 * 86_400 + 25, abs=2.0)
        assert gap.missing == {"not_running": pytest.approx((3 * 86_400 + 25) * hz, abs=20)}
        assert gap.from_ns == pytest.approx(off_ns, abs=2 * NS)
        assert gap.to_ns == pytest.approx(off_ns + (3 * 86_400 + 25) * NS, abs=2 * NS)
        await next_life.runs(600.0)
        clock.step_wall(86_400.0)
        await next_life.runs(10.0)
    kept = gap_file.read(FileSystem(), str(tmp_path))
    assert kept is not None and [each.lasts_s for each in kept.records[0].gaps] == [gap.lasts_s]
    await next_life.keeper.stop()


async def test_a_pause_before_the_start_is_longer_by_what_the_clock_was_slow(
    clock: FakeClock, tmp_path: Path
) -> None:
    life = Life(clock, tmp_path)
    life.starts()
    life.why = Absence.PAUSED
    life.history().stops(Absence.PAUSED)
    await life.runs(10.0)
    await life.is_killed()
    await clock.advance(10.0)
    next_life = Life(clock, tmp_path)
    next_life.book.explain(lambda collector: Absence.PAUSED)
    await next_life.runs(10.0)
    clock.step_wall(1000.0)
    await next_life.runs(10.0)
    (gap,) = next_life.history().lasting()
    assert gap.missing == {"paused": pytest.approx(300, abs=25), "not_running": pytest.approx(10_100, abs=25)}
    await next_life.is_killed()
    last_life = Life(clock, tmp_path)
    last_life.book.explain(lambda collector: Absence.PAUSED)
    await last_life.runs(5.0)
    (gap,) = last_life.history().lasting()
    assert gap.lasts_s == pytest.approx(1045.0, abs=5.0)
    await last_life.keeper.stop()


async def test_little_is_written_while_nothing_changes(clock: FakeClock, tmp_path: Path) -> None:
    files = FaultyFileSystem()
    life = Life(clock, tmp_path, files)
    life.starts()
    await life.runs(60.0)
    assert len(files.tried("write")) <= 2
    before = len(files.tried("replace"))
    await fails(life, 300)
    assert 1 <= len(files.tried("replace")) - before <= 300 / RARELY_S + 1, "while a gap lasts"
    life.history().came()
    await life.runs(WRITE_S + 1)
    kept = gap_file.read(FileSystem(), str(tmp_path))
    assert kept is not None and kept.records[0].gaps[0].missing == {"error": 3000}, "its end is written soon"
    await life.keeper.stop()


async def test_little_is_written_of_a_sensor_that_fails_all_the_time_for_a_moment(
    clock: FakeClock, tmp_path: Path
) -> None:
    files = FaultyFileSystem()
    life = Life(clock, tmp_path, files)
    history = life.starts()
    await life.runs(60.0)
    for readings in (1, 20):  # a reading now and then, and then one gap after the other
        before = len(files.tried("replace"))
        for _ in range(100):
            history.missed(Cause.SLOW_CALL, readings, clock.monotonic())
            await life.runs(2.0)
            history.came()
            await life.runs(1.0)
        assert len(files.tried("replace")) - before <= 300 / RARELY_S + 5
    await life.keeper.stop()


async def test_a_disk_that_takes_nothing_is_said_and_is_over_when_it_is(
    clock: FakeClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = FaultyFileSystem()
    life = Life(clock, tmp_path, files)
    history = life.starts()
    with files.failing("write", code=NO_SPACE):
        await life.runs(20.0)
        assert "No space left" in life.keeper.problem
        assert "free space" in life.keeper.problems[0].do
    assert len([r for r in caplog.records if "remembered only until the next restart" in r.message]) == 1
    history.missed(Cause.ERROR, 10, clock.monotonic())
    history.came()
    await life.runs(10.0)
    assert life.keeper.problem == ""
    await life.keeper.stop()
    kept = gap_file.read(FileSystem(), str(tmp_path))
    assert kept is not None and kept.records[0].gaps[0].missing == {"error": 10}


async def test_a_write_that_failed_is_tried_again_and_its_problem_ends(clock: FakeClock, tmp_path: Path) -> None:
    files = FaultyFileSystem()
    life = Life(clock, tmp_path, files)
    life.starts()
    with files.failing("replace", code=NO_SPACE):
        await life.runs(3.0)
        assert life.keeper.problem
    await life.runs(2 * WRITE_S)
    assert life.keeper.problem == "", "although nothing has changed since"
    await life.keeper.stop()


async def test_after_a_write_that_failed_no_restart_invents_a_gap(clock: FakeClock, tmp_path: Path) -> None:
    files = FaultyFileSystem()
    life = Life(clock, tmp_path, files)
    life.starts()
    await life.runs(10.0)
    life.history().stops(Absence.PAUSED)
    life.starts()
    with files.failing("replace", code=NO_SPACE):
        await life.runs(600.0)
        assert life.keeper.problem
        await life.is_killed()
    await clock.advance(2.0)
    next_life = Life(clock, tmp_path)
    history = next_life.starts()
    await next_life.runs(5.0)
    assert sum(gap.lasts_s or 0.0 for gap in history.gaps) < 10.0, "it captured all the time, and said that it did"
    await next_life.keeper.stop()


async def test_a_capture_folder_that_changes_back_costs_no_record(clock: FakeClock, tmp_path: Path) -> None:
    """Neither that of the folder that is used again, nor that of another process in the one that never was ours."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    other = Life(clock, theirs)
    other.starts()
    life = Life(clock, ours)
    life.starts()
    await life.runs(8.0)
    life.owned = False
    life.keeper.place(str(theirs), lambda: False)
    await life.runs(3.0)
    life.owned = True
    life.keeper.place(str(ours), lambda: True)
    life.history().stops(Absence.PAUSED)
    await life.runs(2 * WRITE_S)
    assert gap_file.read(FileSystem(), str(ours)) is not None
    assert gap_file.read(FileSystem(), str(theirs)) is not None
    await life.keeper.stop()
    await other.keeper.stop()


async def test_the_file_in_a_former_folder_goes_although_the_first_write_fails(
    clock: FakeClock, tmp_path: Path
) -> None:
    files = FaultyFileSystem()
    life = Life(clock, tmp_path / "a", files)
    life.starts()
    await life.runs(10.0)
    with files.failing("replace", code=NO_SPACE):
        life.keeper.place(str(tmp_path / "b"), lambda: True)
        life.history().stops(Absence.PAUSED)
        await life.runs(10.0)
    await life.runs(10.0)
    assert gap_file.read(FileSystem(), str(tmp_path / "b")) is not None
    assert gap_file.read(FileSystem(), str(tmp_path / "a")) is None
    await life.keeper.stop()


async def test_a_file_of_a_newer_version_is_neither_used_nor_overwritten(clock: FakeClock, tmp_path: Path) -> None:
    state = tmp_path / ".holdfast"
    state.mkdir(mode=0o700)
    text = b'{"version":2,"of":"tomorrow"}'
    content = b"%08x %b\n" % (zlib.crc32(text), text)
    path = state / "gaps.prog"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(NewerStateError):
        gap_file.read(FileSystem(), str(tmp_path))
    with pytest.raises(NewerStateError):
        gap_file.write(FileSystem(), str(tmp_path), [], 0)
    life = Life(clock, tmp_path)
    life.starts()
    await life.runs(10.0)
    assert "version 2" in life.keeper.problem
    await life.keeper.stop()
    assert path.read_bytes() == content


async def test_a_damaged_file_is_put_aside_and_the_record_starts_anew(
    clock: FakeClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = tmp_path / ".holdfast"
    state.mkdir(mode=0o700)
    (state / "gaps.prog").write_bytes(b"something else")
    (state / "gaps.prog").chmod(0o600)
    life = Life(clock, tmp_path)
    life.starts()
    await life.runs(10.0)
    await life.keeper.stop()
    assert (state / "gaps-damaged.prog").read_bytes() == b"something else"
    assert "starts anew" in caplog.text
    kept = gap_file.read(FileSystem(), str(tmp_path))
    assert kept is not None and [record.key for record in kept.records] == ["lidar"]


async def test_a_capture_folder_that_changes_takes_its_gaps_along(clock: FakeClock, tmp_path: Path) -> None:
    life = Life(clock, tmp_path / "a")
    history = life.starts()
    history.dropped(Drop(900.0, 905.0, 50))
    await life.runs(10.0)
    life.keeper.place(str(tmp_path / "b"), lambda: True)
    await life.runs(10.0)
    await life.keeper.stop()
    kept = gap_file.read(FileSystem(), str(tmp_path / "b"))
    assert kept is not None and kept.records[0].gaps[0].missing == {"disk": 50}
    assert gap_file.read(FileSystem(), str(tmp_path / "a")) is None, "it would tell of a gap without end"


RECORDS = [
    Record(
        f"key {number}",
        ("api", f"sensor {number}", "Readings"),
        0.5,
        number,
        [Gap(5, {"error": 3, "loop": 1}, 9, 4e-9), Gap(20, {"not_running": 0}, 21, None), Gap(30, {"disk": 7})],
        Away(50, Absence.PAUSED, 60, {"paused": 1.5}) if number % 2 else None,
    )
    for number in range(5)
]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    gap_file.write(FileSystem(), str(tmp_path), RECORDS, 12_000_000_000)
    path = tmp_path / ".holdfast" / "gaps.prog"
    assert path.stat().st_mode & 0o777 == 0o600
    kept = gap_file.read(FileSystem(), str(tmp_path))
    assert kept is not None and kept.alive_ns == 12_000_000_000
    assert [vars(each) | {"_line": b""} for each in kept.records] == [
        vars(each) | {"_line": b""} for each in RECORDS
    ]
    gap_file.note_alive(FileSystem(), str(tmp_path), 15_000_000_000)
    again = gap_file.read(FileSystem(), str(tmp_path))
    assert again is not None and again.alive_ns == 15_000_000_000


def test_a_gap_that_lasts_is_read_as_of_when_the_process_was_last_alive(tmp_path: Path) -> None:
    lasts = Record("k", ID, 10.0, 0, [Gap(1 * NS, {"loop": 2, "error": 8}, None, 1.0)], None)
    gap_file.write(FileSystem(), str(tmp_path), [lasts], 2 * NS)
    gap_file.note_alive(FileSystem(), str(tmp_path), 22 * NS)
    kept = gap_file.read(FileSystem(), str(tmp_path))
    assert kept is not None
    (gap,) = kept.records[0].gaps
    assert (gap.to_ns, gap.lasts_s, gap.missing) == (None, 21.0, {"loop": 2, "error": 208})


def test_a_damaged_line_costs_one_collector(tmp_path: Path) -> None:
    gap_file.write(FileSystem(), str(tmp_path), RECORDS, 0)
    path = tmp_path / ".holdfast" / "gaps.prog"
    good, rng = path.read_bytes(), random.Random(1)
    for _ in range(300):
        data = bytearray(good)
        at = rng.randrange(len(data))
        data[at] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        try:
            kept = gap_file.read(FileSystem(), str(tmp_path))
        except DamagedFileError:
            assert at <= good.index(b"\n")
            continue
        assert kept is not None and len(kept.records) >= len(RECORDS) - 2
        assert {record.key for record in kept.records} <= {record.key for record in RECORDS}


@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        b"[]",
        b'{"key":1,"collector":["a"],"hz":1,"scattered":0,"gaps":[],"away":null}',
        b'{"key":"k","collector":["a","b","c"],"hz":"x","scattered":0,"gaps":[],"away":null}',
        b'{"key":"k","collector":["a","b","c"],"hz":1,"scattered":0,"gaps":[1],"away":null}',
        b'{"key":"k","collector":["a","b","c"],"hz":1,"scattered":0,"gaps":[],"away":{"cause":"x"}}',
        b'{"key":"k","collector":["a","b","c"],"hz":1,"scattered":1e999,"gaps":[],"away":null}',
        b'{"key":"k","collector":["a","b","c"],"hz":1e999,"scattered":1,"gaps":[],"away":null}',
        b'{"key":"k","collector":["a","b","c"],"hz":0,"scattered":1,"gaps":[],"away":null}',
    ],
)
def test_a_line_with_a_good_check_that_makes_no_sense_is_left_out(tmp_path: Path, text: bytes) -> None:
    gap_file.write(FileSystem(), str(tmp_path), RECORDS[:1], 0)
    path = tmp_path / ".holdfast" / "gaps.prog"
    path.write_bytes(path.read_bytes() + b"%08x %b\n" % (zlib.crc32(text), text))
    kept = gap_file.read(FileSystem(), str(tmp_path))
    assert kept is not None and [record.key for record in kept.records] == ["key 0"]


def test_what_another_user_may_have_written_is_not_read(tmp_path: Path) -> None:
    gap_file.write(FileSystem(), str(tmp_path), RECORDS, 0)
    path = tmp_path / ".holdfast" / "gaps.prog"
    os.link(path, tmp_path / "second-name")
    with pytest.raises(Exception, match="second name"):
        gap_file.read(FileSystem(), str(tmp_path))


async def test_gaps_of_the_process_come_after_those_that_were_kept(clock: FakeClock) -> None:
    book = GapBook(clock)
    history = book.starts("lidar", ID, 10.0, Dropped())
    await clock.advance(1.0)
    history.missed(Cause.ERROR, 20, clock.monotonic())
    history.came()
    kept = Record("lidar", ID, 10.0, 3, [Gap(1, {"error": 10}, 2, 1.0)], None)
    book.adopt(Kept([kept], START_NS - 10 * NS))
    assert [list(gap.missing) for gap in history.gaps] == [["error"], ["not_running"], ["error"]]
    assert history.scattered == 3
