"""The capture folders: which are open, which drain, and that none stays open at the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.config import MEMORY_LIMIT_BYTES, Config, CopySettings, FormerFolder, SpaceLimits
from holdfast.storage.lock import FolderLock
from holdfast.storage.placement import left_behind
from holdfast.storage.store import Store
from holdfast.storage.stores import MAX_DRAINING, Stores
from tests.waiting import eventually


class Users:
    """Users of the stores who are done with them when a test says so."""

    def __init__(self) -> None:
        self.writes_no_more = asyncio.Event()
        self.done = asyncio.Event()
        self.done.set()
        self.writes_no_more.set()
        self.released: list[str] = []

    async def settled(self) -> None:
        await self.writes_no_more.wait()

    async def drained(self, store: Store) -> None:
        await self.done.wait()

    async def release(self, store: Store) -> None:
        self.released.append(Path(store.capture_dir).name)


class World:
    """Stores in one folder."""

    def __init__(self, folder: Path) -> None:
        clock = SystemClock()
        self.folder = folder
        self.users = Users()
        self.stores = Stores(FileSystem(), clock, self.users)

    def apply(self, name: str, **values: Any) -> Store:
        changed = {"memory_dir": str(self.folder / "memory"), "sync_disabled": True, **values}
        config = Config(capture_dir=str(self.folder / name), **changed)
        self.stores.configure(config, config, {})
        return self.stores.main

    @property
    def draining(self) -> list[str]:
        return [Path(store.capture_dir).name for store in self.stores.draining]

    def is_free(self, name: str) -> bool:
        lock = FolderLock(FileSystem(), str(self.folder / name))
        if not lock.try_acquire():
            return False
        lock.release()
        return True


async def a_moment() -> None:
    """Runs everything that does not have to wait."""
    for _ in range(50):
        await asyncio.sleep(0)


def drains() -> int:
    return sum(task.get_name() == "holdfast-drain" for task in asyncio.all_tasks())


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    yield world
    await world.stores.close()


async def test_a_folder_that_stays_configured_keeps_its_store(world: World) -> None:
    store = world.apply("a", flush_interval_s=1.0, fsync_interval_s=5.0)
    assert world.apply("a", flush_interval_s=0.5, fsync_interval_s=2.0) is store
    assert (store.writer.flush_interval_s, store.writer.completion.interval_s) == (0.5, 2.0)
    assert world.stores.all == (store,)


async def test_a_folder_that_drains_is_released_only_when_nobody_writes_or_reads_there(world: World) -> None:
    store = world.apply("a")
    await eventually(lambda: store.owned)
    world.users.writes_no_more.clear()
    world.users.done.clear()
    world.apply("b")
    assert world.draining == ["a"] and not world.is_free("a")
    world.users.writes_no_more.set()
    await a_moment()
    assert world.draining == ["a"] and world.users.released == []
    world.users.done.set()
    await eventually(lambda: world.draining == [])
    await eventually(lambda: world.is_free("a"))
    assert world.users.released == ["a"]


async def test_a_folder_that_is_to_be_sent_drains_until_a_walk_finds_it_empty(world: World) -> None:
    store = world.apply("a")
    world.apply("b", sync_disabled=False)
    await a_moment()
    assert world.draining == ["a"]
    store.found_empty(store.begin_round())
    await eventually(lambda: world.draining == [])


async def test_a_folder_that_can_not_be_sent_any_more_is_released_as_it_is(world: World) -> None:
    world.apply("a")
    world.apply("b", sync_disabled=False)
    await a_moment()
    assert world.draining == ["a"]
    world.apply("b", sync_disabled=True)
    await eventually(lambda: world.users.released == ["a"])


async def test_a_folder_that_drains_is_taken_again_with_all_that_it_has(world: World) -> None:
    store = world.apply("a")
    world.users.done.clear()
    other = world.apply("b")
    assert world.apply("a") is store
    await a_moment()
    assert world.draining == ["b"] and drains() == 1
    world.users.done.set()
    await eventually(lambda: world.draining == [])
    assert world.stores.all == (store,) and world.users.released == ["b"]
    assert other not in world.stores.all


async def test_no_more_than_some_folders_drain_at_once_and_the_oldest_are_released(world: World) -> None:
    world.users.done.clear()
    world.users.writes_no_more.clear()
    names = [f"folder{number}" for number in range(MAX_DRAINING + 3)]
    for name in names:
        world.apply(name)
    await a_moment()
    assert world.draining == names[2:-1] and world.users.released == []
    assert drains() == MAX_DRAINING
    world.users.writes_no_more.set()
    await eventually(lambda: world.users.released == names[:2])
    await eventually(lambda: all(map(world.is_free, names[:2])))


async def test_close_ends_what_drains_and_waits_for_what_is_being_closed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.storage.stores._CLOSE_S", 60.0)
    await eventually(lambda: world.apply("a").owned)
    may_go = asyncio.Event()
    release = world.users.release

    async def slow(store: Store) -> None:
        await may_go.wait()
        await release(store)

    world.users.release = slow  # type: ignore[method-assign]
    await eventually(lambda: world.apply("b").owned)
    await eventually(lambda: world.draining == [])
    world.users.done.clear()
    await eventually(lambda: world.apply("c").owned)
    assert world.draining == ["b"]
    closing = asyncio.create_task(world.stores.close())
    await eventually(lambda: world.is_free("b") and world.is_free("c"))
    await a_moment()
    assert not closing.done() and not world.is_free("a")
    may_go.set()
    assert await closing
    assert all(map(world.is_free, "abc"))
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("holdfast")] == []


def leave_in_memory(world: World) -> None:
    """Makes the data that an earlier run left."""
    (world.folder / "memory").mkdir(mode=0o700)
    (world.folder / "memory" / "x").write_bytes(b"x")


async def test_what_an_earlier_run_left_in_memory_drains_with_the_bound_of_memory(world: World) -> None:
    leave_in_memory(world)
    kept = CopySettings(str(world.folder / "kept"), 1 << 20, None)
    main = world.apply("a", sync_disabled=False, local_copy=kept)
    await eventually(lambda: world.draining == ["memory"])
    (left,) = world.stores.draining
    assert (left.limits.limits.most_bytes, main.limits.limits.most_bytes) == (MEMORY_LIMIT_BYTES, None)
    assert left.limits.surroundings.local_copy() is world.stores.local_copy is not None
    assert set(left.limits.surroundings.neighbours()) == {left.limits, main.limits}


async def test_only_what_an_earlier_version_kept_in_a_former_folder_is_drained_and_that_once(world: World) -> None:
    for name in ("ours", "others"):
        (world.folder / name).mkdir()
        (world.folder / name / "file").write_bytes(b"x")
    (world.folder / "ours" / ".holdfast").mkdir()
    now = str(world.folder / "a")
    (world.folder / "link").symlink_to(now)
    former = [
        FormerFolder("capture_dir", str(world.folder / name), now) for name in ("ours", "others", "link", "ours")
    ]
    main = world.apply("a", sync_disabled=False, former_folders=tuple(former))
    await main.tried()
    (world.folder / "a" / "file").write_bytes(b"x")
    config = Config(capture_dir=now, former_folders=tuple(former))
    assert left_behind(FileSystem(), config, config) == [str(world.folder / "ours")]
    await eventually(lambda: world.draining)
    assert world.draining == ["ours"]


async def test_nothing_is_opened_any_more_once_it_closes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_in_memory(world)
    may_look = threading.Event()
    look = left_behind
    monkeypatch.setattr("holdfast.storage.stores.left_behind", lambda *args: may_look.wait() and look(*args))
    world.apply("a", sync_disabled=False)
    closing = asyncio.create_task(world.stores.close())
    await asyncio.sleep(0)
    may_look.set()
    await closing
    assert world.draining == []


async def test_a_folder_that_drains_keeps_its_limits_and_gets_the_local_copy_of_now(world: World) -> None:
    limits = SpaceLimits(most_bytes=1000)
    store = world.apply("a", limits=limits)
    world.users.done.clear()
    kept = CopySettings(str(world.folder / "kept"), 1 << 20, None)
    other = world.apply("b", limits=SpaceLimits(most_bytes=5), local_copy=kept)
    assert (store.limits.limits.most_bytes, other.limits.limits.most_bytes) == (1000, 5)
    for each in (store, other):
        assert each.limits.surroundings.local_copy() is world.stores.local_copy is not None
    assert set(store.limits.surroundings.neighbours()) == {store.limits, other.limits}
    world.apply("b", local_copy=kept)
    assert store.limits.surroundings.local_copy() is world.stores.local_copy
    world.apply("b")
    assert store.limits.surroundings.local_copy() is None
