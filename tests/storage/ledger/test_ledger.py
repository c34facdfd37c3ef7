"""The ledger: what it counts, what it remembers of files, and that counting never waits for a disk."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.storage import layout
from holdfast.storage.ledger import journal, known_files
from holdfast.storage.ledger.counts import FileCounts, ReadingCounts
from holdfast.storage.ledger.known_files import WHOLE, Acknowledged
from holdfast.storage.ledger.ledger import Ledger
from holdfast.storage.ledger.moves import MoveKind
from tests.fakes import FaultyFileSystem

from ..ledgers import LIDAR, RADAR, capture, go, open_ledger

JOIN_S = 20.0


@pytest.fixture
def files() -> Iterator[FaultyFileSystem]:
    made = FaultyFileSystem()
    yield made
    made.resume_writes()


@pytest.fixture
def ledger(files: FaultyFileSystem, tmp_path: Path) -> Ledger:
    return open_ledger(tmp_path, files)


def sum_of(counts: ReadingCounts) -> tuple[int, int]:
    """Returns the two sides of the sum."""
    gone = counts.delivered + counts.quarantined + counts.vanished + counts.deleted + sum(counts.dropped.values())
    return counts.captured + counts.adopted, gone + counts.on_disk


def a_file(folder: Path, name: str = "x") -> tuple[str, int]:
    """Makes a file, and returns its path and when it was changed."""
    path = folder / name
    path.write_bytes(b"data")
    return str(path), path.stat().st_mtime_ns


def test_a_reading_is_on_disk_until_its_fate_is_known(ledger: Ledger) -> None:
    capture(ledger, 10)
    ledger.count_delivered(LIDAR, "/x", Acknowledged(3, 1), 3, ours=True)
    go(ledger, MoveKind.QUARANTINED, 2)
    ledger.count_vanished(LIDAR, 1, ours=True)
    counts = ledger.readings()[LIDAR]
    assert counts == ReadingCounts(captured=10, delivered=3, quarantined=2, vanished=1)
    assert (counts.on_disk, counts.in_files) == (4, 4)


def test_a_reading_is_in_no_file_before_its_file_is_complete(ledger: Ledger) -> None:
    for _ in range(5):
        ledger.count_captured(LIDAR)
    ledger.count_dropped(LIDAR, "no_space", 2)
    assert (ledger.readings()[LIDAR].on_disk, ledger.readings()[LIDAR].in_files) == (3, 0)
    ledger.note_completing(LIDAR, "/x.prog", 3)
    assert (ledger.readings()[LIDAR].on_disk, ledger.readings()[LIDAR].in_files) == (3, 3)


def test_readings_of_the_builtin_are_adopted_when_their_fate_is_known(ledger: Ledger) -> None:
    capture(ledger, 4)
    ledger.count_delivered(LIDAR, "/x", Acknowledged(3, 1), 3, ours=False)
    go(ledger, MoveKind.QUARANTINED, 2, ours=False)
    go(ledger, MoveKind.DELIVERED, 0, torn=1, ours=False)
    go(ledger, MoveKind.DELIVERED, 0, torn=1)
    ledger.count_vanished(LIDAR, 4, ours=False)
    counts = ledger.readings()[LIDAR]
    assert counts == ReadingCounts(
        captured=4, adopted=10, delivered=3, quarantined=2, vanished=4, dropped={"torn": 2}
    )
    assert counts.on_disk == 3, "the one of ours that was torn"


@pytest.mark.parametrize("fate", ["delivered", "quarantined"])
def test_readings_from_a_time_whose_counts_are_lost_are_adopted(fate: str, ledger: Ledger) -> None:
    capture(ledger, 2)
    ledger.count_captured(LIDAR)
    if fate == "delivered":
        ledger.count_delivered(LIDAR, "/x", Acknowledged(5, 1), 5, ours=True)
    else:
        go(ledger, MoveKind.QUARANTINED, 5)
    counts = ledger.readings()[LIDAR]
    assert (counts.captured, counts.adopted, counts.on_disk, counts.in_files) == (3, 3, 1, 0)


def test_drops_are_counted_by_reason_and_collector(ledger: Ledger) -> None:
    ledger.count_dropped(LIDAR, "no_space", 2)
    ledger.count_dropped(LIDAR, "no_space", 3)
    ledger.count_dropped(LIDAR, "stopped", 1)
    ledger.count_dropped(LIDAR, "nothing", 0)
    ledger.count_dropped(RADAR, "no_space", 7)
    assert {key: counts.dropped for key, counts in ledger.readings().items()} == {
        LIDAR: {"no_space": 5, "stopped": 1},
        RADAR: {"no_space": 7},
    }


def test_arbitrary_files_are_counted_as_files_across_restarts(
    files: FaultyFileSystem, ledger: Ledger, tmp_path: Path
) -> None:
    ledger.count_file_delivered("/a", 100, 1)
    ledger.count_file_delivered("/b", 50, 1)
    go(ledger, MoveKind.QUARANTINED, 1, collector=None)
    ledger.count_file_vanished()
    expected = FileCounts(delivered=2, delivered_bytes=150, quarantined=1, vanished=1)
    assert ledger.files == expected
    again = open_ledger(tmp_path, files)
    assert again.files == expected
    again.count_file_vanished()
    assert open_ledger(tmp_path, files).files == FileCounts(2, 150, 1, 2)


def test_what_is_handed_out_is_a_copy(ledger: Ledger) -> None:
    ledger.count_dropped(LIDAR, "x", 1)
    copy, files = ledger.readings(), ledger.files
    copy[LIDAR].captured = 99
    copy[LIDAR].dropped["x"] = 99
    del copy[LIDAR]
    files.delivered = 99
    assert ledger.readings()[LIDAR] == ReadingCounts(dropped={"x": 1})
    assert ledger.files == FileCounts()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["captured", "dropped", "completing", "delivered", "builtin", "quarantined", "torn"]),
            st.integers(0, 50),
        )
    )
)
def test_the_sum_holds_after_any_history(history: list[tuple[str, int]]) -> None:
    """This is invariant 1 for one process without a journal."""
    ledger = Ledger(FaultyFileSystem(), "/nowhere")
    in_memory = in_files = 0
    ledger.count_captured(LIDAR)
    ledger.count_dropped(LIDAR, "first", 1)
    for event, count in history:
        if event == "captured":
            ledger.count_captured(LIDAR)
            in_memory += 1
        elif event == "dropped":
            ledger.count_dropped(LIDAR, "reason", min(count, in_memory))
            in_memory -= min(count, in_memory)
        elif event == "completing":
            ledger.note_completing(LIDAR, "/x", min(count, in_memory))
            in_files += min(count, in_memory)
            in_memory -= min(count, in_memory)
        elif event == "delivered":
            ledger.count_delivered(LIDAR, "/x", Acknowledged(count, 1), count, ours=True)
            in_files = max(0, in_files - count)
        elif event == "builtin":
            ledger.count_delivered(LIDAR, "/y", Acknowledged(count, 1), count, ours=False)
        elif event == "quarantined":
            go(ledger, MoveKind.QUARANTINED, count)
            in_files = max(0, in_files - count)
        else:
            go(ledger, MoveKind.DELIVERED, 0, torn=count, ours=False)
    counts = ledger.readings()[LIDAR]
    assert counts.on_disk == in_memory + in_files
    assert counts.in_files == in_files
    assert sum_of(counts)[0] == sum_of(counts)[1]


def test_counting_on_many_threads_loses_nothing(ledger: Ledger) -> None:
    def count(number: int) -> None:
        for _ in range(500):
            ledger.count_captured(LIDAR)
            ledger.count_dropped(LIDAR, "x", 1)
        for _ in range(20):
            ledger.count_delivered(LIDAR, f"/{number}", Acknowledged(1, 1), 1, ours=False)

    threads = [threading.Thread(target=count, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.readings()[LIDAR] == ReadingCounts(captured=2000, adopted=80, delivered=80, dropped={"x": 2000})


def test_counts_from_before_the_folder_was_ours_are_added_to_the_journals(
    files: FaultyFileSystem, ledger: Ledger, tmp_path: Path
) -> None:
    capture(ledger, 3)
    ledger.close()
    later = Ledger(files, str(tmp_path))
    assert later.state == ""
    later.count_captured(LIDAR)
    later.count_captured(LIDAR)
    later.note_completing(LIDAR, a_file(tmp_path, "early.prog")[0], 2)
    go(later, MoveKind.QUARANTINED, 1, collector=None)
    later.save()
    told: list[bool] = []
    later.attach(lambda: told.append(True))
    assert told and "kept in" in later.state
    assert later.readings()[LIDAR].captured == 5
    killed = open_ledger(tmp_path, files)
    assert (killed.readings()[LIDAR].captured, killed.files.quarantined) == (5, 1)
    killed.count_recovered(LIDAR, str(tmp_path / "early.prog"), 2, 0, ours=True)
    assert killed.readings()[LIDAR].captured == 5, "counted before the attach, known after it"


def test_each_write_is_told_so_that_a_sync_follows(files: FaultyFileSystem, tmp_path: Path) -> None:
    told: list[bool] = []
    ledger = Ledger(files, str(tmp_path))
    ledger.attach(lambda: told.append(True))
    told.clear()
    ledger.save()
    assert told == [], "nothing changed"
    capture(ledger, 1)
    assert told == [True]


def test_nothing_is_written_after_close(files: FaultyFileSystem, ledger: Ledger, tmp_path: Path) -> None:
    capture(ledger, 1)
    ledger.count_dropped(LIDAR, "late", 1)
    ledger.close()
    path = Path(layout.state_path(str(tmp_path), "ledger"))
    saved = path.read_bytes()
    ledger.count_vanished(LIDAR, 1, ours=True)
    ledger.close()
    assert path.read_bytes() == saved
    assert open_ledger(tmp_path, files).readings()[LIDAR].dropped == {"late": 1}, "close saves"


class TestAcknowledged:
    """What the cloud has of a file is not sent again, not even after a restart."""

    def test_it_survives_a_restart(self, files: FaultyFileSystem, ledger: Ledger, tmp_path: Path) -> None:
        path, modified_ns = a_file(tmp_path, "a.capture")
        capture(ledger, 10)
        ledger.count_delivered(LIDAR, path, Acknowledged(3, modified_ns), 3, ours=True)
        ledger.count_delivered(LIDAR, path, Acknowledged(7, modified_ns), 4, ours=True)
        for known in (ledger, open_ledger(tmp_path, files), open_ledger(tmp_path, files)):
            assert known.acknowledged_of(path, modified_ns) == 7
            assert known.readings()[LIDAR].delivered == 7

    def test_a_file_that_was_changed_is_another_one(
        self, files: FaultyFileSystem, ledger: Ledger, tmp_path: Path
    ) -> None:
        path, modified_ns = a_file(tmp_path)
        ledger.count_delivered(LIDAR, path, Acknowledged(3, modified_ns), 3, ours=True)
        for known in (ledger, open_ledger(tmp_path, files)):
            assert known.acknowledged_of(path, modified_ns + 1) == 0
            assert known.acknowledged_of(path + "x", modified_ns) == 0

    def test_a_file_that_is_gone_is_forgotten(
        self, files: FaultyFileSystem, ledger: Ledger, tmp_path: Path
    ) -> None:
        path, modified_ns = a_file(tmp_path)
        ledger.count_delivered(LIDAR, path, Acknowledged(3, modified_ns), 3, ours=True)
        ledger.forget_file(path)
        assert ledger.acknowledged_of(path, modified_ns) == 0
        ledger.forget_file(path)
        os.unlink(path)
        assert open_ledger(tmp_path, files).acknowledged_of(path, modified_ns) == 0

    def test_it_survives_a_power_cut_that_undid_the_files_name(
        self, files: FaultyFileSystem, ledger: Ledger, tmp_path: Path
    ) -> None:
        path, modified_ns = a_file(tmp_path, "a.capture")
        capture(ledger, 5, str(tmp_path / "a.prog"))
        ledger.count_delivered(LIDAR, path, Acknowledged(5, modified_ns), 5, ours=True)
        os.rename(path, tmp_path / "a.prog")
        again = open_ledger(tmp_path, files)
        os.rename(tmp_path / "a.prog", path)
        assert again.acknowledged_of(path, modified_ns) == 5

    def test_an_arbitrary_file_is_acknowledged_whole(
        self, files: FaultyFileSystem, ledger: Ledger, tmp_path: Path
    ) -> None:
        path, modified_ns = a_file(tmp_path)
        ledger.count_file_delivered(path, 4, modified_ns)
        for known in (ledger, open_ledger(tmp_path, files)):
            assert known.acknowledged_of(path, modified_ns) == WHOLE
            assert known.acknowledged_of(path, modified_ns - 1) == 0

    def test_a_path_that_is_not_utf8_is_known_after_a_restart(
        self, files: FaultyFileSystem, ledger: Ledger, tmp_path: Path
    ) -> None:
        name = os.fsdecode(b"caf\xe9\xff \n\xf0\x9f\x98\x80")
        path, modified_ns = a_file(tmp_path, name)
        progress, _ = a_file(tmp_path, name + ".prog")
        ledger.count_delivered(LIDAR, path, Acknowledged(3, modified_ns), 3, ours=True)
        capture(ledger, 2, progress)
        again = open_ledger(tmp_path, files)
        assert again.acknowledged_of(path, modified_ns) == 3
        again.count_recovered(LIDAR, progress, 2, 0, ours=True)
        assert again.readings()[LIDAR].captured == 2

    def test_the_oldest_are_forgotten_so_that_memory_is_bounded(
        self, files: FaultyFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(known_files, "MAX_ACKNOWLEDGED", 3)
        ledger = open_ledger(tmp_path, files)
        known = [a_file(tmp_path, str(number)) for number in range(5)]
        for path, modified_ns in known:
            ledger.count_delivered(LIDAR, path, Acknowledged(1, modified_ns), 1, ours=True)
        assert [ledger.acknowledged_of(*file) for file in known] == [0, 0, 1, 1, 1]

    def test_memory_is_bounded_after_a_restart_too(
        self, files: FaultyFileSystem, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(known_files, "MAX_ACKNOWLEDGED", 3)
        known = [a_file(tmp_path, str(number)) for number in range(5)]
        for path, modified_ns in known:
            ledger.count_delivered(LIDAR, path, Acknowledged(1, modified_ns), 1, ours=True)
        again = open_ledger(tmp_path, files)
        assert [again.acknowledged_of(*file) for file in known] == [0, 0, 1, 1, 1]


class TestRecovered:
    """A file that a crash left counts once, whether it was counted before the crash or not."""

    def test_one_that_was_not_counted_is_captured_now(self, ledger: Ledger) -> None:
        ledger.count_recovered(LIDAR, "/a.prog", 4, 1, ours=True)
        assert ledger.readings()[LIDAR] == ReadingCounts(captured=5, dropped={"torn": 1})
        assert ledger.readings()[LIDAR].in_files == 4

    def test_one_of_the_builtin_is_adopted_with_its_fate(self, ledger: Ledger) -> None:
        ledger.count_recovered(LIDAR, "/a.prog", 4, 1, ours=False)
        assert ledger.readings()[LIDAR] == ReadingCounts(adopted=1, dropped={"torn": 1})
        ledger.count_delivered(LIDAR, "/a.capture", Acknowledged(4, 1), 4, ours=False)
        assert ledger.readings()[LIDAR].on_disk == 0

    @pytest.mark.parametrize("found", [0, 3, 5, 6])
    def test_one_that_was_counted_is_not_counted_again(
        self, found: int, files: FaultyFileSystem, ledger: Ledger, tmp_path: Path
    ) -> None:
        path, _ = a_file(tmp_path, "a.prog")
        capture(ledger, 5, path)
        again = open_ledger(tmp_path, files)
        for _ in range(2):  # again, as after a crash of recovery
            again.count_recovered(LIDAR, path, found, 1, ours=True)
            counts = again.readings()[LIDAR]
            assert counts.captured == max(5, found)
            assert counts.dropped == ({"torn": 5 - found} if found < 5 else {})
            assert counts.on_disk == found
            again = open_ledger(tmp_path, files)

    def test_one_whose_final_name_is_safe_is_not_known_any_more(
        self, files: FaultyFileSystem, ledger: Ledger, tmp_path: Path
    ) -> None:
        path, _ = a_file(tmp_path, "a.prog")
        capture(ledger, 5, path)
        ledger.note_completed([path, "/never/heard/of.prog"])
        ledger.save()
        for known in (ledger, open_ledger(tmp_path, files)):
            known.count_recovered(LIDAR, path, 2, 0, ours=True)
            assert known.readings()[LIDAR].captured == 7, "another file of that name"

    def test_one_that_is_gone_is_not_known_any_more(
        self, files: FaultyFileSystem, ledger: Ledger, tmp_path: Path
    ) -> None:
        path, _ = a_file(tmp_path, "a.prog")
        capture(ledger, 5, path)
        os.unlink(path)
        again = open_ledger(tmp_path, files)
        again.count_recovered(LIDAR, path, 2, 0, ours=True)
        assert again.readings()[LIDAR].captured == 7


class TestWaiting:
    """Capture never waits for the disk (invariant 2)."""

    def test_counting_goes_on_while_a_write_is_stalled(
        self, files: FaultyFileSystem, ledger: Ledger, tmp_path: Path
    ) -> None:
        counted = threading.Event()

        def count() -> None:
            for _ in range(100):
                ledger.count_captured(LIDAR)
            ledger.count_dropped(LIDAR, "x", 40)
            assert ledger.readings()[LIDAR].captured == 101
            assert ledger.acknowledged_of("/x", 1) == 0
            counted.set()

        files.stall_writes()
        saving = threading.Thread(target=capture, args=(ledger, 1))
        saving.start()
        try:
            assert files.stalled.wait(JOIN_S)
            counting = threading.Thread(target=count)
            counting.start()
            assert counted.wait(JOIN_S), "counting waited for the disk"
            assert saving.is_alive()
        finally:
            files.resume_writes()
        saving.join(JOIN_S)
        counting.join(JOIN_S)
        ledger.save()
        counts = open_ledger(tmp_path, files).readings()[LIDAR]
        assert (counts.captured, counts.dropped) == (41, {"x": 40}), "the 60 in memory died with the process"

    def test_counting_goes_on_while_the_first_write_is_stalled(
        self, files: FaultyFileSystem, tmp_path: Path
    ) -> None:
        ledger = Ledger(files, str(tmp_path))
        files.stall_writes()
        attaching = threading.Thread(target=ledger.attach, args=(lambda: None,))
        attaching.start()
        try:
            assert files.stalled.wait(JOIN_S)
            counting = threading.Thread(target=ledger.count_captured, args=(LIDAR,))
            counting.start()
            counting.join(JOIN_S)
            assert not counting.is_alive(), "counting waited for the disk"
        finally:
            files.resume_writes()
        attaching.join(JOIN_S)
        assert ledger.readings()[LIDAR].captured == 1


class TestTrouble:
    """A journal that can't be written costs nothing once the disk works again."""

    @pytest.mark.parametrize("partial_bytes", [0, 1, 30, 10_000])
    @pytest.mark.parametrize("operation", ["write", "rename", "replace", "open_to_append", "make_folder"])
    def test_no_count_is_lost_when_the_disk_is_well_again(
        self, operation: str, partial_bytes: int, files: FaultyFileSystem, ledger: Ledger, tmp_path: Path
    ) -> None:
        capture(ledger, 3)
        with files.failing("write", code=errno.ENOSPC, partial_bytes=partial_bytes):
            capture(ledger, 2)
        assert "in memory only" in ledger.state
        with files.failing(operation, code=errno.ENOSPC, partial_bytes=partial_bytes):
            ledger.count_vanished(LIDAR, 1, ours=True)
        assert "in memory only" in ledger.state
        assert open_ledger(tmp_path).readings()[LIDAR].captured >= 3, "what was saved is there"
        ledger.count_vanished(LIDAR, 1, ours=True)
        assert "kept in" in ledger.state
        assert open_ledger(tmp_path, files).readings()[LIDAR] == ReadingCounts(captured=5, vanished=2)

    def test_what_could_not_be_saved_is_saved_by_the_next_save_and_by_close(
        self, files: FaultyFileSystem, ledger: Ledger, tmp_path: Path
    ) -> None:
        with files.failing("write", code=errno.ENOSPC):
            capture(ledger, 2)
        ledger.close()
        assert open_ledger(tmp_path, files).readings()[LIDAR].captured == 2

    def test_a_folder_that_can_not_be_made_costs_counters_only(
        self, files: FaultyFileSystem, tmp_path: Path
    ) -> None:
        with files.failing("make_folder", code=errno.EACCES):
            ledger = open_ledger(tmp_path, files)
            capture(ledger, 2)
            assert "in memory only" in ledger.state
        assert ledger.readings()[LIDAR].on_disk == 2

    def test_a_drop_while_the_journal_is_written_does_not_tear_the_counts(
        self, files: FaultyFileSystem, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for _ in range(3):
            ledger.count_captured(LIDAR)
        ledger.count_dropped(LIDAR, "x", 1)
        make_line = journal._line

        def slow(record: journal.Record) -> bytes:
            ledger.count_dropped(LIDAR, "x", 1)
            return make_line(record)

        with monkeypatch.context() as patch:
            patch.setattr(journal, "_line", slow)
            ledger.save()
        found = open_ledger(tmp_path, files).readings()[LIDAR]  # killed before the next save
        assert found.on_disk == 0
