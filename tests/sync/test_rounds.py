"""Rounds: where their files come from, what goes first, and how long they last."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import Entry, FileSystem
from holdfast.storage.space.limits import Rules
from holdfast.storage.store import Store
from holdfast.sync import rounds
from holdfast.sync.walk import walk
from holdfast.sync.walk.audit import Audit
from holdfast.sync.walk.walk import Walk
from tests.waiting import eventually

from .conftest import API, World, make_world, waited, write_old_file


class Unlisted(FileSystem):
    """The folder of `lidar` shows nothing, as if it were not listed."""

    def list_folder(self, path: str) -> Iterator[Entry]:
        return iter(()) if os.path.basename(path) == "lidar" else super().list_folder(path)


async def test_a_file_that_we_have_just_completed_is_sent_though_its_folder_is_not_listed(tmp_path: Path) -> None:
    async with make_world(tmp_path, files=Unlisted()) as world:
        path = world.capture_file("9999-a", [1])
        world.sync.configure(world.settings())
        await eventually(lambda: world.completed >= 2)
        assert world.arrived.numbers == []
        world.store.writer.completion.fresh.add(str(path))
        await eventually(lambda: world.arrived.of("lidar") == [1])


async def test_a_file_that_is_known_and_found_by_the_same_round_goes_once_and_frees_its_place(world: World) -> None:
    world.sync.configure(world.settings(uploads=1))
    for number in range(3):
        path = world.capture_file(f"9999-{number}", [number])
        world.store.writer.completion.fresh.add(str(path))
        await eventually(lambda: len(world.arrived.numbers) == number + 1)  # noqa: B023
    assert world.arrived.of("lidar") == [0, 1, 2]


async def test_a_retry_needs_no_listing_of_its_folder(tmp_path: Path) -> None:
    async with make_world(tmp_path, files=Unlisted()) as world:
        path = world.capture_file("9999-a", [1])
        world.delivery.retries.note_failure([str(path)])
        gone = str(world.folder / "lidar" / "gone.capture")
        elsewhere = write_old_file(tmp_path / "elsewhere.txt", b"x")
        world.delivery.retries.note_failure([gone])
        world.delivery.retries.note_failure([str(elsewhere)])
        world.sync.configure(world.settings())
        await eventually(lambda: world.arrived.of("lidar") == [1])
        await eventually(lambda: gone not in world.delivery.retries._files)
        await eventually(lambda: world.delivery.retries.is_due(str(elsewhere)))
        completed = world.completed
        await eventually(lambda: world.completed >= completed + 3 and world.sync.in_flight == 0)
        assert elsewhere.exists(), "what is under no sync path any more is not sent"


@pytest.mark.parametrize("newest", [False, True])
async def test_what_is_captured_during_a_long_round_goes_before_a_backlog_of_a_lower_priority(
    world: World, newest: bool
) -> None:
    """With newest first, before one of its own priority too; with oldest first, behind that."""
    go_on = asyncio.Event()
    world.cloud.before_answer = lambda: waited(go_on)
    world.store.limits.configure(Rules(priorities=(("high", 9), *((f"low{n}", 1) for n in range(20)))))
    for number in range(20):
        world.capture_file("2023-a", [number], f"low{number}")
    world.sync.configure(world.settings(uploads=1, interval_s=0.2, newest_first=newest))
    await eventually(lambda: world.cloud.calls["DataCaptureUpload"] == 1)
    same, high = world.capture_file("2024-b", [1], "low0"), world.capture_file("2024-b", [1], "high")
    for path in (same, high):
        world.store.writer.completion.fresh.add(str(path))
    go_on.set()
    await eventually(lambda: len(world.arrived.numbers) == 22)
    order = [name for name, _ in world.arrived.numbers]
    assert order.index("high") <= 3
    assert (order[1:].index("low0") <= 4) == newest


async def test_a_long_round_completes_what_is_captured_meanwhile(world: World) -> None:
    go_on = asyncio.Event()
    world.cloud.before_answer = lambda: waited(go_on)
    for number in range(50):
        world.capture_file("2023-a", [number], f"sensor{number}")
    world.sync.configure(world.settings(uploads=1, interval_s=0.001))
    await eventually(lambda: world.cloud.calls["DataCaptureUpload"] == 1)
    completed = world.completed
    go_on.set()
    await eventually(lambda: len(world.arrived.numbers) == 50)
    assert world.completed > completed + 3


async def test_a_round_does_not_wait_for_a_survey_that_takes_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    class Slow(FileSystem):
        def list_folder(self, path: str) -> Iterator[Entry]:
            for number, entry in enumerate(super().list_folder(path)):
                if os.path.basename(path) == "lidar" and number == 9:
                    go_on.wait(20)
                yield entry

    monkeypatch.setattr(rounds, "_SURVEY_S", 0.0)
    monkeypatch.setattr(walk, "_STEP", 4)
    async with make_world(tmp_path, files=Slow()) as world:
        for number in range(10):
            world.capture_file(f"9999-{number}", [number])
        world.sync.configure(world.settings())
        await eventually(lambda: world.arrived.numbers)
        assert not go_on.is_set()
        go_on.set()
        await eventually(lambda: sorted(world.arrived.of("lidar")) == list(range(10)))


async def test_a_folder_that_is_not_listed_yet_has_lost_nothing(world: World) -> None:
    """Only a walk that looked everywhere may say that readings were taken away."""
    world.ledger.completing((API, "lidar", "Readings"), "x", 3)
    walk = Walk(world.files, SystemClock(), [str(world.folder)], 0.0)
    audit = Audit(world.store)
    await eventually(lambda: world.store.recovered_all)
    list(walk)
    walk.whole = False
    await asyncio.to_thread(audit.finish, walk, [])
    assert world.ledger.readings()[API, "lidar", "Readings"].vanished == 0
    walk.whole = True
    await asyncio.to_thread(audit.finish, walk, [])
    assert world.ledger.readings()[API, "lidar", "Readings"].vanished == 3


async def test_a_file_belongs_to_the_store_that_it_had_when_it_was_claimed(world: World) -> None:
    """A change of the config may make the folder that it lies in a store of its own meanwhile."""
    path = world.capture_file("9999-a", [1])
    nested = Store(world.files, SystemClock(), str(path.parent), 1.0, 5.0)
    await eventually(lambda: nested.owned)
    claimed: list[bool] = []

    async def change() -> None:
        world.stores.append(nested)
        claimed.append(world.store.claims.take(str(path)))

    world.cloud.before_answer = change
    world.sync.configure(world.settings(disabled=True))
    assert (await world.sync.sync_now()).files == 1
    assert claimed == [False] and world.store.claims.take(str(path))
    assert world.ledger.readings()[API, "lidar", "Readings"].delivered == 1 and not nested.ledger.readings()
    await nested.close()


async def test_a_store_that_is_given_up_ends_the_uploads_that_belong_to_it_though_they_lie_elsewhere(
    tmp_path: Path,
) -> None:
    async with make_world(tmp_path) as world:
        arrived = asyncio.Event()

        async def hold() -> None:
            arrived.set()
            await asyncio.Event().wait()

        world.cloud.before_answer = hold
        outside = write_old_file(tmp_path / "outside" / "a.txt", b"x")
        world.sync.configure(world.settings(disabled=True, additional_paths=(str(outside.parent),)))
        manual = asyncio.create_task(world.sync.sync_now())
        await asyncio.wait_for(arrived.wait(), 20)
        other = Store(world.files, SystemClock(), str(tmp_path / "other"), 1.0, 5.0)
        world.stores.insert(0, other)
        await asyncio.wait_for(world.sync.release(world.store), 20)
        assert (await manual).failed.count == 1 and outside.exists()
        await other.close()
