"""A thread runs until its function returns, whatever that raises. Without room for a thread there is an error."""

from __future__ import annotations

import asyncio
import threading

import pytest

from holdfast.base import threads
from holdfast.base.threads import SupervisedThread, in_own_thread

PATIENCE_S = 10.0


def test_it_runs_until_its_function_returns_also_after_errors() -> None:
    tries: list[str] = []

    def run() -> None:
        tries.append(threading.current_thread().name)
        if len(tries) < 3:
            raise ValueError

    thread = SupervisedThread("holdfast-test", "a test", run)
    assert thread.join(PATIENCE_S) and not thread.is_alive
    assert tries == ["holdfast-test"] * 3


async def test_a_function_on_its_own_thread_gives_its_result() -> None:
    assert await in_own_thread("holdfast-test", "a test", lambda a, b: a + b, 1, 2) == 3


async def test_where_memory_ends_in_a_new_thread_that_is_an_error_and_no_hang(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`Thread.start` waits for ever for a thread that ends before it gives a sign."""
    monkeypatch.setattr(threads, "_BEGIN_S", 0.05)
    monkeypatch.setattr(threading.Thread, "_bootstrap_inner", lambda _: None)
    with pytest.raises(RuntimeError, match="can't start new thread holdfast-test: no memory for it"):
        in_own_thread("holdfast-test", "a test", lambda: 1)


def test_where_the_system_allows_no_thread_that_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        SupervisedThread("holdfast-test", "a test", lambda: None)


async def test_a_thread_that_comes_too_late_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was told that it never runs may do the work in another way."""
    may_begin, begun, ran = threading.Event(), threading.Event(), threading.Event()
    bootstrap = threading.Thread._bootstrap_inner  # type: ignore[attr-defined]

    def late(thread: threading.Thread) -> None:
        may_begin.wait(PATIENCE_S)
        bootstrap(thread)
        begun.set()

    monkeypatch.setattr(threads, "_BEGIN_S", 0.05)
    monkeypatch.setattr(threading.Thread, "_bootstrap_inner", late)
    with pytest.raises(RuntimeError):
        SupervisedThread("holdfast-test", "a test", ran.set)
    may_begin.set()
    assert await asyncio.to_thread(begun.wait, PATIENCE_S)
    assert not ran.is_set()
