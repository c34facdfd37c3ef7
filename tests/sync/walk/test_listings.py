"""Which folders a walk lists, and what it knows of the others."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from holdfast.base.filesystem import Entry, FileSystem
from holdfast.sync.retries import Retries
from holdfast.sync.walk import listings as listings_module
from holdfast.sync.walk import walk
from holdfast.sync.walk.listings import (
    MOST_LISTING,
    MOST_LISTING_TO_SEND,
    RACY_S,
    RELIST_OTHERS_S,
    RELIST_S,
    Listings,
)
from holdfast.sync.walk.order import KeyWindow
from holdfast.sync.walk.walk import Walk

from ..conftest import write_old_file


class HandClock:
    """A clock that only a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self._began_ns = time.time_ns()

    def monotonic(self) -> float:
        return self.now_s

    def time_ns(self) -> int:
        return self._began_ns + int((self.now_s - 1000.0) * 1e9)

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("a walk does not sleep")


class Disk(FileSystem):
    """A disk that notes which folders are listed, and takes `entry_s` for each entry."""

    def __init__(self, clock: HandClock) -> None:
        self.listed: list[str] = []
        self.entry_s = 0.0
        self._clock = clock

    def list_folder(self, path: str, *, with_status: bool = False) -> Iterator[Entry]:
        self.listed.append(os.path.basename(path))
        for entry in super().list_folder(path, with_status=with_status):
            self._clock.now_s += self.entry_s
            yield entry


@dataclass
class Rig:
    root: Path
    min_age_s: float = 0.0
    clock: HandClock = field(default_factory=HandClock)
    listings: Listings = field(default_factory=Listings)

    def __post_init__(self) -> None:
        self.disk = Disk(self.clock)
        self.retries = Retries(self.clock)

    def walk(self) -> Walk:
        """Does one whole walk, and leaves the names that it found in `names`."""
        self.disk.listed.clear()
        walk = self._new_walk()
        self.names = sorted(os.path.basename(found.path) for found in walk)
        return walk

    @property
    def pending(self) -> tuple[int, int]:
        waiting = self.listings.waiting
        assert waiting is not None
        return waiting.files, waiting.bytes

    def settle(self) -> None:
        """Does two walks, after which the folders count as unchanged."""
        for _ in range(2):
            self.walk()
            self.clock.now_s += RACY_S + 1

    def count(self) -> Walk:
        """Does one whole walk that only counts."""
        self.disk.listed.clear()
        walk = self._new_walk()
        for _ in walk.survey():
            pass
        return walk

    def _new_walk(self) -> Walk:
        return Walk(
            self.disk, self.clock, [str(self.root)], self.min_age_s, retries=self.retries, listings=self.listings
        )

    def wait(self, *paths: Path) -> None:
        """Lets the files fail so often that they wait for an hour."""
        for _ in range(20):
            self.retries.note_failure(map(str, paths))


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "root")


def test_a_folder_that_did_not_change_and_in_which_all_waits_is_not_listed_again_and_still_counts(rig: Rig) -> None:
    paths = [write_old_file(rig.root / "a" / "b" / f"{n}.capture", b"xy") for n in range(3)]
    rig.wait(*paths)
    before = rig.walk()
    rig.clock.now_s += RACY_S + 1
    rig.walk()
    rig.clock.now_s += 1
    walk = rig.walk()
    assert rig.disk.listed == [] and rig.names == []
    assert rig.pending == (3, 6)
    assert walk.whole and walk.capture_folders == before.capture_folders == {str(rig.root / "a" / "b")}
    assert walk.has_files(str(rig.root))


def test_empty_folders_are_known_to_be_empty(rig: Rig) -> None:
    (rig.root / "a" / "b").mkdir(parents=True)
    rig.settle()
    walk = rig.walk()
    assert rig.disk.listed == [] and walk.whole and not walk.has_files(str(rig.root))


def test_a_file_that_appears_or_goes_makes_its_folder_and_no_other_listed(rig: Rig) -> None:
    waiting = write_old_file(rig.root / "a" / "1.capture", b"x")
    (rig.root / "b").mkdir()
    rig.wait(waiting)
    rig.settle()
    write_old_file(rig.root / "b" / "new.capture", b"x")
    rig.walk()
    assert rig.disk.listed == ["b"] and rig.names == ["new.capture"]
    waiting.unlink()
    rig.walk()
    assert rig.pending == (1, 1) and sorted(rig.disk.listed) == ["a", "b"]


