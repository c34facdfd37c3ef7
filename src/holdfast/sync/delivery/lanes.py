"""Limits how much is uploaded at once. Belongs to the event loop.

There are two lanes, so that neither small uploads nor large ones wait for the other. The first takes as many small
uploads as `maximum_num_sync_threads` allows; the second takes as many large files, but at most `LARGE_UPLOADS`.
Together they hold at most `MAX_IN_FLIGHT_BYTES` in memory. A round waits until its small upload has entered. For a
large one it waits only until that has a place in the queue, which has `MAX_WAITING`; from there the highest
priority enters first.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from itertools import islice

from ...config import DEFAULT_PRIORITY, HIGHEST_PRIORITY
from ..found import Found
from .calls import MAX_CALL_BYTES

MAX_IN_FLIGHT_BYTES = 16 * 1024 * 1024
LARGE_FILE_BYTES = MAX_CALL_BYTES
"""A larger file goes into the lane for large ones."""
LARGE_UPLOADS = 4
MAX_WAITING = 1000
LARGE_UPLOAD_BYTES = MAX_CALL_BYTES
"""What a large file holds in memory: it is streamed, or sent in calls of this size, one after the other."""


class Place(Enum):
    """Where an upload stands: `OUTSIDE` it holds nothing, in the `QUEUE` a place there, `INSIDE` its room in a
    lane."""

    OUTSIDE = 0
    QUEUE = 1
    INSIDE = 2


@dataclass(eq=False)
class Reservation:
    """What an upload needs, and where it stands now. With `alone`, it enters only while nothing else is inside."""

    large: bool
    alone: bool
    size_bytes: int
    priority: int = DEFAULT_PRIORITY
    place: Place = Place.OUTSIDE


_Line = dict[Reservation, tuple[Callable[[], bool], asyncio.Future[None]]]
"""The reservations that wait for the same, each with whether it may go on and with the future that says that it
did."""


class Lanes:
    """Gives uploads their room. The caller calls `queue`, `enter` and `leave`, in this order.

    When `queue` or `enter` is cancelled, its reservation has left. Reservations that wait for the same stand in a
    line. One that leaves lets the first of each line go on, as long as there is room; what that costs does not
    depend on the length of the lines.
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
        """Returns when a small upload has entered, or when a large one has its place in the queue.

        `uploads` is the most that may be inside either lane.
        """
        if reservation.large:
            await self._go(reservation, Place.QUEUE, lambda: self._queue.total() < MAX_WAITING)
        else:
            await self.enter(reservation, uploads)

    async def enter(self, reservation: Reservation, uploads: int) -> None:
        """Returns when the upload is inside its lane.

        One that is `alone` enters when nothing is inside, and nothing enters until it has left.
        """
        if reservation.place is not Place.INSIDE:
            await self._go(reservation, Place.INSIDE, lambda: self._has_room(reservation, uploads))

    def leave(self, reservation: Reservation) -> None:
        """Gives the room back, wherever the upload stands. Safe to call twice."""
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
    """Whether the first in the line may go on."""
    return any(may_go() for may_go, _ in islice(line.values(), 1))
