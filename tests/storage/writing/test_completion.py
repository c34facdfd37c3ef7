from __future__ import annotations

import asyncio
import errno
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.base.at import Identity
from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.errors import StorageError
from holdfast.storage import layout
from holdfast.storage.capture_files.capture_file import CaptureFile
from holdfast.storage.capture_files.frames import FrameEncoder
from holdfast.storage.ledger.counts import ReadingCounts
from holdfast.storage.ledger.ledger import Ledger
from holdfast.storage.recovery import Recovery
from holdfast.storage.writing.completion import Completion
from tests.fakes import FaultyFileSystem
from tests.waiting import eventually

from .. import samples

JOIN_S = 20.0

LIDAR = ("rdk:component:sensor", "lidar", "Readings")
NEVER_S = 3600.0
ENCODER = FrameEncoder(samples.metadata())


class Watched(FaultyFileSystem):
    """A file system that notes syncs and renames, and can hold up a sync."""

    def __init__(self) -> None:
        super().__init__()
        self.synced = threading.Event()
        self.renamed = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def sync(self, folder: str) -> None:
        self.synced.set()
        self.go_on.wait(20)
        super().sync(folder)

    def rename(self, source: str, target: str, identity: Identity | None = None) -> None:
        super().rename(source, target, identity)
        self.renamed.set()


@pytest.fixture
def files() -> Watched:
    return Watched()


def make(files: Watched, folder: Path, interval_s: float) -> Completion:
    clock = SystemClock()
    ledger = Ledger(files, str(folder))
    return Completion(files, clock, ledger, str(folder), interval_s)


@pytest.fixture
def completion(files: Watched, tmp_path: Path) -> Iterator[Completion]:
    made = make(files, tmp_path, NEVER_S)
    yield made
    files.go_on.set()
    made.stop(JOIN_S)


def a_file(files: Watched, folder: Path) -> CaptureFile:
    made = CaptureFile.create(files, str(folder), time.time_ns(), ENCODER.header_frame)
    made.append([ENCODER.encode(samples.message(0))])
    return made


def order(files: Watched) -> list[str]:
    return [name for name, _ in files.calls if name in ("sync", "rename")]


async def test_a_file_gets_its_name_only_after_a_sync(
    files: Watched, completion: Completion, tmp_path: Path
) -> None:
    completion.hand(LIDAR, a_file(files, tmp_path))
    await completion.settled()
    assert order(files) == ["sync", "rename"]


async def test_who_asks_hears_once_of_each_file_that_got_its_name(
    files: Watched, completion: Completion, tmp_path: Path
) -> None:
    completion.hand(LIDAR, a_file(files, tmp_path))
    assert completion.just_completed.take() == []
    await completion.settled()
    completed = [(file.path, file.size_bytes) for file in completion.just_completed.take()]
    assert completed == [(str(path), path.stat().st_size) for path in tmp_path.glob("*.capture")]
    assert completion.just_completed.take() == []


async def test_one_sync_serves_all_files_that_are_complete(
    files: Watched, completion: Completion, tmp_path: Path
) -> None:
    files.go_on.clear()
    completion.hand(LIDAR, a_file(files, tmp_path))
    first = asyncio.ensure_future(completion.settled())
    assert await asyncio.to_thread(files.synced.wait, 20)
    for _ in range(20):
        completion.hand(LIDAR, a_file(files, tmp_path))
    files.go_on.set()
    await asyncio.gather(first, completion.settled())
    assert order(files).count("sync") == 2 and order(files).count("rename") == 21


def test_what_was_written_is_synced_within_the_interval_without_being_told(files: Watched, tmp_path: Path) -> None:
    completion = make(files, tmp_path, 0.05)
    completion.wrote()
    assert files.synced.wait(20)
    completion.stop(JOIN_S)


async def test_who_waits_for_no_file_waits_for_no_sync(files: Watched, completion: Completion) -> None:
    files.go_on.clear()
    completion.wrote()
    await asyncio.wait_for(completion.settled(), 20)
    assert not files.synced.is_set(), "the interval is not over"


def test_nothing_is_synced_while_nothing_is_written(files: Watched, tmp_path: Path) -> None:
    completion = make(files, tmp_path, 0.001)
    completion.wrote()
    assert files.synced.wait(20)
    completion.stop(JOIN_S)
    assert order(files).count("sync") <= 2