def test_a_folder_that_was_changed_a_moment_before_it_was_listed_is_listed_again(rig: Rig) -> None:
    (rig.root / "a").mkdir(parents=True)
    rig.walk()
    status = (rig.root / "a").stat()
    write_old_file(rig.root / "a" / "1.capture", b"x")
    os.utime(
        rig.root / "a", ns=(status.st_atime_ns, status.st_mtime_ns)
    )  # as if both changes were within the resolution of its times
    rig.clock.now_s += RACY_S / 2
    rig.walk()
    assert rig.names == ["1.capture"]


def test_a_file_is_found_when_it_has_been_left_alone_for_long_enough(rig: Rig) -> None:
    rig.min_age_s = 100.0
    write_old_file(rig.root / "a.txt", b"x")
    rig.settle()
    assert rig.walk().has_files(str(rig.root)) and rig.disk.listed == []
    rig.clock.now_s += 100
    rig.walk()
    assert rig.names == ["a.txt"]


def test_a_file_is_found_when_its_retry_is_due(rig: Rig) -> None:
    path = write_old_file(rig.root / "a.capture", b"x")
    for _ in range(9):
        wait_s = rig.retries.note_failure([str(path)])
    assert 40 < wait_s < 60
    rig.settle()
    rig.walk()
    assert rig.disk.listed == []
    rig.clock.now_s += wait_s
    rig.walk()
    assert rig.names == ["a.capture"]


@pytest.mark.parametrize("kind", ["empty", "link"])
def test_what_can_become_ready_without_its_folder_changing_is_found(rig: Rig, kind: str) -> None:
    rig.root.mkdir()
    target = rig.root / "a.txt"
    if kind == "link":
        (rig.root / "link.txt").symlink_to(rig.root.parent / "target.txt")
        target = rig.root.parent / "target.txt"
    else:
        target.touch()
    rig.settle()
    target.write_bytes(b"x")
    os.utime(target, (1, 1))
    rig.walk()
    assert rig.names == ["link.txt" if kind == "link" else "a.txt"]


def test_a_file_in_progress_is_seen_by_every_walk(rig: Rig) -> None:
    write_old_file(rig.root / "a.prog", b"x")
    rig.settle()
    assert rig.walk().in_progress.first == [str(rig.root / "a.prog")]


def test_a_folder_is_listed_in_any_case_after_a_while(rig: Rig) -> None:
    (rig.root / "a").mkdir(parents=True)
    rig.settle()
    rig.clock.now_s += RELIST_S
    rig.walk()
    assert rig.disk.listed == ["root", "a"]


def test_listing_a_large_folder_in_which_all_waits_takes_little_of_the_time(rig: Rig) -> None:
    paths = [write_old_file(rig.root / "large" / f"{n}.capture", b"x") for n in range(10)]
    rig.wait(*paths)
    rig.disk.entry_s = 0.5
    rig.walk()
    began_s = rig.clock.now_s
    for number in range(400):  # the folder changes all the time, since a file in it comes and goes
        write_old_file(rig.root / "large" / f"new{number % 2}.prog", b"x")
        walk = rig.walk()
        if "large" in rig.disk.listed:
            break
        assert not walk.whole and rig.pending == (10, 10) and walk.has_files(str(rig.root))
        rig.clock.now_s += 10
    listed_s = rig.clock.now_s - began_s
    assert 5 / listed_s == pytest.approx(MOST_LISTING, rel=0.1)


def test_a_large_folder_with_more_to_send_is_listed_sooner(rig: Rig) -> None:
    for number in range(10):
        write_old_file(rig.root / "large" / f"{number}.capture", b"x")
    rig.disk.entry_s = 0.5
    rig.walk()
    rig.clock.now_s += 5 * (1 / MOST_LISTING_TO_SEND - 1)
    rig.walk()
    assert "large" in rig.disk.listed and len(rig.names) == 10
    rig.listings.note_departed(str(rig.root / "large" / "0.capture"), 10, 10)  # sent
    rig.clock.now_s += 5 * (1 / MOST_LISTING_TO_SEND - 1)
    rig.walk()
    assert "large" not in rig.disk.listed


