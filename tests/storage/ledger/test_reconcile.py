"""The ledger after a full walk: what was not found has vanished. The number of collectors has a bound."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from holdfast.storage import layout
from holdfast.storage.ledger import tally
from holdfast.storage.ledger.counts import CollectorId, ReadingCounts
from holdfast.storage.ledger.known_files import Acknowledged
from holdfast.storage.ledger.ledger import Ledger
from holdfast.storage.ledger.moves import MoveKind
from holdfast.storage.ledger.tally import OTHERS
from tests.fakes import FaultyFileSystem

from .. import samples
from ..ledgers import LIDAR, RADAR, capture, go, open_ledger


@pytest.fixture
def files() -> FaultyFileSystem:
    return FaultyFileSystem()


@pytest.fixture
def ledger(files: FaultyFileSystem, tmp_path: Path) -> Ledger:
    return open_ledger(tmp_path, files)


class TestReconcile:
    """What a full walk did not find has vanished; what it may have missed has not."""

    @pytest.fixture
    def before(self, ledger: Ledger) -> dict[CollectorId, ReadingCounts]:
        capture(ledger, 10)
        capture(ledger, 4, collector=RADAR)
        return ledger.readings()

    def vanished(
        self,
        ledger: Ledger,
        before: dict[CollectorId, ReadingCounts],
        folders: Collection[str] = (),
        waiting: Collection[CollectorId] = (),
    ) -> dict[CollectorId, int]:
        ledger.reconcile(before, folders, waiting)
        return {collector: counts.vanished for collector, counts in ledger.readings().items()}

    def folder(self, tmp_path: Path, collector: CollectorId) -> str:
        return layout.collector_folder(os.path.realpath(tmp_path), *collector)

    def test_an_emptied_folder_has_lost_all_that_was_in_it(
        self, ledger: Ledger, before: dict[CollectorId, ReadingCounts], files: FaultyFileSystem, tmp_path: Path
    ) -> None:
        assert self.vanished(ledger, before, [self.folder(tmp_path, RADAR)]) == {LIDAR: 10, RADAR: 0}
        assert ledger.readings()[LIDAR].on_disk == 0
        assert self.vanished(ledger, ledger.readings(), [self.folder(tmp_path, RADAR)])[LIDAR] == 10, "once"
        assert open_ledger(tmp_path, files).readings()[LIDAR].vanished == 10

    def test_a_folder_reached_by_a_link_is_the_same_folder(self, files: FaultyFileSystem, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "real")
        ledger = open_ledger(tmp_path / "link", files)
        capture(ledger, 10)
        assert self.vanished(ledger, ledger.readings(), [self.folder(tmp_path / "real", LIDAR)]) == {LIDAR: 0}
        assert ledger.collector_in(str(tmp_path / "real" / "rdk_component_sensor" / "lidar" / "Readings")) == LIDAR
        assert ledger.collector_in(self.folder(tmp_path / "link", LIDAR)) == LIDAR
        assert ledger.collector_in(str(tmp_path)) is None

    def test_files_that_wait_for_their_names_have_not_vanished(
        self, ledger: Ledger, before: dict[CollectorId, ReadingCounts]
    ) -> None:
        assert self.vanished(ledger, before, waiting={LIDAR, RADAR}) == {LIDAR: 0, RADAR: 0}

    def test_what_was_delivered_or_quarantined_meanwhile_has_not_vanished(
        self, ledger: Ledger, before: dict[CollectorId, ReadingCounts]
    ) -> None:
        ledger.count_delivered(LIDAR, "/x", Acknowledged(6, 1), 6, ours=True)
        go(ledger, MoveKind.QUARANTINED, 1)
        assert self.vanished(ledger, before) == {LIDAR: 3, RADAR: 4}
        assert ledger.readings()[LIDAR].on_disk == 0

    def test_what_was_captured_meanwhile_has_not_vanished(
        self, ledger: Ledger, before: dict[CollectorId, ReadingCounts]
    ) -> None:
        capture(ledger, 5)
        ledger.count_captured(LIDAR)
        assert self.vanished(ledger, before)[LIDAR] == 10
        assert (ledger.readings()[LIDAR].on_disk, ledger.readings()[LIDAR].in_files) == (6, 5)

    def test_unfinished_readings_have_not_vanished(self, ledger: Ledger) -> None:
        ledger.count_captured(LIDAR)
        assert self.vanished(ledger, ledger.readings()) == {LIDAR: 0}


class TestManyCollectors:
    @pytest.fixture
    def few(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(tally, "MAX_COLLECTORS", 3)
        yield

    @pytest.mark.usefixtures("few")
    def test_those_beyond_the_limit_count_together(
        self, files: FaultyFileSystem, ledger: Ledger, tmp_path: Path
    ) -> None:
        names = [(samples.API, str(number), "Readings") for number in range(6)]
        for collector in names:
            capture(ledger, 2, collector=collector)
            ledger.count_delivered(collector, "/x", Acknowledged(1, 1), 1, ours=True)
            ledger.count_dropped(collector, "x", 0)
        expected = dict.fromkeys(names[:3], ReadingCounts(captured=2, delivered=1))
        expected[OTHERS] = ReadingCounts(captured=6, delivered=3)
        assert ledger.readings() == expected
        assert open_ledger(tmp_path, files).readings() == expected
        ledger.reconcile(ledger.readings(), (), ())
        assert ledger.readings()[OTHERS].vanished == 0, "nobody knows their folders"

    @pytest.mark.usefixtures("few")
    def test_the_journals_and_our_own_are_limited_together(
        self, files: FaultyFileSystem, ledger: Ledger, tmp_path: Path
    ) -> None:
        for number in range(3):
            capture(ledger, 1, collector=(samples.API, f"old{number}", "Readings"))
        later = Ledger(files, str(tmp_path))
        for number in range(2):
            later.count_captured((samples.API, f"new{number}", "Readings"))
        later.attach(lambda: None)
        assert len(later.readings()) == 4
        assert sum(counts.captured for counts in later.readings().values()) == 5
