"""Decides when to sync: at each interval, when the link returns, and when a user asks.

A round walks the sync paths and starts an upload for each file that is ready, or for several small capture files of
one folder together. At most `maximum_num_sync_threads` uploads run at once, and a few of large files beside them.
The round does not wait for their ends, so a slow file holds up no later round. Files that may be cutting the link
are sent last, while nothing else is under way. A manual sync is a round too; it returns when everything that was
there when it was called is delivered or has failed.

With a backlog a round may last for hours. At each interval what was captured meanwhile is completed, and it is sent
first where its priority is higher.

A file is under way once only, however many rounds find it. Which store it belongs to is decided when its upload
begins, and holds until that ends. Belongs to the event loop; the tasks are `run` and one for each upload.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from ..base.clock import Clock, first_done
from ..base.filesystem import FileSystem
from ..base.tasks import in_thread
from ..config import Protected
from ..storage.store import Store, store_of
from .additional_paths import AdditionalPaths
from .cloud.link import Link
from .delivery.delivery import Delivery
from .delivery.lanes import Lanes, Reservation
from .found import Found
from .gathered import Gathered
from .manual import Select, Selection, SyncReport
from .summary import Summary
from .under_way import UnderWay, Upload
from .walk.audit import Audit
from .walk.backlog import Backlog
from .walk.listings import Listings
from .walk.order import Order
from .walk.round_files import AnnouncedFiles, files_of_round
from .walk.walk import Walk

_IDLE_S = 60.0
"""How often `run` looks at its settings while sync is disabled; a change of them wakes it at once."""
STOP_PATIENCE_S = 2.0
"""How long `stop` waits for the uploads under way, so that they do not arrive twice."""
_CANCEL_AGAIN_S = 0.1
_SURVEY_S = 1.0
"""After this time a round starts uploads before its survey has ended, if nothing is under way."""

logger = logging.getLogger(__name__)

ShouldSync = Callable[[], Awaitable[str]]
"""Asks the selective syncer. Returns the reason why scheduled sync has to wait; empty when it need not."""


@dataclass(frozen=True)
class SyncSettings:
    """The part of a configuration that concerns rounds."""

    additional_paths: tuple[str, ...] = ()
    protected: Protected = field(default_factory=Protected)
    """The folders that are not synced even if one of these paths leads there."""
    interval_s: float = 6.0
    disabled: bool = False
    min_age_s: float = 10.0
    """How long an arbitrary file must not have been modified before it is sent."""
    uploads: int = 8
    """The most uploads at once in each lane."""
    newest_first: bool = False
    should_sync: ShouldSync | None = None


class Rounds:
    """Sends what lies in the stores and under the additional paths.

    `stores` returns the stores of now, that of `capture_dir` first. The caller runs `run`, and calls `stop` at the
    end.
    """

    def __init__(
        self,
        files: FileSystem,
        clock: Clock,
        link: Link,
        delivery: Delivery,
        stores: Callable[[], Sequence[Store]],
    ) -> None:
        self._files = files
        self._clock = clock
        self._link = link
        self._delivery = delivery
        self._stores = stores
        self._settings = SyncSettings(disabled=True)
        self._roots: frozenset[str] = frozenset()
        """The capture folders at the last `configure`."""
        self._under_way = UnderWay()
        self._lanes = Lanes()
        self._listings = Listings()
        self._announced = AnnouncedFiles(files, stores, delivery.retries, self._listings)
        self._changed = asyncio.Event()
        self._paused = False
        self._resumed = asyncio.Event()
        self._resumed.set()
        self._stopped = False
        self._hold = ""
        self._reason = ""
        """Why the selective syncer keeps scheduled sync waiting; empty if it does not."""
        self._began = False
        self.additional = AdditionalPaths(files, clock)
        """The sync paths beside the stores. The caller runs its `run`."""
        self.selector = ""
        """What the selective syncer answered last; empty without one."""
        self.selector_s: float | None = None
        """When that was, on the monotonic clock."""
        self.backlog = Backlog(
            files, clock, self._listings, delivery.retries, self._checked_paths, self._announced.take_over
        )
        """The caller runs its `run`, whatever sync does."""
        self.summary = Summary(files, clock, self._paths, lambda: self.backlog.waiting, lambda: self.time_left_s)
        self.last_round_s: float | None = None
        """When the walk of the last scheduled round ended, on the monotonic clock; None before that."""

    @property
    def is_disabled(self) -> bool:
        """Whether the configuration says that nothing is sent by itself."""
        return self._settings.disabled

    @property
    def asks(self) -> bool:
        """Whether the selective syncer is asked at each interval, if there is one."""
        return self._link.usable and not (self._settings.disabled or self._hold)

    @property
    def in_flight(self) -> int:
        """How many files are being sent or are next in line; none without a link."""
        return len(self._under_way) if self._link.usable else 0

    @property
    def unfinished(self) -> int:
        """How many capture files are still written, or wait for their final names."""
        return sum(store.writer.unfinished_files for store in self._stores())

    @property
    def state(self) -> str:
        """What scheduled sync does, or why it waits, as a text for users."""
        if self._obstacle:
            return self._obstacle
        if self._reason:
            return f"waiting: {self._reason}"
        return "syncing" if self._began else "waiting for the first interval"

    @property
    def time_left_s(self) -> float | None:
        """How long it takes to send what waits, at the pace of the last minute; 0 if nothing waits, and None if
        that is not known or nothing moves."""
        waiting, bytes_per_s = self.backlog.waiting, self._delivery.pace.bytes_per_s
        if waiting is None or not waiting.files:
            return None if waiting is None else 0.0
        waits = self._obstacle or self._reason
        if not bytes_per_s or not self._link.usable or (waits and not self.in_flight):
            return None
        return max(0, waiting.bytes - self._delivery.pace.sent_bytes) / bytes_per_s

    def configure(self, settings: SyncSettings) -> None:
        """Makes settings hold at once, and ends a `pause`. When they disable sync, the uploads that no manual sync
        waits for are cancelled."""
        self._paused = False
        self._resumed.set()
        roots = frozenset(store.capture_dir for store in self._stores())
        changed = settings != replace(self._settings, should_sync=settings.should_sync)
        if changed:
            self._changed.set()
        if changed or roots - self._roots:  # what lies in a new folder is not known yet
            self.backlog.configure(settings.min_age_s)
        elif roots != self._roots:
            self.backlog.look_soon()
        self._settings, self._roots = settings, roots
        self._announced.order = self._order()
        self.additional.configure(settings.additional_paths, settings.protected)
        if settings.disabled:
            for task in self._under_way.unwanted_tasks():
                task.cancel()

    async def run(self) -> None:
        """Syncs at each interval, unless something keeps it waiting. Runs until it is cancelled."""
        while True:
            settings = self._settings
            wait_s = min(settings.interval_s, 1.0) if not self._link.usable else settings.interval_s
            await self._wait(wait_s if not settings.disabled else _IDLE_S)
            if self._paused or self._obstacle:
                continue
            if await self._reason_to_wait():
                logger.info("not syncing: %s; asked again at the next interval", self._reason)
            else:
                self._began = True
                await self._round(None)
                self.last_round_s = self._clock.monotonic()

    @property
    def _obstacle(self) -> str:
        """What keeps scheduled sync waiting, but for the selective syncer, as a text for users; empty if nothing
        does."""
        if self._settings.disabled:
            return "disabled by sync_disabled; a manual sync works"
        if self._hold:
            return self._hold
        if not any(store.owned for store in self._stores()):
            return self._stores()[0].waiting_for
        return "" if self._link.usable else self._link.explanation

    async def sync_now(self, select: Select | None = None, report: SyncReport | None = None) -> SyncReport:
        """Sends everything that is there now, or the part that `select` returns; returns when each of these files
        is delivered or has failed. `report` shows the progress meanwhile.

        Raises NotConnectedError when there is no link, and what `select` raises. When cancelled, the uploads that
        have begun continue.
        """
        report = report or SyncReport()
        async with self._reporting(report):
            await self._round(report, select)
        self.backlog.look_soon()
        return report

    def pause(self) -> None:
        """Keeps any upload from beginning until `configure` is called; those under way continue."""
        self._paused = True
        self._resumed.clear()

    async def until_resumed(self) -> None:
        """Returns when no `pause` keeps an upload from beginning."""
        await self._resumed.wait()

    def hold(self, reason: str) -> None:
        """Keeps scheduled uploads from beginning while `reason` is not empty, whatever is configured; those under
        way continue."""
        if reason != self._hold:
            self._hold = reason
            self._changed.set()

    async def sync_files(self, paths: Sequence[str]) -> SyncReport:
        """Sends these files, which are complete; returns when each is delivered or has failed. A file that does not
        exist any more is not counted. Raises NotConnectedError when there is no link."""
        report = SyncReport()
        async with self._reporting(report):
            walk = Walk(self._files, self._clock, (), 0.0)
            for path in paths:
                found = await asyncio.to_thread(walk.look_at, path)
                if found is not None and found.path in self._under_way:
                    self._under_way.notify(report, [found])
                elif found is not None:
                    await self._start([found], report)
        return report

    @asynccontextmanager
    async def _reporting(self, report: SyncReport) -> AsyncIterator[None]:
        """Waits for the link, and at the end for the uploads that were begun inside. Raises NotConnectedError."""
        started_s = self._clock.monotonic()
        report.note_begun()
        try:
            await self._link.ensure_usable()
            yield
            report.note_ended()
            await report.done.wait()
        finally:
            report.note_seconds(self._clock.monotonic() - started_s)
        report.note_error(self._delivery.last_error or "")

    async def release(self, store: Store) -> None:
        """Cancels the uploads that belong to a store, or whose files lie in it, and returns when they have ended.

        The caller closes the store after this. So what is just being settled is finished first, however long the
        disk takes.
        """
        tasks = self._under_way.tasks(store)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def stop(self, patience_s: float = STOP_PATIENCE_S) -> None:
        """Begins no further upload, and returns when those under way have ended.

        Uploads may take `patience_s`, so that they do not arrive twice. Those that take longer, and all when there
        is no link, are cancelled; their files stay as they are.
        """
        self._stopped = True
        tasks = self._under_way.tasks()
        if tasks and self._link.usable:
            _, tasks = await asyncio.wait(tasks, timeout=patience_s)
        while tasks:  # a call whose connection is being closed takes its cancellation for that, and waits again
            for task in tasks:
                task.cancel()
            _, tasks = await asyncio.wait(tasks, timeout=_CANCEL_AGAIN_S)

    async def _wait(self, seconds: float) -> None:
        """Waits, but no longer than until `configure` or `hold` changes something."""
        self._changed.clear()
        await first_done(self._clock.sleep(seconds), self._changed.wait())

    async def _reason_to_wait(self) -> str:
        if self._settings.should_sync is None:
            self.selector, self.selector_s, self._reason = "", None, ""
            return ""
        self._reason = await self._settings.should_sync()
        self.selector, self.selector_s = self._reason or "should_sync is true", self._clock.monotonic()
        return self._reason

    async def _round(self, report: SyncReport | None, select: Select | None = None) -> None:
        """Completes what was captured, walks, and starts an upload for each file that is due.

        With `select`, the round sees only a part of the files; so it does not tell the ledgers what there is.
        """
        stores = self._stores()
        owned = [store for store in stores if store.owned]
        await _complete(owned)
        if select is None:
            await self.additional.check()
        settings, retries = self._settings, self._delivery.retries
        audits = [Audit(store) for store in owned] if select is None else []
        paths = (*(store.root for store in owned), *(self.additional.synced if stores[0].owned else ()))
        part = await asyncio.to_thread(select) if select is not None else Selection(paths)
        order = self._order()
        waiting, listings, announced = (
            (retries, self._listings, self._announced) if report is None else (None, None, None)
        )
        walk = Walk(self._files, self._clock, part.folders, settings.min_age_s, order, waiting, listings)
        if announced is not None:
            walk.only_counted = [path for path in self._paths() if path not in paths]
            announced.order = order
            announced.gather_due()
            self.backlog.note_round(walk)
        asked_s = began_s = self._clock.monotonic()
        gathered = Gathered(retries)
        async for found in files_of_round(walk, part.files, announced, lambda: self._is_idle(began_s)):
            if report is None and self._clock.monotonic() - asked_s > settings.interval_s:
                if await self._reason_to_wait():
                    break
                await _complete(owned)
                asked_s = self._clock.monotonic()
            if found is None:
                to_start = gathered.take_small()
            elif found.path in self._under_way:
                if report is not None:
                    self._under_way.notify(report, [found])
                continue
            elif report is None and not self._delivery.is_due(found):
                continue
            else:
                to_start = gathered.add(found)
            if not await self._start_all(to_start, report):
                break
        else:
            may_go_on = await self._start_all(gathered.take_rest(), report)
            uploading = list(self._under_way)
            for audit in audits:
                await in_thread(audit.finish, walk, uploading)
            if may_go_on:
                self._start_alone(gathered.take_suspects(), report)
        if report is not None:
            report.note_too_recent(walk.too_recent.first)

    def _order(self) -> Order:
        stores = self._stores()
        return Order(self._settings.newest_first, lambda folder: _priority(stores, folder))

    async def _checked_paths(self) -> tuple[str, ...]:
        """Returns every sync path that can be synced now."""
        await self.additional.check()
        return self._paths()

    def _paths(self) -> tuple[str, ...]:
        """Returns every sync path."""
        return (*(store.root for store in self._stores()), *self.additional.synced)

    def _is_idle(self, began_s: float) -> bool:
        """Whether a round that began at `began_s` has not come to a file for long, and nothing is under way."""
        return not self._under_way and self._clock.monotonic() - began_s > _SURVEY_S

    async def _start_all(self, bundles: list[list[Found]], report: SyncReport | None) -> bool:
        for founds in bundles:
            if not await self._start(founds, report):
                return False
        return True

    async def _start(self, founds: list[Found], report: SyncReport | None) -> bool:
        """Starts an upload of `founds`, as soon as a small one has its room; returns False when sync is to stop."""
        priority = _priority(self._stores(), founds[0].folder)
        reservation = self._lanes.reservation_for(founds, priority=priority)
        await self._lanes.queue(reservation, self._settings.uploads)
        if self._stopped or (report is None and not self._may_begin):
            self._lanes.leave(reservation)
            return False
        self._begin(founds, reservation, report)
        return True

    def _start_alone(self, suspects: list[list[Found]], report: SyncReport | None) -> None:
        """Starts the uploads of what may be cutting the link; each runs while nothing else is under way."""
        for founds in suspects:
            if not self._stopped:
                self._begin(founds, self._lanes.reservation_for(founds, alone=True), report)

    def _begin(self, founds: list[Found], reservation: Reservation, report: SyncReport | None) -> None:
        """Starts the upload of those of `founds` that no other round has started meanwhile."""
        upload = self._under_way.begin_upload(founds)
        upload.start(
            self._upload(upload, reservation, scheduled=report is None), lambda: self._ended(upload, reservation)
        )
        if report is not None:
            self._under_way.notify(report, founds)

    @property
    def _may_begin(self) -> bool:
        return not (self._paused or self._hold or self._settings.disabled)

    async def _upload(self, upload: Upload, reservation: Reservation, *, scheduled: bool) -> None:
        await self._lanes.enter(reservation, self._settings.uploads)
        if upload.waiting:
            await self._resumed.wait()
            scheduled = False
        if upload.founds and (self._may_begin or not scheduled):
            await self.summary.learn_paths()
            store = upload.decide_store(self._stores())
            outcomes = await self._delivery.attempt(store, upload.founds, wait=scheduled, alone=reservation.alone)
            upload.note_outcomes(outcomes)

    def _ended(self, upload: Upload, reservation: Reservation) -> None:
        for outcome, founds in upload.founds_by_outcome():
            files, size_bytes = len(founds), sum(found.size_bytes for found in founds)
            self.summary.note_attempt(founds[0].path, outcome, files, size_bytes)
            if not outcome.stays:
                self._listings.note_departed(founds[0].path, files, size_bytes)
        self._under_way.end_upload(upload)
        self._lanes.leave(reservation)


async def _complete(stores: Sequence[Store]) -> None:
    await asyncio.gather(*(store.writer.complete() for store in stores))


def _priority(stores: Sequence[Store], folder: str) -> int:
    """Returns the priority of the capture files in a folder."""
    return store_of(stores, folder).limits.priority(folder)
