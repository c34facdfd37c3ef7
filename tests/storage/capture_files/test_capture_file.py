"""A capture file holds whole frames only, is private to the user, and is called `.capture` when it is complete."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.errors import StorageError
from holdfast.storage.capture_files.capture_file import CaptureFile
from holdfast.storage.capture_files.frames import FrameEncoder
from tests.fakes import FaultyFileSystem

from .. import samples

ENCODER = FrameEncoder(samples.metadata())


@pytest.fixture
def files() -> FaultyFileSystem:
    return FaultyFileSystem()


def create(files: FaultyFileSystem, folder: Path) -> CaptureFile:
    return CaptureFile.create(files, str(folder), samples.START_NS, ENCODER.header_frame)


def frames(first: int, count: int) -> list[bytes]:
    return [ENCODER.encode(message) for message in samples.messages(count, first)]


def test_readings_keep_their_order(files: FaultyFileSystem, tmp_path: Path) -> None:
    file = create(files, tmp_path)
    file.append(frames(0, 3))
    file.append(frames(3, 1))
    file.append(frames(4, 5))
    final = file.complete()
    assert final is not None
    found = samples.scan(Path(final).read_bytes())
    assert found.metadata == samples.metadata()
    assert found.readings == samples.messages(9)
    assert file.readings == 9
    assert file.size_bytes == os.path.getsize(final)


def test_a_file_is_in_progress_until_it_is_complete(files: FaultyFileSystem, tmp_path: Path) -> None:
    file = create(files, tmp_path)
    file.append(frames(0, 1))
    assert [path.suffix for path in tmp_path.iterdir()] == [".prog"]
    assert samples.numbers_under(tmp_path, ".prog") == [0]
    final = file.complete()
    assert [str(path) for path in tmp_path.iterdir()] == [final]
    assert final is not None
    assert final == file.path.removesuffix(".prog") + ".capture"


def test_a_file_without_readings_leaves_nothing(files: FaultyFileSystem, tmp_path: Path) -> None:
    assert create(files, tmp_path).complete() is None
    assert list(tmp_path.iterdir()) == []


def test_a_file_and_its_folder_are_private_to_the_user(files: FaultyFileSystem, tmp_path: Path) -> None:
    folder = tmp_path / "capture" / "api" / "lidar"
    mask = os.umask(0)
    try:
        file = create(files, folder)
        file.append(frames(0, 1))
        final = file.complete()
    finally:
        os.umask(mask)
    assert final is not None
    assert stat.S_IMODE(os.stat(final).st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_folders_above_a_capture_file_are_private_too(files: FaultyFileSystem, tmp_path: Path) -> None:
    folder = tmp_path / "capture" / "api" / "lidar"
    create(files, folder)
    for made in (folder.parent, folder.parent.parent):
        assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_files_of_one_moment_have_names_of_their_own(files: FaultyFileSystem, tmp_path: Path) -> None:
    made = [create(files, tmp_path) for _ in range(3)]
    for number, file in enumerate(made):
        file.append(frames(number, 1))
    assert len({file.path for file in made}) == 3
    finals = [file.complete() for file in made]
    assert len(set(finals)) == 3
    assert samples.numbers_under(tmp_path) == [0, 1, 2]


def test_a_complete_file_of_the_same_moment_is_not_replaced(files: FaultyFileSystem, tmp_path: Path) -> None:
    for number in range(3):
        file = create(files, tmp_path)
        file.append(frames(number, 1))
        file.complete()
    assert samples.numbers_under(tmp_path) == [0, 1, 2]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("partial_bytes", [0, 1, 50, 150])
def test_a_failed_write_leaves_no_part_of_itself(
    files: FaultyFileSystem, tmp_path: Path, code: int, partial_bytes: int
) -> None:
    file = create(files, tmp_path)
    file.append(frames(0, 2))
    with files.failing("write", code=code, partial_bytes=partial_bytes), pytest.raises(StorageError):
        file.append(frames(2, 3))
    file.append(frames(5, 2))
    file.complete()
    assert samples.numbers_under(tmp_path) == [0, 1, 5, 6]
    assert file.readings == 4


def test_a_file_whose_header_can_not_be_written_is_not_left_behind(files: FaultyFileSystem, tmp_path: Path) -> None:
    with files.failing("write", code=errno.ENOSPC, partial_bytes=10), pytest.raises(StorageError):
        create(files, tmp_path)
    assert list(tmp_path.iterdir()) == []


def open_paths() -> list[str]:
    paths = []
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            paths.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    return paths


def test_a_descriptor_is_not_leaked_by_a_failure(files: FaultyFileSystem, tmp_path: Path) -> None:
    for _ in range(20):
        with files.failing("write", code=errno.ENOSPC), pytest.raises(StorageError):
            create(files, tmp_path)
        file = create(files, tmp_path)
        file.append(frames(0, 1))
        with files.failing("rename", code=errno.EIO), pytest.raises(StorageError):
            file.complete()
    assert [path for path in open_paths() if path.startswith(str(tmp_path))] == []


@pytest.mark.parametrize("operation", ["close", "rename"])
def test_completing_may_be_tried_again(files: FaultyFileSystem, tmp_path: Path, operation: str) -> None:
    file = create(files, tmp_path)
    file.append(frames(0, 2))
    with files.failing(operation, code=errno.EIO), pytest.raises(StorageError):
        file.complete()
    assert samples.files_under(tmp_path, ".capture") == []
    file.complete()
    assert samples.numbers_under(tmp_path) == [0, 1]


def test_a_folder_that_can_not_be_made_is_an_error_that_names_it(files: FaultyFileSystem, tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")
    with pytest.raises(StorageError, match="a file"):
        create(files, tmp_path / "a file" / "lidar")


def test_a_failed_write_that_can_not_be_cut_off_costs_the_tail_alone(
    files: FaultyFileSystem, tmp_path: Path
) -> None:
    file = create(files, tmp_path)
    file.append(frames(0, 2))
    with (
        files.failing("write", "truncate", code=errno.EIO, partial_bytes=10),
        pytest.raises(StorageError),
    ):
        file.append(frames(2, 3))
    final = file.complete()
    assert final is not None
    found = samples.scan(Path(final).read_bytes())
    assert [samples.number_of(reading) for reading in found.readings] == [0, 1]
    assert found.torn_bytes == 10


def test_the_reason_of_a_failed_write_is_the_writes_own(files: FaultyFileSystem, tmp_path: Path) -> None:
    file = create(files, tmp_path)
    file.append(frames(0, 1))
    with (
        files.failing("write", code=errno.ENOSPC),
        files.failing("truncate", code=errno.EIO),
        pytest.raises(StorageError) as caught,
    ):
        file.append(frames(1, 1))
    assert caught.value.reason == "no_space"


def test_after_a_torn_frame_that_stayed_nothing_good_is_lost(files: FaultyFileSystem, tmp_path: Path) -> None:
    file = create(files, tmp_path)
    file.append(frames(0, 2))
    with files.failing("write", "truncate", code=errno.EIO, partial_bytes=10), pytest.raises(StorageError):
        file.append(frames(2, 1))
    kept = [0, 1]
    for number in (3, 4):
        try:
            file.append(frames(number, 1))
            kept.append(number)
        except StorageError:
            pass
    with files.failing("write", code=errno.EIO), pytest.raises(StorageError):
        file.append(frames(5, 1))
    final = file.complete()
    assert final is not None
    found = samples.scan(Path(final).read_bytes())
    assert [samples.number_of(reading) for reading in found.readings] == kept


def test_a_file_where_a_folder_should_be_is_an_error_that_names_it(files: FaultyFileSystem, tmp_path: Path) -> None:
    (tmp_path / "capture").write_text("x")
    with pytest.raises(StorageError, match="capture"):
        create(files, tmp_path / "capture")


def test_a_final_name_that_was_taken_meanwhile_is_not_taken_over(files: FaultyFileSystem, tmp_path: Path) -> None:
    first = create(files, tmp_path)
    first.append(frames(0, 1))
    taken = Path(first.path.removesuffix(".prog") + ".capture")
    taken.write_bytes(samples.our_file(samples.metadata(), samples.messages(1, first=7)))
    assert first.complete() != str(taken)
    assert sorted(samples.numbers_under(tmp_path)) == [0, 7]
