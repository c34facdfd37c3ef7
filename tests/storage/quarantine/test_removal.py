"""Removal from quarantine: each reading is sent again once or stays, and the sum holds, wherever a crash comes."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from holdfast.base.at import Identity
from holdfast.base.filesystem import NEW_EXTENSION, FileSystem
from holdfast.errors import StorageError
from holdfast.storage import layout
from holdfast.storage.capture_files.reader import CaptureReader, places_of
from holdfast.storage.ledger.counts import FileCounts, ReadingCounts
from holdfast.storage.ledger.known_files import Acknowledged
from holdfast.storage.ledger.ledger import Ledger
from holdfast.storage.quarantine.listing import QuarantinedFile, list_page, quarantined_files
from holdfast.storage.quarantine.quarantine import quarantine
from holdfast.storage.quarantine.removal import QuarantineRemoval, RemovalResult
from holdfast.storage.quarantine.sidecar import QuarantinedReadings
from tests.fakes import FaultyFileSystem

from ..crashes import deaths
from ..ledgers import LIDAR, capture, open_ledger
from ..samples import BOTH, file_of, messages, metadata, our_file

FOLDER = "rdk_component_sensor/lidar/Readings"


class Folder:
    """A capture folder with one file of five readings, some of which are quarantined."""

    def __init__(self, root: Path, *, checked: bool = True) -> None:
        self.root = root
        self.files = FileSystem()
        self.ledger = open_ledger(root, self.files)
        if checked:
            capture(self.ledger, 5)
        self.checked = checked
        self.path = root / FOLDER / "9999-a.capture"
        self.path.parent.mkdir(parents=True)
        self.path.write_bytes(file_of(checked)(metadata(), messages(5)))

    def refuse(self, *numbers: int, damaged: Sequence[int] = ()) -> Path:
        """Quarantines the file: the cloud took all readings but these. In each `damaged` one a byte is altered."""
        places = places_of(self.files, str(self.path), [*numbers, *damaged])
        for start, end in places_of(self.files, str(self.path), damaged):
            content = bytearray(self.path.read_bytes())
            content[(start + end) // 2] ^= 0x40
            self.path.write_bytes(content)
        delivered = 5 - len(places)
        acknowledged = Acknowledged(5, os.stat(self.path).st_mtime_ns, tuple(numbers))
        self.ledger.count_delivered(LIDAR, str(self.path), acknowledged, delivered, ours=self.checked)
        held = QuarantinedReadings(LIDAR, len(places), self.checked)
        failed = quarantine(self.files, self.ledger, str(self.root), str(self.path), "refused", places, held)
        self.ledger.forget_file(str(self.path))
        return Path(failed)

    def again(self, files: FileSystem | None = None) -> Ledger:
        """Begins the next process, and returns its ledger."""
        self.files = files or FileSystem()
        self.ledger = open_ledger(self.root, self.files)
        return self.ledger

    @property
    def failed(self) -> list[QuarantinedFile]:
        return list(quarantined_files(FileSystem(), [str(self.root)], []))

    def remove(self, what: str) -> list[RemovalResult]:
        removal = QuarantineRemoval(self.files, lambda file: self.ledger)
        return (removal.put_back if what == "retry" else removal.discard)(self.failed)

    def to_send(self) -> list[bytes]:
        """Returns the readings in complete files in the capture folder."""
        found: list[bytes] = []
        for path in self.root.rglob("*.capture"):
            if "failed" not in path.parts:
                reader = CaptureReader(FileSystem(), str(path))
                found += list(reader)
                assert not reader.damaged and not reader.torn_bytes
                reader.close()
        return found

    @property
    def counts(self) -> ReadingCounts:
        return self.ledger.readings()[LIDAR]


@BOTH
def test_a_file_of_which_nothing_was_delivered_goes_back_as_it_is(tmp_path: Path, checked: bool) -> None:
    folder = Folder(tmp_path, checked=checked)
    content = folder.path.read_bytes()
    folder.refuse(0, 1, 2, 3, 4)
    (result,) = folder.remove("retry")
    assert (result.why, result.readings, result.size_bytes) == ("", 5, len(content))
    assert folder.path.read_bytes() == content and folder.failed == []
    assert not list((tmp_path / "failed").rglob("*.*")), "neither file nor sidecar"
    assert (folder.counts.quarantined, folder.counts.on_disk) == (0, 5 if checked else 0)


@BOTH
def test_of_a_file_that_was_delivered_in_part_only_the_rest_goes_back(tmp_path: Path, checked: bool) -> None:
    folder = Folder(tmp_path, checked=checked)
    folder.refuse(1, 3)
    (result,) = folder.remove("retry")
    assert (result.why, result.readings) == ("", 2)
    assert folder.to_send() == [messages(5)[1], messages(5)[3]] and folder.failed == []
    assert (folder.counts.delivered, folder.counts.quarantined) == (3, 0)


@pytest.mark.parametrize("refused", [(), (1,), (0, 1, 2, 4)], ids=["none", "one", "all others"])
def test_a_file_with_damage_in_it_stays_as_it_is(tmp_path: Path, refused: tuple[int, ...]) -> None:
    folder = Folder(tmp_path)
    failed = folder.refuse(*refused, damaged=[3])
    before = {path: path.read_bytes() for path in (tmp_path / "failed").rglob("*.*")}
    (result,) = folder.remove("retry")
    assert "damaged" in result.why and folder.to_send() == []
    assert {path: path.read_bytes() for path in failed.parent.iterdir()} == before
    assert (folder.counts.quarantined, folder.counts.on_disk) == (len(refused) + 1, 0)


def test_a_file_that_could_not_go_back_after_it_was_rewritten_goes_back_the_next_time(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    failed = str(folder.refuse(3, 1))

    class Stuck(FileSystem):
        def rename(self, source: str, target: str, identity: Identity | None = None) -> None:
            if source == failed:
                raise StorageError("rename", source, OSError(errno.EIO, "the disk failed"))
            super().rename(source, target, identity)

    folder.files = Stuck()
    (stays,) = folder.remove("retry")
    assert "the disk failed" in stays.why
    assert (folder.counts.quarantined, folder.counts.on_disk) == (2, 0)
    folder.files = FileSystem()
    (result,) = folder.remove("retry")
    assert (result.why, result.readings) == ("", 2)
    assert folder.to_send() == [messages(5)[1], messages(5)[3]] and folder.failed == []
    assert (folder.counts.quarantined, folder.counts.on_disk) == (0, 2)


def test_what_a_crash_leaves_of_a_write_is_no_file_in_quarantine(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    failed = str(folder.refuse(1))
    for path in (layout.cause_path(failed), failed):
        Path(layout.rewritten_path(path)).write_bytes(b"half")
    assert [file.path for file in folder.failed] == [failed]
    (result,) = folder.remove("retry")
    assert not result.why and folder.to_send() == [messages(5)[1]]


def test_a_full_disk_leaves_no_half_of_a_rewritten_file(tmp_path: Path) -> None:
    folder, files = Folder(tmp_path), FaultyFileSystem()
    failed = folder.refuse(1, 3)
    folder.files = files
    with files.failing("write", code=errno.ENOSPC, on=lambda path: path.endswith(NEW_EXTENSION), partial_bytes=7):
        (stays,) = folder.remove("retry")
    assert "No space left" in stays.why and failed.exists()
    assert not Path(layout.rewritten_path(str(failed))).exists()


def test_a_file_of_another_program_that_is_named_like_a_replacement_is_in_quarantine(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    failed = folder.refuse(1)
    alone = failed.with_name("other.new.prog")
    alone.write_bytes(b"not ours")
    assert sorted(file.path for file in folder.failed) == sorted([str(failed), str(alone)])


@pytest.mark.parametrize("refused", [(0, 1, 2, 3, 4), (1, 3)], ids=["whole", "in part"])
@pytest.mark.parametrize(("what", "damaged"), [("retry", ()), ("discard", ()), ("discard", (2,))])
def test_wherever_the_process_dies_each_reading_is_in_one_place_and_counts_once(
    tmp_path: Path, what: str, refused: tuple[int, ...], damaged: tuple[int, ...]
) -> None:
    refused = tuple(n for n in refused if n not in damaged)
    for mortal in deaths():
        folder = Folder(tmp_path / str(mortal.dies_at))
        folder.refuse(*refused, damaged=damaged)
        folder.again(mortal)
        with mortal.life():
            folder.remove(what)
        folder.again()
        at_once = sorted(folder.to_send())
        to_send = sorted(messages(5)[n] for n in refused)
        assert at_once in ([], to_send)
        in_quarantine = len(refused) + len(damaged)
        gone = sum(folder.counts.dropped.values())
        assert folder.counts.on_disk == len(at_once), "what is to be sent is what counts as on disk"
        assert folder.counts.quarantined == in_quarantine - len(at_once) - gone
        folder.remove(what)
        if what == "retry":
            assert sorted(folder.to_send()) == to_send, "once"
            assert folder.counts.quarantined == 0
            assert folder.counts.on_disk == len(to_send) and folder.failed == []
        else:
            assert folder.to_send() == [] and folder.failed == []
            assert folder.counts.dropped == {"discarded": in_quarantine} and folder.counts.quarantined == 0
        assert folder.again().readings()[LIDAR] == folder.counts


def test_what_the_journal_knows_of_a_file_from_before_its_quarantine_does_not_hold_any_more(tmp_path: Path) -> None:
    """Otherwise a restart would take the file for delivered, and delete it unsent."""
    folder = Folder(tmp_path)
    folder.refuse(0, 1, 2, 3, 4)
    modified_ns = os.stat(folder.failed[0].path).st_mtime_ns
    folder.remove("retry")
    assert os.stat(folder.path).st_mtime_ns == modified_ns
    assert folder.ledger.acknowledged_of(str(folder.path), modified_ns) == 0
    assert folder.again().acknowledged_of(str(folder.path), modified_ns) == 0


def test_no_file_that_has_the_name_by_now_is_touched(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.refuse(0, 1, 2, 3, 4)
    folder.path.write_bytes(b"another")
    (result,) = folder.remove("retry")
    assert not result.why and folder.path.read_bytes() == b"another"
    assert folder.path.with_name("9999-a~2.capture").exists()


def test_two_files_of_one_name_go_back_under_two_names(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for content in (b"first", b"second"):
        (tmp_path / "note.txt").write_bytes(content)
        quarantine(folder.files, folder.ledger, str(tmp_path), str(tmp_path / "note.txt"), "refused by the cloud")
    assert sorted(os.path.basename(file.path) for file in folder.failed) == ["note.txt", "note~2.txt"]
    assert [result.why for result in folder.remove("retry")] == ["", ""]
    contents = {(tmp_path / name).read_bytes() for name in ("note.txt", "note~2.txt")}
    assert contents == {b"first", b"second"} and folder.ledger.files == FileCounts()


def test_a_file_that_can_not_be_read_stays_until_somebody_has_mended_it(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    content = folder.path.read_bytes()
    folder.path.write_bytes(b"\xff" + content[1:])
    held = QuarantinedReadings(LIDAR, 5, True)
    failed = quarantine(folder.files, folder.ledger, str(tmp_path), str(folder.path), "unreadable", held=held)
    (result,) = folder.remove("retry")
    assert "header" in result.why and folder.counts.quarantined == 5
    Path(failed).write_bytes(content)
    assert [again.why for again in folder.remove("retry")] == [""]
    assert folder.to_send() == messages(5) and (folder.counts.quarantined, folder.counts.on_disk) == (0, 5)


def test_a_file_in_progress_goes_back_complete(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    left = tmp_path / FOLDER / "9999-b.prog"
    left.write_bytes(our_file(metadata(), messages(1)))
    quarantine(folder.files, folder.ledger, str(tmp_path), str(left), "unreadable")
    folder.remove("retry")
    assert left.with_suffix(".capture").exists() and not left.exists()


@pytest.mark.parametrize(
    "note",
    [
        "{",
        "[]",
        '{"held": {"collector": [1]}}',
        '{"damaged": [[1]]}',
        '{"damaged": [[0, 1e999]]}',
        '{"taken_out": 1}',
    ],
)
def test_with_a_sidecar_that_makes_no_sense_a_file_stays(tmp_path: Path, note: str) -> None:
    folder = Folder(tmp_path)
    failed = folder.refuse(1)
    Path(layout.cause_path(str(failed))).write_text(note)
    (result,) = folder.remove("retry")
    assert "can't be understood" in result.why and failed.exists() and folder.to_send() == []
    (row,) = list_page(folder.files, folder.failed, lambda file: True, "", 10).rows
    assert "can't be understood" in row["cause"]


def test_more_than_was_counted_is_never_taken_back(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    lost = Ledger(folder.files, str(tmp_path))
    quarantine(
        folder.files, lost, str(tmp_path), str(folder.path), "refused", held=QuarantinedReadings(LIDAR, 5, True)
    )
    (result,) = folder.remove("retry")
    assert not result.why and folder.counts == ReadingCounts(captured=5)


def test_what_goes_back_during_a_walk_has_not_vanished(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.refuse(0, 1, 2, 3, 4)
    before = folder.ledger.readings()
    folder.remove("retry")
    folder.ledger.reconcile(before, [], [])
    assert (folder.counts.vanished, folder.counts.on_disk) == (0, 5)


def test_a_collector_of_which_a_file_is_just_going_back_is_known(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.refuse(0, 1, 2, 3, 4)
    seen: list[set[Any]] = []

    class Watching(FileSystem):
        def rename(self, source: str, target: str, identity: Identity | None = None) -> None:
            seen.append(folder.ledger.returning_collectors())
            super().rename(source, target, identity)

    folder.files = Watching()
    folder.remove("retry")
    assert seen == [{LIDAR}] and folder.ledger.returning_collectors() == set()


class TestTheList:
    @pytest.fixture
    def rows(self, tmp_path: Path) -> Iterator[Callable[..., list[dict[str, Any]]]]:
        for path in (
            "capture/failed/rdk_component_sensor/lidar/Readings/a.capture",
            "capture/deep/failed/by-the-builtin.txt",
            "capture/.holdfast/failed/x.prog",
            "capture/datasetUpload/failed/x.png",
            "logs/failed/direct.log",
            "logs/failed/somebodys/own.log",
            "logs/today/failed/beside.log",
        ):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(b"12345")
        (tmp_path / "logs/failed/link.log").symlink_to("/etc/hostname")
        roots = [str(tmp_path / "capture")], [str(tmp_path / "logs"), str(tmp_path / "logs/today"), "/nowhere"]

        def listed(after: str = "", limit: int = 100, meant: str = "") -> list[dict[str, Any]]:
            found = quarantined_files(FileSystem(), *roots)
            page = list_page(FileSystem(), found, lambda file: not meant or meant in file.names(), after, limit)
            self.page = page
            return page.rows

        yield listed

    def test_names_what_either_data_manager_has_set_aside_and_nothing_else(
        self, tmp_path: Path, rows: Callable[..., list[dict[str, Any]]]
    ) -> None:
        assert [os.path.relpath(row["path"], tmp_path) for row in rows()] == [
            "capture/deep/failed/by-the-builtin.txt",
            "capture/failed/rdk_component_sensor/lidar/Readings/a.capture",
            "logs/failed/direct.log",
            "logs/today/failed/beside.log",
        ]
        (row,) = rows(meant=str(tmp_path / "logs/direct.log"))
        assert row["file"] == str(tmp_path / "logs/direct.log") and row["size_bytes"] == 5
        assert row["cause"] == "" and row["time"].endswith("Z") and row["readings"] is None

    def test_goes_on_where_the_page_before_has_ended(self, rows: Callable[..., list[dict[str, Any]]]) -> None:
        whole = rows()
        paged, after = [], ""
        while True:
            paged += rows(after, 1)
            assert self.page.files == len(whole)
            after = self.page.next
            if not after:
                break
        assert paged == whole

    @pytest.mark.parametrize("name", ["capture", "capture/failed", "capture/rdk_component_sensor/lidar"])
    def test_a_folder_means_all_in_it_by_where_it_is_and_by_where_it_was(
        self, tmp_path: Path, rows: Callable[..., list[dict[str, Any]]], name: str
    ) -> None:
        found = rows(meant=str(tmp_path / name))
        assert str(tmp_path / "capture/failed/rdk_component_sensor/lidar/Readings/a.capture") in {
            row["path"] for row in found
        }
        assert len(found) == (2 if name == "capture" else 1)


def test_the_sidecar_says_what_counts(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    failed = folder.refuse(1)
    note = json.loads(Path(layout.cause_path(str(failed))).read_text())
    assert note["held"] == {"collector": list(LIDAR), "readings": 1, "ours": True}
    assert note["file"] == str(folder.path) and note["cause"] == "refused" and note["time"].endswith("Z")


def test_what_can_not_be_removed_is_an_error_but_for_what_is_gone(tmp_path: Path) -> None:
    files = FaultyFileSystem()
    path = tmp_path / "x"
    path.write_bytes(b"x")
    with files.failing("remove", code=errno.EIO), pytest.raises(StorageError):
        files.remove_if_there(str(path))
    for _ in range(2):
        files.remove_if_there(str(path))
        assert not path.exists()
