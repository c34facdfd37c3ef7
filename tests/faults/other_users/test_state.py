"""`.holdfast/`, its files and the folders of captured data, where another user has put something else: nothing is
written, read or deleted through that, capture goes on, and what is wrong is said."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from demo.cloud import LocalCloud
from holdfast.commands import run_command
from holdfast.errors import HoldfastError
from holdfast.status import status
from tests.problems import problems_in
from tests.test_manager import World
from tests.waiting import eventually

from . import plants
from .neighbour import UID
from .place import Place, remove_pipes
from .plants import FOR_A_FILE, FOR_A_FOLDER, Plant, name_of

BOUND_S = 30.0
READINGS = 5
EVERYTHING = {
    "sync_disabled": False,
    "sync_interval_mins": 0.0005,
    "capture_flush_interval_ms": 20,
    "capture_fsync_interval_ms": 50,
    "mongo_capture_config": {"uri": "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100"},
}
"""A config that uses each of our files."""


@pytest.fixture
async def world(place: Place) -> AsyncIterator[World]:
    folder = place.base / "module"
    folder.mkdir()
    cloud = LocalCloud(folder / "cloud", api_keys={"id": "key"}, part_id="part")
    await cloud.start()
    made = World(folder, cloud)
    yield made
    remove_pipes(place.base)
    await made.manager.stop()
    await cloud.stop()


def capture_dir(world: World) -> Path:
    return world.folder / "capture"


def state_folder(world: World) -> Path:
    """Makes `.holdfast/` as an earlier run of root's module left it."""
    folder = capture_dir(world) / ".holdfast"
    folder.mkdir(parents=True, mode=0o700)
    return folder


async def used(world: World) -> str:
    """Lets the whole module run until each of our files was used, or it is known that they can't be. Returns what
    the status says of that."""
    world.apply("a", "b", **EVERYTHING)
    await world.served(READINGS)
    engine = world.manager.engine
    assert engine is not None
    with suppress(HoldfastError, asyncio.TimeoutError):
        command = {"command": "pause", "what": "b", "persist": True}
        await asyncio.wait_for(run_command(world.manager, command), BOUND_S)
    await eventually(lambda: "has not been opened yet" not in engine.store.waiting_for, BOUND_S)
    await world.served(READINGS)
    said: dict[str, Any] = status(world.manager)
    return "\n".join([said["sync"]["state"], *problems_in(said)])


async def all_captured(world: World) -> None:
    """Ends the module, in time, and checks that no reading is lost."""
    await asyncio.wait_for(world.manager.stop(), BOUND_S)
    numbers = world.delivered + world.stored().get("a", [])
    assert sorted(set(numbers)) == sorted(numbers), "some are there twice"
    missing = set(range(1, world.client.served["a"] + 1)) - set(numbers)
    assert len(missing) <= 2, "more is missing than what was on its way at the end"


def a_folder_of_the_neighbour(place: Place, path: Path) -> None:
    plants.a_folder(place, path)


def a_folder_of_the_neighbour_with_our_files(place: Place, path: Path) -> None:
    """All of them links to what the neighbour may not write."""
    plants.a_folder(place, path)
    for name in ("ledger", "control", "gaps", "lock"):
        for end in (".prog", ".prog.new.prog"):
            plants.a_link_to_a_file_of_root(place, path / f"{name}{end}")


NO_STATE_FOLDERS = [*FOR_A_FOLDER, a_folder_of_the_neighbour, a_folder_of_the_neighbour_with_our_files]


@pytest.mark.parametrize("plant", NO_STATE_FOLDERS, ids=name_of)
@pytest.mark.parametrize("mode", [0o777, 0o1777])
async def test_a_state_folder_that_is_not_ours_is_not_used_and_sync_waits_until_it_is_gone(
    mode: int, plant: Plant, place: Place, world: World
) -> None:
    capture_dir(world).mkdir()
    capture_dir(world).chmod(mode)
    planted = capture_dir(world) / ".holdfast"
    plant(place, planted)
    before = place.untouchable()
    said = await used(world)
    assert place.untouchable() == before
    assert str(planted) in said and "remove it" in said
    assert world.delivered == []
    remove_pipes(place.base)
    if os.path.lexists(planted):
        planted.rename(place.base / "planted")
    await eventually(lambda: world.delivered)
    await all_captured(world)
    assert place.untouchable() == before


