"""How much may be under way, and what goes together. Belongs to the event loop.

Two lanes: small uploads, as many as `maximum_num_sync_threads` allows and at most `MAX_IN_FLIGHT_BYTES` of them;
beside them `LARGE_UPLOADS` large files, so that neither waits for the other. Whoever hands in small uploads waits
for room; large ones, and what is to be alone, wait by themselves, at most `MAX_WAITING` of them, and those of the
highest priority enter first.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from ..space_config import DEFAULT_PRIORITY, HIGHEST_PRIORITY
from ..storage.layout import FileKind
from .planner import MAX_CALL_BYTES
from .retries import MAX_FILES_PER_CALL
from .walker import Found

MAX_IN_FLIGHT_BYTES = 16 * 1024 * 1024
LARGE_FILE_BYTES = MAX_CALL_BYTES
"""A larger file is in the lane of large ones."""
LARGE_UPLOADS = 4
MAX_WAITING = 1000
LARGE_UPLOAD_BYTES = MAX_CALL_BYTES
"""What a large file holds in memory: it is streamed, or sent in calls of this size one after the other."""


@dataclass(eq=False)
class Room:
    """What an upload takes of the room there is."""

    large: bool
    alone: bool
    size_bytes: int
    priority: int = DEFAULT_PRIORITY
    state: str = "outside"


class Lanes:
    """`queue`, `enter`, `leave`, in this order; the last one also when one before was cancelled."""

    def __init__(self) -> None:
        self._inside: set[Room] = set()
        self._waiting = Counter[int]()
        self._changed = asyncio.Condition()

    @staticmethod
    def room_for(founds: list[Found], *, alone: bool = False, priority: int = DEFAULT_PRIORITY) -> Room:
        size_bytes = sum(found.size_bytes for found in founds)
        large = size_bytes > LARGE_FILE_BYTES
        return Room(large, alone, LARGE_UPLOAD_BYTES if large else size_bytes, priority)

    async def queue(self, room: Room, uploads: int) -> None:
        """Returns when a small upload has entered, or a large one may wait by itself."""
        if not room.large:
            await self.enter(room, uploads)
            return
        async with self._changed:
            await self._changed.wait_for(lambda: self._waiting.total() < MAX_WAITING)
            self._waiting[room.priority] += 1
            room.state = "waiting"

    async def enter(self, room: Room, uploads: int) -> None:
        """Returns when there is room; for one that is `alone`: when nothing is inside, and nothing enters until it
        has left."""
        if room in self._inside:
            return
        async with self._changed:
            await self._changed.wait_for(lambda: self._has_room(room, uploads))
            self._stop_waiting(room)
            room.state = "inside"
            self._inside.add(room)
            self._changed.notify_all()

    async def leave(self, room: Room) -> None:
        self._stop_waiting(room)
        room.state = "outside"
        self._inside.discard(room)
        async with self._changed:
            self._changed.notify_all()

    def _stop_waiting(self, room: Room) -> None:
        if room.state == "waiting":
            self._waiting[room.priority] -= 1

    def _has_room(self, room: Room, uploads: int) -> bool:
        inside = self._inside
        if any(other.alone for other in inside) or (room.alone and inside):
            return False
        if inside and sum(other.size_bytes for other in inside) + room.size_bytes > MAX_IN_FLIGHT_BYTES:
            return False
        if room.large and any(self._waiting[higher] for higher in range(room.priority + 1, HIGHEST_PRIORITY + 1)):
            return False
        most = min(LARGE_UPLOADS, uploads) if room.large else uploads
        return sum(other.large == room.large for other in inside) < most


class Bundler:
    """Gathers small capture files of one folder until they fill a call.

    `most_together` tells how many files may share a call with one.
    """

    def __init__(self, most_together: Callable[[str], int]) -> None:
        self._most_together = most_together
        self._founds: list[Found] = []
        self._size_bytes = 0
        self._folder = ""
        self._most = 0

    def add(self, found: Found) -> list[list[Found]]:
        """What is to be sent now that `found` is there too, one after the other; nothing while there is room for
        more. What has gathered waits for nothing of another folder."""
        folder = os.path.dirname(found.path)
        single = found.kind is not FileKind.CAPTURE or found.size_bytes > LARGE_FILE_BYTES
        most = min(self._most_together(found.path), MAX_FILES_PER_CALL)
        full: list[list[Found]] = []
        if self._founds and (folder != self._folder or not (single or self._has_room(found, most))):
            full.append(self.take())
        if single:
            return [*full, [found]]
        self._most = min(most, self._most) if self._founds else most
        self._folder = folder
        self._founds.append(found)
        self._size_bytes += found.size_bytes
        return full

    def take(self) -> list[Found]:
        """What has gathered."""
        founds, self._founds, self._size_bytes = self._founds, [], 0
        return founds

    def _has_room(self, found: Found, most: int) -> bool:
        fits = self._size_bytes + found.size_bytes <= MAX_CALL_BYTES
        return fits and len(self._founds) < min(most, self._most)
