"""The settings that users make by command: pauses and frequencies, some until a time, some across restarts.

Settings hold as long as the process lives, through every change of the config. Those that persist are in
`.holdfast/control.prog` too, and move with the capture folder. At most `MAX_SETTINGS` hold at once, with names of
`MAX_SETTINGS_CHARS`. Belongs to the event loop; files are read and written on worker threads, one at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

from ..base import unforeseen
from ..base.clock import Clock
from ..base.filesystem import FileSystem
from ..base.tasks import begin, in_thread, supervised
from ..errors import HoldfastError
from ..storage.sequence_files import rfc3339_ms
from . import settings_file
from .pair import Pair
from .settings_file import MAX_SETTINGS, MAX_SETTINGS_CHARS, Setting, SettingKey

SYNC, CAPTURE = "sync", "capture"
LOAD_TIMEOUT_S = 1.0
AGAIN_S = 30.0
"""How long until settings are written again that the disk did not take."""
_NS = 1_000_000_000

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ActiveSetting:
    """A setting that holds now. `until_s` is on the monotonic clock, and None when it has no end."""

    setting: Setting
    persist: bool
    until_s: float | None = None

    def __str__(self) -> str:
        """Returns what holds and until when, for the log."""
        what, method, until_ns = self.setting.what, self.setting.method, self.setting.until_ns
        holds = f"{method} of {what} is captured at {self.setting.hz:g} Hz" if method else f"{what} is paused"
        until = "until a command ends it" if until_ns is None else f"until {rfc3339_ms(until_ns)}"
        return f"{holds} {until}, {'also' if self.persist else 'not'} after a restart"


class UserSettings:
    """Holds the settings. `changed` is called whenever they may differ from before. `stop` must be called."""

    def __init__(self, files: FileSystem, clock: Clock, changed: Callable[[], None]) -> None:
        self.loaded = False
        """Whether capture may start: the file is read, can't be read, or took longer than `LOAD_TIMEOUT_S`."""
        self.problem = ""
        """Why settings do not persist, or are not read yet, in words; empty when all is well."""
        self.remedy = ""
        """What to do about `problem`; empty where that says it, or where nothing is known."""
        self._files = files
        self._clock = clock
        self._changed = changed
        self._active: dict[SettingKey, ActiveSetting] = {}
        self._capture_dir = ""
        self._saving = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.Task[None] | None = None
        self._again: asyncio.Task[None] | None = None
        """Writes again what the disk did not take."""
        self._stopped = False

    @property
    def active(self) -> list[ActiveSetting]:
        """The settings that hold, in the order in which they were made."""
        return list(self._active.values())

    @property
    def pauses(self) -> list[ActiveSetting]:
        return [each for each in self.active if not each.setting.method]

    def is_paused(self, what: str) -> bool:
        return (what, "") in self._active

    @property
    def paused_resources(self) -> frozenset[str]:
        return frozenset(each.setting.what for each in self.pauses) - {SYNC, CAPTURE}

    @property
    def frequencies(self) -> dict[Pair, float]:
        return {each.setting.key: each.setting.hz for each in self.active if each.setting.method}

    def place(self, capture_dir: str) -> None:
        """Makes `capture_dir` the folder of the file.

        The first call reads the settings of an earlier process from there. A later one with another folder moves
        the file. Returns at once; tasks do the disk work.
        """
        self._stopped = False
        before, self._capture_dir = self._capture_dir, capture_dir
        if not before:
            self._spawn(self._load(capture_dir))
        elif before != capture_dir:
            self._spawn(self._move(before))
        self._watch_the_time()

    async def set(self, setting: Setting, *, persist: bool) -> bool:
        """Makes `setting` hold from now on, in place of the one with the same key.

        Returns False, and changes nothing, when `MAX_SETTINGS` hold already, or names of `MAX_SETTINGS_CHARS`.
        Returns when the file is written, or `problem` says why it is not, if the setting persists or the one before
        did. When cancelled, the file is written all the same.
        """
        if setting.key not in self._active and not self._has_room_for(setting):
            return False
        before = self._active.get(setting.key)
        until_s = None if setting.for_s is None else self._clock.monotonic() + setting.for_s
        if setting.for_s is not None:
            setting = replace(setting, until_ns=self._clock.time_ns() + round(setting.for_s * _NS))
        made = self._active[setting.key] = ActiveSetting(setting, persist, until_s)
        logger.info("set by command: %s", made)
        self._report_change()
        if persist or (before is not None and before.persist):
            await asyncio.shield(self._spawn(self._save()))
        return True

    def _has_room_for(self, setting: Setting) -> bool:
        chars = sum(len(what) + len(method) for what, method in (*self._active, setting.key))
        return len(self._active) < MAX_SETTINGS and chars <= MAX_SETTINGS_CHARS

    async def clear(self, key: SettingKey) -> bool:
        """Ends the setting with this key; returns False when there is none.

        Like `set`, it waits for the file if the setting persisted, and is cancelled like it.
        """
        before = self._active.pop(key, None)
        if before is None:
            return False
        logger.info("ended by command: %s", before)
        self._report_change()
        if before.persist:
            await asyncio.shield(self._spawn(self._save()))
        return True

    async def stop(self) -> None:
        """Returns when all disk work is done, and nothing is tried again. When cancelled, the disk work is done all
        the same.

        The settings stay in memory and hold for a later `place`.
        """
        self._stopped = True
        timers, self._again = (self._timer, self._again), None
        for task in timers:
            if task is not None:
                task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _spawn(self, run: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = begin(run, "holdfast-settings")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _load(self, capture_dir: str) -> None:
        async with self._saving:  # a file that is written first would replace the one that is to be read
            reading = asyncio.ensure_future(asyncio.to_thread(settings_file.read, self._files, capture_dir))
            await asyncio.wait([reading], timeout=LOAD_TIMEOUT_S)
            if not reading.done():
                self.problem = "the disk is slow: they are not read yet"
                self.remedy = "see whether its disk works"
                logger.warning("the disk is slow: capture starts before the settings made by command are read")
                self.loaded = True
                self._changed()
            try:
                for setting in await reading:
                    self._adopt(setting)
                self.problem = ""
            except HoldfastError as error:
                self.problem, self.remedy = str(error), error.remedy
                logger.error("%s; earlier settings made by command do not apply", error)
            except Exception as error:  # noqa: BLE001 - capture waits for `loaded`
                self.problem, self.remedy = unforeseen.in_words(error), unforeseen.REMEDY
                unforeseen.note("reading what was set by command", error, "earlier settings do not apply")
        self.loaded = True
        self._report_change()

    def _adopt(self, setting: Setting) -> None:
        """Adopts a setting of an earlier process, unless its time is over or this process has set the same."""
        until_s = None
        if setting.until_ns is not None:
            left_s = (setting.until_ns - self._clock.time_ns()) / _NS
            left_s = min(left_s, left_s if setting.for_s is None else setting.for_s)
            if left_s <= 0:
                return
            until_s = self._clock.monotonic() + left_s
        if setting.key not in self._active:
            left = self._active[setting.key] = ActiveSetting(setting, True, until_s)
            logger.warning("set by command before the restart, and holds again: %s", left)

    def _report_change(self) -> None:
        self._watch_the_time()
        self._changed()

    def _watch_the_time(self) -> None:
        """Restarts the task that ends settings whose time is over."""
        if self._timer is not None:
            self._timer.cancel()
        expire = supervised("the time of what was set", self._expire)
        self._timer = begin(expire, "holdfast-settings-timer")

    async def _expire(self) -> None:
        while ends := [each.until_s for each in self.active if each.until_s is not None]:
            await self._clock.sleep(min(ends) - self._clock.monotonic())
            now_s = self._clock.monotonic()
            over = [each for each in self.active if each.until_s is not None and each.until_s <= now_s]
            for each in over:
                del self._active[each.setting.key]
                logger.info("the setting made by command for %s has expired", " ".join(each.setting.key).strip())
            if over:
                self._changed()
            if any(each.persist for each in over):
                self._spawn(self._save())

    async def _save(self) -> None:
        async with self._saving:
            is_written = await self._write()
        if not is_written and self._again is None and not self._stopped:
            again = supervised("writing again what was set", self._save_again)
            self._again = begin(again, "holdfast-settings-again")

    async def _save_again(self) -> None:
        """Tries to write the settings until the disk takes them."""
        while self.problem:
            await self._clock.sleep(AGAIN_S)
            await asyncio.shield(self._spawn(self._save()))
        self._again = None

    async def _move(self, before: str) -> None:
        """Writes the settings that persist into the new capture folder, then removes the file from `before`."""
        async with self._saving:
            if (
                not any(each.persist for each in self.active)
                or not await self._write()
                or before == self._capture_dir
            ):
                return
            try:
                await in_thread(settings_file.remove, self._files, before)
            except HoldfastError as error:
                logger.warning("%s; if that folder is used again after a restart, its settings apply again", error)

    async def _write(self) -> bool:
        """Writes the settings that persist. Returns False, with the cause in `problem`, instead of raising."""
        settings = [each.setting for each in self.active if each.persist]
        try:
            await in_thread(settings_file.write, self._files, self._capture_dir, settings)
        except HoldfastError as error:
            self.problem, self.remedy = str(error), error.remedy
            logger.error("%s; settings made by command last only until the next restart", error)
            return False
        self.problem = ""
        return True
