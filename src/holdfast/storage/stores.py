"""The capture folders that are configured, and former ones that drain.

A folder that is no longer configured drains: it is synced until it is empty, and then released; while sync is
disabled, it is released as it is. If it is configured again before that, it is taken back. At most `MAX_DRAINING`
folders drain at once; beyond that, the one that has drained longest is released as it is. Belongs to the event
loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterator, Mapping
from typing import Any, Protocol

from ..base.clock import Clock
from ..base.filesystem import FileSystem
from ..base.problems import Problem
from ..base.tasks import all_done, begin, end
from ..config import Config, Protected
from .placement import left_behind, rules_for, rules_for_left
from .space.limits import Rules, Surroundings
from .space.local_copy import LocalCopy
from .store import Store

MAX_DRAINING = 4
_CLOSE_S = 1.0
"""How long `close` waits for stores that were being closed already; they take less unless a disk stalls."""

logger = logging.getLogger(__name__)


class Users(Protocol):
    """The parts of the program that write to the stores and read from them."""

    async def settled(self) -> None:
        """Returns when the collectors that were ended before this call write no more."""

    async def drained(self, store: Store) -> None:
        """Returns when nothing is left in a store except for sync."""

    async def release(self, store: Store) -> None:
        """Stops using a store; whatever waits there stays."""


class Stores:
    """Opens, configures, drains and closes stores. `configure` comes first; `close` must be called."""

    def __init__(self, files: FileSystem, clock: Clock, users: Users) -> None:
        self.configured: dict[str, Store] = {}
        """The stores of the configured folders, by folder; that of `capture_dir` comes first."""
        self.draining: dict[Store, asyncio.Task[None]] = {}
        """The stores that drain, each with the task that waits for its end; the oldest comes first."""
        self.local_copy: LocalCopy | None = None
        self._files = files
        self._clock = clock
        self._users = users
        self._surroundings = Surroundings(
            local_copy=lambda: self.local_copy,
            neighbours=lambda: [store.limits for store in self.all],
            roots=self._roots,
        )
        self._closing: set[asyncio.Task[None]] = set()
        self._config: Config | None = None
        self._closed = False

    @property
    def main(self) -> Store:
        """The store of `capture_dir`."""
        return next(iter(self.configured.values()))

    @property
    def all(self) -> tuple[Store, ...]:
        """All stores: the configured ones, then those that drain."""
        return (*self.configured.values(), *self.draining)

    @property
    def problems(self) -> Iterator[Problem]:
        """What is wrong with any of the folders now."""
        for store in self.all:
            yield from store.problems
        if self.local_copy is not None and (problem := self.local_copy.problem) is not None:
            yield problem

    def configure(self, unplaced: Config, config: Config, priorities: Mapping[str, int]) -> None:
        """Makes `config` hold: opens the stores of new folders, sets the intervals and limits of all configured
        ones, and begins to drain those that are no longer configured, which keep the intervals and limits they had.

        `unplaced` is the config before `placed`, `config` after it. `priorities` are as in `rules_for`. The first
        call also looks for what earlier runs left in other folders.
        """
        begins, self._config = self._config is None, config
        if config.local_copy is None:
            self.local_copy = None
        elif self.local_copy is None or self.local_copy.settings != config.local_copy:
            self.local_copy = LocalCopy(self._files, self._clock, config.local_copy)
        before = {store.capture_dir: store for store in self.all}
        self.configured = {
            folder: before.pop(folder) if folder in before else self._open(folder, config, config.protected)
            for folder in config.capture_dirs
        }
        for folder, store in self.configured.items():
            _configure(store, config, rules_for(config, priorities, folder))
            if (draining := self.draining.pop(store, None)) is not None:
                draining.cancel()
        for store in before.values():
            drain = self.draining.get(store)
            if drain is not None and config.sync_disabled:
                drain.cancel()
            if drain is None or config.sync_disabled:
                self._begin_drain(store, is_sent=not config.sync_disabled)
        for store in list(self.draining)[: max(0, len(self.draining) - MAX_DRAINING)]:
            self.draining.pop(store).cancel()
            self._close(store)
        if begins:
            self._begin(self._look_behind(unplaced, config), "holdfast-look-behind")

    async def close(self) -> bool:
        """Completes all files and frees the folders; returns False when a disk prevented that."""
        self._closed = True
        await end(self.draining.values())
        complete = await all_done("closing the folders", *(store.close() for store in self.all))
        if self._closing:
            await asyncio.wait(self._closing, timeout=_CLOSE_S)
        return all(complete)

    def _open(self, folder: str, config: Config, protected: Protected | None = None) -> Store:
        intervals = config.flush_interval_s, config.fsync_interval_s
        return Store(self._files, self._clock, folder, *intervals, self._surroundings, protected)

    def _roots(self) -> list[str]:
        added = self._config.additional_sync_paths if self._config is not None else ()
        return [*(store.root for store in self.all), *added]

    async def _look_behind(self, unplaced: Config, config: Config) -> None:
        """Drains what an earlier run left where it is no longer kept."""
        folders = await asyncio.to_thread(left_behind, self._files, unplaced, config)
        known = {store.capture_dir for store in self.all}
        now = self._config or config
        for folder in folders:
            if folder not in known and not self._closed and not now.sync_disabled:
                store = self._open(folder, now)
                _configure(store, now, rules_for_left(now, folder))
                self._begin_drain(store, is_sent=True)

    def _begin_drain(self, store: Store, *, is_sent: bool) -> None:
        drain = self._drain(store, is_sent=is_sent)
        self.draining[store] = begin(drain, "holdfast-drain")

    async def _drain(self, store: Store, *, is_sent: bool) -> None:
        """Closes a store when the collectors that wrote to it have ended and everything in it is sent: to the cloud
        if `is_sent`, and to MongoDB."""
        await self._users.settled()
        if is_sent:
            await store.emptied()
        await self._users.drained(store)
        del self.draining[store]
        logger.info("%s is drained: everything in it is sent, and the folder is released", store.capture_dir)
        self._close(store)

    def _close(self, store: Store) -> None:
        """Closes a store that was taken out of `all`, after the last collector that still writes to it."""

        async def close() -> None:
            await self._users.settled()
            await self._users.release(store)
            await store.close()

        self._begin(close(), "holdfast-close-store")

    def _begin(self, what: Coroutine[Any, Any, None], name: str) -> None:
        """Starts a task that `close` waits for."""
        task = begin(what, name)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _configure(store: Store, config: Config, rules: Rules) -> None:
    store.configure(config.flush_interval_s, config.fsync_interval_s, rules)
