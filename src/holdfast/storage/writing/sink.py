"""What takes readings: the interface that capture hands its readings to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ...base.filesystem import Buffer


class Sink(Protocol):
    """Takes readings. Belongs to the event loop; neither method may block."""

    def append(self, message: bytes) -> None:
        """Takes a reading, which is a serialized `SensorData`."""

    def append_binary(self, head: bytes, payload: Sequence[Buffer], mime_type: str) -> None:
        """Takes a reading that becomes a file of its own: `head` is a serialized `SensorData` up to its payload."""
