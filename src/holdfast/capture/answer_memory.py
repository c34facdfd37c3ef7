"""The bound on the memory that binary answers on their way take together: images, point clouds, audio.

gRPC holds a whole answer before this process sees any of it, so the bound is on the calls: each counts as much as
the collector's last answer. A call that is alone is always let through. Runs on the event loop.
"""

from __future__ import annotations

MAX_BYTES = 128 * 1024 * 1024
UNKNOWN_BYTES = 8 * 1024 * 1024
"""What a collector's first answer counts as."""


class AnswerMemory:
    """The expected size of all binary answers on their way. Shared by all collectors."""

    __slots__ = ("_taken_bytes",)

    def __init__(self) -> None:
        self._taken_bytes = 0

    def has_room_for(self, size_bytes: int) -> bool:
        """Returns whether one more call may leave whose answer is expected to have `size_bytes`."""
        return not self._taken_bytes or self._taken_bytes + size_bytes <= MAX_BYTES

    def take(self, size_bytes: int) -> None:
        """Counts the expected answer of a call that leaves."""
        self._taken_bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Ends what `take` began, with the same size, when the answer has been stored or given up."""
        self._taken_bytes -= size_bytes
