"""How far the upload of one file is. Of a large file this is logged, unless the upload is quick.

There is a line for each further tenth, but none within `QUIET_S` of the last one, and a line at the end of an
upload that took longer than that. Not thread-safe: one thread at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from ...base.clock import Clock
from ...base.words import duration, size
from ..cloud.streams import Messages
from .calls import MAX_CALL_BYTES

QUIET_S = 30.0
LARGE_BYTES = MAX_CALL_BYTES
"""The upload of a smaller file takes long only when it waits for something, and of that there is a line already."""
_STEP = 0.1

logger = logging.getLogger(__name__)


class Progress:
    """The progress of one upload, which begins when this is created."""

    def __init__(self, clock: Clock, path: str, size_bytes: int) -> None:
        self._clock = clock
        self._path = path
        self._size_bytes = size_bytes
        self._taken_bytes = self._sent_bytes = 0
        self._began_s = self._said_s = clock.monotonic()
        self._said_share = 0.0
        self._is_begun = False

    @property
    def sent_bytes(self) -> int:
        """How much was sent so far. Safe to ask from any thread."""
        return min(self._sent_bytes, self._size_bytes)

    def note_begun(self) -> None:
        """Notes that a call begins; with the first one, the upload does."""
        if not self._is_begun:
            self._is_begun = True
            self._began_s = self._said_s = self._clock.monotonic()

    def note_failed(self) -> None:
        """Notes that a call has failed: what it had sent is sent again."""
        self._sent_bytes = self._taken_bytes

    def counted(self, messages: Messages) -> Messages:
        """Returns the same messages, counted as gRPC takes them. A stream that begins again is counted again,
        from what the cloud has accepted."""

        def count() -> Iterator[bytes]:
            self._sent_bytes = self._taken_bytes
            for message in messages():
                yield message
                self._sent(len(message))

        return count

    def note_accepted(self, size_bytes: int = 0) -> None:
        """Notes that the cloud has accepted `size_bytes` more, or what was taken from `counted`."""
        self._sent(size_bytes)
        self._taken_bytes = self._sent_bytes

    def _sent(self, size_bytes: int) -> None:
        self._sent_bytes += size_bytes
        share = min(1.0, self._sent_bytes / max(1, self._size_bytes))
        now_s = self._clock.monotonic()
        if self._size_bytes < LARGE_BYTES or now_s - self._said_s < QUIET_S or share - self._said_share < _STEP:
            return
        self._said_s, self._said_share = now_s, share
        logger.info(
            "sending %s: %.0f %% of %s, %s/s, %s to go",
            self._path, share * 100, size(self._size_bytes), size(self._rate(now_s)),
            duration((now_s - self._began_s) / share * (1 - share)),
        )  # fmt: skip

    def note_end(self) -> None:
        """Logs the end, if the upload took long. The cloud has all of the file."""
        now_s = self._clock.monotonic()
        if self._size_bytes >= LARGE_BYTES and now_s - self._began_s >= QUIET_S:
            logger.info(
                "sent %s: %s in %s, %s/s",
                self._path, size(self._size_bytes), duration(now_s - self._began_s),
                size(self._rate(now_s)),
            )  # fmt: skip

    def _rate(self, now_s: float) -> float:
        return self._sent_bytes / max(0.001, now_s - self._began_s)
