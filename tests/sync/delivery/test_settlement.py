"""Settlements: the file goes, and its counts are right, wherever the process dies."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from holdfast.base.at import Identity
from holdfast.base.filesystem import FileSystem
from holdfast.storage.capture_files.reader import CaptureReader
from holdfast.storage.layout import FileKind, kind_of
from holdfast.storage.ledger.counts import FileCounts, ReadingCounts
from holdfast.storage.ledger.known_files import WHOLE, Acknowledged
from holdfast.storage.ledger.ledger import Ledger
from holdfast.storage.store import Store
from holdfast.sync.delivery.settlement import Scanned, Settlement, Settlements, settle_together
from holdfast.sync.found import Found
from tests.storage.crashes import deaths
from tests.storage.ledgers import LIDAR, capture, open_ledger
from tests.storage.samples import BOTH, file_of, messages, metadata

READINGS = 5


class Folder:
    """A capture folder that stands in for its store, in the lives of one process after the other."""

    def __init__(self, root: Path, files: FileSystem) -> None:
        self.root = str(root)
        self.again(files)

    def again(self, files: FileSystem | None = None) -> None:
        self.files = files or FileSystem()
        self.ledger: Ledger = open_ledger(Path(self.root), self.files)
        self._settlements = Settlements(self.files)

    def settlement(self, path: Path) -> Settlement:
        return self._settlements.of(cast(Store, self), found_at(path))

    def let_go(self, path: str, identity: Identity, size_bytes: int) -> None:
        self.files.remove(path, identity)

    def file(self, content: bytes, *, name: str = "rdk_component_sensor/lidar/Readings/9999-a.capture") -> Path:
        path = Path(self.root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def torn_file(self, *, checked: bool) -> Path:
        """Writes a file whose last reading is unfinished. It is ours, and captured, or the builtin's."""
        path = self.file(file_of(checked)(metadata(), messages(READINGS))[:-1])
        if checked:
            capture(self.ledger, READINGS)
        return path

    def close(self, path: Path) -> None:
        """Does what delivery does when every good reading is delivered, but for one that the cloud refuses."""
        settlement, refused = self.settlement(path), (1,)
        reader = CaptureReader(self.files, str(path))
        good = len(list(reader))
        reader.close()
        scanned = Scanned.of(reader)
        if not settlement.acknowledged:
            has = Acknowledged(good, settlement.found.modified_ns, refused)
            settlement.note_delivered(LIDAR, has, good - len(refused), ours=scanned.checked)
        settlement.settle_capture_file(scanned, settlement.refused, "no")

    @property
    def counts(self) -> ReadingCounts:
        return self.ledger.readings().get(LIDAR, ReadingCounts())

    @property
    def failed(self) -> bool:
        return any(Path(self.root, "failed").rglob("9999-a.capture"))


def found_at(path: Path) -> Found:
    status = os.stat(path)
    return Found(str(path), kind_of(str(path)), status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def whole(expected: ReadingCounts, *, checked: bool) -> ReadingCounts:
    """Returns all counts of the file: ours was captured, one of the builtin is adopted with what became of it."""
    if checked:
        expected.captured = READINGS
    else:
        expected.adopted = expected.gone
    return expected


@BOTH
def test_wherever_the_process_dies_the_refused_the_torn_and_the_delivered_count_once(
    tmp_path: Path, checked: bool
) -> None:
    for mortal in deaths():
        folder = Folder(tmp_path / str(mortal.dies_at), mortal)
        path = folder.torn_file(checked=checked)
        with mortal.life():
            folder.close(path)
        folder.again()
        assert folder.counts.quarantined == sum(folder.counts.dropped.values()) == int(folder.failed)
        assert folder.failed != path.exists()
        if path.exists():
            folder.close(path)
        expected = whole(ReadingCounts(delivered=3, quarantined=1, dropped={"torn": 1}), checked=checked)
        assert folder.counts == expected
        folder.again()
        assert folder.counts == expected and folder.counts.on_disk == 0


@BOTH
def test_wherever_the_process_dies_the_torn_end_of_a_delivered_file_counts_once(
    tmp_path: Path, checked: bool
) -> None:
    for mortal in deaths():
        folder = Folder(tmp_path / str(mortal.dies_at), mortal)
        path = folder.torn_file(checked=checked)
        reader = CaptureReader(mortal, str(path))
        good = len(list(reader))
        reader.close()
        scanned = Scanned.of(reader)
        with mortal.life():
            settle_together([(folder.settlement(path), scanned)])
        folder.again()
        if path.exists():
            settlement = folder.settlement(path)
            if not settlement.acknowledged:
                has = Acknowledged(good, settlement.found.modified_ns)
                settlement.note_delivered(LIDAR, has, good, ours=checked)
            settlement.settle_capture_file(scanned)
        expected = whole(ReadingCounts(delivered=4, dropped={"torn": 1}), checked=checked)
        assert folder.counts == expected
        folder.again()
        assert folder.counts == expected and folder.counts.on_disk == 0


def test_wherever_the_process_dies_an_unreadable_file_counts_once(tmp_path: Path) -> None:
    for mortal in deaths():
        folder = Folder(tmp_path / str(mortal.dies_at), mortal)
        capture(folder.ledger, READINGS)
        path = folder.file(b"\xff" + file_of(True)(metadata(), messages(READINGS))[1:])
        with mortal.life():
            folder.settlement(path).quarantine_unreadable("damaged")
        folder.again()
        assert folder.counts.quarantined == (READINGS if folder.failed else 0)
        if path.exists():
            folder.settlement(path).quarantine_unreadable("damaged")
        assert folder.counts == ReadingCounts(captured=READINGS, quarantined=READINGS)


@pytest.mark.parametrize("fate", ["refused", "delivered"])
def test_wherever_the_process_dies_an_arbitrary_file_counts_once(tmp_path: Path, fate: str) -> None:
    expected = FileCounts(quarantined=1) if fate == "refused" else FileCounts(delivered=1, delivered_bytes=4)
    for mortal in deaths():
        folder = Folder(tmp_path / str(mortal.dies_at), mortal)
        path = folder.file(b"note", name="note.txt")

        def settle(folder: Folder = folder, path: Path = path) -> None:
            if fate == "refused":
                folder.settlement(path).quarantine_refused_file(Identity.of(path.stat()), "no")
            else:
                folder.settlement(path).settle_file(Identity.of(path.stat()))

        with mortal.life():
            settle()
        folder.again()
        if path.exists():
            settle()
        assert folder.ledger.files == expected
        folder.again()
        assert folder.ledger.files == expected


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Makes threads take turns as often as possible."""
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval_s)


@pytest.mark.usefixtures("eager_threads")
def test_several_threads_settle_more_files_than_are_remembered() -> None:
    ledger = SimpleNamespace(acknowledged_of=lambda *_: WHOLE, forget_file=lambda _: None)
    store = cast(Store, SimpleNamespace(ledger=ledger, let_go=lambda *_: None))
    files = SimpleNamespace(
        is_open_for_writing=lambda _: False, stat=lambda path: SimpleNamespace(st_size=1, st_mtime_ns=int(path))
    )
    settlements = Settlements(cast(FileSystem, files))

    def settle(first: int) -> None:
        for number in range(first, first + 10_000):
            settlements.of(store, Found(str(number), FileKind.ARBITRARY, 1, number, number)).settle_file(
                Identity(0, 0)
            )

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(settle, range(0, 80_000, 10_000)))