FILES = [
    "ledger.prog",
    "ledger.prog.new.prog",
    "lock.prog",
    "control.prog",
    "control.prog.new.prog",
    "gaps.prog",
    "gaps.prog.new.prog",
    "mongo/acknowledged.prog",
    "mongo/acknowledged.prog.new.prog",
    "mongo/0000000007-00ff.prog",
]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("plant", FOR_A_FILE, ids=name_of)
async def test_nothing_that_is_not_ours_is_used_as_a_file_of_our_state(
    plant: Plant, name: str, place: Place, world: World
) -> None:
    planted = state_folder(world) / name
    planted.parent.mkdir(exist_ok=True)
    plant(place, planted)
    before = place.untouchable()
    await used(world)
    assert place.untouchable() == before
    await all_captured(world)
    assert place.untouchable() == before


FOLDERS = [plants.a_folder, plants.a_folder_with_a_file]


@pytest.mark.parametrize("name", ["ledger.prog", "lock.prog"])
@pytest.mark.parametrize("plant", [plant for plant in FOR_A_FILE if plant not in FOLDERS], ids=name_of)
async def test_a_ledger_and_a_lock_that_are_not_ours_are_made_anew(
    plant: Plant, name: str, place: Place, world: World
) -> None:
    planted = state_folder(world) / name
    plant(place, planted)
    await used(world)
    await eventually(lambda: world.delivered)
    status = planted.lstat()
    assert (status.st_uid, status.st_mode, status.st_nlink) == (os.geteuid(), 0o100600, 1)


@pytest.mark.parametrize("plant", FOLDERS, ids=name_of)
async def test_a_folder_in_the_place_of_the_lock_keeps_sync_waiting_until_it_is_gone(
    plant: Plant, place: Place, world: World
) -> None:
    """Nothing removes it, as there may be something in it."""
    planted = state_folder(world) / "lock.prog"
    plant(place, planted)
    said = await used(world)
    assert str(planted) in said and world.delivered == []
    planted.rename(place.base / "planted")
    await eventually(lambda: world.delivered)
    await all_captured(world)


async def test_a_lock_that_another_user_can_read_and_holds_keeps_nothing_waiting(
    place: Place, world: World
) -> None:
    lock = state_folder(world) / "lock.prog"
    lock.write_bytes(b"1\n")
    lock.chmod(0o644)
    lock.parent.chmod(0o755)
    place.neighbour.do("flock", lock)
    await used(world)
    await eventually(lambda: world.delivered)
    assert lock.stat().st_mode & 0o777 == 0o600


async def test_a_state_folder_of_ours_that_others_can_read_is_made_private(world: World) -> None:
    folder = state_folder(world)
    folder.chmod(0o755)
    await used(world)
    await eventually(lambda: world.delivered)
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("plant", FOR_A_FOLDER, ids=name_of)
async def test_a_spool_that_is_not_ours_is_not_used(plant: Plant, place: Place, world: World) -> None:
    plant(place, state_folder(world) / "mongo")
    before = place.untouchable()
    await used(world)
    await eventually(lambda: world.delivered)
    await all_captured(world)
    assert place.untouchable() == before


@pytest.mark.parametrize(
    "inner", ["rdk_component_sensor", "rdk_component_sensor/a", "rdk_component_sensor/a/Readings"]
)
@pytest.mark.parametrize("plant", FOR_A_FOLDER, ids=name_of)
async def test_no_reading_is_captured_to_where_a_planted_folder_leads(
    plant: Plant, inner: str, place: Place, world: World
) -> None:
    planted = capture_dir(world) / inner
    planted.parent.mkdir(parents=True)
    for folder in (capture_dir(world), *planted.parents):
        if folder.is_relative_to(capture_dir(world)):
            folder.chmod(0o777)
    plant(place, planted)
    before = place.untouchable()
    await used(world)
    await asyncio.wait_for(world.manager.stop(), BOUND_S)
    assert place.untouchable() == before


