"""The rate of all uploads together: `Bandwidth` limits it, `Meter` measures it.

Both count the bytes of messages, and both are safe to call from any thread: unary calls are made on the event loop,
streams are read on gRPC's threads.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Iterator

from .streams import Messages

_BURST_S = 0.25
"""How many seconds of the limit an idle link may save up."""
_LOOK_EVERY_S = 0.2
"""The longest sleep of a waiter, so that it notices a new limit."""
WINDOW_S = 60
"""`Meter` averages over so many seconds, and remembers one number for each."""


class Bandwidth:
    """A limit on the rate of all uploads together. 0, the default, means no limit.

    It is a bucket that fills at the limit and is emptied in the order of the requests: by calls on the event loop
    (`take`) and by streams on gRPC's threads (`shaped`). A request may exceed what the bucket holds: it passes, and
    the next one waits until it is paid for. So a call, which has at most a mebibyte, is sent at the full speed of
    the link, and the average stays below the limit. A new limit also applies to requests that wait already.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limit = 0.0
        self._asked = 0.0
        self._paid = 0.0
        self._at_s = time.monotonic()

    def set_limit(self, limit: float) -> None:
        """Sets the limit in bytes per second; 0 means none. It takes effect at once."""
        with self._lock:
            self._fill()
            self._limit = limit

    async def take(self, size_bytes: int) -> None:
        """Returns when so many bytes may be sent. When cancelled, the next request gets them."""
        turn = self._ask(size_bytes)
        try:
            while wait_s := self._wait_s(turn):  # noqa: ASYNC110 - the limit may change meanwhile
                await asyncio.sleep(wait_s)
        except asyncio.CancelledError:
            with self._lock:
                self._paid += size_bytes
            raise

    def shaped(self, messages: Messages) -> Messages:
        """Returns the same messages, slowed down to the limit. Iterating them blocks."""

        def shape() -> Iterator[bytes]:
            for message in messages():
                turn = self._ask(len(message))
                while wait_s := self._wait_s(turn):
                    time.sleep(wait_s)
                yield message

        return shape

    def _ask(self, size_bytes: int) -> float:
        """Requests so many bytes. Returns the turn: the total that must be paid before they may be sent."""
        with self._lock:
            self._fill()
            turn, self._asked = self._asked, self._asked + size_bytes
            return turn

    def _wait_s(self, turn: float) -> float:
        """Returns how long to wait before asking again; 0 if `turn` has come."""
        with self._lock:
            self._fill()
            missing = turn - self._paid
            return min(_LOOK_EVERY_S, max(0.001, missing / self._limit)) if self._limit and missing > 0 else 0.0

    def _fill(self) -> None:
        now_s = time.monotonic()
        if self._limit:
            filled = self._paid + (now_s - self._at_s) * self._limit
            self._paid = min(filled, self._asked + self._limit * _BURST_S)
        else:
            self._paid = self._asked
        self._at_s = now_s


class Meter:
    """Measures the rate at which bytes are sent, over the last `WINDOW_S` seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began_s = time.monotonic()
        self._seconds: deque[tuple[int, int]] = deque()
        self._sum = 0

    def add(self, size_bytes: int) -> None:
        """Counts bytes that were sent now."""
        with self._lock:
            now = int(time.monotonic())
            self._forget(now)
            before = self._seconds.pop()[1] if self._seconds and self._seconds[-1][0] == now else 0
            self._seconds.append((now, before + size_bytes))
            self._sum += size_bytes

    @property
    def bytes_per_s(self) -> float:
        """The average rate of the last `WINDOW_S` seconds, or since the meter was created."""
        with self._lock:
            now_s = time.monotonic()
            self._forget(int(now_s))
            return self._sum / min(WINDOW_S, max(1.0, now_s - self._began_s))

    def _forget(self, now: int) -> None:
        while self._seconds and self._seconds[0][0] <= now - WINDOW_S:
            self._sum -= self._seconds.popleft()[1]
