"""The disk thread: readings that are appended get to the disk in order, or are dropped and counted."""

from __future__ import annotations

import asyncio
import errno
import threading
from pathlib import Path

import pytest
from viam.proto.app.datasync import SensorData, SensorMetadata

from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import occupied_bytes
from holdfast.storage.capture_files import frames
from holdfast.storage.ledger.counts import ReadingCounts
from holdfast.storage.ledger.ledger import Ledger
from holdfast.storage.writing import disk_writer
from holdfast.storage.writing.disk_writer import Appender, DiskWriter
from tests.fakes import FakeClock, FaultyFileSystem, LateClock

from .. import samples

NEVER_S = 3600.0
LIDAR = (samples.API, "lidar", "Readings")
SMALL = 256 * 1024


def open_lidar(writer: DiskWriter, max_bytes: int = SMALL) -> Appender:
    return writer.open(samples.metadata(), max_bytes)


def append(appender: Appender, count: int, first: int = 0) -> None:
    for message in samples.messages(count, first):
        appender.append(message)


def assert_sum(ledger: Ledger, folder: Path, extension: str = ".capture") -> ReadingCounts:
    """Asserts that every captured reading is in a file or dropped, as the files themselves say."""
    for collector, counts in ledger.readings().items():
        found = [r for r in samples.files_under(folder, extension) if r.parent.parent.name == collector[1]]
        on_disk = sum(len(samples.scan(path.read_bytes()).readings) for path in found)
        assert counts.captured == on_disk + sum(counts.dropped.values())
        assert counts.on_disk == on_disk
    return ledger.readings()[LIDAR]


async def set_in_thread(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 30)


async def test_readings_come_to_the_disk_in_order(writer: DiskWriter, ledger: Ledger, tmp_path: Path) -> None:
    appender = open_lidar(writer)
    for first in range(0, 300, 100):
        append(appender, 100, first)
        await writer.flush()
    await writer.complete()
    assert samples.numbers_under(tmp_path) == list(range(300))
    assert assert_sum(ledger, tmp_path).dropped == {}


async def test_after_a_flush_everything_appended_is_in_the_file(writer: DiskWriter, tmp_path: Path) -> None:
    appender = open_lidar(writer)
    append(appender, 7)
    assert writer.pending_bytes > 0
    await writer.flush()
    assert samples.numbers_under(tmp_path, ".prog") == list(range(7))
    assert writer.pending_bytes == 0


async def test_what_is_written_counts_while_its_file_is_still_in_progress(
    writer: DiskWriter, files: FaultyFileSystem, tmp_path: Path
) -> None:
    def on_disk() -> int:
        return sum(occupied_bytes(path.stat().st_size) for path in tmp_path.rglob("*") if path.is_file())

    appender, other = open_lidar(writer, SMALL), writer.open(samples.metadata("gps"), SMALL)
    for first in range(0, 1000, 250):
        append(appender, 250, first)
        append(other, 1)
        await writer.flush()
        assert writer.written_bytes == on_disk()
    assert not samples.files_under(tmp_path, ".capture") and on_disk() > 8 * 4096
    await writer.complete()
    assert writer.written_bytes == on_disk()
    append(appender, 20_000)
    await writer.complete()
    assert len(samples.files_under(tmp_path, ".capture")) > 4 and writer.written_bytes == on_disk()
    before = writer.written_bytes
    with files.failing("write", code=errno.ENOSPC, on=lambda path: files.tried("write").count(path) > 1):
        for _ in range(3):
            append(appender, 1)
            await writer.flush()
    await writer.complete()
    assert writer.written_bytes == on_disk() == before, "what the disk refused was removed"


async def test_a_collector_without_readings_makes_no_file(writer: DiskWriter, tmp_path: Path) -> None:
    open_lidar(writer)
    await writer.flush()
    await writer.complete()
    assert list(tmp_path.iterdir()) == []


async def test_files_lie_where_the_builtin_puts_them(writer: DiskWriter, tmp_path: Path) -> None:
    append(open_lidar(writer), 1)
    await writer.complete()
    (path,) = samples.files_under(tmp_path, ".capture")
    assert path.parent == tmp_path / "rdk_component_sensor" / "lidar" / "Readings"
    assert samples.scan(path.read_bytes()).metadata == samples.metadata()


