from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.clock import SystemClock
from holdfast.errors import StorageError
from holdfast.filesystem import FileSystem
from holdfast.storage.capture_file import CaptureFile
from holdfast.storage.completion import Completion
from holdfast.storage.frames import FrameEncoder
from holdfast.storage.ledger import Ledger
from holdfast.throttle import Throttle
from tests.fakes import FaultyFileSystem

from . import samples

LIDAR = ("rdk:component:sensor", "lidar", "Readings")
NEVER_S = 3600.0
ENCODER = FrameEncoder(samples.metadata())


class Watched(FaultyFileSystem):
    """Tells when something was synced or renamed, and can hold a sync up."""

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

    def rename(self, source: str, target: str) -> None:
        super().rename(source, target)
        self.renamed.set()


@pytest.fixture
def files() -> Watched:
    return Watched()


def make(files: Watched, interval_s: float) -> Completion:
    clock = SystemClock()
    return Completion(files, clock, Ledger(clock.time_ns()), Throttle(clock, 60), interval_s)


@pytest.fixture
def completion(files: Watched) -> Iterator[Completion]:
    made = make(files, NEVER_S)
    yield made
    files.go_on.set()
    made.stop()


def a_file(files: Watched, folder: Path) -> CaptureFile:
    made = CaptureFile.create(files, str(folder), time.time_ns(), ENCODER.header_frame)
    made.append([ENCODER.encode(samples.message(0))])
    return made


def order(files: Watched) -> list[str]:
    return [name for name, _ in files.calls if name in ("sync", "rename")]


async def test_a_file_gets_its_name_only_after_a_sync(
    files: Watched, completion: Completion, tmp_path: Path
) -> None:
    completion.hand(LIDAR, str(tmp_path), a_file(files, tmp_path))
    await completion.settled()
    assert order(files) == ["sync", "rename"]


async def test_one_sync_serves_all_files_that_are_complete(
    files: Watched, completion: Completion, tmp_path: Path
) -> None:
    files.go_on.clear()
    completion.hand(LIDAR, str(tmp_path), a_file(files, tmp_path))
    assert files.synced.wait(20)
    for _ in range(20):
        completion.hand(LIDAR, str(tmp_path), a_file(files, tmp_path))
    files.go_on.set()
    await completion.settled()
    assert order(files).count("sync") == 2 and order(files).count("rename") == 21


def test_what_was_written_is_synced_within_the_interval_without_being_told(files: Watched, tmp_path: Path) -> None:
    completion = make(files, 0.05)
    completion.wrote(str(tmp_path))
    assert files.synced.wait(20)
    completion.stop()


def test_nothing_is_synced_while_nothing_is_written(files: Watched, tmp_path: Path) -> None:
    completion = make(files, 0.001)
    completion.wrote(str(tmp_path))
    assert files.synced.wait(20)
    completion.stop()
    assert order(files).count("sync") <= 2


async def test_a_sync_that_fails_keeps_no_file_from_its_name_and_is_told(
    files: Watched, completion: Completion, tmp_path: Path
) -> None:
    with files.failing("sync", code=errno.EIO):
        completion.hand(LIDAR, str(tmp_path), a_file(files, tmp_path))
        await completion.settled()
    assert samples.numbers_under(tmp_path) == [0]
    assert "cannot sync" in (completion.last_error or "")


async def test_a_file_on_its_way_to_its_name_is_ours(
    files: Watched, completion: Completion, tmp_path: Path
) -> None:
    files.go_on.clear()
    file = a_file(files, tmp_path)
    completion.hand(LIDAR, str(tmp_path), file)
    assert files.synced.wait(20)
    assert completion.holds(file.path)
    files.go_on.set()
    await completion.settled()
    assert not completion.holds(file.path)


async def test_a_refused_rename_is_tried_again_by_itself(
    files: Watched, completion: Completion, tmp_path: Path
) -> None:
    file = a_file(files, tmp_path)
    with files.failing("rename", code=errno.EIO):
        completion.hand(LIDAR, str(tmp_path), file)
        await completion.settled()
        assert completion.holds(file.path)
    assert files.renamed.wait(20)
    assert samples.numbers_under(tmp_path) == [0]


def test_stop_names_what_was_handed_over(files: Watched, tmp_path: Path) -> None:
    completion = make(files, NEVER_S)
    for _ in range(5):
        completion.hand(LIDAR, str(tmp_path), a_file(files, tmp_path))
    assert completion.stop()
    assert len(samples.files_under(tmp_path, ".capture")) == 5


def test_the_real_sync_takes_a_folder_and_names_one_that_is_not_there(tmp_path: Path) -> None:
    FileSystem().sync(str(tmp_path))
    with pytest.raises(StorageError, match="not-there"):
        FileSystem().sync(str(tmp_path / "not-there"))
