"""How much memory the answers of payloads may take that are on their way at once: images, point clouds, audio.

gRPC holds an answer whole before anybody sees it, so the bound is on the calls: each counts with the size of the
collector's last answer. One call alone is always let through. Belongs to the event loop.
"""

from __future__ import annotations

MAX_BYTES = 128 * 1024 * 1024
UNKNOWN_BYTES = 8 * 1024 * 1024
"""What an answer counts as before there was one."""


class AnswerMemory:
    """Shared by all collectors."""

    __slots__ = ("taken_bytes",)

    def __init__(self) -> None:
        self.taken_bytes = 0

    def has(self, size_bytes: int) -> bool:
        """Whether one more call may leave."""
        return not self.taken_bytes or self.taken_bytes + size_bytes <= MAX_BYTES