async def test_a_sync_that_fails_keeps_no_file_from_its_name_and_is_told(
    files: Watched, completion: Completion, tmp_path: Path
) -> None:
    with files.failing("sync", code=errno.EIO):
        completion.hand(LIDAR, a_file(files, tmp_path))
        await completion.settled()
    assert samples.numbers_under(tmp_path) == [0]
    assert "cannot sync" in (completion.last_error or "")


@pytest.mark.parametrize("count", [1, 64])
def test_a_file_that_is_handed_over_gets_its_name_without_being_told(
    count: int, files: Watched, tmp_path: Path
) -> None:
    """They are completed within the interval; many of them do not wait for it."""
    completion = make(files, tmp_path, 0.05 if count == 1 else NEVER_S)
    for _ in range(count):
        completion.hand(LIDAR, a_file(files, tmp_path))
    assert files.renamed.wait(20)
    completion.stop(JOIN_S)


async def test_a_file_on_its_way_to_its_name_is_ours(
    files: Watched, completion: Completion, tmp_path: Path
) -> None:
    files.go_on.clear()
    file = a_file(files, tmp_path)
    completion.hand(LIDAR, file)
    assert completion.holds(file.path)
    settled = asyncio.ensure_future(completion.settled())
    assert await asyncio.to_thread(files.synced.wait, 20)
    assert completion.holds(file.path)
    files.go_on.set()
    await settled
    assert not completion.holds(file.path)


async def test_a_refused_rename_is_tried_again_by_itself(
    files: Watched, completion: Completion, tmp_path: Path
) -> None:
    file = a_file(files, tmp_path)
    with files.failing("rename", code=errno.EIO):
        completion.hand(LIDAR, file)
        await completion.settled()
        assert completion.holds(file.path)
    assert files.renamed.wait(20)
    assert samples.numbers_under(tmp_path) == [0]


def test_stop_names_what_was_handed_over(files: Watched, tmp_path: Path) -> None:
    completion = make(files, tmp_path, NEVER_S)
    for _ in range(5):
        completion.hand(LIDAR, a_file(files, tmp_path))
    assert completion.stop(JOIN_S)
    assert len(samples.files_under(tmp_path, ".capture")) == 5


def test_the_real_sync_takes_a_folder_and_names_one_that_is_not_there(tmp_path: Path) -> None:
    FileSystem().sync(str(tmp_path))
    with pytest.raises(StorageError, match="not-there"):
        FileSystem().sync(str(tmp_path / "not-there"))


