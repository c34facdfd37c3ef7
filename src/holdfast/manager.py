"""The life of the whole program: start, change, hand over, stop.

There is one `Manager` in a process. At every change of the config viam-server closes the service and creates a new
one, and does not say which close is the last. So the manager outlives the services: `apply` takes the configuration
of any of them, and after `hand_over` capture keeps running for `HAND_OVER_S`, for a successor to take over. No new
upload starts in that time.

Belongs to the event loop. `apply` returns in milliseconds; recovery, the walk and the login follow in the
background. Capture starts at once; recovery and sync wait for the lock of the capture folder.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .adoption import Adoption
from .base import unforeseen
from .base.clock import Clock, why_wrong
from .base.filesystem import FileSystem
from .base.jobs import Jobs
from .base.places import Places
from .base.problems import Kind, Problem, Problems
from .base.tasks import all_done, begin, end, supervised
from .capture.client import UnaryClient
from .capture.collector import CollectorSpec
from .capture.engine import Capture
from .capture.gap_keeper import GapKeeper
from .capture.resolve import Resolution, possible_apis, problems_of, resolve
from .config import Config, short_name
from .errors import NotReadyError
from .mongo import MongoCapture, SpoolPlace
from .steering import SelectiveSyncer, Steering, effective, selective_syncer, why_absent
from .storage import layout
from .storage.placement import placed
from .storage.store import Store
from .storage.stores import Stores
from .sync.cloud.cloud import CloudSettings
from .sync.manual import Select, SyncReport
from .sync.rounds import STOP_PATIENCE_S, SyncSettings
from .sync.uplink import Uplink
from .sync.way import VARIABLES

HAND_OVER_S = 10.0
MAX_CAPTURES_NOW = 16
MAX_QUARANTINE_LISTS = 8
_FLUSH_TIMEOUT_S = 0.8
_END_S = 1.0
"""How long `stop` waits for capture and steering, which take less unless a disk stalls."""
_HURRIED_S = 0.4
"""How long uploads may take when viam-server is gone and the module of the next one waits for the folder."""

_ToRun = list[tuple[Resolution, tuple[str, ...]]]
"""Resolved methods, each with the tags of its data."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resources:
    """The resources of the machine that are there: their APIs by short name, and the client that calls them."""

    apis: Mapping[str, frozenset[str]] = field(default_factory=dict)
    client: UnaryClient | None = None


class Engine:
    """Everything that runs between `apply` and `stop`. The stores know it as their users."""

    def __init__(self, files: FileSystem, clock: Clock, uplink: Callable[[Stores], Uplink]) -> None:
        self.mongo = MongoCapture(files, clock)
        self.capture = Capture(clock, self.mongo.tee)
        self.gap_keeper = GapKeeper(files, clock, self.capture.gaps)
        self.stores = Stores(files, clock, users=self)
        self.uplink = uplink(self.stores)

    @property
    def store(self) -> Store:
        """The store of `capture_dir`."""
        return self.stores.main

    async def settled(self) -> None:
        """See `Users.settled`."""
        await self.capture.settled()

    async def drained(self, store: Store) -> None:
        """See `Users.drained`."""
        await self.mongo.drained(store.capture_dir)

    async def release(self, store: Store) -> None:
        """See `Users.release`."""
        await self.mongo.release(store.capture_dir)
        await self.uplink.rounds.release(store)


