"""The limit of a quarantine in memory: the oldest files are deleted first, and every reading is counted."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from holdfast.storage import layout
from holdfast.storage.ledger.counts import FileCounts, ReadingCounts
from holdfast.storage.quarantine.limit import MOST_LISTING, QuarantineLimit
from holdfast.storage.quarantine.quarantine import quarantine
from holdfast.storage.quarantine.sidecar import QuarantinedReadings
from tests.fakes import FakeClock, FaultyFileSystem

from ..ledgers import LIDAR, capture, open_ledger
from ..samples import messages, metadata, our_file

BLOCK = 4096
FILE = 2 * BLOCK
"""The space that a small file and its sidecar take."""
READINGS = 3


class Folder:
    """A capture folder whose files are moved into quarantine one after the other."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = FakeClock()
        self.disk = FaultyFileSystem()
        self.ledger = open_ledger(root, self.disk)
        self.limit = QuarantineLimit(self.disk, self.clock, self.ledger, lambda: str(root))
        self._newest_ns = 0

    def fail(self, name: str, *, adopted: bool = False) -> Path:
        """Quarantines a capture file of that name, and returns its new path."""
        path = self.root / "rdk_component_sensor" / "lidar" / "Readings" / f"{name}.capture"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(our_file(metadata(), messages(READINGS)))
        if not adopted:
            capture(self.ledger, READINGS)
        held = QuarantinedReadings(LIDAR, READINGS, not adopted)
        return self._later(quarantine(self.disk, self.ledger, str(self.root), str(path), "refused", held=held))

    def fail_arbitrary(self, name: str) -> Path:
        path = self.root / name
        path.write_bytes(b"x")
        return self._later(quarantine(self.disk, self.ledger, str(self.root), str(path), "refused"))

    def _later(self, failed: str) -> Path:
        """Waits until the time of the file system shows that the file came into quarantine after all others."""
        while os.stat(failed).st_ctime_ns <= self._newest_ns:
            os.chmod(failed, 0o600)
        self._newest_ns = os.stat(failed).st_ctime_ns
        return Path(failed)

    @property
    def counts(self) -> ReadingCounts:
        return self.ledger.readings()[LIDAR]

    @property
    def left(self) -> list[str]:
        return sorted(path.name for path in self.root.rglob("failed/**/*") if path.is_file())


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_what_fits_stays(folder: Folder) -> None:
    kept = [folder.fail("b"), folder.fail("a")]
    folder.limit.check(2 * FILE)
    assert all(path.exists() for path in kept)
    assert (folder.limit.bytes, folder.counts.quarantined, folder.counts.deleted) == (2 * FILE, 2 * READINGS, 0)


def test_the_oldest_go_with_their_sidecars_and_count_as_deleted(folder: Folder) -> None:
    for name in ("d", "c", "b", "a"):
        folder.fail(name)
    folder.limit.check(2 * FILE)
    assert folder.left == ["a.capture", "a.capture.cause.json", "b.capture", "b.capture.cause.json"]
    assert folder.limit.bytes == 2 * FILE
    counts = folder.counts
    assert (counts.quarantined, counts.deleted, counts.dropped) == (2 * READINGS, 2 * READINGS, {})
    assert counts.on_disk == 0


def test_many_more_than_fit_go_at_once(folder: Folder) -> None:
    for number in range(100):
        folder.fail(f"{number:03}")
    folder.limit.check(FILE)
    assert folder.left == ["099.capture", "099.capture.cause.json"]
    assert (folder.counts.quarantined, folder.counts.deleted) == (READINGS, 99 * READINGS)


def test_what_was_adopted_is_counted_too_and_the_sum_holds(folder: Folder) -> None:
    folder.fail("a", adopted=True)
    folder.limit.check(0)
    counts = folder.counts
    assert (counts.adopted, counts.deleted, counts.quarantined, counts.on_disk) == (READINGS, READINGS, 0, 0)


def test_arbitrary_files_go_too_and_count_as_discarded(folder: Folder) -> None:
    folder.fail_arbitrary("note.txt")
    folder.limit.check(0)
    assert folder.left == []
    assert folder.ledger.files == FileCounts(discarded=1)


def test_the_counts_are_the_same_for_the_next_process(folder: Folder) -> None:
    folder.fail("a")
    folder.limit.check(0)
    folder.ledger.close()
    again = open_ledger(folder.root).readings()[LIDAR]
    assert (again.captured, again.deleted, again.quarantined) == (READINGS, READINGS, 0)


def test_what_the_disk_does_not_let_go_stays_and_is_no_endless_loop(folder: Folder) -> None:
    folder.fail("a")
    with folder.disk.failing("remove", code=errno.EPERM):
        folder.limit.check(0)
    assert len(folder.left) == 2
    assert (folder.counts.quarantined, folder.counts.deleted) == (READINGS, 0)
    folder.clock._now_ns += 10**12
    folder.limit.check(0)
    assert folder.left == []


def test_without_a_quarantine_there_is_nothing_to_do(folder: Folder) -> None:
    folder.limit.check(0)
    assert folder.limit.bytes == 0


def test_a_listing_that_took_long_is_not_made_again_at_once(folder: Folder) -> None:
    class Slow(FaultyFileSystem):
        def stat(self, path: str) -> os.stat_result:
            folder.clock._now_ns += 10**9
            return super().stat(path)

    folder.fail("a")
    limit = QuarantineLimit(Slow(), folder.clock, folder.ledger, lambda: str(folder.root))
    began_s = folder.clock.monotonic()
    limit.check(FILE)
    took_s = folder.clock.monotonic() - began_s
    assert took_s >= 1.0
    limit.check(0)
    assert len(folder.left) == 2
    folder.clock._now_ns += int(took_s / MOST_LISTING * 1e9)
    limit.check(0)
    assert folder.left == []


def test_what_a_crash_left_of_a_rewrite_counts_and_goes_with_its_file(folder: Folder) -> None:
    failed = folder.fail("a")
    Path(layout.rewritten_path(str(failed))).write_bytes(bytes(5 * BLOCK))
    folder.limit.check(6 * BLOCK)
    assert folder.left == []


def test_what_had_to_go_is_a_problem_with_its_number(folder: Folder) -> None:
    for name in "abc":
        folder.fail(name)
    folder.limit.check(3 * FILE)
    assert list(folder.limit.problems) == []
    folder.limit.check(FILE)
    (problem,) = folder.limit.problems
    assert problem.cost == f"{2 * READINGS} readings in 2 files deleted since the start"
