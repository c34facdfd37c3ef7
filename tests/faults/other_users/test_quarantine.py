"""`failed/`, the names in it, and the local copy, where another user has put something else: nothing is written,
read or deleted through that, and no file is lost."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from holdfast.base.at import Identity
from holdfast.base.clock import SystemClock
from holdfast.config import CopySettings
from holdfast.storage.quarantine.listing import quarantined_files
from holdfast.storage.space.limits import Surroundings
from holdfast.storage.space.local_copy import LocalCopy
from tests.sync.conftest import World, make_world, write_old_file
from tests.waiting import eventually

from . import plants
from .neighbour import UID
from .place import Place, remove_pipes
from .plants import FOR_A_FILE, FOR_A_FOLDER, Plant, name_of

REFUSED = b"what the cloud refuses"
BOUND_S = 60.0


class Refusing:
    """A cloud that refuses the file `refused.txt`; `calls` is how often it did."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, method: str, request: bytes | None) -> grpc.StatusCode | None:
        if b"refused" not in (request or b""):
            return None
        self.calls += 1
        return grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture
async def world(place: Place) -> AsyncIterator[World]:
    folder = place.base / "module"
    folder.mkdir()
    async with make_world(folder) as made:
        made.cloud.fail_while = Refusing()
        yield made


async def through_some_rounds(world: World, *paths: Path) -> None:
    """Syncs these paths for some rounds, while something that is beside is delivered: nothing waits for ever."""
    beside = write_old_file(world.folder / "beside.txt", b"beside")
    world.rounds.configure(world.settings(additional_paths=tuple(map(str, paths))))
    try:
        await eventually(lambda: not beside.exists(), BOUND_S)
        done = world.completed + 5
        await eventually(lambda: world.completed > done, BOUND_S)
        for number in itertools.count():  # a refusal is believed only when something is accepted after it
            beside = write_old_file(world.folder / f"later-{number}.txt", b"later")
            await eventually(lambda: not beside.exists(), BOUND_S)  # noqa: B023 - it is awaited here
            if is_settled(world):
                break
    except BaseException:
        remove_pipes(world.folder.parent.parent)  # or the end would wait for ever too
        raise


def is_settled(world: World) -> bool:
    """Whether a refused file has gone, or was refused often enough."""
    base = world.folder.parent.parent
    waiting = [path for path in (base / "home/logs/refused.txt", world.folder / "sub/refused.txt") if path.exists()]
    assert isinstance(world.cloud.fail_while, Refusing)
    return not waiting or world.cloud.fail_while.calls >= 3