async def test_a_file_is_rotated_when_it_is_larger_than_the_maximum(
    writer: DiskWriter, ledger: Ledger, tmp_path: Path
) -> None:
    """The builtin does the same: the reading that exceeds the maximum is the last one of its file."""
    encoder = frames.FrameEncoder(samples.metadata())
    sizes = [len(encoder.encode(message)) for message in samples.messages(100)]
    maximum = 1000
    expected, size = [0], len(encoder.header_frame)
    for frame_bytes in sizes:
        if size > maximum:
            expected.append(0)
            size = len(encoder.header_frame)
        expected[-1] += 1
        size += frame_bytes
    appender = open_lidar(writer, maximum)
    append(appender, 40)
    await writer.flush()
    append(appender, 60, first=40)
    await writer.complete()
    found = [samples.scan(path.read_bytes()) for path in samples.files_under(tmp_path, ".capture")]
    assert [len(file.readings) for file in found] == expected
    assert samples.numbers_under(tmp_path) == list(range(100))
    assert_sum(ledger, tmp_path)


async def test_a_file_of_just_the_maximum_is_not_rotated(writer: DiskWriter, tmp_path: Path) -> None:
    maximum = len(samples.our_file(samples.metadata(), samples.messages(3)))
    appender = open_lidar(writer, maximum)
    append(appender, 3)
    await writer.flush()
    append(appender, 1, first=3)
    await writer.complete()
    assert len(samples.files_under(tmp_path, ".capture")) == 1


async def test_two_collectors_at_the_same_moment_keep_their_readings_apart(
    files: FaultyFileSystem, ledger: Ledger, tmp_path: Path
) -> None:
    """Two collectors that differ in their parameters share a folder; on a clock that stands still, also the
    time."""
    writer = DiskWriter(files, FakeClock(), ledger, str(tmp_path), NEVER_S)
    appenders = [writer.open(samples.metadata(tags=(tag,)), 200) for tag in ("a", "b")]
    for number, appender in enumerate(appenders):
        append(appender, 20, first=100 * number)
    await writer.close()
    by_tag: dict[str, list[int]] = {"a": [], "b": []}
    for path in samples.files_under(tmp_path, ".capture"):
        found = samples.scan(path.read_bytes())
        by_tag[found.metadata.tags[0]] += map(samples.number_of, found.readings)
    assert {tag: sorted(numbers) for tag, numbers in by_tag.items()} == {
        "a": list(range(20)),
        "b": list(range(100, 120)),
    }
    assert_sum(ledger, tmp_path)


class WatchedClock(FakeClock):
    """A clock that notes when the disk thread has read it again."""

    def __init__(self) -> None:
        super().__init__()
        self.looked = threading.Semaphore(0)

    def monotonic(self) -> float:
        if threading.current_thread() is not threading.main_thread():
            self.looked.release()
        return super().monotonic()


async def test_a_reading_waits_for_the_flush_interval_and_no_longer(
    files: FaultyFileSystem, ledger: Ledger, tmp_path: Path
) -> None:
    interval_s = 0.05
    clock = WatchedClock()
    writer = DiskWriter(files, clock, ledger, str(tmp_path), interval_s)
    append(open_lidar(writer), 3)
    for _ in range(6):  # each time the clock is read, the thread has waited at least once
        await asyncio.to_thread(clock.looked.acquire)
    assert samples.files_under(tmp_path, ".prog") == []
    await clock.advance(interval_s)
    for _ in range(1000):
        if samples.files_under(tmp_path, ".prog") and writer.pending_bytes == 0:
            break
        await asyncio.to_thread(clock.looked.acquire, timeout=0.1)
    await writer.complete(())  # the thread has finished what it was doing
    assert samples.numbers_under(tmp_path, ".prog") == [0, 1, 2]
    await writer.close()


async def test_a_thread_that_comes_late_flushes_at_once(
    files: FaultyFileSystem, ledger: Ledger, tmp_path: Path
) -> None:
    writer = DiskWriter(files, LateClock(), ledger, str(tmp_path), 600.0)
    files.stall_writes()
    append(open_lidar(writer), 3)
    await set_in_thread(files.stalled)  # without a call of flush
    files.resume_writes()
    await writer.complete(())
    assert samples.numbers_under(tmp_path, ".prog") == [0, 1, 2]
    await writer.close()