@pytest.mark.parametrize("name", ["sequences", "uploads", "uploads/tag=t"])
@pytest.mark.parametrize("plant", FOR_A_FOLDER, ids=name_of)
async def test_neither_sequences_nor_kept_uploads_are_written_to_where_a_planted_folder_leads(
    plant: Plant, name: str, place: Place, world: World
) -> None:
    planted = capture_dir(world) / name
    planted.parent.mkdir(parents=True, exist_ok=True)
    for folder in {capture_dir(world), planted.parent}:
        folder.chmod(0o777)
    plant(place, planted)
    before = place.untouchable()
    world.apply("a", **EVERYTHING)
    await world.served(READINGS)
    for command in (
        {"command": "start_sequence", "resources": [{"name": "a", "method": "Readings"}]},
        {"command": "upload", "data": "eA==", "mime_type": "text/plain", "tags": ["t"]},
    ):
        with suppress(HoldfastError):
            await asyncio.wait_for(run_command(world.manager, command), BOUND_S)
    assert place.untouchable() == before
    await all_captured(world)
    assert place.untouchable() == before


@pytest.mark.parametrize(
    ("owner", "group", "mode", "who"),
    [
        (0, 0, 0o777, "all users"),
        (0, 0, 0o1777, "all users"),
        (UID, UID, 0o755, f"the user with the id {UID}"),
        (UID, UID, 0o700, f"the user with the id {UID}"),
        (0, UID, 0o775, f"the group with the id {UID}"),
    ],
)
async def test_a_capture_folder_that_another_user_may_write_works_and_is_a_problem(
    owner: int, group: int, mode: int, who: str, world: World
) -> None:
    folder = capture_dir(world)
    folder.mkdir()
    os.chown(folder, owner, group)
    folder.chmod(mode)
    said = await used(world)
    await eventually(lambda: world.delivered)
    assert str(folder) in said and who in said
    await all_captured(world)


def a_folder_of_ours(place: Place, folder: Path) -> None:
    folder.mkdir()


def a_folder_of_ours_and_of_our_group(place: Place, folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o775)


def roots_link_to_another_disk(place: Place, folder: Path) -> None:
    (place.base / "disk").mkdir()
    folder.symlink_to(place.base / "disk")


def roots_link_in_a_chain(place: Place, folder: Path) -> None:
    (place.base / "disk").mkdir()
    (place.base / "link").symlink_to("disk")
    folder.symlink_to("../link")


@pytest.mark.parametrize(
    "made",
    [a_folder_of_ours, a_folder_of_ours_and_of_our_group, roots_link_to_another_disk, roots_link_in_a_chain],
    ids=name_of,
)
async def test_a_capture_folder_that_only_we_may_write_is_no_problem(
    made: Plant, place: Place, world: World
) -> None:
    made(place, capture_dir(world))
    said = await used(world)
    await eventually(lambda: world.delivered)
    assert str(capture_dir(world)) not in said
    await all_captured(world)


async def test_a_capture_folder_of_root_in_the_home_of_another_user_works(place: Place, world: World) -> None:
    """viam-server as root, and `capture_dir` in the home of pi, who made no folder there."""
    world.folder = place.home / "viam"
    world.apply("a", **EVERYTHING)
    await world.served(READINGS)
    await eventually(lambda: world.manager.engine and world.manager.engine.store.owned)
    await asyncio.wait_for(world.manager.stop(), BOUND_S)
    assert (place.home / "viam" / "capture").stat().st_uid == 0


@pytest.mark.parametrize("plant", [*FOR_A_FOLDER, a_folder_of_the_neighbour], ids=name_of)
async def test_a_folder_in_memory_that_is_not_ours_is_not_used(plant: Plant, place: Place, world: World) -> None:
    """Anybody may make folders in /dev/shm."""
    memory = Path(world.config().memory_dir)
    plant(place, memory)
    before = place.untouchable()
    try:
        world.apply("a", capture_store="memory", capture_flush_interval_ms=20)
        await world.served(READINGS)
        said = "\n".join(problems_in(status(world.manager), "config"))
        await asyncio.wait_for(world.manager.stop(), BOUND_S)
        assert place.untouchable() == before
        assert str(memory) in said and f"captured data is kept on the disk, in {capture_dir(world)}" in said
        assert world.stored()["a"]
    finally:
        if memory.is_dir() and not memory.is_symlink():
            shutil.rmtree(memory)
        else:
            memory.unlink()
