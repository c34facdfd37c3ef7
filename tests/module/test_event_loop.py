"""The event loop's timer is finer than a millisecond, and nothing else is different."""

from __future__ import annotations

import asyncio
import selectors
import socket
import sys
import threading
import time

import pytest

from holdfast.base.tasks import in_thread
from module import event_loop

pytestmark = pytest.mark.skipif(not hasattr(selectors, "EpollSelector"), reason="there is no epoll here")


def test_it_waits_in_parts_of_a_millisecond() -> None:
    """The shortest of many waits tells: noise only makes them longer."""
    selector = event_loop.FineSelector()

    def wait_s() -> float:
        started = time.perf_counter()
        assert selector.select(0.0003) == []
        return time.perf_counter() - started

    assert 0.0003 <= min(wait_s() for _ in range(200)) < 0.001
    selector.close()


def test_what_becomes_readable_ends_a_wait_of_any_length() -> None:
    selector = event_loop.FineSelector()
    near, far = socket.socketpair()
    with near, far:
        selector.register(near, selectors.EVENT_READ)
        far.send(b"x")
        for timeout_s in (None, 0, 0.001, 10.0):
            ((key, _),) = selector.select(timeout_s)
            assert key.fileobj is near
    selector.close()


def test_what_still_runs_at_the_end_is_cancelled_and_the_loop_closed() -> None:
    seen: list[object] = []

    async def left_over() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cancelled")

    async def main() -> None:
        seen.append(asyncio.create_task(left_over()))
        await asyncio.sleep(0.001)
        seen.append(await asyncio.to_thread(lambda: "thread"))
        seen.append(asyncio.get_running_loop())
        seen.append(sys.getswitchinterval())

    usual_s = sys.getswitchinterval()
    try:
        event_loop.run(main())
    finally:
        sys.setswitchinterval(usual_s)
    assert seen[1] == "thread"
    assert isinstance(seen[3], float) and seen[3] < usual_s / 2
    assert seen[4:] == ["cancelled"]
    assert isinstance(seen[2], asyncio.AbstractEventLoop)
    assert seen[2].is_closed()


def test_the_end_does_not_wait_for_what_a_stalled_disk_holds_up() -> None:
    go_on = threading.Event()
    late = threading.Timer(30, go_on.set)
    late.start()

    async def main() -> None:
        asyncio.get_running_loop().create_task(in_thread(go_on.wait))
        await asyncio.sleep(0.001)

    usual_s = sys.getswitchinterval()
    try:
        event_loop.run(main())
        assert not go_on.is_set()
    finally:
        go_on.set()
        late.cancel()
        sys.setswitchinterval(usual_s)


def test_it_needs_no_further_thread_however_many_functions_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that allows none makes no function run behind the back of its caller."""
    ran: list[int] = []

    async def main() -> None:
        def refuse(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)
        go_on = threading.Event()
        waiting = [asyncio.create_task(in_thread(go_on.wait, 30)) for _ in range(event_loop._WORKERS)]
        behind = [asyncio.create_task(in_thread(ran.append, number)) for number in range(50)]
        await asyncio.sleep(0.01)
        go_on.set()
        await asyncio.gather(*waiting, *behind)

    usual_s = sys.getswitchinterval()
    try:
        event_loop.run(main())
    finally:
        sys.setswitchinterval(usual_s)
    assert sorted(ran) == list(range(50))
