"""How far the upload of one file is, in the log: nothing of one that is quick.

A line when another tenth has gone, not within `QUIET_S` of the last one, and one at the end of what took longer.
One thread at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from ...base.clock import Clock
from ...base.words import duration, size
from ...errors import printable
from ..cloud.streams import Messages

QUIET_S = 30.0
_STEP = 0.1

logger = logging.getLogger(__name__)


class Progress:
    """Begins when it is made."""

    def __init__(self, clock: Clock, path: str, size_bytes: int) -> None:
        self._clock = clock
        self._path = path
        self._size_bytes = size_bytes
        self._taken_bytes = self._sent_bytes = 0
        self._began_s = self._said_s = clock.monotonic()
        self._said_share = 0.0

    def counted(self, messages: Messages) -> Messages:
        """The same messages, counted as they are taken; a stream that begins anew counts anew."""

        def count() -> Iterator[bytes]:
            self._sent_bytes = self._taken_bytes
            for message in messages():
                yield message
                self._sent(len(message))

        return count

    def note_accepted(self, size_bytes: int = 0) -> None:
        """The cloud has a further part: one of `size_bytes`, or what went by `counted`."""
        self._sent(size_bytes)
        self._taken_bytes = self._sent_bytes

    def _sent(self, size_bytes: int) -> None:
        self._sent_bytes += size_bytes
        share = min(1.0, self._sent_bytes / max(1, self._size_bytes))
        now_s = self._clock.monotonic()
        if now_s - self._said_s < QUIET_S or share - self._said_share < _STEP:
            return
        self._said_s, self._said_share = now_s, share
        logger.info(
            "sending %s: %.0f %% of %s, %s/s, %s to go",
            printable(self._path), share * 100, size(self._size_bytes), size(self._rate(now_s)),
            duration((now_s - self._began_s) / share * (1 - share)),
        )  # fmt: skip

    def note_end(self) -> None:
        """The cloud has all of it."""
        now_s = self._clock.monotonic()
        if now_s - self._began_s >= QUIET_S:
            logger.info(
                "sent %s: %s in %s, %s/s",
                printable(self._path), size(self._size_bytes), duration(now_s - self._began_s),
                size(self._rate(now_s)),
            )  # fmt: skip

    def _rate(self, now_s: float) -> float:
        return self._sent_bytes / max(0.001, now_s - self._began_s)
