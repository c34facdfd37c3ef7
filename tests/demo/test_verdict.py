"""The demo's verdict: nothing goes missing, comes twice or is made up without being said."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from demo.inputs import LEDGER_HEADER, HostSensor
from demo.verdict import Verdict, compare

SECOND_NS = 1_000_000_000
FLUSH_S = 1.0
KILL_NS = 10 * SECOND_NS


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    return Judge(tmp_path)


class Judge:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(
        self,
        served_at_s: Iterable[float],
        arrived: Iterable[int],
        files: Iterable[tuple[str, str]] = (),
        arrived_files: Iterable[tuple[str, str]] = (),
        kills_ns: Iterable[int] = (),
    ) -> Verdict:
        """Readings 1, 2, … are served at these times; `arrived` are those in the cloud, files are name and hash."""
        ledger = self._folder / "readings.csv"
        rows = [LEDGER_HEADER, *(f"{seq},{int(s * 1e9)}" for seq, s in enumerate(served_at_s, 1))]
        ledger.write_text("".join(f"{row}\n" for row in rows))
        readings = self._lines("cloud.jsonl", ({"data": {"readings": {"seq": seq}}} for seq in arrived))
        written = self._lines("files.jsonl", ({"name": name, "sha256": digest} for name, digest in files))
        there = ({"file_name": f"/logs/{name}", "sha256": digest} for name, digest in arrived_files)
        return compare(ledger, readings, written, self._lines("there.jsonl", there), list(kills_ns), FLUSH_S)

    def _lines(self, name: str, rows: Iterable[Mapping[str, object]]) -> Path:
        path = self._folder / name
        text = "".join(f"{json.dumps(row)}\n" for row in rows)
        if text:
            path.write_text(text)
        return path


def test_all_that_was_given_and_arrived_is_good(judge: Judge) -> None:
    verdict = judge([1, 2, 3], [1, 2, 3], [("a", "x")], [("a", "x")])
    assert verdict.good and (verdict.served, verdict.arrived, verdict.twice) == (3, 3, 0)
    assert verdict.said(FLUSH_S) == "Nothing is missing."
    assert (verdict.files_written, verdict.files_arrived) == (1, 1)


def test_a_reading_that_is_missing_is_named_and_not_good(judge: Judge) -> None:
    verdict = judge([1, 2, 3], [1, 3])
    assert not verdict.good and verdict.missing == [2]
    assert verdict.said(FLUSH_S).startswith("MISSING WITHOUT A REASON: 1 reading (seq 2).")


def test_nothing_that_arrived_at_all_is_everything_missing(judge: Judge) -> None:
    assert judge([1, 2], []).missing == [1, 2]


def test_only_what_was_read_in_the_last_flush_interval_before_a_kill_may_be_lost_to_it(judge: Judge) -> None:
    served_at_s = [8.8, 8.95, 9.5, 10.05, 10.2]
    verdict = judge(served_at_s, [], kills_ns=[KILL_NS])
    assert (verdict.missing, verdict.lost_to_kill) == ([1, 5], [2, 3, 4])
    all_else = judge(served_at_s, [1, 5], kills_ns=[KILL_NS])
    assert all_else.good and all_else.said(FLUSH_S) == (
        "Lost to SIGKILL: 3 readings (seq 2 to 4). The module had them in its memory, where what was read in the "
        "last 1 s may be (capture_flush_interval_ms). Everything else arrived."
    )


def test_a_reading_that_arrived_twice_is_counted_and_good(judge: Judge) -> None:
    verdict = judge([1, 2], [1, 2, 2, 2])
    assert verdict.good and verdict.twice == 2


def test_a_reading_that_nobody_gave_is_not_good(judge: Judge) -> None:
    verdict = judge([1], [1, 7])
    assert not verdict.good and verdict.invented == [7]


def test_a_file_whose_content_is_another_has_not_arrived(judge: Judge) -> None:
    verdict = judge([1], [1], [("a", "x"), ("b", "y")], [("a", "z"), ("b", "y")])
    assert not verdict.good and verdict.files_missing == ["a"]


async def test_the_ledger_of_the_sensor_names_its_columns_once_and_is_continued(tmp_path: Path) -> None:
    ledger = tmp_path / "readings.csv"
    await HostSensor("host", ledger).close()
    for _ in range(2):
        sensor = HostSensor("host", ledger)
        await sensor.get_readings()
        await sensor.close()
    first, *rows = ledger.read_text().splitlines()
    assert first == LEDGER_HEADER and [row.partition(",")[0] for row in rows] == ["1", "2"]
