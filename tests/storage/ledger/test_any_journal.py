"""Whatever stands in a journal, the next start works, no count becomes impossible, and no file is touched."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.base.checked_line import encode
from holdfast.base.filesystem import FileSystem
from holdfast.storage import layout
from holdfast.storage.ledger import entries
from holdfast.storage.ledger.counts import FileCounts, ReadingCounts
from holdfast.storage.ledger.entries import MAX_COUNT
from holdfast.storage.ledger.ledger import Ledger
from holdfast.storage.ledger.moves import Move, MoveKind
from holdfast.storage.ledger.relocation import note_new_place
from holdfast.storage.ledger.tally import MAX_COLLECTORS, Tally

from ..ledgers import LIDAR, RADAR, capture, open_ledger

KNOWN = ReadingCounts(captured=9, delivered=4, quarantined=2)
COUNTED = {"captured": 9, "delivered": 4, "quarantined": 2}
ROW = [*LIDAR, COUNTED]
PAST_ALL_FLOATS = 10**400


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


def opened(folder: Path, *records: Any) -> Ledger:
    """Returns the ledger of a process that finds these records in the journal."""
    path = Path(layout.state_path(str(folder), "ledger"))
    path.parent.mkdir(exist_ok=True)
    first, *others = records or ({},)
    lines = [{"version": 1, "collectors": [ROW], "files": {"quarantined": 3}, **first}, *others]
    path.write_bytes(b"".join(encode(json.dumps(line).encode()) for line in lines))
    return open_ledger(folder)


def assert_possible(ledger: Ledger) -> None:
    every: list[ReadingCounts | FileCounts] = [*ledger.readings().values(), ledger.files]
    for counts in every:
        assert counts.is_possible
        numbers = {name: value for name, value in vars(counts).items() if name != "dropped"}
        assert all(type(value) is int and float(value) < 1e20 for value in numbers.values())


WRONG_COUNTS: list[Any] = [-1, MAX_COUNT + 1, PAST_ALL_FLOATS, 1.5, float("nan"), True, "7", None, [7], {}]


@pytest.mark.parametrize("wrong", WRONG_COUNTS, ids=lambda value: str(value)[:20])
def test_a_count_that_is_none_costs_its_collector_and_no_other(
    wrong: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        ledger = opened(tmp_path, {}, {"collectors": [[*RADAR, {"captured": wrong}], [*LIDAR, {"captured": 10}]]})
    assert ledger.readings() == {LIDAR: ReadingCounts(captured=10)}
    assert "makes no sense and is ignored" in caplog.text
    again = opened(tmp_path, {"collectors": [ROW]}, {"collectors": [[*LIDAR, {"dropped": {"x": wrong}}]]})
    assert again.readings() == {LIDAR: KNOWN}
    assert opened(tmp_path, {}, {"files": {"quarantined": wrong}}).files == FileCounts(quarantined=3)


WRONG_ROWS: list[Any] = [
    7, "text", None, {}, [], [1, 2], [*LIDAR], [*LIDAR, 7], [*LIDAR, None], [*LIDAR, []], [*LIDAR, {"dropped": []}],
    [1, 2, 3, {}], [None, "lidar", "Readings", {}], [["a"], "b", "c", {}], [*LIDAR, "x", {}],
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_ROWS, ids=str)
def test_a_row_that_is_none_costs_itself(wrong: Any, tmp_path: Path) -> None:
    assert opened(tmp_path, {}, {"collectors": [wrong]}).readings() == {LIDAR: KNOWN}
    assert opened(tmp_path, {}, {"collectors": wrong}).readings() == {LIDAR: KNOWN}


def test_what_means_nothing_to_a_later_process_is_not_taken_over(tmp_path: Path) -> None:
    row = [*LIDAR, {**COUNTED, "unfinished": 5, "returned": 5, "of a later version": "x"}]
    assert vars(opened(tmp_path, {"collectors": [row]}).readings()[LIDAR]) == vars(KNOWN)


def test_a_line_that_is_nested_without_end_costs_itself(tmp_path: Path) -> None:
    path = Path(layout.state_path(str(tmp_path), "ledger"))
    opened(tmp_path)
    deep = b"[" * 200_000 + b"]" * 200_000
    path.write_bytes(
        path.read_bytes() + encode(b'{"x": ' + deep + b"}") + encode(b"no JSON") + encode(b"9" * 9_999)
    )
    assert open_ledger(tmp_path).readings() == {LIDAR: KNOWN}


def test_no_more_collectors_come_from_a_journal_than_are_counted_by_name(tmp_path: Path) -> None:
    rows = [["api", f"r{number}", "m", {"captured": 1}] for number in range(3 * MAX_COLLECTORS)]
    assert len(Tally.from_records([{"collectors": rows}]).readings) <= MAX_COLLECTORS + 1
    assert len(opened(tmp_path, {"collectors": rows}).readings()) <= MAX_COLLECTORS + 1


@pytest.mark.parametrize("kind", MoveKind, ids=lambda kind: kind.value)
@pytest.mark.parametrize("readings", [3, 10**12])
@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("torn", [0, 1])
def test_a_move_that_the_counts_do_not_have_in_them_is_not_taken_back(
    tmp_path: Path, kind: MoveKind, readings: int, ours: bool, torn: int
) -> None:
    """Its file need not be one of ours: the journal may name any."""
    counted = {**COUNTED, "captured": 6}  # none is on the disk
    path = tmp_path / "some file"
    path.write_bytes(b"1234")
    moves = {str(path): [kind.value, LIDAR, readings, ours, torn]}
    ledger = opened(tmp_path, {"collectors": [[*LIDAR, counted]], "moving": moves})
    assert_possible(ledger)
    if readings > 3 or torn:
        assert ledger.readings() == {LIDAR: ReadingCounts(captured=6, delivered=4, quarantined=2)}


@pytest.mark.parametrize("kind", MoveKind, ids=lambda kind: kind.value)
@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("collector", [LIDAR, None])
def test_a_move_that_was_counted_is_taken_back(tmp_path: Path, kind: MoveKind, ours: bool, collector: Any) -> None:
    tally = Tally()
    tally.readings[LIDAR] = ReadingCounts(captured=9, adopted=4, quarantined=3)
    tally.files = FileCounts(quarantined=3)
    before, files = tally.readings[LIDAR].copy(), FileCounts(**vars(tally.files))
    move = tally.count_move(Move(kind, collector, 2, ours, 1 if collector else 0))
    tally.take_back_left(move)
    assert tally.readings[LIDAR] == before and tally.files == files


def test_what_was_adopted_into_lost_counts_makes_none_negative(tmp_path: Path) -> None:
    """Otherwise the next start would not take the row for one."""
    ledger = opened(tmp_path, {"collectors": [[*LIDAR, {"captured": 5, "quarantined": 5}]]})
    with ledger.counting("/builtin", Move(MoveKind.PUT_BACK, LIDAR, 3, ours=False)):
        pass
    assert_possible(ledger)
    assert open_ledger(tmp_path).readings() == ledger.readings()


@pytest.mark.parametrize(
    "wrong",
    [7, [], [1], ["1", 2], [-2, 5], [5, 5, [5]], [5, 5, [-1]], [5, 5, 7], [5, 10**30], [5, 5, ["x"]], [1 << 80, 5]],
    ids=str,
)  # fmt: skip
def test_what_the_cloud_can_not_have_of_a_file_is_not_believed(wrong: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.capture"
    path.touch()
    good = [3, 5, [1]]
    ledger = opened(
        tmp_path, {"acknowledged": {str(path): good}}, {"acknowledged": {str(path): wrong, "x\0": good}}
    )
    assert (ledger.acknowledged_of(str(path), 5), ledger.refused_of(str(path), 5)) == (3, (1,))


ANY_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.floats() | st.text(max_size=6)
    | st.sampled_from([PAST_ALL_FLOATS, 1 << 63, 10**12, "\ud800", "/etc/hostname", "a\0b", *LIDAR, list(LIDAR)])
    | st.sampled_from([kind.value for kind in MoveKind]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=10,
)  # fmt: skip
PATHS = st.sampled_from(["/etc/hostname", "/nowhere", "relative", "a\0b", "\ud800", "", "."])
COUNTS = st.dictionaries(
    st.sampled_from([*vars(ReadingCounts()), *vars(FileCounts())]), ANY_JSON | st.integers(0, 9), max_size=5
)
COLLECTORS = st.sampled_from([list(LIDAR), list(RADAR), None])
MOVES = st.tuples(
    st.sampled_from([kind.value for kind in MoveKind]), COLLECTORS,
    st.integers(0, 20), st.booleans(), st.integers(0, 2),
)  # fmt: skip
RECORDS = ANY_JSON | st.fixed_dictionaries(
    {},
    optional={
        "version": ANY_JSON | st.just(1),
        "collectors": ANY_JSON | st.lists(st.builds(lambda c: [*LIDAR, c], COUNTS) | ANY_JSON, max_size=3),
        "files": ANY_JSON | COUNTS,
        "completing": ANY_JSON | st.dictionaries(PATHS, ANY_JSON, max_size=3),
        "acknowledged": ANY_JSON | st.dictionaries(PATHS, ANY_JSON, max_size=3),
        "moving": ANY_JSON | st.dictionaries(PATHS, ANY_JSON | MOVES, max_size=3),
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=300)
@given(records=st.lists(RECORDS, max_size=3))
def test_whatever_the_journal_says_the_next_starts_work_and_count(
    tmp_path_factory: pytest.TempPathFactory, records: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    ledger = opened(folder, {}, *records)
    assert_possible(ledger)
    capture(ledger, 2)
    expected = ledger.readings(), ledger.files
    ledger.close()
    again = open_ledger(folder)
    assert (again.readings(), again.files) == expected
    note_new_place(FileSystem(), str(folder), str(folder.with_name("new")))
    assert open_ledger(folder).readings() == expected[0]


@pytest.mark.parametrize("path", ["a\0b", "/a\0b", "relative", "", ".", "/\ud800"])
def test_what_is_no_path_stands_for_no_file(path: str) -> None:
    assert list(entries.by_path({path: 1, "/good": 2, "/gone": None}, int)) == [("/good", 2), ("/gone", None)]