def test_what_is_remembered_is_bounded_and_the_rest_takes_little_of_the_time(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listings_module, "MAX_FOLDERS", 3)
    for number in range(10):
        (rig.root / str(number)).mkdir(parents=True)
    rig.disk.entry_s = 0.1
    assert rig.walk().whole
    known = [path for path in (rig.root, *rig.root.iterdir()) if rig.listings.knows(str(path))]
    assert len(known) == 3
    rig.clock.now_s += RACY_S + 1
    rig.disk.entry_s = 0.0
    assert not rig.walk().whole, "what is not remembered is left out for a while"
    rig.clock.now_s += 1.0 / MOST_LISTING
    assert rig.walk().whole and len(rig.disk.listed) >= 8


def test_a_walk_that_began_before_everything_was_forgotten_tells_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("a", "b"):
        write_old_file(rig.root / folder / "1.capture", b"x")
    monkeypatch.setattr(walk, "_STEP", 1)
    survey = rig._new_walk().survey()
    for _ in range(3):
        next(survey)
    rig.listings.clear()
    for _ in survey:
        pass
    assert rig.listings.waiting is None, "it has seen a part of the folders only"
    rig.count()
    assert rig.pending == (2, 2)


def test_folders_that_are_gone_are_forgotten(rig: Rig) -> None:
    (rig.root / "a").mkdir(parents=True)
    rig.walk()
    (rig.root / "a").rmdir()
    rig.walk()
    assert rig.listings.knows(str(rig.root)) and not rig.listings.knows(str(rig.root / "a"))


