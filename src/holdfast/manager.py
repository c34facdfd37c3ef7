"""The life of the whole: start, change, hand over, stop.

One `Manager` to a process. viam-server takes a service away and makes a new one at every change of its config, and
says nowhere which time is the last; so the manager outlives the services: `apply` takes a configuration, whichever
service brings it, and `hand_over` keeps everything running for a successor for `HAND_OVER_S`.

Everything here belongs to the event loop. `apply` returns in milliseconds; recovery, the walk and the login run
behind it. Capture starts at once; recovery and sync wait for the lock of the capture folder.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from .capture.client import UnaryClient
from .capture.collector import CollectorSpec
from .capture.effective import effective, pair_of
from .capture.engine import Capture
from .capture.methods import sensor
from .capture.mongo import MongoCapture, SpoolPlace
from .capture.readings import sensor_readings
from .capture.resolve import Resolution, resolve
from .clock import Clock
from .config import Config, short_name
from .errors import NotConnectedError
from .filesystem import FileSystem
from .jobs import Jobs
from .placement import left_behind, placed, rules_for, rules_for_left
from .steering import Steering
from .storage.local_copy import LocalCopy
from .storage.store import Store
from .sync.cloud import CloudSettings
from .sync.report import Select, SyncReport
from .sync.scheduler import STOP_PATIENCE_S, SyncSettings
from .sync.selector import reason_to_wait
from .throttle import Throttle
from .uplink import Uplink

HAND_OVER_S = 10.0
MAX_DRAINING = 4
_FLUSH_TIMEOUT_S = 0.8
_END_S = 1.0
"""How long at the end those are waited for that are through in less, unless a disk stalls."""
_HURRIED_S = 0.4
"""How long uploads may take when viam-server is gone, and its successor's module waits for the folder."""
_LOG_INTERVAL_S = 60.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resources:
    """The resources that are there: APIs by short name, and how to call them."""

    apis: Mapping[str, frozenset[str]] = field(default_factory=dict)
    client: UnaryClient | None = None


@dataclass
class Engine:
    """What runs between `apply` and `stop`."""

    capture: Capture
    mongo: MongoCapture
    uplink: Uplink
    stores: dict[str, Store] = field(default_factory=dict)
    """Of the configured folders, by their paths; that of `capture_dir` first."""
    draining: dict[Store, asyncio.Task[None]] = field(default_factory=dict)
    """Of folders that were configured before, until what is there is sent."""
    closing: set[asyncio.Task[None]] = field(default_factory=set)
    local_copy: LocalCopy | None = None

    @property
    def store(self) -> Store:
        """Of `capture_dir`."""
        return next(iter(self.stores.values()))

    @property
    def all_stores(self) -> tuple[Store, ...]:
        return (*self.stores.values(), *self.draining)


