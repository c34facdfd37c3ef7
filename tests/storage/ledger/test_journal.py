"""The journal: whatever happens to its file, the next start works and loses counters at most."""

from __future__ import annotations

import json
import logging
import zlib
from pathlib import Path
from typing import Any

import pytest

from holdfast.base.filesystem import FileSystem
from holdfast.errors import NewerStateError
from holdfast.storage import layout
from holdfast.storage.ledger import journal as journals
from holdfast.storage.ledger.counts import CollectorId, ReadingCounts
from holdfast.storage.ledger.journal import VERSION, Journal
from holdfast.storage.ledger.known_files import Acknowledged
from tests.fakes import FaultyFileSystem

from .. import samples
from ..ledgers import LIDAR, capture, open_ledger

NAMES = [(samples.API, name, "Readings") for name in ("a", "b", "c")]


def path_of(folder: Path) -> Path:
    return Path(layout.state_path(str(folder), "ledger"))


def line_of(record: Any) -> bytes:
    text = json.dumps(record).encode()
    return b"%08x %b\n" % (zlib.crc32(text), text)


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns syncing off: it takes time, and what it guarantees is tested in test_power_cut."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def history(tmp_path: Path) -> tuple[bytes, list[dict[CollectorId, ReadingCounts]]]:
    """Writes a journal with a checkpoint and a line for each further state; returns it, and the states."""
    ledger = open_ledger(tmp_path)
    states = [ledger.readings()]
    for round_number in range(2):
        for collector in NAMES:
            capture(ledger, 1 + round_number, collector=collector)
            states.append(ledger.readings())
    data = path_of(tmp_path).read_bytes()
    assert len(data.splitlines()) == len(states)
    return data, states


def read_back(folder: Path, data: bytes) -> dict[CollectorId, ReadingCounts]:
    """Returns what a start finds. That process goes on counting, and the next start knows it all."""
    path_of(folder).parent.mkdir(exist_ok=True)
    path_of(folder).write_bytes(data)
    ledger = open_ledger(folder)
    found = ledger.readings()
    capture(ledger, 1)
    expected = ledger.readings()
    ledger.close()
    again = open_ledger(folder)
    assert again.readings() == expected
    again.close()
    return found


def test_each_line_holds_what_is_true_from_then_on(
    history: tuple[bytes, list[dict[CollectorId, ReadingCounts]]], tmp_path: Path
) -> None:
    data, states = history
    lines = data.splitlines(keepends=True)
    for count, expected in enumerate(states, start=1):
        assert read_back(tmp_path, b"".join(lines[:count])) == expected
    assert read_back(tmp_path, b"".join([*lines, *lines[1:]])) == states[-1], "values are absolute"


def test_a_torn_end_costs_the_last_line_at_most(
    history: tuple[bytes, list[dict[CollectorId, ReadingCounts]]], tmp_path: Path
) -> None:
    data, states = history
    for cut in range(len(data)):
        whole = data[:cut].count(b"\n") + (data[cut : cut + 1] == b"\n")  # a line is whole without its end too
        assert read_back(tmp_path, data[:cut]) == (states[whole - 1] if whole else {}), f"cut at {cut}"


def test_zeros_at_the_end_cost_the_last_line_at_most(
    history: tuple[bytes, list[dict[CollectorId, ReadingCounts]]], tmp_path: Path
) -> None:
    data, states = history
    for cut in range(0, len(data), 5):
        whole = data[:cut].count(b"\n")
        assert read_back(tmp_path, data[:cut] + bytes(300)) == (states[whole - 1] if whole else {})


def test_a_flipped_byte_costs_its_line_alone(
    history: tuple[bytes, list[dict[CollectorId, ReadingCounts]]], tmp_path: Path
) -> None:
    """The lines of the second round say all about each collector, so one damaged line costs one collector."""
    data, states = history
    first_line = data.index(b"\n")
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        found = read_back(tmp_path, bytes(damaged))
        if place <= first_line:
            assert found == {}
        elif data[place] == ord("\n"):
            assert sum(found.get(name) != states[-1][name] for name in NAMES) <= 2, "it joins two lines"
        else:
            assert sum(found.get(name) != states[-1][name] for name in NAMES) <= 1
        for name, counts in found.items():
            assert any(state.get(name) == counts for state in states), "a count that was never true"


@pytest.mark.parametrize("number", range(7))
def test_a_line_that_is_lost_costs_itself_alone(
    number: int, history: tuple[bytes, list[dict[CollectorId, ReadingCounts]]], tmp_path: Path
) -> None:
    data, states = history
    lines = data.splitlines(keepends=True)
    garbage = b"garbage \xff\n"
    found = read_back(tmp_path, b"".join([*lines[:number], garbage, *lines[number + 1 :]]))
    if number == 0:
        assert found == {}, "the version is not known"
        return
    lost = NAMES[(number - 1) % 3]
    earlier = [state[lost] for state in states[:number] if lost in state]
    assert found[lost] == (earlier[-1] if number > 3 else states[-1][lost])
    assert {name: counts for name, counts in found.items() if name != lost} == {
        name: counts for name, counts in states[-1].items() if name != lost
    }