def contents_below(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


@pytest.mark.parametrize("plant", FOR_A_FOLDER, ids=name_of)
async def test_no_refused_file_is_kept_where_a_planted_failed_leads(
    plant: Plant, place: Place, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    refused = place.neighbour.file(place.logs / "refused.txt", REFUSED.decode())
    plant(place, place.logs / "failed")
    before = place.untouchable()
    await through_some_rounds(world, place.logs)
    assert place.untouchable() == before
    assert refused.read_bytes() == REFUSED and world.ledger.files.vanished == 0
    await eventually(lambda: any(str(place.logs / "failed") in line for line in caplog.messages))


@pytest.mark.parametrize("plant", FOR_A_FOLDER, ids=name_of)
async def test_no_refused_file_of_a_capture_folder_that_all_may_write_is_kept_where_a_planted_failed_leads(
    plant: Plant, place: Place, world: World
) -> None:
    world.folder.chmod(0o777)
    refused = write_old_file(world.folder / "sub" / "refused.txt", REFUSED)
    plant(place, world.folder / "failed")
    before = place.untouchable()
    await through_some_rounds(world)
    assert place.untouchable() == before
    assert refused.read_bytes() == REFUSED


@pytest.mark.parametrize("plant", FOR_A_FOLDER, ids=name_of)
async def test_no_refused_file_of_a_capture_folder_is_kept_where_a_folder_planted_in_failed_leads(
    plant: Plant, place: Place, world: World
) -> None:
    (world.folder / "failed").mkdir(mode=0o777)
    (world.folder / "failed").chmod(0o777)
    refused = write_old_file(world.folder / "sub" / "refused.txt", REFUSED)
    plant(place, world.folder / "failed" / "sub")
    before = place.untouchable()
    await through_some_rounds(world)
    assert place.untouchable() == before
    assert refused.read_bytes() == REFUSED


@pytest.mark.parametrize("name", ["refused.txt", "refused.txt.cause.json", "refused.txt.cause.json.new.prog"])
@pytest.mark.parametrize("plant", FOR_A_FILE, ids=name_of)
async def test_a_name_that_quarantine_uses_is_no_way_to_what_is_planted_there(
    plant: Plant, name: str, place: Place, world: World
) -> None:
    place.neighbour.file(place.logs / "refused.txt", REFUSED.decode())
    place.neighbour.folder(place.logs / "failed")
    plant(place, place.logs / "failed" / name)
    before = place.untouchable()
    await through_some_rounds(world, place.logs)
    assert place.untouchable() == before
    assert contents_below(place.logs).count(REFUSED) == 1


async def test_a_file_has_not_vanished_when_failed_is_removed_under_it(
    place: Place, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = place.neighbour.file(place.logs / "refused.txt", REFUSED.decode())
    rename, removed = world.files.rename, list[str]()

    def without_failed(source: str, target: str, identity: Identity | None = None) -> None:
        if source == str(refused) and not removed:
            removed.append(target)
            shutil.rmtree(place.logs / "failed")
        rename(source, target, identity)

    monkeypatch.setattr(world.files, "rename", without_failed)
    await through_some_rounds(world, place.logs)
    await eventually(lambda: not refused.exists())
    assert removed and world.ledger.files.vanished == 0
    assert (place.logs / "failed" / "refused.txt").read_bytes() == REFUSED


async def test_a_failed_of_the_neighbour_in_his_own_folder_is_used(place: Place, world: World) -> None:
    refused = place.neighbour.file(place.logs / "refused.txt", REFUSED.decode())
    place.neighbour.folder(place.logs / "failed")
    await through_some_rounds(world, place.logs)
    assert not refused.exists()
    assert (place.logs / "failed" / "refused.txt").read_bytes() == REFUSED
    assert (place.logs / "failed" / "refused.txt.cause.json").stat().st_uid == os.geteuid()


@pytest.mark.parametrize("inner", ["", "holdfast", "holdfast/files", "holdfast/captured"])
@pytest.mark.parametrize("plant", FOR_A_FOLDER, ids=name_of)
async def test_a_local_copy_neither_keeps_nor_deletes_anything_where_a_planted_folder_leads(
    plant: Plant, inner: str, place: Place, world: World
) -> None:
    """What is kept there is deleted again, the oldest first: all of /etc, if it were followed."""
    folder = place.home / "kept"
    if inner:
        (folder / inner).parent.mkdir(parents=True)
        for made in (folder, *folder.rglob("*")):
            os.chown(made, UID, UID)
    plant(place, folder / inner)
    before = place.untouchable()
    copy = LocalCopy(world.files, SystemClock(), CopySettings(str(folder), 1, 0.001))
    world.store._surroundings = Surroundings(local_copy=lambda: copy)
    own = place.neighbour.file(place.logs / "own.txt", "own")
    world.capture_file("9999-a", [1])
    await through_some_rounds(world, place.logs)
    assert not own.exists() and world.arrived.of("lidar") == [1]
    assert place.untouchable() == before


@pytest.mark.parametrize("plant", FOR_A_FILE, ids=name_of)
async def test_what_is_planted_among_the_files_of_a_local_copy_is_not_followed(
    plant: Plant, place: Place, world: World
) -> None:
    folder = place.home / "kept"
    kept = folder / "holdfast" / "captured" / "lidar"
    kept.mkdir(parents=True)
    for made in (folder, *folder.rglob("*")):
        os.chown(made, UID, UID)
    plant(place, kept / "9999-a.capture")
    plant(place, kept / "9999-a.capture.new.prog")
    before = place.untouchable()
    copy = LocalCopy(world.files, SystemClock(), CopySettings(str(folder), 1 << 20, None))
    world.store._surroundings = Surroundings(local_copy=lambda: copy)
    world.capture_file("9999-a", [1])
    await through_some_rounds(world)
    assert world.arrived.of("lidar") == [1]
    assert place.untouchable() == before


@pytest.mark.parametrize(
    "name", ["a.txt", "9999-a.capture", "9999-a.prog", "sequences/a.seq", "sequences/a.progseq"]
)
@pytest.mark.parametrize("plant", [plants.a_pipe, plants.a_socket, plants.a_device, plants.a_folder], ids=name_of)
async def test_what_is_no_file_where_files_are_sent_holds_up_nothing(
    plant: Plant, name: str, place: Place, world: World
) -> None:
    path = place.logs / name
    path.parent.mkdir(exist_ok=True)
    plant(place, path)
    place.neighbour.file(place.logs / "own.txt", "own")
    await through_some_rounds(world, place.logs)
    assert b"own" in [content for _, content in world.arrived.files]
    assert os.path.lexists(path)


async def test_folders_that_lie_in_each_other_ever_deeper_hold_up_nothing(
    place: Place, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    place.neighbour.do("deep_folders", place.logs, 1_900)
    place.neighbour.file(place.logs / "own.txt", "own")
    try:
        await through_some_rounds(world, place.logs)
        assert list(quarantined_files(world.files, [str(world.folder)], [str(place.logs)])) == []
    finally:
        removal = await asyncio.create_subprocess_exec("rm", "-r", str(place.logs / "deep"))
        assert await removal.wait() == 0  # Python's own removal calls itself for each folder
    assert b"own" in [content for _, content in world.arrived.files]
    assert any("folders deep; its contents are not synced" in line for line in caplog.messages)


@pytest.mark.parametrize("plant", [plants.a_pipe, plants.a_socket, plants.a_device], ids=name_of)
async def test_what_is_no_file_as_a_sync_path_holds_up_nothing_and_is_a_problem(
    plant: Plant, place: Place, world: World
) -> None:
    path = place.logs / "a.txt"
    plant(place, path)
    await through_some_rounds(world, path)
    assert any(str(path) in problem for problem in world.rounds.additional.problems)
