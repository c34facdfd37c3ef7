"""`holdfast gaps`: what the record in a capture folder says, for people and for programs."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest

from holdfast.base.filesystem import FileSystem
from holdfast.capture import gap_file
from holdfast.capture.causes import Absence, Cause
from holdfast.capture.gap_file import Record
from holdfast.capture.gap_view import why_in_words
from holdfast.capture.gaps import Away, Gap
from holdfast.cli import main
from holdfast.storage.lock import FolderLock

NS = 1_000_000_000
START_NS = 1_700_000_000 * NS
LIDAR = ("rdk:component:sensor", "lidar", "Readings")
CAMERA = ("rdk:component:camera", "cam\n\x1b[2J", "GetImages")
RECORDS = [
    Record(
        "lidar",
        LIDAR,
        5.0,
        17,
        [
            Gap(START_NS, {"slow_call": 6, "error": 4}, START_NS + 2 * NS, 2.0),
            Gap(START_NS + 50 * NS, {"not_running": 0}, START_NS + 40 * NS, None),
        ],
        None,
    ),
    Record("cam", CAMERA, 1.0, 0, [], Away(START_NS + 60 * NS, Absence.PAUSED, START_NS + 60 * NS)),
    Record("gone", LIDAR, 1.0, 0, [], Away(START_NS, Absence.CONFIG, START_NS)),
]
ALIVE_NS = START_NS + 100 * NS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    gap_file.write(FileSystem(), str(tmp_path), RECORDS, ALIVE_NS)
    return tmp_path


def test_people_get_a_table_in_the_order_of_time(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gaps", str(folder)]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["from", "to", "lasted", "missing", "collector", "why"]
    cells = [re.split(r"  +", row) for row in rows]
    assert cells[0] == [
        "2023-11-14T22:13:20Z",
        "2023-11-14T22:13:22Z",
        "2 s",
        "10",
        "Readings of lidar",
        "a call ran long (60 %), calls failed (40 %)",
    ]
    assert cells[1][2:] == ["not known", "not known", "Readings of lidar", "Holdfast was not running"]
    assert cells[2][1:4] == ["lasts", "40 s", "40"] and cells[2][-1] == "paused by command"
    assert "17 readings are missing besides" in rows[3]
    assert rows[4].startswith("the record was last written at 2023-11-14T22:15:00Z")
    assert len(rows) == 5 and all(row.isprintable() for row in rows), "names steer no terminal"


def test_a_program_gets_the_gaps_as_in_the_status(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gaps", str(folder), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["as_of"] == "2023-11-14T22:15:00.000Z"
    assert answer["scattered"] == [
        {"resource": "lidar", "api": "rdk:component:sensor", "method": "Readings", "readings": 17}
    ]
    assert answer["gaps"][0] == {
        "resource": "lidar",
        "api": "rdk:component:sensor",
        "method": "Readings",
        "from": "2023-11-14T22:13:20.000Z",
        "to": "2023-11-14T22:13:22.000Z",
        "lasts_s": 2.0,
        "missed": 10,
        "why": [{"cause": "slow_call", "readings": 6}, {"cause": "error", "readings": 4}],
    }
    unknown, lasting = answer["gaps"][1:]
    assert "missed" not in unknown and "lasts_s" not in unknown and unknown["why"] == [{"cause": "not_running"}]
    assert "to" not in lasting and lasting["missed"] == 40


@pytest.mark.parametrize(("since", "count"), [("2023-11-14T22:13:21Z", 3), ("2023-11-14T22:13:30Z", 2), ("1h", 1)])
def test_older_gaps_can_be_left_out(
    folder: Path, capsys: pytest.CaptureFixture[str], since: str, count: int
) -> None:
    assert main(["gaps", str(folder), "--json", "--since", since]) == 0
    assert len(json.loads(capsys.readouterr().out)["gaps"]) == count


def test_of_a_holdfast_that_runs_nothing_is_said_of_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gap_file.write(FileSystem(), str(tmp_path), [], time.time_ns())
    assert main(["gaps", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "no gaps\n"


def test_whether_holdfast_runs_is_known_by_the_lock_of_the_folder(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def last_line() -> str:
        assert main(["gaps", str(folder)]) == 0
        return capsys.readouterr().out.splitlines()[-1]

    assert last_line().endswith(": Holdfast does not run, or can't write it"), "it has no lock"
    lock = FolderLock(FileSystem(), str(folder))
    assert lock.try_acquire()
    assert last_line().startswith(
        f"Holdfast runs (process {os.getpid()}), and has not written the record since 2023-11-14T22:15:00Z, "
    )
    lock.release()
    assert last_line().startswith("Holdfast does not run; it was last alive at 2023-11-14T22:15:00Z, ")
    assert lock.try_acquire(), "it was looked at, not taken"
    lock.release()


def test_without_a_folder_it_is_viam_servers_default(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("VIAM_HOME", raising=False)
    gap_file.write(FileSystem(), str(tmp_path / ".viam" / "capture"), RECORDS, ALIVE_NS)
    assert main(["gaps"]) == 0
    assert "lidar" in capsys.readouterr().out


def test_what_can_not_be_read_is_said_and_stays_as_it_is(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = folder / ".holdfast" / "gaps.prog"
    for spoil, words in (
        (lambda: path.write_bytes(b"something else"), "first line is damaged"),
        (lambda: os.chmod(path, 0o666), "another user"),
        (path.unlink, "no record of gaps"),
    ):
        spoil()
        before = sorted(each.name for each in path.parent.iterdir())
        assert main(["gaps", str(folder)]) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.startswith("holdfast: ") and words in captured.err
        assert sorted(each.name for each in path.parent.iterdir()) == before
    assert main(["gaps", str(tmp_path / "nowhere")]) == 2
    assert "no record of gaps" in capsys.readouterr().err


@pytest.mark.parametrize("since", ["yesterday", "3 d", "", "99999-01-01", "1e3d"])
def test_a_time_that_is_none_is_refused_with_what_is_possible(
    folder: Path, capsys: pytest.CaptureFixture[str], since: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["gaps", str(folder), "--since", since])
    assert ended.value.code == 2
    assert "90min, 2h or 3d" in capsys.readouterr().err


@pytest.mark.parametrize("cause", [*Cause, *Absence])
def test_each_cause_has_words_for_people(cause: Cause | Absence) -> None:
    words = why_in_words(Gap(0, {cause.value: 5}))
    assert words and "_" not in words
