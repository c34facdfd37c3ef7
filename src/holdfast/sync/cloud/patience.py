"""How long a call may take: as long as its bytes move, but not without end.

gRPC reports neither how much of a message was sent nor whether the receiver accepts any of it. A fixed deadline
would give up calls that a slow link does carry, again and again. The kernel knows (`kernel`): if the receiver
acknowledges bytes while more of ours wait to be sent, the call moves. Where the kernel can't be asked, a call that
does not end is given up after a fixed time. Time is counted in looks, so a computer that slept or was held up does
not take that for a stalled call.

Runs on the event loop and takes little of its time: all calls share one look at the kernel's figures.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from . import kernel
from .kernel import Figures

LOOK_S = 5.0
"""Seconds from one look to the next."""
_STALLED_LOOKS = 12
"""A call that did not move during so many looks, one minute, is given up."""
_SLOWEST_BYTES_PER_S = 4096
"""A call gets its size divided by this as additional time, whether it is seen to move or not."""
_MOST_MOVED_BYTES = 64 * 1024 * 1024
"""Far more than can be under way before a call. Movement beyond this is not of the call that is watched."""


class Movement:
    """What moves over all connections to `port` together. It is looked at no more than twice in `LOOK_S`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._asking = 0
        self._figures = Figures()
        self._again_s = 0.0

    def figures(self) -> Figures:
        """Returns what the kernel knows of the connections. It may be half of `LOOK_S` old."""
        now_s = time.monotonic()
        if now_s >= self._again_s:
            self._figures, self._again_s = kernel.figures(self._port), now_s + LOOK_S / 2
        return self._figures

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Meanwhile the kernel asks over connections that are silent whether the other side is still there."""
        self._asking += 1
        kernel.ask(self._port, on=True)
        try:
            yield
        finally:
            self._asking -= 1
            kernel.ask(self._port, on=self._asking > 0)

    async def arrives(self, before: Figures, since_s: float) -> bool:
        """Returns whether the other side still gets what is sent over a connection that is open now: it
        acknowledged more than the figures `before`, of the monotonic time `since_s`, or it answered when asked.
        Waits for that until `LOOK_S` after that time."""
        while True:
            found = kernel.figures(self._port)
            if found.has_more_than(before) or found.heard_s >= since_s:
                return found.are_open
            if not found.are_open or time.monotonic() >= since_s + LOOK_S:
                return False
            await asyncio.sleep(LOOK_S / 10)


class Patience:
    """Decides whether one call of `size_bytes` is worth waiting for. The caller calls `look` every `LOOK_S`."""

    def __init__(self, movement: Movement, size_bytes: int = 0) -> None:
        self._movement = movement
        self._looks = _STALLED_LOOKS + int(size_bytes / _SLOWEST_BYTES_PER_S / LOOK_S)
        self._acknowledged: int | None = None
        self.is_lost = False
        """Whether, at the last look, what was sent did not arrive, although it was sent again."""
        self._moved_bytes = 0

    @property
    def is_over(self) -> bool:
        """Whether the call is not worth waiting for any longer."""
        return self._looks <= 0

    def look(self, *, moved: bool = False) -> bool:
        """Returns whether to keep waiting. `moved` says that the caller knows that the call moved."""
        self._looks -= 1
        if self._looks < _STALLED_LOOKS and (moved or self._moves()):
            self._looks = _STALLED_LOOKS
        return not self.is_over

    def _moves(self) -> bool:
        before, found = self._acknowledged, self._movement.figures()
        self._acknowledged, self.is_lost = found.acknowledged_bytes, found.is_lost
        more = 0 if before is None else max(0, self._acknowledged - before)
        self._moved_bytes += more
        return more > 0 and found.waiting_bytes > 0 and self._moved_bytes < _MOST_MOVED_BYTES
