"""How much waits is known whatever the link and sync do, and it is what lies there.

The oracle counts the folder. A look at it is made due at once instead of after half a minute, and may cost more.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from holdfast.base.clock import SystemClock
from holdfast.config import SpaceLimits
from holdfast.storage.layout import SKIPPED_FOLDERS, FileKind, kind_of
from holdfast.storage.space.limits import Rules
from holdfast.storage.store import Store
from holdfast.sync.rounds import SyncSettings
from holdfast.sync.walk import backlog, listings
from tests.acceptance import accept_something
from tests.waiting import eventually

from .conftest import World, make_world, metadata, reading, write_capture_file, write_old_file

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "LOOK_S", 0.05)
    monkeypatch.setattr(backlog, "STEP_S", 0.02)
    monkeypatch.setattr(backlog, "MOST_VISITING", 0.5)
    monkeypatch.setattr(listings, "MOST_LISTING", 0.5)


def what_lies_there(*folders: Path) -> tuple[int, int]:
    """Returns how many files wait in the folders, and their bytes."""
    files = size_bytes = 0
    for folder in folders:
        for path, inner, names in os.walk(folder):
            inner[:] = [name for name in inner if name not in SKIPPED_FOLDERS]
            for name in names:
                place = os.path.join(path, name)
                if kind_of(place) in (FileKind.CAPTURE, FileKind.ARBITRARY):
                    with suppress(FileNotFoundError):  # it was sent meanwhile
                        size_bytes += os.path.getsize(place)
                        files += 1
    return files, size_bytes


def settings(world: World, **changes: Any) -> SyncSettings:
    """The settings of a machine with a folder of logs beside the capture folder."""
    return world.settings(additional_paths=(str(world.folder.parent / "logs"),), **changes)


async def nothing(world: World) -> None:
    world.rounds.configure(settings(world))


async def cut(world: World) -> None:
    world.rounds.configure(settings(world))
    await world.connected()
    world.capture_file("9999-first", [0])
    await eventually(lambda: world.arrived.of("lidar") == [0])
    await world.cable.cut()
    await eventually(lambda: not world.link.usable)


async def silence(world: World) -> None:
    """The network takes everything and answers nothing: uploads hang in the middle of a round."""
    world.rounds.configure(settings(world, uploads=1))
    await world.connected()
    await world.cable.blackhole()
    world.capture_file("9999-first", [0])
    await eventually(lambda: world.rounds.in_flight)


async def disabled(world: World) -> None:
    world.rounds.configure(settings(world, disabled=True))


async def paused(world: World) -> None:
    world.rounds.configure(settings(world))
    world.rounds.hold("paused by command")


async def handed_over(world: World) -> None:
    world.rounds.configure(settings(world))
    world.rounds.pause()


async def selector(world: World) -> None:
    async def no() -> str:
        return "the sensor says no"

    world.rounds.configure(settings(world, should_sync=no))


async def locked_out(world: World) -> None:
    world.store.waiting_for = "another process uses the folder"
    world.rounds.configure(settings(world))


async def refused(world: World) -> None:
    world.cloud.fail_while = lambda method, request: grpc.StatusCode.UNAVAILABLE if "Upload" in method else None
    world.rounds.configure(settings(world))


@asynccontextmanager
async def worlds(tmp_path: Path, address: str, key: str) -> AsyncIterator[World]:
    async with make_world(tmp_path, address=address, key=key) as world:
        yield world


@pytest.mark.parametrize(
    ("obstacle", "address", "key"),
    [
        (nothing, NOWHERE, "key"),
        (nothing, "", "wrong"),
        (nothing, "", ""),
        *((obstacle, "", "key") for obstacle in (cut, silence, disabled, paused, handed_over, selector)),
        (locked_out, "", "key"),
        (refused, "", "key"),
    ],
    ids=[
        "never connected", "wrong credentials", "no credentials", "outage", "silence", "disabled", "paused",
        "handed over", "selective syncer", "locked out", "refused",
    ],
)  # fmt: skip
async def test_what_waits_is_known_and_grows_while_nothing_is_sent(
    tmp_path: Path, obstacle: Callable[[World], Awaitable[None]], address: str, key: str
) -> None:
    others = tmp_path / "logs"
    async with worlds(tmp_path, address, key) as world:
        await obstacle(world)
        for number in range(77):
            path = world.capture_file(f"9999-{number}", [number])
            if number % 2:
                world.complete(path)
        for number in range(5):
            write_old_file(others / f"{number}.log", bytes(1000))
        there = what_lies_there(world.folder, others)
        assert there[0] >= 82
        world.rounds.configure(world.rounds._settings)  # no change: nothing is forgotten by this
        await eventually(lambda: world.pending == there)
        write_old_file(others / "6.log", bytes(1000))
        (others / "1.log").unlink()
        (others / "2.log").write_bytes(bytes(5000))
        (tmp_path / "capture" / "lidar" / "9999-3.capture").unlink()
        await eventually(lambda: world.pending == what_lies_there(world.folder, others))
        assert world.rounds.time_left_s is None, "nothing moves"
        waiting = world.rounds.backlog.waiting
        assert waiting is not None and waiting.unreadable == 0


async def test_a_file_that_capture_completes_counts_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "LOOK_S", 3600.0)
    async with make_world(tmp_path, address=NOWHERE) as world:
        world.rounds.configure(world.settings(disabled=True))
        world.capture_file("9999-a", [1])
        await eventually(lambda: world.pending == what_lies_there(world.folder) != (0, 0))
        for folder in ("lidar", "new"):
            world.complete(world.capture_file("9999-b", [2], folder))
            assert world.pending == what_lies_there(world.folder)


async def test_what_a_limit_deletes_no_longer_counts_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "LOOK_S", 3600.0)
    async with make_world(tmp_path, address=NOWHERE) as world:
        world.rounds.configure(world.settings(disabled=True))
        for number in range(20):
            world.capture_file(f"9999-{number}", [number])
        await eventually(lambda: world.pending == what_lies_there(world.folder) != (0, 0))
        world.complete(world.capture_file("9999-20", [20]))  # and it is deleted before sync asks
        world.store.configure(1.0, 5.0, Rules(SpaceLimits(most_bytes=1)))
        await asyncio.to_thread(world.store.limits.check)
        world.store.configure(1.0, 5.0, Rules())
        assert what_lies_there(world.folder) == (0, 0)
        assert world.pending == (0, 0)


@pytest.mark.parametrize("where", [0, 1], ids=["capture_dir", "a component's capture_directory"])
async def test_what_lies_in_a_new_capture_folder_is_not_known_until_it_was_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: int
) -> None:
    monkeypatch.setattr(backlog, "LOOK_S", 3600.0)
    async with make_world(tmp_path, address=NOWHERE) as world:
        world.rounds.configure(world.settings())
        await eventually(lambda: world.pending == (0, 0))
        other = tmp_path / "other"
        for number in range(5):
            write_capture_file(other / "lidar", f"{number}", [reading(number)], metadata())
        new = Store(world.files, SystemClock(), str(other), 1.0, 5.0)
        world.stores.insert(where, new)
        world.rounds.configure(world.settings())
        assert world.pending is None
        await eventually(lambda: world.pending == what_lies_there(other))
        world.stores.remove(new)
        world.rounds.configure(world.settings())
        assert world.pending == what_lies_there(other), "what is left is still known"
        await eventually(lambda: world.pending == (0, 0))
        await new.close()


async def test_what_cannot_be_read_is_said_to_be_in_no_count(world: World) -> None:
    (world.folder / "deep").mkdir()
    world.capture_file("9999-a", [1])
    world.rounds.configure(world.settings(disabled=True))
    list_folder = world.files.list_folder

    def denied(path: str, *, with_status: bool = False):  # type: ignore[no-untyped-def]
        if path.endswith("deep"):
            from holdfast.errors import StorageError

            raise StorageError("read folder", path, PermissionError(13, "Permission denied"))
        return list_folder(path, with_status=with_status)

    world.files.list_folder = denied  # type: ignore[method-assign]

    def unreadable() -> int:
        waiting = world.rounds.backlog.waiting
        return 0 if waiting is None else waiting.unreadable

    await eventually(lambda: unreadable() == 1)
    assert world.pending == what_lies_there(world.folder)
    world.files.list_folder = list_folder  # type: ignore[method-assign]
    await eventually(lambda: unreadable() == 0)


async def test_until_all_was_seen_once_it_is_not_known_what_waits(world: World) -> None:
    release = asyncio.Event()

    async def later() -> None:
        await release.wait()

    world.rounds.additional.check = later  # type: ignore[method-assign]
    world.rounds.configure(world.settings(disabled=True))
    assert world.pending is None and world.rounds.time_left_s is None
    release.set()
    await eventually(lambda: world.pending == (0, 0))
    assert world.rounds.time_left_s == 0


async def test_the_pace_says_how_long_the_rest_takes_and_nothing_without_a_link(world: World) -> None:
    world.rounds.configure(world.settings(uploads=1))
    await world.connected()
    write_old_file(world.folder / "a", bytes(100_000))
    await eventually(lambda: world.pending == (0, 0) and len(world.arrived.files) == 1)
    world.rounds.hold("paused by command")
    write_old_file(world.folder / "b", bytes(100_000))
    await eventually(lambda: world.pending == (1, 100_000))
    assert world.rounds.time_left_s is None, "it moves no more, although a moment ago it did"
    release = asyncio.Event()
    world.cloud.before_answer = release.wait
    world.rounds.hold("")
    await eventually(lambda: world.rounds.in_flight == 1 and world.rounds.time_left_s is not None)
    await world.cable.cut()
    await eventually(lambda: not world.link.usable)
    assert (world.rounds.time_left_s, world.rounds.in_flight) == (None, 0)
    assert world.rounds.state.startswith("not connected to the cloud")
    release.set()


@pytest.mark.parametrize("seed", range(6))
async def test_after_any_history_what_is_pending_is_what_lies_there(tmp_path: Path, seed: int) -> None:
    """The link comes and goes, files come, are sent, refused, deleted by others and by a limit, sync is held."""
    dice = random.Random(seed)
    others = tmp_path / "logs"
    others.mkdir()
    async with make_world(tmp_path) as world:
        world.rounds.configure(settings(world))
        await world.connected()
        written = 0

        def captured() -> None:
            nonlocal written
            written += 1
            path = world.capture_file(f"9999-{written}", list(range(dice.randint(1, 20))), f"s{dice.randint(0, 3)}")
            if dice.random() < 0.5:
                world.complete(path)

        def written_by_others() -> None:
            nonlocal written
            written += 1
            write_old_file(others / str(dice.randint(0, 2)) / f"{written}.log", bytes(dice.randint(1, 5000)))

        def deleted_by_others() -> None:
            there = [*world.folder.rglob("*.capture"), *others.rglob("*.log")]
            there = [path for path in there if not SKIPPED_FOLDERS.intersection(path.parts)]
            if there:
                dice.choice(there).unlink(missing_ok=True)

        def is_refused() -> None:
            world.cloud.fail_next(dice.choice([grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL]), 2)

        def is_held() -> None:
            world.rounds.hold(dice.choice(["", "paused by command"]))

        async def link_changes() -> None:
            await (world.cable.cut() if dice.random() < 0.6 else world.cable.restore())

        async def disk_is_full() -> None:
            limits = SpaceLimits(most_bytes=dice.randint(1, 3000))
            world.store.configure(1.0, 5.0, Rules(limits))
            await asyncio.to_thread(world.store.limits.check)
            world.store.configure(1.0, 5.0, Rules())

        steps: list[Callable[[], Awaitable[None] | None]] = [
            *[captured] * 6, *[written_by_others] * 3, deleted_by_others, is_refused, is_held, link_changes,
            link_changes, disk_is_full,
        ]  # fmt: skip
        for number in range(60):
            done = dice.choice(steps)()
            if done is not None:
                await done
            await asyncio.sleep(dice.choice([0, 0, 0.01, 0.05]))
            if number % 20 == 19:
                await eventually(lambda: world.pending == what_lies_there(world.folder, others))
        await world.cable.restore()
        world.rounds.hold("")
        await eventually(lambda: world.link.usable)
        await accept_something(world.link)
        await eventually(lambda: world.pending == what_lies_there(world.folder, others) == (0, 0), 60)
        await eventually(lambda: world.rounds.in_flight == 0)
        assert world.rounds.time_left_s == 0
