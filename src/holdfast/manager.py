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
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from .capture.client import UnaryClient
from .capture.collector import CollectorSpec
from .capture.engine import Capture
from .capture.methods import sensor
from .capture.readings import sensor_readings
from .capture.resolve import Resolution, resolve
from .clock import Clock
from .config import Config, short_name
from .errors import NotConnectedError
from .filesystem import FileSystem
from .folder import RUNNING, Folder
from .storage.store import Store
from .sync.cloud import CloudSettings
from .sync.scheduler import SyncReport, SyncSettings
from .sync.selector import reason_to_wait
from .throttle import Throttle

HAND_OVER_S = 10.0
MAX_DRAINING = 4
_FLUSH_TIMEOUT_S = 0.8
_LOG_INTERVAL_S = 60.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resources:
    """The resources that are there: APIs by short name, and how to call them."""

    apis: Mapping[str, frozenset[str]] = field(default_factory=dict)
    client: UnaryClient | None = None


@dataclass
class Engine:
    """What runs between `apply` and `stop`: the parts, made once, and the tasks that move them."""

    capture: Capture
    store: Store
    """Of the capture folder."""
    folder: Folder
    """The store's way to the cloud."""
    draining: dict[Folder, asyncio.Task[None]] = field(default_factory=dict)
    """Folders that were the capture folder before, until what is there is sent."""