class Manager:
    """See the module's docstring. `environment` holds viam-server's variables."""

    def __init__(self, environment: Mapping[str, str], files: FileSystem, clock: Clock) -> None:
        self._environment = environment
        self.files = files
        self._throttle = Throttle(clock, _LOG_INTERVAL_S)
        self._end: asyncio.Task[None] | None = None
        self._last: asyncio.Task[Any] | None = None
        self._stopping = asyncio.Lock()
        self.started_s = clock.monotonic()
        self.clock = clock
        self.config: Config | None = None
        self.resolutions: list[Resolution] = []
        self.engine: Engine | None = None
        self.resources = Resources()
        self.steering = Steering(files, clock, self._steer)
        self.jobs = Jobs(clock)
        self.emptying_quarantine = asyncio.Lock()
        """Held by who takes files out of quarantine."""

    def apply(self, config: Config, resources: Resources) -> None:
        """Makes `config` hold. Returns at once; what did not change goes on untouched."""
        if self._end is not None:
            self._end.cancel()
            self._end = None
        begins = self.engine is None
        engine = self.engine = self.engine or self._start(config)
        configured, config = config, placed(self.files, config)
        self._apply_stores(engine, config)
        self._apply_mongo(engine, config)
        if begins:
            self._look_behind(engine, configured, config)
        self.steering.apply(config, resources.apis, resources.client, lambda: engine.store.owned)
        engine.capture.orphaned = False
        self._apply_capture(engine, config, resources)
        self._apply_limits(engine, config)
        self._apply_sync(engine, config, resources)
        self._say(config)
        self.config, self.resources = config, resources

    async def hand_over(self) -> None:
        """Flushes, and goes on for a successor; without one, stops after `HAND_OVER_S`. Takes under a second."""
        if self.engine is None or self._end is not None:
            return
        self._end = asyncio.get_running_loop().create_task(self._stop_later(), name="holdfast-hand-over")
        self.engine.capture.orphaned = True
        self.engine.uplink.sync.pause()  # the builtin may be what comes in our place, and would send the same files
        flushes = [self.engine.mongo.flush(), *(store.writer.flush() for store in self.engine.all_stores)]
        try:
            await asyncio.wait_for(asyncio.gather(self.steering.hand_over(), *flushes), _FLUSH_TIMEOUT_S)
        except asyncio.TimeoutError:
            logger.warning("the disk is slow: the last readings are still being written")

    async def stop(self, *, in_a_hurry: bool = False) -> None:
        """Stops capture, completes all files, stops sync and frees the folder. Safe to call twice.

        Uploads under way may take a moment, a short one `in_a_hurry`; a disk that stalls
        `disk_writer.END_TIMEOUT_S`.
        """
        if self._end is not None:
            self._end.cancel()
            self._end = None
        async with self._stopping:
            engine, self.engine = self.engine, None
            if engine is None:
                return
            patience_s = _HURRIED_S if in_a_hurry else STOP_PATIENCE_S
            await asyncio.gather(self._stop_capture(engine), self.jobs.stop(), engine.uplink.leave(patience_s))
            for draining in engine.draining.values():
                draining.cancel()
            await asyncio.gather(*engine.draining.values(), return_exceptions=True)
            complete = await asyncio.gather(*(store.close() for store in engine.all_stores))
            if engine.closing:
                await asyncio.wait(engine.closing, timeout=_END_S)
            if all(complete):
                logger.info("stopped: all files are complete")

    async def _stop_capture(self, engine: Engine) -> None:
        """Only what writes to a disk that stalls waits for it, and for a while only."""
        ends = self.steering.stop(), engine.capture.stop()
        tasks = [asyncio.get_running_loop().create_task(end, name="holdfast-end") for end in ends]
        await asyncio.wait(tasks, timeout=_END_S)
        await asyncio.gather(engine.mongo.stop(), *(store.writer.close() for store in engine.all_stores))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def sync(self, select: Select | None = None, report: SyncReport | None = None) -> SyncReport:
        """A manual sync: everything that is there now, or what `select` says of it. NotConnectedError when it can't
        begin."""
        return await self.ready_engine().uplink.sync.sync_now(select, report)

    @property
    def capture_roots(self) -> list[str]:
        """The folders in which captured data lies."""
        return [store.root for store in self.engine.all_stores] if self.engine is not None else []

    @property
    def other_roots(self) -> tuple[str, ...]:
        """The additional sync paths."""
        return self.config.additional_sync_paths if self.config is not None else ()

    @property
    def upload_roots(self) -> Sequence[str]:
        """Where uploads may read."""
        configured = self.config.upload_roots if self.config is not None else ()
        return configured or [*self.capture_roots, *self.other_roots]

    async def sync_files(self, paths: Sequence[str]) -> SyncReport:
        """Sends these files, which are complete. NotConnectedError when it can't begin."""
        return await self.ready_engine().uplink.sync.sync_files(paths)

    def ready_engine(self) -> Engine:
        """What runs; NotConnectedError while nothing can be sent, whatever the link does."""
        if self.engine is None:
            raise NotConnectedError("can't sync yet: not configured")
        if not self.engine.store.owned:
            raise NotConnectedError(f"can't sync yet: {self.engine.store.waiting_for}")
        return self.engine

    def _start(self, config: Config) -> Engine:
        engine: Engine
        cloud = self._cloud_settings(config)
        mongo = MongoCapture(self.files, self.clock)
        engine = Engine(
            Capture(self.clock, mongo),
            mongo,
            Uplink(self.files, self.clock, self._throttle, lambda: engine.all_stores, cloud),
        )
        return engine

    def _cloud_settings(self, config: Config) -> CloudSettings:
        return CloudSettings(
            address=config.cloud_address,
            allow_plaintext=config.allow_plaintext,
            part_id=self._environment.get("VIAM_MACHINE_PART_ID", ""),
            api_key_id=self._environment.get("VIAM_API_KEY_ID", ""),
            api_key=self._environment.get("VIAM_API_KEY", ""),
        )

    def _apply_stores(self, engine: Engine, config: Config) -> None:
        """Opens the stores of folders that are new, and lets those that are not configured any more drain."""
        kept = {store.capture_dir: store for store in engine.all_stores}
        stores = {p: kept.pop(p) if p in kept else self._open(p, config) for p in config.capture_dirs}
        for store in stores.values():
            store.writer.flush_interval_s = config.flush_interval_s
            store.writer.completion.interval_s = config.fsync_interval_s
            if (draining := engine.draining.pop(store, None)) is not None:
                draining.cancel()
        engine.stores = stores
        for store in kept.values():
            before = engine.draining.get(store)
            if before is not None and config.sync_disabled:
                before.cancel()
            if before is None or config.sync_disabled:
                drain = self._drain(engine, store, is_sent=not config.sync_disabled)
                engine.draining[store] = asyncio.get_running_loop().create_task(drain, name="holdfast-drain")
        for store in list(engine.draining)[: max(0, len(engine.draining) - MAX_DRAINING)]:
            engine.draining.pop(store).cancel()
            self._close(engine, store)

    def _open(self, path: str, config: Config) -> Store:
        return Store(self.files, self.clock, self._throttle, path, config.flush_interval_s, config.fsync_interval_s)

    def _look_behind(self, engine: Engine, configured: Config, config: Config) -> None:
        """Lets what an earlier run left in memory, or on the disk before it used memory, drain."""

        async def look() -> None:
            folder = await asyncio.to_thread(left_behind, self.files, configured, config)
            known = {store.capture_dir for store in engine.all_stores}
            now = self.config or config
            if folder and folder not in known and self.engine is engine and not now.sync_disabled:
                store = self._open(folder, now)
                store.limits.configure(rules_for_left(now, folder))
                drain = self._drain(engine, store, is_sent=True)
                engine.draining[store] = asyncio.create_task(drain, name="holdfast-drain")
                self._apply_limits(engine, now)

        task = asyncio.get_running_loop().create_task(look(), name="holdfast-look-behind")
        engine.closing.add(task)
        task.add_done_callback(engine.closing.discard)

    def _apply_limits(self, engine: Engine, config: Config) -> None:
        """A folder that drains keeps the limits that it had."""
        if config.local_copy is None:
            engine.local_copy = None
        elif engine.local_copy is None or engine.local_copy.settings != config.local_copy:
            engine.local_copy = LocalCopy(self.files, self.clock, self._throttle, config.local_copy)
        for folder, store in engine.stores.items():
            store.limits.configure(rules_for(config, self.resolutions, folder))
        for store in engine.all_stores:
            store.limits.local_copy = engine.local_copy
            store.limits.neighbours = lambda: [other.limits for other in engine.all_stores]
            store.limits.roots = lambda: [*(s.root for s in engine.all_stores), *config.additional_sync_paths]

    async def _drain(self, engine: Engine, store: Store, *, is_sent: bool) -> None:
        """Lets a store go when what is there is sent, to the cloud where that is to be and to MongoDB, and the
        collectors that wrote there have ended."""
        await engine.capture.settled()
        if is_sent:
            await store.emptied()
        await engine.mongo.drained(store.capture_dir)
        del engine.draining[store]
        logger.info("%s is drained: everything in it is sent, and the folder is released", store.capture_dir)
        self._close(engine, store)

    def _close(self, engine: Engine, store: Store) -> None:
        """Closes a store of which nobody knows any more, behind whoever still writes there."""

        async def close() -> None:
            await engine.capture.settled()
            await engine.mongo.release(store.capture_dir)
            await engine.uplink.sync.release(store)
            await store.close()

        task = asyncio.get_running_loop().create_task(close(), name="holdfast-close-store")
        engine.closing.add(task)
        task.add_done_callback(engine.closing.discard)

    def _steer(self) -> None:
        """Something else is to run than before, by the same configuration."""
        engine, config = self.engine, self.config
        if engine is not None and config is not None:
            self._apply_capture(engine, config, self.resources)
            self._say_what_does_not_run()
            engine.uplink.sync.hold(self.steering.sync_pause)

    def _apply_capture(self, engine: Engine, config: Config, resources: Resources) -> None:
        if not self.steering.settings.loaded:  # a restart must not read from what is paused; it takes milliseconds
            self.resolutions = resolve(config.methods, resources.apis)
            return
        configured = (*config.methods, *config.off_methods)
        wanted = effective(configured, config.tags, self.steering.orders)
        given = {pair_of(method) for method in config.methods}
        strangers = {short_name(each.method.name) for each in wanted if pair_of(each.method) not in given}
        self.resolutions = resolve((each.method for each in wanted), self.steering.known(resources.apis, strangers))
        if config.capture_disabled or resources.client is None:
            engine.capture.apply(())
            return
        engine.capture.apply(
            spec
            for found, each in zip(self.resolutions, wanted, strict=True)
            if (spec := self.spec_of(found, each.tags, resources, config)) is not None
        )

    def spec_of(
        self, found: Resolution, tags: tuple[str, ...], resources: Resources, config: Config
    ) -> CollectorSpec | None:
        """The collector of what was resolved; None where it can't run."""
        if found.table is None or resources.client is None or self.engine is None:
            return None
        return CollectorSpec(
            api=found.api,
            method=found.method,
            table=found.table,
            client=resources.client,
            tags=tags,
            writer=self.engine.stores[found.method.capture_directory or config.capture_dir].writer,
            max_file_bytes=config.maximum_capture_file_size_bytes,
        )

    def _apply_mongo(self, engine: Engine, config: Config) -> None:
        store = engine.store
        wrote = store.writer.completion.wrote
        place = SpoolPlace(config.capture_dir, config.flush_interval_s, lambda: store.owned, wrote)
        engine.mongo.configure(config.mongo_capture_config, place)

    def _apply_sync(self, engine: Engine, config: Config, resources: Resources) -> None:
        cloud = self._cloud_settings(config)
        if engine.uplink.settings != cloud:
            leaving = asyncio.get_running_loop().create_task(engine.uplink.leave(), name="holdfast-leave-cloud")
            engine.uplink = Uplink(
                self.files, self.clock, self._throttle, lambda: engine.all_stores, cloud, leaving
            )
        sync = SyncSettings(
            additional_paths=config.additional_sync_paths,
            interval_s=config.sync_interval_s,
            disabled=config.sync_disabled,
            min_age_s=config.file_last_modified_s,
            uploads=config.maximum_num_sync_threads,
            newest_first=config.sync_order == "newest_first",
            should_sync=_selector(config.selective_syncer_name, resources),
        )
        engine.uplink.limit_bytes_per_s(config.sync_bandwidth_limit_bytes_per_sec)
        engine.uplink.delivery.tags = config.tags
        engine.uplink.delivery.sequences.held = self.steering.sequences.is_open
        engine.uplink.sync.configure(sync)
        engine.uplink.sync.hold(self.steering.sync_pause)

    async def _stop_later(self) -> None:
        await self.clock.sleep(HAND_OVER_S)
        logger.info("no new service came within %g s: all files are completed, and everything stops", HAND_OVER_S)
        self._last = asyncio.current_task()  # from here on a successor begins anew and does not cancel this
        self._end = None
        await self.stop()

    def _say(self, config: Config) -> None:
        """Logs what is wrong with a new configuration, once."""
        if config != self.config or self.config is None or config.problems != self.config.problems:
            for problem in config.problems:
                logger.error("config: %s", problem)
        self._say_what_does_not_run()

    def _say_what_does_not_run(self) -> None:
        for found in self.resolutions:
            if found.problem and self._throttle.allows(found.problem):
                logger.error("config: %s; it is not captured", found.problem)
        missing = sorted({found.method.name for found in self.resolutions if found.waiting})
        if missing and self._throttle.allows(f"missing {missing}"):
            logger.info("not there yet, and captured when it appears: %s", ", ".join(missing))


def _selector(name: str, resources: Resources) -> Callable[[], Awaitable[str]] | None:
    if not name:
        return None
    short, client = short_name(name), resources.client
    there = client is not None and sensor.API in resources.apis.get(short, ())
    return partial(reason_to_wait, name, partial(sensor_readings, client, short) if there and client else None)