async def test_readings_are_flushed_again_and_again_without_being_told(
    files: FaultyFileSystem, ledger: Ledger, tmp_path: Path
) -> None:
    writer = DiskWriter(files, SystemClock(), ledger, str(tmp_path), 0.01)
    appender = open_lidar(writer)
    for number in range(3):
        files.stall_writes()
        append(appender, 1, number)
        await set_in_thread(files.stalled)  # without a call of flush
        files.resume_writes()
        await writer.complete(())
        assert samples.numbers_under(tmp_path, ".prog") == list(range(number + 1))
    await writer.close()


async def test_many_readings_are_written_before_the_interval_is_over(
    files: FaultyFileSystem, writer: DiskWriter, tmp_path: Path
) -> None:
    appender = open_lidar(writer)
    files.stall_writes()
    big = SensorData(metadata=SensorMetadata(), binary=bytes(300_000)).SerializeToString()
    for _ in range(5):
        appender.append(big)
    await set_in_thread(files.stalled)
    files.resume_writes()


@pytest.mark.parametrize(
    ("code", "reason"), [(errno.ENOSPC, "no_space"), (errno.EIO, "io_error"), (errno.EROFS, "read_only")]
)
@pytest.mark.parametrize("operation", ["make_folder", "create", "write"])
async def test_what_a_failing_disk_refuses_is_counted_and_capture_goes_on(
    files: FaultyFileSystem,
    writer: DiskWriter,
    ledger: Ledger,
    tmp_path: Path,
    code: int,
    reason: str,
    operation: str,
) -> None:
    appender = open_lidar(writer)
    append(appender, 3)
    await writer.flush()
    await writer.complete()
    with files.failing(operation, code=code, partial_bytes=100):
        append(appender, 4, first=3)
        await writer.flush()
        append(appender, 5, first=7)
        await writer.flush()
        assert ledger.readings()[LIDAR].dropped == {reason: 9}
        assert writer.last_error is not None
    append(appender, 3, first=12)
    await writer.complete()
    assert samples.numbers_under(tmp_path) == [0, 1, 2, 12, 13, 14]
    assert_sum(ledger, tmp_path)


@pytest.mark.parametrize("partial_bytes", [0, 1, 30, 70, 200])
async def test_a_write_that_fails_halfway_leaves_no_torn_frame_inside_a_file(
    files: FaultyFileSystem, writer: DiskWriter, ledger: Ledger, tmp_path: Path, partial_bytes: int
) -> None:
    appender = open_lidar(writer)
    append(appender, 3)
    await writer.flush()
    with files.failing("write", code=errno.ENOSPC, partial_bytes=partial_bytes):
        append(appender, 4, first=3)
        await writer.flush()
    append(appender, 3, first=7)
    await writer.complete()
    assert samples.numbers_under(tmp_path) == [0, 1, 2, 7, 8, 9]
    assert assert_sum(ledger, tmp_path).dropped == {"no_space": 4}


async def test_a_torn_frame_that_can_not_be_cut_off_stays_at_the_end_of_its_file(
    files: FaultyFileSystem, writer: DiskWriter, ledger: Ledger, tmp_path: Path
) -> None:
    appender = open_lidar(writer)
    append(appender, 3)
    await writer.flush()
    with files.failing("write", "truncate", code=errno.EIO, partial_bytes=10):
        append(appender, 4, first=3)
        await writer.flush()
    append(appender, 3, first=7)
    await writer.complete()
    found = [samples.scan(path.read_bytes()) for path in samples.files_under(tmp_path, ".capture")]
    assert [[samples.number_of(r) for r in file.readings] for file in found] == [[0, 1, 2], [7, 8, 9]]
    assert [file.torn_bytes for file in found] == [10, 0]
    assert_sum(ledger, tmp_path)


async def test_a_reading_is_never_both_on_disk_and_dropped(
    files: FaultyFileSystem, writer: DiskWriter, ledger: Ledger, tmp_path: Path
) -> None:
    appender = open_lidar(writer)
    append(appender, 3)
    await writer.flush()
    with files.failing("write", "truncate", code=errno.EIO, partial_bytes=200):
        append(appender, 4, first=3)
        await writer.flush()
    await writer.complete()
    assert_sum(ledger, tmp_path)


