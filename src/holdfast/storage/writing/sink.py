"""Where readings go: what capture puts its answers into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ...base.filesystem import Buffer


class Sink(Protocol):
    """Where readings go. Neither method may block."""

    def append(self, message: bytes) -> None:
        """Takes a reading: a serialized `SensorData`."""

    def append_binary(self, head: bytes, payload: Sequence[Buffer], mime_type: str) -> None:
        """Takes a reading that becomes a file: a serialized `SensorData` up to its payload, and the payload."""