def test_a_further_pass_lists_no_folder_that_was_passed_over(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.wait(write_old_file(rig.root / "quiet" / "1.capture", b"x"))
    rig.settle()
    monkeypatch.setattr(walk, "KeyWindow", partial(KeyWindow, most=2))
    for number in range(9):
        write_old_file(rig.root / "busy" / f"{number}.capture", b"x")
    rig.walk()
    assert len(rig.names) == 9
    assert rig.disk.listed.count("busy") > 2 and "quiet" not in rig.disk.listed


def test_a_configuration_that_changes_forgets_everything(rig: Rig) -> None:
    (rig.root / "a").mkdir(parents=True)
    rig.settle()
    rig.listings.clear()
    rig.walk()
    assert rig.disk.listed == ["root", "a"]


def share_of_listing(rig: Rig, *, folders: int) -> float:
    """Returns the share of the time that listings take while capture writes into all folders."""
    listed_s, began_s = 0.0, rig.clock.now_s
    for number in range(200):
        for folder in range(folders):
            write_old_file(rig.root / str(folder) / f"new{number % 2}.prog", b"x")
        before_s = rig.clock.now_s
        rig.count()
        listed_s += rig.clock.now_s - before_s
        rig.clock.now_s += 10
    return listed_s / (rig.clock.now_s - began_s)


def test_the_folders_of_collectors_together_take_little_of_the_time(rig: Rig) -> None:
    """Each alone costs nothing to speak of; there may be thousands, and capture writes into all of them."""
    for number in range(20):
        write_old_file(rig.root / str(number) / "1.capture", b"x")
    rig.disk.entry_s = 0.03
    assert 0.5 * MOST_LISTING < share_of_listing(rig, folders=20) < 2 * MOST_LISTING


def test_large_folders_share_what_one_may_take(rig: Rig) -> None:
    for folder in range(5):
        for number in range(10):
            write_old_file(rig.root / str(folder) / f"{number}.capture", b"x")
    rig.disk.entry_s = 0.05
    assert 0.5 * MOST_LISTING < share_of_listing(rig, folders=5) < 2 * MOST_LISTING


def test_what_the_folders_of_collectors_cost_holds_up_no_other_folder(rig: Rig) -> None:
    for number in range(100):
        write_old_file(rig.root / str(number) / "1.capture", b"x")
        write_old_file(rig.root / str(number) / "2.prog", b"x")
    (rig.root / "logs").mkdir()
    rig.disk.entry_s = 0.01
    rig.settle()
    write_old_file(rig.root / "logs" / "a.log", b"x")
    rig.clock.now_s += 1
    rig.count()
    assert rig.disk.listed == ["logs"] and rig.pending == (101, 101)


def test_a_walk_that_counts_lists_no_folder_that_did_not_change_though_it_has_files_to_send(rig: Rig) -> None:
    write_old_file(rig.root / "a" / "1.capture", b"xy")
    rig.count()
    rig.clock.now_s += RACY_S + 1
    rig.count()
    rig.clock.now_s += 10
    rig.count()
    assert rig.disk.listed == [] and rig.pending == (1, 2)
    rig.walk()
    assert rig.disk.listed == ["a"] and rig.names == ["1.capture"]


def test_what_a_number_is_as_of_is_the_oldest_look_that_it_relies_on(rig: Rig) -> None:
    def as_of_s() -> float:
        waiting = rig.listings.waiting
        assert waiting is not None
        return waiting.as_of_s

    for number in range(10):
        write_old_file(rig.root / "large" / f"{number}.capture", b"x")
    rig.disk.entry_s = 0.5
    began_s = rig.clock.now_s
    rig.count()
    assert as_of_s() == began_s
    rig.clock.now_s += RACY_S + 1
    write_old_file(rig.root / "large" / "new.capture", b"x")
    rig.count()
    assert rig.pending == (10, 10) and began_s <= as_of_s() < began_s + 1, "it is too early to list it again"
    (rig.root / "large" / "new.capture").unlink()


def test_what_sync_sent_and_capture_completed_since_a_listing_is_counted(rig: Rig) -> None:
    paths = [write_old_file(rig.root / "a" / f"{n}.capture", b"xy") for n in range(3)]
    named_s = rig.clock.now_s - 1
    rig.count()
    rig.listings.note_arrived(str(rig.root / "a" / "0.capture"), 2, 5, named_s)
    assert rig.pending == (3, 6), "the listing has seen it"
    rig.listings.note_departed(str(paths[0]), 1, 2)
    rig.listings.note_arrived(str(rig.root / "a" / "4.capture"), 10, 5, rig.clock.now_s)
    rig.listings.note_arrived(str(rig.root / "b" / "1.capture"), 20, 5, rig.clock.now_s)
    assert rig.pending == (4, 34)
    waiting = rig.listings.waiting
    assert waiting is not None and waiting.oldest_ns == 5
    rig.count()
    assert rig.pending == (3, 6), "what is not there is forgotten with the next look"


def test_what_is_beyond_the_bound_counts_also_while_it_is_not_listed(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listings_module, "MAX_FOLDERS", 3)
    for number in range(10):
        write_old_file(rig.root / str(number) / "1.capture", b"xy")
    rig.disk.entry_s = 0.1
    rig.count()
    rig.clock.now_s += RACY_S + 1
    rig.count()
    assert rig.pending == (10, 20)
    unknown = next(each for each in rig.root.iterdir() if not rig.listings.knows(str(each)))
    rig.listings.note_departed(str(unknown / "1.capture"), 1, 2)
    assert rig.pending == (9, 18)


def test_a_file_of_another_program_that_grows_where_it_is_counts_a_minute_later(rig: Rig) -> None:
    path = write_old_file(rig.root / "a.log", b"x")
    rig.settle()
    path.write_bytes(b"more")
    rig.clock.now_s += RELIST_OTHERS_S
    rig.count()
    assert rig.pending == (1, 4)


def test_a_file_that_is_a_sync_path_and_lies_in_another_counts_once(rig: Rig) -> None:
    path = write_old_file(rig.root / "a.log", b"x")
    walk = Walk(rig.disk, rig.clock, [str(path), str(rig.root)], 0.0, listings=rig.listings)
    assert len(list(walk)) == 1 and rig.pending == (1, 1)


def test_what_is_only_counted_is_not_offered(rig: Rig) -> None:
    write_old_file(rig.root / "a" / "1.capture", b"x")
    other = write_old_file(rig.root.parent / "other" / "2.capture", b"yy")
    walk = Walk(rig.disk, rig.clock, [str(rig.root)], 0.0, listings=rig.listings, only_counted=[str(other.parent)])
    assert [os.path.basename(found.path) for found in walk] == ["1.capture"]
    assert rig.pending == (2, 3)


def test_walks_that_overlap_forget_nothing_that_the_later_one_has_seen(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_old_file(rig.root / "a" / "1.capture", b"x")
    monkeypatch.setattr(walk, "_STEP", 1)
    first = rig._new_walk().survey()
    for _ in range(2):
        next(first)
    write_old_file(rig.root / "b" / "1.capture", b"x")
    rig.count()
    assert rig.pending == (2, 2)
    for _ in first:
        pass
    assert rig.pending == (2, 2)