class Manager:
    """Owns everything that runs. `environment` holds the variables that viam-server sets."""

    def __init__(
        self, environment: Mapping[str, str], files: FileSystem, clock: Clock, adoption: Adoption | None = None
    ) -> None:
        self._environment = environment
        self.adoption = adoption
        """Where the capture settings of components come from; None if nothing brings any."""
        self.files = files
        self._end: asyncio.Task[None] | None = None
        self._last: asyncio.Task[Any] | None = None
        self._stopping = asyncio.Lock()
        self.started_s = clock.monotonic()
        self.clock = clock
        self.config: Config | None = None
        """The configuration that holds, as it was placed; None before the first."""
        self.resolutions: list[Resolution] = []
        """What becomes of each method that the config and its steering want to run."""
        self.engine: Engine | None = None
        """What runs; None before the first configuration and after `stop`."""
        self.resources = Resources()
        self.steering = Steering(files, clock, self._steer)
        self.problems = Problems(clock, self._wrong_now)
        """What a person has to see to, with its history. It is looked at every second while the engine runs."""
        self._selector: SelectiveSyncer | None = None
        self._config_problems: list[Problem] = []
        self._looking: asyncio.Task[None] | None = None
        self.jobs = Jobs(clock)
        self.emptying_quarantine = asyncio.Lock()
        """Held by the command that takes files out of quarantine."""
        self.listing_quarantine = asyncio.Lock()
        """Held by a command that lists quarantine: it takes a worker thread, which others need too."""
        self.quarantine_lists = Places("lists of what failed", MAX_QUARANTINE_LISTS)
        self.captures_now = Places("captures by command", MAX_CAPTURES_NOW)

    def apply(self, config: Config, resources: Resources) -> None:
        """Makes `config` hold. Returns at once; whatever did not change runs on undisturbed."""
        if self._end is not None:
            self._end.cancel()
            self._end = None
        engine = self.engine = self.engine or self._start(config)
        unplaced, config = config, placed(self.files, config)
        # Steering decides together with the config what is to run, and that says which files the stores keep
        # longest. Collectors write into a store and into MongoDB's spool, so both are there before them. Sync comes
        # last: it sends from the stores, and asks steering whether it has to wait.
        self.steering.configure(config, resources.apis, resources.client, lambda: engine.store.owned)
        to_run = self._resolve(config)
        engine.stores.configure(unplaced, config, self._priorities(config))
        engine.mongo.configure(config.mongo_capture_config, _spool_place(config, engine.store))
        engine.capture.unmute_warnings()
        engine.capture.configure(self._specs(to_run, config, resources))
        self._explain_absences(engine, config)
        engine.gap_keeper.place(config.capture_dir, lambda: engine.store.owned)
        self._apply_sync(engine, config, resources)
        self._say(config)
        self.config, self.resources = config, resources
        self._note_config_problems(config)

    async def hand_over(self) -> None:
        """Flushes, and keeps capture running for a successor; stops after `HAND_OVER_S` if none comes. Takes less
        than a second."""
        if self.engine is None or self._end is not None:
            return
        self._end = begin(self._stop_later(), "holdfast-hand-over")
        self.engine.capture.mute_warnings()
        self.engine.uplink.rounds.pause()  # the successor may be the builtin, which would send the same files
        flushes = [self.engine.mongo.flush(), *(store.writer.flush() for store in self.engine.stores.all)]
        try:
            await asyncio.wait_for(asyncio.gather(self.steering.hand_over(), *flushes), _FLUSH_TIMEOUT_S)
        except asyncio.TimeoutError:
            logger.warning("the disk is slow: the last readings are still being written")

    async def stop(self, *, in_a_hurry: bool = False) -> None:
        """Stops capture, completes all files, stops sync and frees the folders. Safe to call twice.

        Waits up to `STOP_PATIENCE_S` for uploads under way (`_HURRIED_S` when `in_a_hurry`), and up to
        `disk_writer.END_TIMEOUT_S` for a disk that stalls.
        """
        if self._end is not None:
            self._end.cancel()
            self._end = None
        async with self._stopping:
            engine, self.engine = self.engine, None
            if engine is None:
                return
            if self._looking is not None:
                self._looking.cancel()
            patience_s = _HURRIED_S if in_a_hurry else STOP_PATIENCE_S
            uplink = engine.uplink.leave(patience_s)
            await all_done("the end", self._stop_capture(engine), self.jobs.stop(), uplink)
            if await engine.stores.close():
                logger.info("stopped: all files are complete")

    async def _stop_capture(self, engine: Engine) -> None:
        """Stops capture and steering, then the writers: a disk that stalls holds up nothing but its own writer."""
        ends = self.steering.stop(), engine.capture.stop()
        tasks = [begin(each, "holdfast-end") for each in ends]
        await asyncio.wait(tasks, timeout=_END_S)
        _, *complete = await all_done(
            "the end", engine.mongo.stop(), *(store.complete() for store in engine.stores.all)
        )
        await end(tasks)
        if all(complete):
            await engine.gap_keeper.stop()
        else:  # the disk was waited for long enough
            engine.gap_keeper.give_up()

    async def sync(self, select: Select | None = None, report: SyncReport | None = None) -> SyncReport:
        """Runs a manual sync of everything that is there now, or of the part that `select` names.

        Raises NotReadyError or NotConnectedError when it can't begin.
        """
        engine = await self.ready_engine()
        return await engine.uplink.rounds.sync_now(select, report)

    @property
    def capture_roots(self) -> list[str]:
        """The folders that hold captured data."""
        return [store.root for store in self.engine.stores.all] if self.engine is not None else []

    @property
    def other_roots(self) -> tuple[str, ...]:
        """The additional sync paths that can be synced."""
        return self.engine.uplink.rounds.additional.synced if self.engine is not None else ()

    @property
    def upload_roots(self) -> Sequence[str]:
        """The folders that uploads by command may read."""
        configured = self.config.upload_roots if self.config is not None else None
        return [*self.capture_roots, *self.other_roots] if configured is None else configured

    async def sync_files(self, paths: Sequence[str]) -> SyncReport:
        """Sends these files, which are complete. Raises NotReadyError or NotConnectedError when it can't begin."""
        engine = await self.ready_engine()
        return await engine.uplink.rounds.sync_files(paths)

    async def ready_engine(self) -> Engine:
        """Returns the engine as soon as each folder's lock was tried for, and each sync path looked at.

        Raises NotReadyError while nothing can be sent even with a connection: before the first configuration, and
        while the lock of `capture_dir` is not ours.
        """
        if self.engine is not None:
            additional = self.engine.uplink.rounds.additional
            await asyncio.gather(additional.checked(), *(store.tried() for store in self.engine.stores.all))
        if self.engine is None:
            raise NotReadyError("can't sync yet: not configured")
        if not self.engine.store.owned:
            raise NotReadyError(f"can't sync yet: {self.engine.store.waiting_for}")
        return self.engine

    def _start(self, config: Config) -> Engine:
        self._looking = begin(supervised("the list of problems", self.problems.run), "holdfast-problems")
        return Engine(self.files, self.clock, lambda stores: self._uplink(stores, config))

    def _uplink(self, stores: Stores, config: Config, predecessor: asyncio.Task[None] | None = None) -> Uplink:
        cloud = self._cloud_settings(config)
        return Uplink(self.files, self.clock, lambda: stores.all, cloud, predecessor)

    def _cloud_settings(self, config: Config) -> CloudSettings:
        return CloudSettings(
            address=config.cloud_address,
            allow_plaintext=config.allow_plaintext,
            part_id=self._environment.get("VIAM_MACHINE_PART_ID", ""),
            api_key_id=self._environment.get("VIAM_API_KEY_ID", ""),
            api_key=self._environment.get("VIAM_API_KEY", ""),
            environment={name: self._environment[name] for name in VARIABLES if name in self._environment},
        )

    def _steer(self) -> None:
        """Takes over what steering changed, with the configuration as it is."""
        engine, config = self.engine, self.config
        if engine is not None and config is not None:
            to_run = self._resolve(config)
            engine.capture.configure(self._specs(to_run, config, self.resources))
            self._explain_absences(engine, config)
            self._say_what_does_not_run()
            self._note_config_problems(config)
            engine.uplink.rounds.hold(self.steering.sync_pause)

    def _explain_absences(self, engine: Engine, config: Config) -> None:
        orders, found = self.steering.orders, self.resolutions
        engine.capture.gaps.explain(lambda collector: why_absent(collector, config, orders, found))

    def _resolve(self, config: Config) -> _ToRun:
        """Finds out what the config and its steering want to run: sets `resolutions`, and returns what may run
        now."""
        apis = self.steering.resources.known()
        if not self.steering.settings.loaded:  # until then it is not known what is paused; that takes milliseconds
            self.resolutions = resolve(config.methods, apis)
            return []
        configured = (*config.methods, *config.off_methods)
        wanted = effective(configured, config.tags, self.steering.orders, apis)
        apis = self.steering.resources.find([each.method.name for each in wanted])
        self.resolutions = resolve((each.method for each in wanted), apis)
        return list(zip(self.resolutions, (each.tags for each in wanted), strict=True))

    def _specs(self, to_run: _ToRun, config: Config, resources: Resources) -> list[CollectorSpec]:
        """Returns the collectors for what `_resolve` returned."""
        if config.capture_disabled:
            return []
        specs = (self.spec_of(found, tags, resources, config) for found, tags in to_run)
        return [spec for spec in specs if spec is not None]

    def _priorities(self, config: Config) -> dict[str, int]:
        """Returns the priorities of capture files by their folder inside the capture folder; the highest where
        methods share a folder.

        Files keep theirs while their method is off or paused, or their resource is missing. Where it is not known
        which API a resource has, each that has the method counts.
        """
        apis = self.steering.resources.known()
        priorities: dict[str, int] = {}
        for found in (*self.resolutions, *resolve((*config.methods, *config.off_methods), apis)):
            method, name = found.method, short_name(found.method.name)
            for api in [found.api] if found.api else possible_apis(method):
                folder = layout.collector_folder("", api, name, method.method)
                priorities[folder] = max(method.priority, priorities.get(folder, 0))
        return priorities

    def spec_of(
        self, found: Resolution, tags: tuple[str, ...], resources: Resources, config: Config
    ) -> CollectorSpec | None:
        """Returns the collector for a resolved method; None when it can't run."""
        if found.table is None or resources.client is None or self.engine is None:
            return None
        return CollectorSpec(
            api=found.api,
            method=found.method,
            table=found.table,
            client=resources.client,
            tags=tags,
            writer=self.engine.stores.configured[found.method.capture_directory or config.capture_dir].writer,
            max_file_bytes=config.maximum_capture_file_size_bytes,
        )

    def _apply_sync(self, engine: Engine, config: Config, resources: Resources) -> None:
        if engine.uplink.settings != self._cloud_settings(config):
            leaving = begin(engine.uplink.leave(), "holdfast-leave-cloud")
            engine.uplink = self._uplink(engine.stores, config, leaving)
        selector = self._selector = selective_syncer(config.selective_syncer_name, resources.apis, resources.client)
        sync = SyncSettings(
            additional_paths=config.additional_sync_paths,
            protected=config.protected_with_copy,
            interval_s=config.sync_interval_s,
            disabled=config.sync_disabled,
            min_age_s=config.file_last_modified_s,
            uploads=config.maximum_num_sync_threads,
            newest_first=config.sync_order == "newest_first",
            should_sync=None if selector is None else selector.reason_to_wait,
        )
        engine.uplink.configure(
            sync,
            tags=config.tags,
            limit_bytes_per_s=config.sync_bandwidth_limit_bytes_per_sec,
            is_open=self.steering.sequences.is_open,
            pause=self.steering.sync_pause,
        )

    async def _stop_later(self) -> None:
        await self.clock.sleep(HAND_OVER_S)
        logger.info("no new service came within %g s: all files are completed, and everything stops", HAND_OVER_S)
        self._last = asyncio.current_task()  # from here on a successor starts from scratch and does not cancel this
        self._end = None
        await self.stop()

    def _wrong_now(self) -> Iterator[Problem]:
        """Yields what is wrong now; what may cost readings comes first. This takes well below a millisecond. A part
        that fails to say what is wrong with it costs its own problems only."""
        for what, problems_of_part in self._parts():
            try:
                yield from problems_of_part()
            except Exception as error:  # noqa: BLE001 - the other parts' problems are told all the same
                unforeseen.note(f"what is wrong with {what}", error, "the other problems are told all the same")
        yield from unforeseen.problems(self.clock.monotonic())

    def _parts(self) -> Iterator[tuple[str, Callable[[], Iterable[Problem]]]]:
        """Yields each part of the program with a function that returns what is wrong with it."""
        if (engine := self.engine) is not None:
            yield "the disk", lambda: engine.stores.problems
            yield "capture", lambda: engine.capture.problems
            yield "the record of gaps", lambda: engine.gap_keeper.problems
            yield "sync", lambda: engine.uplink.problems
            yield "MongoDB", lambda: engine.mongo.problems
            yield "the selective sync sensor", lambda: self._problems_of_selector(engine)
        yield "steering", lambda: self.steering.problems
        if (adoption := self.adoption) is not None and self._adopts:
            yield "adoption", lambda: adoption.problems
        yield "the config", lambda: self._config_problems
        yield "the clock", self._problems_of_clock

    def _problems_of_selector(self, engine: Engine) -> Iterator[Problem]:
        if self._selector is not None and self._selector.problem and engine.uplink.rounds.asks:
            yield Problem(Kind.STEERING, f"{self._selector.problem}; nothing is sent by itself", key="selector")

    def _problems_of_clock(self) -> Iterator[Problem]:
        if why := why_wrong(self.clock.time_ns()):
            yield Problem(Kind.CLOCK, why, "set the clock", key="clock")

    @property
    def _adopts(self) -> bool:
        return self.config is not None and self.config.adopt_component_settings

    def _note_config_problems(self, config: Config) -> None:
        """Notes what is wrong with the config; what keeps a method from being captured comes first."""
        names = self.steering.resources.known()
        of_methods = () if config.capture_disabled else problems_of(self.resolutions, names)
        self._config_problems = [*of_methods, *(Problem(Kind.CONFIG, each) for each in config.problems)]

    def _say(self, config: Config) -> None:
        """Logs what is wrong with a configuration, once for each change of it."""
        if config != self.config or self.config is None or config.problems != self.config.problems:
            for problem in config.problems:
                logger.error("config: %s", problem)
        self._say_what_does_not_run()

    def _say_what_does_not_run(self) -> None:
        for found in self.resolutions:
            if found.problem:
                logger.error("config: %s; it is not captured", found.problem)
        missing = sorted({found.method.name for found in self.resolutions if found.waiting})
        if missing:
            logger.info("not there yet, and captured when it appears: %s", ", ".join(missing))


def _spool_place(config: Config, store: Store) -> SpoolPlace:
    wrote = store.writer.completion.wrote
    return SpoolPlace(config.capture_dir, config.flush_interval_s, lambda: store.owned, wrote)
