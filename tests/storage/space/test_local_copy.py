"""The local copy of delivered files: it is bounded, and nothing fails because of it."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest

from holdfast.config import CopySettings
from holdfast.storage.space.local_copy import LocalCopy
from tests.fakes import FakeClock, FaultyFileSystem

BLOCK = 4096


class Place:
    def __init__(self, folder: Path) -> None:
        self.capture = folder / "capture"
        self.delivered = folder / "delivered"
        self.disk = FaultyFileSystem()
        self.clock = FakeClock()
        self.made(most_bytes=100 * BLOCK)

    def made(self, **values: Any) -> LocalCopy:
        settings = CopySettings(str(self.delivered), **values)
        self.copy = LocalCopy(self.disk, self.clock, settings)
        return self.copy

    def keep(self, path: Path, content: bytes = b"x") -> bool:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return self.copy.keep(str(path), None, len(content), str(self.capture), [str(self.capture)])

    def kept(self) -> list[str]:
        root = self.delivered / "holdfast"
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_delivered_file_is_found_again_under_the_path_it_had(place: Place, tmp_path: Path) -> None:
    assert place.keep(place.capture / "a" / "b" / "1.capture", b"readings")
    assert place.keep(tmp_path / "logs" / "x.log", b"lines")
    assert place.kept() == ["captured/a/b/1.capture", f"files{tmp_path}/logs/x.log"]
    assert (place.delivered / "holdfast/captured/a/b/1.capture").read_bytes() == b"readings"
    assert not (place.capture / "a" / "b" / "1.capture").exists()
    assert place.delivered.stat().st_mode & 0o077 == 0


def test_two_files_of_one_name_are_both_kept(place: Place) -> None:
    for content in (b"first", b"second"):
        place.keep(place.capture / "x", content)
    assert place.kept() == ["captured/x", "captured/x~2"]


def test_the_oldest_go_when_there_are_too_many(place: Place) -> None:
    place.made(most_bytes=10 * BLOCK)
    for number in range(25):
        place.keep(place.capture / f"{number:02}")
        assert (place.copy.bytes or 0) <= 10 * BLOCK
    left = place.kept()
    assert left == [f"captured/{number:02}" for number in range(25 - len(left), 25)]
    assert 8 <= len(left) <= 10


@pytest.fixture
def aging(place: Place) -> Place:
    """Returns a copy that keeps files for an hour, with one file in it, on the system's clock, by which files
    age."""
    place.clock.step_wall((time.time_ns() - place.clock.time_ns()) / 1e9)
    place.made(most_age_s=3600.0)
    place.keep(place.capture / "x")
    return place


async def test_what_was_delivered_long_ago_goes(aging: Place) -> None:
    await aging.clock.advance(3500)
    aging.copy.tidy()
    assert aging.kept() == ["captured/x"]
    await aging.clock.advance(300)
    aging.copy.tidy()
    assert aging.kept() == []


async def test_a_clock_that_jumps_ahead_makes_nothing_old_before_it_stays_so(aging: Place) -> None:
    aging.clock.step_wall(86_400)
    for _ in range(20):
        await aging.clock.advance(61)
        aging.copy.tidy()
    assert aging.kept() == ["captured/x"]
    aging.clock.step_wall(-86_400)
    aging.copy.tidy()
    await aging.clock.advance(1000)
    aging.copy.tidy()
    assert aging.kept() == ["captured/x"]


def test_making_room_takes_the_oldest_first(place: Place) -> None:
    for number in range(5):
        place.keep(place.capture / str(number))
    assert place.copy.free(2 * BLOCK) == 2 * BLOCK
    assert place.kept() == ["captured/2", "captured/3", "captured/4"]
    assert place.copy.free(100 * BLOCK) == 3 * BLOCK


@pytest.mark.parametrize(("operation", "code"), [("make_folder", errno.EROFS), ("move", errno.ENOSPC)])
def test_what_can_not_be_kept_is_said_and_stays_for_its_owner(place: Place, operation: str, code: int) -> None:
    with place.disk.failing(operation, code=code):
        assert not place.keep(place.capture / "x")
    assert (place.capture / "x").exists()
    assert (place.copy.failed, bool(place.copy.last_error)) == (1, True)


def test_a_link_that_leads_into_a_sync_path_keeps_nothing(place: Place) -> None:
    place.capture.mkdir()
    place.delivered.symlink_to(place.capture)
    assert not place.keep(place.capture / "x")
    assert list(place.capture.iterdir()) == [place.capture / "x"]


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="there is no second file system here")
def test_to_another_file_system_a_file_is_copied_whole_before_it_goes(place: Place, tmp_path: Path) -> None:
    other = Path("/dev/shm") / f"holdfast-test-{os.getpid()}"
    source = tmp_path / "source"
    source.write_bytes(b"content" * 100_000)
    os.utime(source, (5, 5))
    try:
        place.disk.move(str(source), str(other))
        assert other.read_bytes() == b"content" * 100_000
        assert (other.stat().st_mode & 0o077, other.stat().st_mtime) == (source_mode(tmp_path), 5)
        assert not source.exists()
    finally:
        other.unlink(missing_ok=True)


def source_mode(folder: Path) -> int:
    """Returns the access that other users get to a file that is made without care."""
    made = folder / "made"
    made.touch()
    return made.stat().st_mode & 0o077


def test_one_file_that_can_not_be_looked_at_blinds_no_bound(place: Place) -> None:
    place.made(most_bytes=10 * BLOCK)
    place.keep(place.capture / "00")
    bad = place.kept()[0]
    with place.disk.failing("stat", code=errno.EACCES, on=lambda path: path.endswith(bad)):
        for number in range(1, 25):
            place.keep(place.capture / f"{number:02}")
    assert len(place.kept()) <= 11
