"""Unforeseen errors: none ends a thread or a task unseen, and each is in the log and in the status."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from holdfast.base import tasks, unforeseen
from holdfast.base.log_limit import LogLimit
from holdfast.base.tasks import all_done, begin, supervised
from holdfast.base.threads import SupervisedThread
from holdfast.errors import HoldfastError


def last(what: str) -> unforeseen.Unforeseen:
    return next(each for each in unforeseen.all_found() if each.what == what)


def test_an_error_is_in_the_log_with_its_trace_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        try:
            int("x")
        except ValueError as error:
            unforeseen.note("a part of the test", error, "the test goes on")
    found = last("a part of the test")
    assert (found.times, found.error) == (3, "ValueError: invalid literal for int() with base 10: 'x'")
    assert "a part of the test failed unexpectedly (ValueError: invalid" in caplog.text
    assert "the test goes on" in caplog.text and 'int("x")' in caplog.text


def test_a_log_that_fails_too_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unforeseen.logger, "error", lambda *_, **__: 1 / 0)
    unforeseen.note("a part without a log", MemoryError(), "it goes on")
    assert last("a part without a log").error == "MemoryError"


def test_what_is_remembered_is_bounded() -> None:
    for number in range(2 * unforeseen.MAX_PARTS):
        unforeseen.remember(f"part {number}", ValueError())
    assert [each.what for each in unforeseen.all_found()][-1] == f"part {2 * unforeseen.MAX_PARTS - 1}"
    assert len(unforeseen.all_found()) == unforeseen.MAX_PARTS


@pytest.mark.parametrize("error", [ValueError("once"), MemoryError(), RecursionError(), RuntimeError("no thread")])
def test_a_thread_goes_on_after_an_error(error: Exception) -> None:
    left = [error, error]
    ended = threading.Event()

    def run() -> None:
        if left:
            raise left.pop()
        ended.set()

    thread = SupervisedThread("test", f"a thread with {error!r}", run)
    assert ended.wait(30) and thread.join(30)
    assert last(f"a thread with {error!r}").times == 2


async def test_a_task_that_nobody_waits_for_does_not_end_unseen() -> None:
    async def fail(error: Exception) -> None:
        raise error

    for error in (ValueError("unforeseen"), HoldfastError("foreseen")):
        task = begin(fail(error), f"task with {error}")
        await asyncio.wait([task])
        await asyncio.sleep(0)
    names = [each.what for each in unforeseen.all_found()]
    assert "task with unforeseen" in names and "task with foreseen" not in names


async def test_a_part_of_the_program_is_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_RESTART_S", 0.0)
    left = [ValueError("twice"), ValueError("twice")]

    async def run() -> None:
        if left:
            raise left.pop()

    await supervised("a part that fails", run)
    assert last("a part that fails").times == 2


async def test_what_fails_at_the_end_keeps_nothing_else_from_its_end() -> None:
    async def fail() -> int:
        raise ValueError("at the end")

    async def work() -> int:
        await asyncio.sleep(0)
        return 1

    assert await all_done("the end of the test", fail(), work()) == [None, 1]
    assert last("the end of the test").times == 1


def test_a_line_that_the_handler_can_not_take_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(record: logging.LogRecord) -> None:
        raise OverflowError("a handler that does not like it")

    LogLimit(fail).handle(logging.makeLogRecord({"msg": "something"}))
    assert "something" in capsys.readouterr().err
