from __future__ import annotations

import logging

import pytest

from holdfast.base.log_limit import INTERVAL_S, MAX_KINDS, MAX_TEXTS, MOST_CALLS, MOST_OF_A_KIND, LogLimit, once


class Log:
    """A logger behind the limit, with a clock that stands still."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.lines: list[str] = []
        self.limit = LogLimit(lambda record: self.lines.append(record.getMessage()), lambda: self.now_s)
        self._logger = logging.Logger("holdfast.x", logging.DEBUG)
        self._logger.addHandler(self.limit)

    def disk_error(self, text: str) -> None:
        self._logger.error("disk: %s", text)

    def lost(self, folder: str, readings: int) -> None:
        self._logger.error("%d readings of %s", readings, folder, extra=once(folder))

    def also_lost(self, folder: str, readings: int) -> None:
        self._logger.error("also %d readings of %s", readings, folder, extra=once(folder))

    def link_error(self, text: str) -> None:
        self._logger.warning("link: %s", text)


@pytest.fixture
def log() -> Log:
    return Log()


def test_no_line_is_repeated_within_a_minute(log: Log) -> None:
    for _ in range(125):
        log.disk_error("full")
        log.now_s += 1
    assert log.lines == ["disk: full"] * 3


def test_no_record_is_more_than_a_line_or_steers_a_terminal(log: Log) -> None:
    log.disk_error("a\n2026-11-29T00:00:00Z\tERROR\tforged\x1b[2J\udcff 100%")
    assert log.lines == [r"disk: a\n2026-11-29T00:00:00Z\tERROR\tforged\x1b[2J\xff 100%"]


def test_where_an_error_was_raised_is_in_the_line_and_nothing_comes_after_it() -> None:
    records: list[logging.LogRecord] = []
    logger = logging.Logger("holdfast.x")
    logger.addHandler(LogLimit(records.append))

    def deeper(left: int) -> None:
        if left:
            deeper(left - 1)
        raise ValueError("forged\n2026-11-29T00:00:00Z\tERROR")

    try:
        deeper(2 * MOST_CALLS)
    except ValueError:
        logger.exception("it failed")
    line = logging.Formatter("%(message)s").format(records[0])
    assert line.startswith("it failed (raised at test_log_limit.py:") and "\n" not in line
    assert line.count("called at test_log_limit.py:") == MOST_CALLS - 1


def test_lines_of_one_kind_are_few_and_those_left_out_are_told(log: Log) -> None:
    for number in range(1000):
        log.disk_error(str(number))
    assert log.lines == [f"disk: {number}" for number in range(MOST_OF_A_KIND)]
    log.now_s += INTERVAL_S
    log.disk_error("again")
    log.disk_error("and again")
    left_out = 1000 - MOST_OF_A_KIND
    assert log.lines[MOST_OF_A_KIND:] == [
        f"disk: again ({left_out} lines like this were left out before)",
        "disk: and again",
    ]


def test_a_line_that_is_left_out_counts_once_however_often_it_comes(log: Log) -> None:
    for number in range(MOST_OF_A_KIND):
        log.disk_error(str(number))
    for _ in range(50):
        log.disk_error("one more")
        log.disk_error("and another")
    log.now_s += INTERVAL_S
    log.disk_error("again")
    assert log.lines[-1] == "disk: again (2 lines like this were left out before)"


def test_one_kind_does_not_silence_another(log: Log) -> None:
    for number in range(100):
        log.disk_error(str(number))
    log.link_error("cut")
    assert log.lines[-1] == "link: cut"


def test_lines_with_one_key_are_logged_once_in_a_minute_whatever_their_numbers(log: Log) -> None:
    for number in range(121):
        log.lost("a", number)
        log.now_s += 1
    assert log.lines == ["0 readings of a", "60 readings of a", "120 readings of a"]


def test_a_key_holds_back_neither_another_key_nor_another_place_in_the_code(log: Log) -> None:
    for number in range(3):
        log.lost("a", number)
        log.lost("b", number)
        log.also_lost("a", number)
    assert log.lines == ["0 readings of a", "0 readings of b", "also 0 readings of a"]


def test_what_is_remembered_is_bounded(log: Log) -> None:
    for number in range(2 * MAX_TEXTS):
        log.now_s += INTERVAL_S
        record = logging.LogRecord("x", logging.INFO, "file", number, "%s", (number,), None)
        log.limit.handle(record)
    assert len(log.limit._texts) <= MAX_TEXTS and len(log.limit._kinds) <= MAX_KINDS
