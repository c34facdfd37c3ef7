"""Recovery: what a crash left becomes complete files, without a reading lost or made up."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.base.filesystem import FileSystem
from holdfast.storage.ledger.counts import ReadingCounts
from holdfast.storage.ledger.ledger import Ledger
from holdfast.storage.recovery import QUIET_S, RecoveryReport
from tests.fakes import FaultyFileSystem

from . import samples
from .crashes import STEM, leave, run
from .ledgers import LIDAR, open_ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(FileSystem(), str(tmp_path))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "rdk_component_sensor" / "lidar" / "Readings"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("make", [samples.our_file, samples.builtin_file])
def test_a_whole_file_in_progress_becomes_complete(
    make: Callable[..., bytes], tmp_path: Path, folder: Path, ledger: Ledger
) -> None:
    data = make(samples.metadata(), samples.messages(5))
    path = leave(folder / f"{STEM}.prog", data)
    assert run(tmp_path, ledger) == RecoveryReport(files=1, readings=5)
    assert not path.exists()
    assert path.with_suffix(".capture").read_bytes() == data
    assert samples.numbers_under(tmp_path) == [0, 1, 2, 3, 4]
    ours = make is samples.our_file
    assert ledger.readings()[LIDAR] == ReadingCounts(captured=5 if ours else 0)


@pytest.mark.parametrize("make", [samples.our_file, samples.builtin_file])
def test_a_torn_tail_is_cut_off_and_counted_as_one_reading(
    make: Callable[..., bytes], tmp_path: Path, folder: Path, ledger: Ledger
) -> None:
    data = make(samples.metadata(), samples.messages(5))
    leave(folder / f"{STEM}.prog", data[:-3])
    assert run(tmp_path, ledger) == RecoveryReport(files=1, readings=4, torn_readings=1)
    assert samples.numbers_under(tmp_path) == [0, 1, 2, 3]
    counts = ledger.readings()[LIDAR]
    if make is samples.our_file:
        assert counts == ReadingCounts(captured=5, dropped={"torn": 1})
    else:
        assert counts == ReadingCounts(adopted=1, dropped={"torn": 1}), "the others are adopted with their fate"


@pytest.mark.parametrize("make", [samples.our_file, samples.builtin_file])
@pytest.mark.parametrize("zeros", [1, 512, 8192])
def test_a_zero_filled_tail_is_cut_off_and_is_no_reading(
    make: Callable[..., bytes], zeros: int, tmp_path: Path, folder: Path, ledger: Ledger
) -> None:
    data = make(samples.metadata(), samples.messages(5))
    path = leave(folder / f"{STEM}.prog", data + bytes(zeros))
    assert run(tmp_path, ledger) == RecoveryReport(files=1, readings=5)
    assert path.with_suffix(".capture").read_bytes() == data
    assert sum(sum(c.dropped.values()) for c in ledger.readings().values()) == 0


def test_every_torn_end_gives_a_whole_file(tmp_path: Path, folder: Path, ledger: Ledger) -> None:
    header, written = samples.metadata(), samples.messages(2)
    data = samples.our_file(header, written)
    for cut in range(len(samples.our_file(header, written[:1])), len(data)):
        leave(folder / f"{cut}.prog", data[:cut])
    run(tmp_path, ledger)
    assert set(samples.numbers_under(tmp_path)) == {0}
    assert samples.files_under(tmp_path, ".prog") == []


@pytest.mark.parametrize("size", [0, 1, 4096])
def test_a_file_of_nothing_is_removed(size: int, tmp_path: Path, folder: Path, ledger: Ledger) -> None:
    leave(folder / f"{STEM}.prog", bytes(size))
    assert run(tmp_path, ledger) == RecoveryReport()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("tail", [b"", bytes(512)])
def test_a_file_with_a_header_and_no_reading_is_removed(
    tail: bytes, tmp_path: Path, folder: Path, ledger: Ledger
) -> None:
    leave(folder / f"{STEM}.prog", samples.our_file(samples.metadata(), []) + tail)
    assert run(tmp_path, ledger).files == 0
    assert list(folder.iterdir()) == []


def test_a_file_whose_only_reading_is_torn_is_removed_and_counted(
    tmp_path: Path, folder: Path, ledger: Ledger
) -> None:
    leave(folder / f"{STEM}.prog", samples.our_file(samples.metadata(), samples.messages(1))[:-1])
    assert run(tmp_path, ledger).torn_readings == 1
    assert list(folder.iterdir()) == []
    assert ledger.readings()[LIDAR].dropped == {"torn": 1}


@pytest.mark.parametrize(
    "data",
    [
        b"this is no capture file at all",
        b"\xff" * 300,
        samples.our_file(samples.metadata(), samples.messages(2))[:20],
        bytes(10) + samples.our_file(samples.metadata(), samples.messages(2)),
    ],
    ids=["text", "ones", "torn header", "zeros before"],
)
def test_a_file_without_a_readable_header_is_kept_in_quarantine_with_its_cause(
    data: bytes, tmp_path: Path, folder: Path, ledger: Ledger
) -> None:
    path = leave(folder / f"{STEM}.prog", data)
    assert run(tmp_path, ledger) == RecoveryReport(quarantined=1)
    assert list(folder.iterdir()) == []
    kept = tmp_path / "failed" / path.relative_to(tmp_path)
    assert kept.read_bytes() == data
    cause = json.loads(Path(f"{kept}.cause.json").read_text())
    assert cause["file"] == str(path)
    assert "header" in cause["cause"]
    assert cause["time"].endswith("Z")


@pytest.mark.parametrize(
    "content",
    [
        samples.our_file(samples.metadata(), samples.messages(1))[:-1],
        b"\xff" + samples.our_file(samples.metadata(), samples.messages(3))[1:],
        bytes(100),
    ],
    ids=["torn", "without a header", "blank"],
)
def test_another_file_of_the_name_of_one_that_is_dealt_with_is_counted_anew(
    content: bytes, tmp_path: Path, folder: Path, ledger: Ledger
) -> None:
    ledger.count_dropped(LIDAR, "known", 0)
    path = leave(folder / f"{STEM}.prog", content)
    run(tmp_path, ledger)
    assert not path.exists()
    before = ledger.readings()[LIDAR].captured
    leave(path, samples.our_file(samples.metadata(), samples.messages(5))[:-1])
    run(tmp_path, ledger)
    assert ledger.readings()[LIDAR].captured == before + 5, "the torn one too"


def test_quarantine_never_replaces_what_is_there_already(tmp_path: Path, folder: Path, ledger: Ledger) -> None:
    for data in (b"first", b"second", b"third"):
        leave(folder / f"{STEM}.prog", data)
        run(tmp_path, ledger)
    kept = [path for path in (tmp_path / "failed").rglob("*") if path.is_file() and path.suffix != ".json"]
    assert sorted(path.read_bytes() for path in kept) == [b"first", b"second", b"third"]
    assert len(list((tmp_path / "failed").rglob("*.cause.json"))) == 3


def test_damage_inside_a_file_is_left_for_sync(tmp_path: Path, folder: Path, ledger: Ledger) -> None:
    data = bytearray(samples.our_file(samples.metadata(), samples.messages(5)))
    data[len(data) // 2] ^= 1
    path = leave(folder / f"{STEM}.prog", bytes(data))
    assert run(tmp_path, ledger).readings == 4
    assert path.with_suffix(".capture").read_bytes() == bytes(data)


def test_a_file_whose_only_reading_is_damaged_is_kept_for_sync(
    tmp_path: Path, folder: Path, ledger: Ledger
) -> None:
    data = bytearray(samples.our_file(samples.metadata(), samples.messages(1)))
    data[-10] ^= 1
    path = leave(folder / f"{STEM}.prog", bytes(data))
    assert run(tmp_path, ledger) == RecoveryReport(files=1)
    assert path.with_suffix(".capture").read_bytes() == bytes(data)
    assert ledger.readings()[LIDAR] == ReadingCounts(captured=1)


def test_a_file_that_this_process_writes_is_not_touched(tmp_path: Path, folder: Path, ledger: Ledger) -> None:
    torn = samples.our_file(samples.metadata(), samples.messages(2))[:-5]
    ours = leave(folder / "ours.prog", torn)
    other = leave(folder / "other.prog", torn)
    assert run(tmp_path, ledger, is_ours=lambda path: path == str(ours)).files == 1
    assert ours.read_bytes() == torn
    assert not other.exists()


def test_a_file_that_was_written_to_a_moment_ago_waits(tmp_path: Path, folder: Path, ledger: Ledger) -> None:
    data = samples.our_file(samples.metadata(), samples.messages(2))
    fresh = leave(folder / "fresh.prog", data[:-5], age_s=QUIET_S - 0.1)
    leave(folder / "quiet.prog", data, age_s=QUIET_S + 0.1)
    assert run(tmp_path, ledger) == RecoveryReport(files=1, readings=2, waiting=1)
    assert fresh.read_bytes() == data[:-5]


def test_a_file_from_the_future_does_not_wait_for_it(tmp_path: Path, folder: Path, ledger: Ledger) -> None:
    leave(folder / f"{STEM}.prog", samples.our_file(samples.metadata(), samples.messages(2)), age_s=-86400.0)
    assert run(tmp_path, ledger).files == 1


def test_a_name_that_is_taken_gives_the_next_one_and_leaves_both_files(
    tmp_path: Path, folder: Path, ledger: Ledger
) -> None:
    header = samples.metadata()
    complete = leave(folder / f"{STEM}.capture", samples.our_file(header, samples.messages(2)))
    leave(folder / f"{STEM.replace('456', '457')}.capture", b"taken too")
    data = samples.our_file(header, samples.messages(2, first=2))
    leave(folder / f"{STEM}.prog", data)
    assert run(tmp_path, ledger).files == 1
    assert complete.read_bytes() == samples.our_file(header, samples.messages(2))
    assert (folder / f"{STEM.replace('456', '458')}.capture").read_bytes() == data
    assert samples.files_under(tmp_path, ".prog") == []


@pytest.mark.parametrize("name", [".holdfast", "failed", "datasetUpload"])
def test_folders_that_hold_no_captures_are_left_alone(name: str, tmp_path: Path, ledger: Ledger) -> None:
    kept = leave(tmp_path / name / "lock.prog", b"not ours to touch")
    deep = leave(tmp_path / "deep" / name / "x.prog", b"nor this")
    assert run(tmp_path, ledger) == RecoveryReport()
    assert (kept.read_bytes(), deep.read_bytes()) == (b"not ours to touch", b"nor this")


def test_only_files_in_progress_are_touched(tmp_path: Path, folder: Path, ledger: Ledger) -> None:
    paths = [leave(folder / name, b"garbage") for name in ("a.capture", "b.txt", "prog", "c.progseq")]
    assert run(tmp_path, ledger) == RecoveryReport()
    assert [path.read_bytes() for path in paths] == [b"garbage"] * 4


def test_links_and_pipes_are_left_alone(tmp_path: Path, folder: Path, ledger: Ledger) -> None:
    outside = leave(tmp_path.parent / f"{tmp_path.name}-outside" / "x.prog", b"garbage")
    (folder / "link.prog").symlink_to(outside)
    (folder / "linked").symlink_to(outside.parent)
    os.mkfifo(folder / "pipe.prog")
    assert run(tmp_path, ledger) == RecoveryReport()
    assert outside.read_bytes() == b"garbage"


@pytest.mark.parametrize("operation", ["list_folder", "open", "read_at", "rename", "truncate", "stat"])
def test_one_bad_file_or_folder_does_not_stop_the_others(operation: str, tmp_path: Path, ledger: Ledger) -> None:
    torn = samples.our_file(samples.metadata(), samples.messages(3))[:-5]
    for name in ("a", "bad", "z"):
        leave(tmp_path / name / f"{STEM}.prog", torn)
    files = FaultyFileSystem()
    with files.failing(operation, code=errno.EIO, on=lambda path: "/bad" in path):
        run(tmp_path, ledger, files)
    assert len(samples.readings_under(tmp_path)) == 4
    bad = tmp_path / "bad" / f"{STEM}.prog"
    leave(bad, bad.read_bytes())  # sets the time back, which a cut would have changed
    assert run(tmp_path, ledger).files == 1
    assert len(samples.readings_under(tmp_path)) == 6
    assert ledger.readings()[LIDAR] == ReadingCounts(captured=9, dropped={"torn": 3}), "each reading once"


def test_a_folder_that_may_not_be_read_does_not_stop_the_others(tmp_path: Path, ledger: Ledger) -> None:
    leave(tmp_path / "z" / f"{STEM}.prog", samples.our_file(samples.metadata(), samples.messages(3)))
    (tmp_path / "a").mkdir()
    files = FaultyFileSystem()
    with files.failing("list_folder", code=errno.EACCES, on=lambda path: path.endswith("/a")):
        assert run(tmp_path, ledger, files).files == 1


def test_a_capture_folder_that_is_not_there_is_nothing_to_recover(tmp_path: Path, ledger: Ledger) -> None:
    assert run(tmp_path / "not there", ledger) == RecoveryReport()


def test_recovering_twice_changes_nothing_more(tmp_path: Path, folder: Path, ledger: Ledger) -> None:
    leave(folder / "a.prog", samples.our_file(samples.metadata(), samples.messages(3))[:-5])
    leave(folder / "b.prog", b"garbage")
    run(tmp_path, ledger)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert run(tmp_path, ledger) == RecoveryReport()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert ledger.readings()[LIDAR].dropped == {"torn": 1}


def test_a_file_with_a_living_owner_is_left_alone_however_long_it_was_quiet(tmp_path: Path, ledger: Ledger) -> None:
    files = FaultyFileSystem()
    path = tmp_path / "a.prog"
    descriptor = files.create(str(path))
    os.write(descriptor, samples.our_file(samples.metadata(), samples.messages(2)))
    os.utime(path, (1, 1))
    assert run(tmp_path, ledger, files) == RecoveryReport()
    files.close(descriptor, str(path))
    assert run(tmp_path, ledger, files).files == 1


def test_a_file_of_another_living_process_is_left_alone(tmp_path: Path, folder: Path, ledger: Ledger) -> None:
    path = folder / f"{STEM}.prog"
    program = (
        "import sys; from holdfast.base.filesystem import FileSystem; files = FileSystem();"
        "files.write(files.create(sys.argv[1]), sys.argv[1], bytes.fromhex(sys.argv[2]));"
        "print('written', flush=True); sys.stdin.read()"
    )
    data = samples.our_file(samples.metadata(), samples.messages(2))
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(path), data[:-3].hex()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": "src"},
    )
    try:
        assert other.stdout is not None and other.stdout.readline() == b"written\n"
        os.utime(path, (1, 1))
        assert run(tmp_path, ledger) == RecoveryReport()
        assert path.read_bytes() == data[:-3]
        assert ledger.readings() == {}
    finally:
        other.kill()
        other.communicate()
    assert run(tmp_path, ledger) == RecoveryReport(files=1, readings=1, torn_readings=1)


class TestCounting:
    """Recovery with the ledger of the process that was killed: each reading counts once."""

    PATH = f"rdk_component_sensor/lidar/Readings/{STEM}.prog"

    @pytest.fixture
    def attached(self, tmp_path: Path) -> Ledger:
        return open_ledger(tmp_path)

    def counted(self, tmp_path: Path, ledger: Ledger, readings: int) -> Ledger:
        """Counts a file whose process is killed before the file gets its final name."""
        path = leave(tmp_path / self.PATH, samples.our_file(samples.metadata(), samples.messages(readings)))
        for _ in range(readings):
            ledger.count_captured(LIDAR)
        ledger.note_completing(LIDAR, str(path), readings)
        ledger.save()
        return open_ledger(tmp_path)

    def lying(self, tmp_path: Path) -> int:
        return len(samples.readings_under(tmp_path))

    def test_a_file_that_was_counted_is_not_counted_again(self, tmp_path: Path, attached: Ledger) -> None:
        ledger = self.counted(tmp_path, attached, 5)
        assert run(tmp_path, ledger).readings == 5
        assert ledger.readings()[LIDAR] == ReadingCounts(captured=5)
        assert open_ledger(tmp_path).readings()[LIDAR] == ReadingCounts(captured=5)

    def test_what_a_power_cut_took_from_a_counted_file_is_torn(self, tmp_path: Path, attached: Ledger) -> None:
        ledger = self.counted(tmp_path, attached, 5)
        path = tmp_path / self.PATH
        leave(path, path.read_bytes()[: len(samples.our_file(samples.metadata(), samples.messages(3))) + 9])
        run(tmp_path, ledger)
        assert ledger.readings()[LIDAR] == ReadingCounts(captured=5, dropped={"torn": 2})
        assert ledger.readings()[LIDAR].on_disk == self.lying(tmp_path) == 3

    @pytest.mark.parametrize("size", [0, 4096])
    def test_a_counted_file_of_which_nothing_is_left_is_torn(
        self, size: int, tmp_path: Path, attached: Ledger
    ) -> None:
        ledger = self.counted(tmp_path, attached, 5)
        leave(tmp_path / self.PATH, bytes(size))
        run(tmp_path, ledger)
        assert ledger.readings()[LIDAR] == ReadingCounts(captured=5, dropped={"torn": 5})
        assert not (tmp_path / self.PATH).exists()
        assert open_ledger(tmp_path).readings()[LIDAR].dropped == {"torn": 5}

    def test_a_blank_file_of_an_unknown_collector_counts_nothing(self, tmp_path: Path, attached: Ledger) -> None:
        leave(tmp_path / self.PATH, bytes(10))
        run(tmp_path, attached)
        assert attached.readings() == {}

    def test_a_counted_file_with_a_damaged_header_is_quarantined_with_its_readings(
        self, tmp_path: Path, attached: Ledger
    ) -> None:
        ledger = self.counted(tmp_path, attached, 5)
        data = bytearray((tmp_path / self.PATH).read_bytes())
        data[5] ^= 1
        leave(tmp_path / self.PATH, bytes(data))
        assert run(tmp_path, ledger).quarantined == 1
        assert ledger.readings()[LIDAR] == ReadingCounts(captured=5, quarantined=5)
        assert open_ledger(tmp_path).readings()[LIDAR].on_disk == 0
        assert (tmp_path / "failed" / self.PATH).read_bytes() == data

    def test_a_damaged_header_of_a_file_that_was_not_counted_hides_no_other_file(
        self, tmp_path: Path, attached: Ledger
    ) -> None:
        ledger = self.counted(tmp_path, attached, 5)
        data = bytearray(samples.our_file(samples.metadata(), samples.messages(3, first=5)))
        data[5] ^= 1
        leave((tmp_path / self.PATH).with_name("2023-11-14T22_13_30.000000Z.prog"), bytes(data))
        run(tmp_path, ledger)
        assert ledger.readings()[LIDAR].quarantined == 3
        assert ledger.readings()[LIDAR].on_disk == self.lying(tmp_path) == 5

    @pytest.mark.parametrize("known", [True, False], ids=["counted", "not counted"])
    def test_a_damaged_reading_stays_on_disk_until_sync_has_put_it_into_quarantine(
        self, known: bool, tmp_path: Path, attached: Ledger
    ) -> None:
        ledger = self.counted(tmp_path, attached, 5) if known else attached
        data = bytearray(samples.our_file(samples.metadata(), samples.messages(5)))
        data[len(samples.our_file(samples.metadata(), samples.messages(2))) + 10] ^= 1
        leave(tmp_path / self.PATH, bytes(data))
        assert run(tmp_path, ledger).readings == 4
        assert ledger.readings()[LIDAR] == ReadingCounts(captured=5), "four that are good and one that is not"
        assert open_ledger(tmp_path).readings()[LIDAR] == ReadingCounts(captured=5)

    def test_a_recovery_that_is_killed_at_any_step_counts_nothing_twice(
        self, tmp_path: Path, attached: Ledger
    ) -> None:
        attached.close()
        torn = samples.our_file(samples.metadata(), samples.messages(3))[:-5]
        leave(tmp_path / self.PATH, torn)
        for operation in ("truncate", "rename"):
            files = FaultyFileSystem()
            ledger = open_ledger(tmp_path)
            with files.failing(operation, code=errno.EIO):
                run(tmp_path, ledger, files)
            if operation == "truncate":
                assert ledger.readings() == {}, "nothing is counted before the file is whole"
        leave(tmp_path / self.PATH, (tmp_path / self.PATH).read_bytes())
        ledger = open_ledger(tmp_path)
        run(tmp_path, ledger)
        assert ledger.readings()[LIDAR] == ReadingCounts(captured=3, dropped={"torn": 1})
        assert ledger.readings()[LIDAR].on_disk == self.lying(tmp_path) == 2


class Unforeseen(FileSystem):
    """A file system on which reading the first file raises an unforeseen error."""

    def read_at(self, descriptor: int, path: str, offset: int, size_bytes: int) -> bytes:
        if path.endswith("-1.prog"):
            raise OverflowError("nobody foresaw this")
        return super().read_at(descriptor, path, offset, size_bytes)


def test_a_file_with_an_error_that_nobody_foresaw_holds_up_no_other(
    tmp_path: Path, folder: Path, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    left = [
        leave(folder / f"{STEM}-{number}.prog", samples.our_file(samples.metadata(), samples.messages(5)))
        for number in range(3)
    ]
    assert run(tmp_path, ledger, Unforeseen()) == RecoveryReport(files=2, readings=10)
    assert [path for path in left if path.exists()] == [left[1]]
    assert f"{left[1]}: recovery failed unexpectedly; it stays where it is until the next start" in caplog.text
