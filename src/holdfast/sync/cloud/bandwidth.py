"""A cap over all uploads together.

A bucket that fills at the limit and whose content goes, in the order in which it was asked for, to calls on the
event loop (`take`) and to streams on gRPC's threads (`shaped`). One may ask for more than the bucket holds: the
next one waits until that is paid. So a call, of a mebibyte at most, goes at the speed of the link, and the average
keeps below the limit. Thread-safe; a change of the limit acts on who waits already.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Iterator

from .streams import Messages

_BURST_S = 0.25
"""How much of the limit an idle link may save up."""
_LOOK_EVERY_S = 0.2
WINDOW_S = 60


class Bandwidth:
    """No limit (0) until it is set."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limit = 0.0
        self._asked = 0.0
        self._paid = 0.0
        self._at_s = time.monotonic()

    @property
    def limit_bytes_per_s(self) -> float:
        return self._limit

    @limit_bytes_per_s.setter
    def limit_bytes_per_s(self, limit: float) -> None:
        with self._lock:
            self._fill()
            self._limit = limit

    async def take(self, size_bytes: int) -> None:
        """Returns when so many bytes may be sent. When cancelled, they are given to the next."""
        turn = self._ask(size_bytes)
        try:
            while wait_s := self._wait_s(turn):  # noqa: ASYNC110 - the limit may change meanwhile
                await asyncio.sleep(wait_s)
        except asyncio.CancelledError:
            with self._lock:
                self._paid += size_bytes
            raise

    def shaped(self, messages: Messages) -> Messages:
        """The same messages, as fast as the limit lets them pass. Blocks whoever iterates them."""

        def shape() -> Iterator[bytes]:
            for message in messages():
                turn = self._ask(len(message))
                while wait_s := self._wait_s(turn):
                    time.sleep(wait_s)
                yield message

        return shape

    def _ask(self, size_bytes: int) -> float:
        """Asks for so many bytes; returns how many must be paid before it is their turn."""
        with self._lock:
            self._fill()
            turn, self._asked = self._asked, self._asked + size_bytes
            return turn

    def _wait_s(self, turn: float) -> float:
        """How long to wait before looking again; 0 when it is the turn."""
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
    """Counts what is sent, a second at a time: it remembers `WINDOW_S` numbers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began_s = time.monotonic()
        self._seconds: deque[tuple[int, int]] = deque()
        self._sum = 0

    def add(self, size_bytes: int) -> None:
        with self._lock:
            now = int(time.monotonic())
            self._forget(now)
            before = self._seconds.pop()[1] if self._seconds and self._seconds[-1][0] == now else 0
            self._seconds.append((now, before + size_bytes))
            self._sum += size_bytes

    @property
    def bytes_per_s(self) -> float:
        with self._lock:
            now_s = time.monotonic()
            self._forget(int(now_s))
            return self._sum / min(WINDOW_S, max(1.0, now_s - self._began_s))

    def _forget(self, now: int) -> None:
        while self._seconds and self._seconds[0][0] <= now - WINDOW_S:
            self._sum -= self._seconds.popleft()[1]
