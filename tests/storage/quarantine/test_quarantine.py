"""Moving a file into quarantine: the file, its cause and its count change as one, wherever a crash comes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from holdfast.base.filesystem import FileSystem
from holdfast.errors import StorageError
from holdfast.storage import layout
from holdfast.storage.ledger.counts import FileCounts, ReadingCounts
from holdfast.storage.ledger.known_files import Acknowledged
from holdfast.storage.quarantine.quarantine import quarantine
from holdfast.storage.quarantine.sidecar import QuarantinedReadings, read_sidecar
from tests.fakes import FaultyFileSystem

from ..crashes import STEM, deaths, leave, run
from ..ledgers import LIDAR, capture, open_ledger
from ..samples import BOTH, file_of, messages, metadata, our_file

FOLDER = "rdk_component_sensor/lidar/Readings"


class Folder:
    """A capture folder with a file of five readings. The cloud has two of them, and the last one is torn."""

    def __init__(self, root: Path, files: FileSystem, *, checked: bool = True) -> None:
        self.root = root
        self.checked = checked
        self.path = root / FOLDER / f"{STEM}.capture"
        self.path.parent.mkdir(parents=True)
        self.path.write_bytes(file_of(checked)(metadata(), messages(5))[:-1])
        self.again(files)
        if checked:
            capture(self.ledger, 5)
        has = Acknowledged(2, os.stat(self.path).st_mtime_ns)
        self.ledger.count_delivered(LIDAR, str(self.path), has, 2, ours=checked)

    def refuse(self) -> str:
        held = QuarantinedReadings(LIDAR, 2, self.checked)
        return quarantine(self.files, self.ledger, str(self.root), str(self.path), "refused", held=held, torn=1)

    def again(self, files: FileSystem | None = None) -> None:
        """Begins the next process, and returns its ledger."""
        self.files = files or FileSystem()
        self.ledger = open_ledger(self.root, self.files)

    @property
    def counts(self) -> ReadingCounts:
        return self.ledger.readings()[LIDAR]

    def expected(self, *, gone: bool) -> ReadingCounts:
        known = ReadingCounts(captured=5, delivered=2) if self.checked else ReadingCounts(adopted=2, delivered=2)
        if gone:
            known.quarantined, known.dropped = 2, {"torn": 1}
            known.adopted += 0 if self.checked else 3
        return known


@BOTH
def test_wherever_the_process_dies_what_counts_as_quarantined_is_what_lies_there(
    tmp_path: Path, checked: bool
) -> None:
    for mortal in deaths():
        folder = Folder(tmp_path / str(mortal.dies_at), mortal, checked=checked)
        with mortal.life():
            folder.refuse()
        folder.again()
        failed = layout.failed_path(str(folder.path), str(folder.root))
        gone = os.path.exists(failed)
        assert gone != folder.path.exists()
        assert folder.counts == folder.expected(gone=gone)
        if gone:
            assert read_sidecar(folder.files, failed).held == QuarantinedReadings(LIDAR, 2, checked)
        else:
            assert folder.ledger.acknowledged_of(str(folder.path), os.stat(folder.path).st_mtime_ns) == 2
            assert folder.refuse() == failed
        assert folder.counts == folder.expected(gone=True)
        folder.again()
        assert folder.counts == folder.expected(gone=True)


def test_wherever_the_process_dies_an_arbitrary_file_in_quarantine_counts_once(tmp_path: Path) -> None:
    for mortal in deaths():
        root = tmp_path / str(mortal.dies_at)
        ledger = open_ledger(root, mortal)
        path = root / "note.txt"
        path.write_bytes(b"note")
        with mortal.life():
            quarantine(mortal, ledger, str(root), str(path), "refused")
        again = open_ledger(root)
        assert again.files == FileCounts(quarantined=int(not path.exists()))
        if path.exists():
            quarantine(FileSystem(), again, str(root), str(path), "refused")
        assert again.files == open_ledger(root).files == FileCounts(quarantined=1)


@pytest.mark.parametrize("counted", [True, False], ids=["counted before", "counted by recovery"])
def test_wherever_recovery_dies_a_file_without_a_header_counts_once(tmp_path: Path, counted: bool) -> None:
    for mortal in deaths():
        root = tmp_path / str(mortal.dies_at)
        content = our_file(metadata(), messages(5))
        path = leave(root / FOLDER / f"{STEM}.prog", b"\xff" + content[1:])
        ledger = open_ledger(root, mortal)
        capture(ledger, 1)
        if counted:
            capture(ledger, 5, str(path))
        with mortal.life():
            run(root, ledger, mortal)
        again = open_ledger(root)
        in_quarantine = 0 if path.exists() else 5
        counts = again.readings()[LIDAR]
        assert counts.quarantined == in_quarantine
        assert counts.on_disk == 6 - in_quarantine or (counts.on_disk == 1 and not counted)
        run(root, again)
        assert not path.exists()
        assert again.readings()[LIDAR] == ReadingCounts(captured=6, quarantined=5)
        assert open_ledger(root).readings()[LIDAR] == ReadingCounts(captured=6, quarantined=5)


@pytest.mark.parametrize("operation", ["rename", "replace", "make_folder"])
def test_a_file_that_the_disk_refuses_to_move_stays_and_is_not_counted(tmp_path: Path, operation: str) -> None:
    files = FaultyFileSystem()
    folder = Folder(tmp_path, files)
    with files.failing(operation, code=errno.EIO), pytest.raises(StorageError):
        folder.refuse()
    assert folder.path.exists() and folder.counts == folder.expected(gone=False)
    folder.refuse()
    assert folder.counts == folder.expected(gone=True)


def test_another_file_that_comes_to_the_path_takes_nothing_back(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    path = tmp_path / "note.txt"
    for number in (1, 2):
        path.write_bytes(b"note")
        quarantine(FileSystem(), ledger, str(tmp_path), str(path), "refused")
        path.write_bytes(b"another")
        ledger = open_ledger(tmp_path)
        assert ledger.files == FileCounts(quarantined=number)