class TestCounting:
    """A file's readings are in the journal before its final name: a kill between the two counts them once."""

    @pytest.fixture
    def ledger(self, files: Watched, tmp_path: Path) -> Ledger:
        ledger = Ledger(files, str(tmp_path))
        ledger.attach(lambda: None)
        return ledger

    @pytest.fixture
    def completion(self, files: Watched, ledger: Ledger, tmp_path: Path) -> Iterator[Completion]:
        clock = SystemClock()
        made = Completion(files, clock, ledger, str(tmp_path), NEVER_S)
        files.calls.clear()
        yield made
        files.go_on.set()
        made.stop(JOIN_S)

    def knows(self, folder: Path, path: str) -> bool:
        """Whether the next process would know that the file at `path` is counted."""
        (folder / "killed").mkdir(exist_ok=True)
        state = folder / "killed" / ".holdfast"
        shutil.rmtree(state, ignore_errors=True)
        shutil.copytree(folder / ".holdfast", state)
        was_there = os.path.exists(path)
        Path(path).touch()
        later = Ledger(FileSystem(), str(folder / "killed"))
        later.attach(lambda: None)
        before = later.readings()[LIDAR].captured
        later.count_recovered(LIDAR, path, 1, 0, ours=True)
        if not was_there:
            os.unlink(path)
        return later.readings()[LIDAR].captured == before

    async def test_they_are_counted_and_synced_before_the_name(
        self, files: Watched, ledger: Ledger, completion: Completion, tmp_path: Path
    ) -> None:
        file = a_file(files, tmp_path)
        ledger.count_captured(LIDAR)
        files.calls.clear()
        completion.hand(LIDAR, file)
        await completion.settled()
        steps = [(name, path) for name, path in files.calls if name in ("write", "sync", "rename")]
        assert steps == [
            ("write", layout.state_path(str(tmp_path), "ledger")),
            ("sync", str(tmp_path)),
            ("rename", file.path),
        ]
        assert (ledger.readings()[LIDAR].captured, ledger.readings()[LIDAR].unfinished) == (1, 0)

    async def test_the_file_is_known_until_its_name_is_safe(
        self, files: Watched, ledger: Ledger, completion: Completion, tmp_path: Path
    ) -> None:
        file = a_file(files, tmp_path)
        ledger.count_captured(LIDAR)
        completion.hand(LIDAR, file)
        await completion.settled()
        await completion.settled()
        assert self.knows(tmp_path, file.path), "a power cut may undo the rename"
        completion.hand(LIDAR, a_file(files, tmp_path))
        await completion.settled()
        ledger.save()
        assert not self.knows(tmp_path, file.path), "another file may get that name"

    async def test_a_file_that_is_tried_again_is_counted_once(
        self, files: Watched, ledger: Ledger, completion: Completion, tmp_path: Path
    ) -> None:
        ledger.count_captured(LIDAR)
        completion.hand(LIDAR, a_file(files, tmp_path))
        with files.failing("rename", code=errno.EIO):
            for _ in range(3):
                await completion.settled()
            assert completion.collectors() == {LIDAR}
        await completion.settled()
        assert completion.collectors() == set()
        assert ledger.readings()[LIDAR] == ReadingCounts(captured=1)
        assert ledger.readings()[LIDAR].unfinished == 0

    async def test_a_file_that_recovery_counted_is_not_counted_again(
        self, files: Watched, ledger: Ledger, completion: Completion, tmp_path: Path
    ) -> None:
        file = a_file(files, tmp_path)
        ledger.count_recovered(LIDAR, file.path, 1, 0, ours=True)
        completion.hand(LIDAR, file, counted=True)
        await completion.settled()
        assert ledger.readings()[LIDAR] == ReadingCounts(captured=1)
        assert ledger.readings()[LIDAR].unfinished == 0

    async def test_a_file_that_somebody_removed_has_vanished(
        self, files: Watched, ledger: Ledger, completion: Completion, tmp_path: Path
    ) -> None:
        file = a_file(files, tmp_path)
        ledger.count_captured(LIDAR)
        os.unlink(file.path)
        completion.hand(LIDAR, file)
        await completion.settled()
        assert ledger.readings()[LIDAR] == ReadingCounts(captured=1, vanished=1)
        assert completion.collectors() == set(), "it is not tried again"

    async def test_a_file_of_the_builtin_that_somebody_removed_hides_no_other(
        self, files: Watched, ledger: Ledger, completion: Completion, tmp_path: Path
    ) -> None:
        ledger.count_captured(LIDAR)
        completion.hand(LIDAR, a_file(files, tmp_path))
        await completion.settled()
        path = tmp_path / "2023-11-14T22_13_20.123456Z.prog"
        path.write_bytes(samples.builtin_file(samples.metadata(), samples.messages(5)))
        os.utime(path, (1, 1))
        (left,) = Recovery(files, SystemClock(), ledger, str(tmp_path), lambda path: False)
        path.unlink()
        completion.hand(left.collector, left, counted=True, ours=left.ours)
        await completion.settled()
        assert ledger.readings()[LIDAR] == ReadingCounts(captured=1, adopted=5, vanished=5)


async def test_a_sync_that_failed_in_a_way_that_nobody_foresaw_is_made_again(
    files: Watched, completion: Completion, tmp_path: Path
) -> None:
    left = [MemoryError()]

    def sync(folder: str) -> None:
        if left:
            raise left.pop()
        files.synced.set()

    files.sync = sync  # type: ignore[method-assign]
    completion.configure(0.01)
    completion.wrote()
    assert await asyncio.to_thread(files.synced.wait, JOIN_S)


async def test_a_sync_that_failed_is_a_problem_until_one_succeeds_though_nothing_is_written_any_more(
    files: Watched, tmp_path: Path
) -> None:
    completion = make(files, tmp_path, 0.05)
    with files.failing("sync", code=errno.EIO):
        completion.wrote()
        await eventually(lambda: list(completion.problems))
    await eventually(lambda: not list(completion.problems))
    assert completion.stop(JOIN_S)


async def test_a_file_that_the_disk_refuses_to_name_is_one_problem_while_it_is_tried_again(
    files: Watched, tmp_path: Path
) -> None:
    completion = make(files, tmp_path, NEVER_S)
    with files.failing("rename", code=errno.EIO):
        completion.hand(LIDAR, a_file(files, tmp_path))
        await completion.settled()
        files.go_on.clear()
        files.synced.clear()
        again = asyncio.create_task(completion.settled())
        assert await asyncio.to_thread(files.synced.wait, JOIN_S)
        assert [problem.cost for problem in completion.problems] == ["1 file waiting"]
        files.go_on.set()
        await again
    await completion.settled()
    assert list(completion.problems) == []
    assert completion.stop(JOIN_S)