async def test_one_collectors_bad_folder_does_not_stop_the_others(
    files: FaultyFileSystem, writer: DiskWriter, ledger: Ledger, tmp_path: Path
) -> None:
    lidar, radar = open_lidar(writer), writer.open(samples.metadata("radar"), SMALL)
    with files.failing("create", code=errno.EACCES, on=lambda path: "lidar" in path):
        append(lidar, 3)
        append(radar, 3)
        await writer.flush()
    await writer.complete()
    assert ledger.readings()[LIDAR].dropped == {"no_permission": 3}
    assert samples.numbers_under(tmp_path) == [0, 1, 2]
    assert_sum(ledger, tmp_path)


async def test_a_stalled_disk_fills_the_buffers_and_then_readings_are_dropped_and_counted(
    files: FaultyFileSystem,
    writer: DiskWriter,
    ledger: Ledger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(disk_writer, "MAX_PENDING_BYTES", 10_000)
    appender = open_lidar(writer)
    files.stall_writes()
    append(appender, 1)
    flushed = asyncio.ensure_future(writer.flush())
    await set_in_thread(files.stalled)
    append(appender, 1000, first=1)
    assert writer.pending_bytes <= 10_000
    dropped = ledger.readings()[LIDAR].dropped
    assert set(dropped) == {"disk_too_slow"}
    kept = 1001 - dropped["disk_too_slow"]
    assert kept > 50
    assert caplog.text.count("the disk takes readings too slowly") == 1
    files.resume_writes()
    await flushed
    await writer.flush()
    append(appender, 10, first=2000)
    await writer.complete()
    assert samples.numbers_under(tmp_path) == [*range(kept), *range(2000, 2010)]
    assert_sum(ledger, tmp_path)


async def test_appending_does_not_wait_for_a_stalled_disk(
    files: FaultyFileSystem, writer: DiskWriter, tmp_path: Path
) -> None:
    appender = open_lidar(writer)
    files.stall_writes()
    append(appender, 1)
    flushed = asyncio.ensure_future(writer.flush())
    await set_in_thread(files.stalled)
    append(appender, 100, first=1)  # would never return if it waited: only this thread ends the stall
    assert not flushed.done()
    files.resume_writes()
    await flushed


async def test_close_completes_every_file(files: FaultyFileSystem, ledger: Ledger, tmp_path: Path) -> None:
    writer = DiskWriter(files, SystemClock(), ledger, str(tmp_path), NEVER_S)
    appenders = [writer.open(samples.metadata(f"s{n}"), SMALL) for n in range(5)]
    for appender in appenders:
        append(appender, 10)
    await writer.close()
    await writer.close()
    assert samples.files_under(tmp_path, ".prog") == []
    assert len(samples.files_under(tmp_path, ".capture")) == 5
    assert len(samples.readings_under(tmp_path)) == 50


async def test_after_close_readings_are_dropped_and_counted_and_nothing_hangs(
    files: FaultyFileSystem, ledger: Ledger, tmp_path: Path
) -> None:
    writer = DiskWriter(files, SystemClock(), ledger, str(tmp_path), NEVER_S)
    appender = open_lidar(writer)
    append(appender, 2)
    await writer.close()
    append(appender, 3, first=2)
    await writer.flush()
    await writer.complete()
    await writer.release([appender])
    assert assert_sum(ledger, tmp_path).dropped == {"stopped": 3}


async def test_a_flush_that_meets_the_close_returns(
    files: FaultyFileSystem, ledger: Ledger, tmp_path: Path
) -> None:
    writer = DiskWriter(files, SystemClock(), ledger, str(tmp_path), NEVER_S)
    append(open_lidar(writer), 2)
    files.stall_writes()
    closed = asyncio.ensure_future(writer.close())
    await set_in_thread(files.stalled)
    flushed = asyncio.ensure_future(writer.flush())
    await asyncio.sleep(0)
    files.resume_writes()
    await closed
    await asyncio.wait_for(flushed, 1)


async def test_release_completes_the_files_of_some_and_leaves_the_others(
    writer: DiskWriter, ledger: Ledger, tmp_path: Path
) -> None:
    lidar, radar = open_lidar(writer), writer.open(samples.metadata("radar"), SMALL)
    append(lidar, 3)
    append(radar, 3)
    await writer.flush()
    await writer.release([lidar])
    append(lidar, 2, first=3)
    assert [path.parent.parent.name for path in samples.files_under(tmp_path, ".capture")] == ["lidar"]
    assert [path.parent.parent.name for path in samples.files_under(tmp_path, ".prog")] == ["radar"]
    append(radar, 2, first=3)
    await writer.complete()
    assert assert_sum(ledger, tmp_path).dropped == {"stopped": 2}
    assert len(samples.readings_under(tmp_path)) == 8


async def test_complete_of_some_leaves_the_others_open(writer: DiskWriter, tmp_path: Path) -> None:
    lidar, radar = open_lidar(writer), writer.open(samples.metadata("radar"), SMALL)
    append(lidar, 1)
    append(radar, 1)
    await writer.flush()
    await writer.complete([radar])
    assert [path.parent.parent.name for path in samples.files_under(tmp_path, ".prog")] == ["lidar"]
    append(radar, 1, first=1)
    await writer.complete()
    assert len(samples.files_under(tmp_path, ".capture")) == 3


async def test_the_files_that_are_open_are_known(writer: DiskWriter, tmp_path: Path) -> None:
    append(open_lidar(writer), 1)
    await writer.flush()
    (path,) = samples.files_under(tmp_path, ".prog")
    assert writer.is_open(str(path))
    assert not writer.is_open(str(path) + "x")
    await writer.complete()
    assert not writer.is_open(str(path))


async def test_a_file_that_can_not_be_renamed_is_completed_by_a_later_flush(
    files: FaultyFileSystem, writer: DiskWriter, ledger: Ledger, tmp_path: Path
) -> None:
    append(open_lidar(writer), 3)
    await writer.flush()
    with files.failing("rename", code=errno.EIO):
        await writer.complete()
        assert samples.files_under(tmp_path, ".capture") == []
        assert writer.last_error is not None
        await writer.flush()
    await writer.flush()
    assert samples.numbers_under(tmp_path) == [0, 1, 2]
    assert_sum(ledger, tmp_path)


async def test_a_file_that_is_gone_is_not_completed_again_and_again(
    files: FaultyFileSystem, writer: DiskWriter, tmp_path: Path
) -> None:
    append(open_lidar(writer), 3)
    await writer.flush()
    (path,) = samples.files_under(tmp_path, ".prog")
    path.unlink()
    await writer.complete()
    for _ in range(5):
        await writer.flush()
    assert len(files.tried("rename")) == 1


async def test_close_completes_a_file_that_could_not_be_renamed_before(
    files: FaultyFileSystem, ledger: Ledger, tmp_path: Path
) -> None:
    writer = DiskWriter(files, SystemClock(), ledger, str(tmp_path), NEVER_S)
    append(open_lidar(writer), 3)
    await writer.flush()
    with files.failing("rename", code=errno.EIO):
        await writer.complete()
    await writer.close()
    assert samples.numbers_under(tmp_path) == [0, 1, 2]


async def test_a_cancelled_flush_is_done_all_the_same(
    files: FaultyFileSystem, writer: DiskWriter, tmp_path: Path
) -> None:
    append(open_lidar(writer), 3)
    files.stall_writes()
    flushed = asyncio.ensure_future(writer.flush())
    await set_in_thread(files.stalled)
    flushed.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flushed
    files.resume_writes()
    await writer.flush()
    assert samples.numbers_under(tmp_path, ".prog") == [0, 1, 2]


async def test_the_sum_holds_while_the_disk_comes_and_goes(
    files: FaultyFileSystem, writer: DiskWriter, ledger: Ledger, tmp_path: Path
) -> None:
    appenders = [writer.open(samples.metadata(name), 600) for name in ("lidar", "radar")]
    faults = ["write", "create", "rename", "close", "make_folder"]
    for round_number in range(20):
        for appender in appenders:
            append(appender, 7, first=7 * round_number)
        if round_number % 2:
            operation = faults[round_number // 2 % len(faults)]
            with files.failing(operation, code=errno.EIO, partial_bytes=50):
                await writer.flush()
        else:
            await writer.flush()
    await writer.complete()
    await writer.flush()
    assert samples.files_under(tmp_path, ".prog") == []
    counts = assert_sum(ledger, tmp_path)
    assert counts.captured == 140
    assert 0 < counts.dropped["io_error"] < 140
    numbers = [samples.number_of(r) for r in samples.readings_under(tmp_path / "rdk_component_sensor" / "lidar")]
    assert numbers == sorted(numbers)