@pytest.mark.parametrize(
    "data",
    [b"", b"\n", b"\n\n\n", bytes(4096), b"garbage", b"\xff\xfe\x00\n" * 100, b"00000000 \n", b"[]\n{}\n"],
    ids=["empty", "one line", "lines", "zeros", "text", "bytes", "a check", "no checks"],
)
def test_what_is_no_journal_is_kept_aside_and_counting_begins_anew(
    data: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        assert read_back(tmp_path, data) == {}
    assert "counting starts from zero" in caplog.text
    assert Path(layout.state_path(str(tmp_path), "ledger-damaged")).read_bytes() == data


@pytest.mark.parametrize("record", [[], 7, "text", None, {}, {"version": None}, {"version": 0}, {"version": "2"}])
def test_a_first_line_that_says_no_known_version_is_no_journal(record: Any, tmp_path: Path) -> None:
    assert read_back(tmp_path, line_of(record)) == {}


def test_no_journal_is_the_beginning_and_nothing_to_complain_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        ledger = open_ledger(tmp_path / "new")
    assert ledger.readings() == {}
    assert ledger.state == f"kept in {path_of(tmp_path / 'new')}"
    assert caplog.text == ""


def test_a_journal_that_is_too_large_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    capture(open_ledger(tmp_path), 3)
    data = path_of(tmp_path).read_bytes()
    monkeypatch.setattr(journals, "_MAX_READ_BYTES", len(data))
    assert open_ledger(tmp_path).readings() != {}
    monkeypatch.setattr(journals, "_MAX_READ_BYTES", path_of(tmp_path).stat().st_size - 1)
    assert open_ledger(tmp_path).readings() == {}
    assert "too large" in caplog.text


@pytest.mark.parametrize("operation", ["stat", "read"])
def test_a_journal_that_can_not_be_read_costs_counters_only(operation: str, tmp_path: Path) -> None:
    capture(open_ledger(tmp_path), 3)
    files = FaultyFileSystem()
    with files.failing(operation, code=5):
        ledger = open_ledger(tmp_path, files)
    assert ledger.readings() == {}
    capture(ledger, 1)
    assert open_ledger(tmp_path).readings()[LIDAR].captured == 1


def test_a_journal_of_a_newer_version_is_neither_read_nor_overwritten(tmp_path: Path) -> None:
    data = line_of({"version": VERSION + 1, "readings": "quite another way"}) + b"a line of another kind\n"
    path_of(tmp_path).parent.mkdir()
    path_of(tmp_path).write_bytes(data)
    ledger = open_ledger(tmp_path)
    capture(ledger, 3)
    ledger.count_vanished(LIDAR, 1, ours=True)
    assert ledger.readings()[LIDAR].on_disk == 2
    assert "in memory only" in ledger.state and f"version {VERSION + 1}" in ledger.state
    ledger.close()
    assert path_of(tmp_path).read_bytes() == data
    assert list(path_of(tmp_path).parent.iterdir()) == [path_of(tmp_path)]
    with pytest.raises(NewerStateError):
        Journal(FileSystem(), str(tmp_path), dict).read()


def test_a_journal_does_not_grow_further_than_its_bound_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "MAX_BYTES", 2000)
    files = FaultyFileSystem()
    ledger = open_ledger(tmp_path, files)
    largest = 0
    known = tmp_path / "known.capture"
    known.touch()
    modified_ns = known.stat().st_mtime_ns
    for number in range(1, 300):
        capture(ledger, 3)
        ledger.count_delivered(LIDAR, str(known), Acknowledged(number, modified_ns), 1, ours=True)
        ledger.count_captured(NAMES[number % 3])
        ledger.count_dropped(NAMES[number % 3], "x", 1)
        ledger.note_completed(["/gone.prog"])
        ledger.count_file_delivered(f"/gone/{number}", 10, 1)
        ledger.forget_file(f"/gone/{number}")
        largest = max(largest, path_of(tmp_path).stat().st_size)
        if number % 37 == 0:
            killed = open_ledger(tmp_path, FileSystem())
            assert killed.readings() == ledger.readings()
            assert killed.files == ledger.files
            assert killed.acknowledged_of(str(known), modified_ns) == number
            ledger = open_ledger(tmp_path, files)
    assert len(files.tried("replace")) > 3, "made anew several times"
    assert largest < 2000 + 2 * 1500, "the bound, a checkpoint and a line"


def test_a_line_says_what_changed_and_no_more(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    for collector in NAMES:
        capture(ledger, 1, collector=collector)
    ledger.count_file_vanished()
    ledger.save()
    *_, last, files = path_of(tmp_path).read_bytes().splitlines()
    assert json.loads(last[9:]) == {
        "completing": {"/capture/c.prog": 1},
        "collectors": [[*NAMES[-1], {"captured": 1}]],
    }
    assert list(json.loads(files[9:])) == ["files"]


def test_the_files_of_the_journal_are_private_to_the_user(tmp_path: Path) -> None:
    capture(open_ledger(tmp_path / "new"), 1)
    path = path_of(tmp_path / "new")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["ledger.prog"]
