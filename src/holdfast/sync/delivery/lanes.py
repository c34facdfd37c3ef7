"""How much may be under way. Belongs to the event loop.

Two lanes: small uploads, as many as `maximum_num_sync_threads` allows and at most `MAX_IN_FLIGHT_BYTES` of them;
beside them `LARGE_UPLOADS` large files, so that neither waits for the other. Whoever hands in small uploads waits
for room; large ones, and what is to be alone, wait by themselves, at most `MAX_WAITING` of them, and those of the
highest priority enter first.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from itertools import islice

from ...config.space import DEFAULT_PRIORITY, HIGHEST_PRIORITY
from ..found import Found
from .calls import MAX_CALL_BYTES

MAX_IN_FLIGHT_BYTES = 16 * 1024 * 1024
LARGE_FILE_BYTES = MAX_CALL_BYTES
"""A larger file is in the lane of large ones."""
LARGE_UPLOADS = 4
MAX_WAITING = 1000
LARGE_UPLOAD_BYTES = MAX_CALL_BYTES
"""What a large file holds in memory: it is streamed, or sent in calls of this size one after the other."""


class Place(Enum):
    """Where an upload is."""

    OUTSIDE = 0
    QUEUE = 1
    INSIDE = 2


@dataclass(eq=False)
class Reservation:
    """What an upload takes of the room there is."""

    large: bool
    alone: bool
    size_bytes: int
    priority: int = DEFAULT_PRIORITY
    place: Place = Place.OUTSIDE


_Line = dict[Reservation, tuple[Callable[[], bool], asyncio.Future[None]]]
"""For each that stands in it: whether it may go, and who is told that it goes."""


class Lanes:
    """`queue`, `enter`, `leave`, in this order. When one of the first two is cancelled, its room has left.

    Those that wait for the same stand in a line. Who leaves lets the first of each go, while there is room; that
    costs the same however long a line is.
    """

    def __init__(self) -> None:
        self._lines: dict[tuple[Place, bool, bool, int], _Line] = {}
        self._queue = Counter[int]()
        self._inside = Counter[bool]()
        self._bytes_inside = 0
        self._alone_inside = 0

    @staticmethod
    def reservation_for(
        founds: list[Found], *, alone: bool = False, priority: int = DEFAULT_PRIORITY
    ) -> Reservation:
        size_bytes = sum(found.size_bytes for found in founds)
        large = size_bytes > LARGE_FILE_BYTES
        return Reservation(large, alone, LARGE_UPLOAD_BYTES if large else size_bytes, priority)

    async def queue(self, reservation: Reservation, uploads: int) -> None:
        """Returns when a small upload has entered, or a large one may wait by itself."""
        if reservation.large:
            await self._go(reservation, Place.QUEUE, lambda: self._queue.total() < MAX_WAITING)
        else:
            await self.enter(reservation, uploads)

    async def enter(self, reservation: Reservation, uploads: int) -> None:
        """Returns when there is room; for one that is `alone`: when nothing is inside, and nothing enters until it
        has left."""
        if reservation.place is not Place.INSIDE:
            await self._go(reservation, Place.INSIDE, lambda: self._has_room(reservation, uploads))

    def leave(self, reservation: Reservation) -> None:
        self._put(reservation, Place.OUTSIDE)
        self._let_go()

    async def _go(self, reservation: Reservation, place: Place, may_go: Callable[[], bool]) -> None:
        line = self._lines.setdefault((place, reservation.large, reservation.alone, reservation.priority), {})
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line[reservation] = may_go, gone
        self._let_go()
        try:
            await gone
        except asyncio.CancelledError:
            line.pop(reservation, None)
            self.leave(reservation)
            raise

    def _let_go(self) -> None:
        while kind := next((kind for kind, line in self._lines.items() if _may_go(line)), None):
            line = self._lines[kind]
            reservation = next(iter(line))
            _, gone = line.pop(reservation)
            self._put(reservation, kind[0])
            if not gone.done():
                gone.set_result(None)

    def _put(self, reservation: Reservation, place: Place) -> None:
        for where, by in ((reservation.place, -1), (place, 1)):
            if where is Place.QUEUE:
                self._queue[reservation.priority] += by
            elif where is Place.INSIDE:
                self._inside[reservation.large] += by
                self._bytes_inside += by * reservation.size_bytes
                self._alone_inside += by * reservation.alone
        reservation.place = place

    def _has_room(self, reservation: Reservation, uploads: int) -> bool:
        most = min(LARGE_UPLOADS, uploads) if reservation.large else uploads
        if self._inside[reservation.large] >= most or self._alone_inside:
            return False
        is_empty = not self._inside.total()
        if not is_empty and (
            reservation.alone or self._bytes_inside + reservation.size_bytes > MAX_IN_FLIGHT_BYTES
        ):
            return False
        if not reservation.large:
            return True
        return not any(self._queue[higher] for higher in range(reservation.priority + 1, HIGHEST_PRIORITY + 1))


def _may_go(line: _Line) -> bool:
    """Whether the first of the line may go."""
    return any(may_go() for may_go, _ in islice(line.values(), 1))
