"""The backlog: how much waits to be sent, whatever sync and the link do.

Rounds find out how much waits when they look for what to send. While there is none for `LOOK_S`, as without a link,
while sync is disabled or paused, and in a long round, a walk that only counts takes its place. Between walks the
number follows what capture completes, what sync sends and what a limit deletes.

Cost: such a walk takes at most `MOST_VISITING` of the time, without the listings, which have shares of their own
(`Listings`). It is given up when a round begins, which needs the disk more.

Belongs to the event loop; the disk is read on worker threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from ...base.clock import Clock, first_done
from ...base.filesystem import FileSystem
from ...base.intervals import rest_s
from ..retries import Retries
from .listings import Listings, Waiting
from .walk import Walk

LOOK_S = 30.0
STEP_S = 2.0
"""How often it is looked whether a walk is due."""
PATIENCE_S = 60.0
"""After this time a survey of a round counts as held up, and another walk counts meanwhile."""
MOST_VISITING = 0.002


class Backlog:
    """Knows how much waits. The caller runs `run`.

    `paths` returns all sync paths, `take_over` changes `listings` by what capture completed and
    limits deleted since it was last called.
    """

    def __init__(
        self,
        files: FileSystem,
        clock: Clock,
        listings: Listings,
        retries: Retries,
        paths: Callable[[], Awaitable[Sequence[str]]],
        take_over: Callable[[], None],
    ) -> None:
        self._files = files
        self._clock = clock
        self._listings = listings
        self._retries = retries
        self._paths = paths
        self._take_over = take_over
        self._min_age_s = 0.0
        self._soon = True
        self._settings = 0
        """How often the settings have changed."""
        self._again_s = 0.0
        self._round: tuple[Walk, float] | None = None
        """The walk of the last round, and when it began."""
        self._due = asyncio.Event()

    @property
    def waiting(self) -> Waiting | None:
        """What waits now; None until all of it was seen once."""
        self._take_over()
        return self._listings.waiting

    def configure(self, min_age_s: float) -> None:
        """Makes the next look a whole one, which begins soon; an arbitrary file counts as ready when it was left
        alone for `min_age_s`."""
        self._min_age_s = min_age_s
        self._settings += 1
        self._listings.clear()
        self._again_s = 0.0
        self.look_soon()

    def look_soon(self) -> None:
        """Makes a look due, as far as its cost permits."""
        self._soon = True
        self._due.set()

    def note_round(self, walk: Walk) -> None:
        """Notes that a round begins to look at everything with `walk`."""
        self._round = walk, self._clock.monotonic()

    async def run(self) -> None:
        """Looks whenever it is due. Runs until it is cancelled."""
        while True:
            self._due.clear()
            self._take_over()
            if self._is_due():
                await self._look()
            await first_done(self._clock.sleep(STEP_S), self._due.wait())

    def _is_due(self) -> bool:
        now_s = self._clock.monotonic()
        if self._round_looks() or now_s < self._again_s:
            return False
        return self._soon or now_s >= self._listings.looked_s + LOOK_S

    def _round_looks(self) -> bool:
        if self._round is None:
            return False
        walk, began_s = self._round
        return not walk.surveyed and self._clock.monotonic() < began_s + PATIENCE_S

    async def _look(self) -> None:
        self._soon = False
        walk = Walk(
            self._files, self._clock, await self._paths(), self._min_age_s, retries=self._retries,
            listings=self._listings,
        )  # fmt: skip
        steps, settings = walk.survey(), self._settings
        while await asyncio.to_thread(next, steps, walk) is None:
            if self._round_looks():
                return
        if settings == self._settings:  # else another look is due at once
            self._again_s = self._clock.monotonic() + rest_s(max(0.0, walk.visiting_s), MOST_VISITING)