class Manager:
    """See the module's docstring. `environment` holds viam-server's variables."""

    def __init__(self, environment: Mapping[str, str], files: FileSystem, clock: Clock) -> None:
        self._environment = environment
        self._files = files
        self._throttle = Throttle(clock, _LOG_INTERVAL_S)
        self._end: asyncio.Task[None] | None = None
        self._last: asyncio.Task[Any] | None = None
        self._stopping = asyncio.Lock()
        self.started_ns = clock.time_ns()
        self.clock = clock
        self.config: Config | None = None
        self.resolutions: list[Resolution] = []
        self.engine: Engine | None = None

    def apply(self, config: Config, resources: Resources) -> None:
        """Makes `config` hold. Returns at once; what did not change goes on untouched."""
        if self._end is not None:
            self._end.cancel()
            self._end = None
        cloud = self._cloud_settings(config)
        engine = self.engine
        if engine is None:
            store = self._open(config)
            engine = self.engine = Engine(Capture(self.clock), store, self._connect(store, cloud))
        elif engine.store.capture_dir != config.capture_dir:
            self._drain(engine)
            engine.store = self._open(config)
            engine.folder = self._connect(engine.store, cloud)
        elif engine.folder.cloud_settings != cloud:
            leaving = asyncio.get_running_loop().create_task(engine.folder.leave(), name="holdfast-leave-cloud")
            engine.folder = self._connect(engine.store, cloud, leaving)
        engine.store.writer.flush_interval_s = config.flush_interval_s
        engine.store.writer.completion.interval_s = config.fsync_interval_s
        engine.capture.orphaned = False
        self._apply_capture(engine, config, resources)
        self._apply_sync(engine, config, resources)
        self._say(config)
        self.config = config

    async def hand_over(self) -> None:
        """Flushes, and goes on for a successor; without one, stops after `HAND_OVER_S`. Takes under a second."""
        if self.engine is None or self._end is not None:
            return
        self._end = asyncio.get_running_loop().create_task(self._stop_later(), name="holdfast-hand-over")
        self.engine.capture.orphaned = True
        for folder in (self.engine.folder, *self.engine.draining):
            folder.sync.pause()  # the builtin may be what comes in our place, and would send the same files
        try:
            await asyncio.wait_for(self.engine.store.writer.flush(), _FLUSH_TIMEOUT_S)
        except asyncio.TimeoutError:
            logger.warning("the disk is slow: readings of the last moments are still on their way to it")

    async def stop(self) -> None:
        """Stops capture, completes all files, stops sync and frees the folder. Safe to call twice."""
        if self._end is not None:
            self._end.cancel()
            self._end = None
        async with self._stopping:
            engine, self.engine = self.engine, None
            if engine is None:
                return
            await engine.capture.stop()
            await engine.store.writer.close()
            await engine.folder.leave()
            await engine.store.close()
            for retired in engine.draining:
                retired.give_up()
            await asyncio.gather(*engine.draining.values())
            logger.info("stopped: all files are complete")

    async def sync(self) -> SyncReport:
        """A manual sync: everything that is there now. NotConnectedError when it can't begin."""
        folder = self.engine.folder if self.engine is not None else None
        if folder is None or folder.state != RUNNING:
            raise NotConnectedError(f"can't sync yet: {folder.state if folder else 'not configured'}")
        return await folder.sync.sync_now()

    def _open(self, config: Config) -> Store:
        return Store(
            self._files,
            self.clock,
            self._throttle,
            config.capture_dir,
            config.flush_interval_s,
            config.fsync_interval_s,
        )

    def _connect(
        self, store: Store, settings: CloudSettings, predecessor: asyncio.Task[None] | None = None
    ) -> Folder:
        return Folder(self._files, self.clock, self._throttle, store, settings, predecessor)

    def _cloud_settings(self, config: Config) -> CloudSettings:
        return CloudSettings(
            address=config.cloud_address,
            allow_plaintext=config.allow_plaintext,
            part_id=self._environment.get("VIAM_MACHINE_PART_ID", ""),
            api_key_id=self._environment.get("VIAM_API_KEY_ID", ""),
            api_key=self._environment.get("VIAM_API_KEY", ""),
        )

    def _apply_capture(self, engine: Engine, config: Config, resources: Resources) -> None:
        self.resolutions = resolve(config.methods, resources.apis)
        if config.capture_disabled or resources.client is None:
            engine.capture.apply(())
            return
        client = resources.client
        engine.capture.apply(
            CollectorSpec(
                api=found.api,
                method=found.method,
                table=found.table,
                client=client,
                tags=tuple(dict.fromkeys((*config.tags, *found.method.tags))),
                writer=engine.store.writer,
                max_file_bytes=config.maximum_capture_file_size_bytes,
            )
            for found in self.resolutions
            if found.table is not None
        )

    def _apply_sync(self, engine: Engine, config: Config, resources: Resources) -> None:
        sync = SyncSettings(
            paths=(config.capture_dir, *config.additional_sync_paths),
            interval_s=config.sync_interval_s,
            disabled=config.sync_disabled,
            min_age_s=config.file_last_modified_s,
            uploads=config.maximum_num_sync_threads,
            should_sync=_selector(config.selective_syncer_name, resources),
        )
        for retired in engine.draining:
            retired.sync.configure(replace(sync, paths=(retired.store.capture_dir,)))
            if config.sync_disabled or retired.store.capture_dir == config.capture_dir:
                retired.give_up()
        engine.folder.delivery.tags = config.tags
        engine.folder.sync.configure(sync)

    def _drain(self, engine: Engine) -> None:
        """Lets the folder go, when what is there is sent and the collectors that wrote there have ended."""
        if len(engine.draining) == MAX_DRAINING:
            next(iter(engine.draining)).give_up()
        folder = engine.folder
        task = asyncio.get_running_loop().create_task(
            folder.drain(engine.capture.settled), name="holdfast-drain-folder"
        )
        engine.draining[folder] = task
        task.add_done_callback(lambda _: engine.draining.pop(folder))

    async def _stop_later(self) -> None:
        await self.clock.sleep(HAND_OVER_S)
        logger.info("no successor came within %g s", HAND_OVER_S)
        self._last = asyncio.current_task()  # from here on a successor begins anew and does not cancel this
        self._end = None
        await self.stop()

    def _say(self, config: Config) -> None:
        """Logs what is wrong with a new configuration, once."""
        if config != self.config or self.config is None or config.problems != self.config.problems:
            for problem in config.problems:
                logger.error("config: %s", problem)
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
