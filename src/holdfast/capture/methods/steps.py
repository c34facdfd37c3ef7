"""How much of one answer is looked at, so that no answer keeps the event loop or a thread for long.

Each field of a message, each marker of an image, and each 64 bytes that are decoded are a step. It takes about a
microsecond.
"""

from __future__ import annotations

from ...errors import ResourceCallError, ResourceErrorKind

FEW_STEPS = 1000
"""What is done on the event loop; an answer that takes more is decoded on a worker thread."""
MAX_STEPS, STEPS_OF_A_MESSAGE = 80_000, 15
"""What is done on the worker thread, and so much more for each message of a stream.

It is enough for 10,000 boxes on an image, and for any number of pieces of audio.
"""
_BYTES_OF_A_STEP = 64


class TooManyStepsError(ResourceCallError):
    """An answer takes more steps than it may."""


class Steps:
    """The steps that are left for one answer."""

    __slots__ = ("_left",)

    def __init__(self, most: int) -> None:
        self._left = most

    def take(self, steps: int = 1) -> None:
        """Counts steps. Raises TooManyStepsError when there are not so many left."""
        self._left -= steps
        if self._left < 0:
            raise TooManyStepsError(ResourceErrorKind.FAILED, "the answer consists of too many parts")

    def take_bytes(self, size_bytes: int) -> None:
        """Counts bytes that are decoded."""
        self.take(1 + size_bytes // _BYTES_OF_A_STEP)
