"""A folder that changes places with a link while root's module works in it: nothing of root is sent, deleted,
renamed or made.

Each action is done many times, and each time the two change places before another operation of it, until it has no
further one.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.config import CopySettings
from holdfast.errors import StorageError
from holdfast.storage.claims import Claims
from holdfast.storage.quarantine.listing import QuarantinedFile
from holdfast.storage.quarantine.removal import QuarantineRemoval
from holdfast.storage.recovery import Recovery
from holdfast.storage.sequence_files import Sequence, SequenceFiles
from holdfast.storage.space.census import StoredFile
from holdfast.storage.space.deletion import Deletion
from holdfast.storage.space.limits import Surroundings
from holdfast.storage.space.local_copy import LocalCopy
from tests.acceptance import accept_something
from tests.sync.conftest import World, found_at, make_world, metadata, reading, write_capture_file

from .place import Place, make_old
from .swapping import Swapping

NAME = "2023-11-14T22_13_20.123456Z"
CAPTURED = f"{NAME}.capture"
IN_PROGRESS = f"{NAME}.prog"
ROOTS = b"root's own content"
SEQUENCE = Sequence((("lidar", "Readings"),), (), 1, 2)


@dataclass
class Scene:
    """A folder of the neighbour in which root's module works, and a folder of root that the neighbour leads to."""

    place: Place
    world: World
    files: Swapping
    folder: Path
    """The folder that changes places with a link. That leads to a folder of root, which has files of the names that
    the module meets here."""
    number: int = 0
    """Before which operation of an action the two change places."""

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """While this lasts, the module works, and the two change places. It may find that it can't go on."""
        self.files.arm(self.number)
        try:
            with suppress(StorageError):
                yield
        finally:
            self.files.disarm()

    async def attempt(self, path: Path) -> Path:
        """Sync sends a file that a walk has found."""
        found = found_at(path)
        with self.at_work():
            await self.world.delivery.attempt(self.world.store, [found], wait=True)
        return path

    async def refuse(self, path: Path) -> Path:
        """Sync sends a file that the cloud refuses for the second time, after it accepted another one: it is
        believed."""
        self.world.cloud.fail_while = lambda method, request: (
            grpc.StatusCode.INVALID_ARGUMENT if "Upload" in method else None
        )
        os.utime(path, (1, 2 + self.number))  # else it would be the file that was refused before
        await self.world.delivery.attempt(self.world.store, [found_at(path)], wait=True)
        await accept_something(self.world.link)
        return await self.attempt(path)

    def text(self, name: str = "app.txt") -> Path:
        return self.place.neighbour.file(self.folder / name)

    def captured(self, name: str = CAPTURED) -> Path:
        path = write_capture_file(self.folder, NAME, [reading(1.0)], metadata())
        make_old(self.folder)
        return path.rename(self.folder / name)

    def keep(self, folder: Path) -> None:
        """Configures a local copy."""
        copy = LocalCopy(self.world.files, SystemClock(), CopySettings(str(folder), 1 << 30, None))
        self.world.store._surroundings = Surroundings(local_copy=lambda: copy)


@pytest.fixture
async def scene(place: Place) -> AsyncIterator[Scene]:
    folder, link, root_folder = place.logs / "inner", place.home / "trap", place.etc / "inner"
    root_folder.mkdir()
    for inner in ("failed", "sequences"):
        (root_folder / inner).mkdir()
    for name in ("app.txt", CAPTURED, IN_PROGRESS, "failed/app.txt", f"failed/{CAPTURED}", "sequences/a.seq"):
        (root_folder / name).write_bytes(ROOTS)
    make_old(root_folder)
    place.neighbour.folder(folder)
    place.neighbour.link(root_folder, link)
    files = Swapping(folder, link)
    module = place.base / "module"
    module.mkdir()
    async with make_world(module, files) as world:
        await world.connected()
        yield Scene(place, world, files, folder)


Action = Callable[[Scene], Awaitable[Path]]
"""What the module does in the folder. Returns the file that is gone afterwards if nobody disturbs it."""


async def a_file_is_delivered(scene: Scene) -> Path:
    return await scene.attempt(scene.text())


async def readings_are_delivered(scene: Scene) -> Path:
    return await scene.attempt(scene.captured())


async def a_sequence_is_delivered(scene: Scene) -> Path:
    sequences = SequenceFiles(FileSystem(), str(scene.place.base / "module" / "capture"))
    sequences.write_ended("a", SEQUENCE)
    (scene.folder / "sequences").mkdir()
    path = scene.folder / "sequences" / "a.seq"
    (scene.place.base / "module" / "capture" / "sequences" / "a.seq").rename(path)
    return await scene.attempt(path)


async def a_file_is_refused(scene: Scene) -> Path:
    return await scene.refuse(scene.text())


async def readings_are_refused(scene: Scene) -> Path:
    return await scene.refuse(scene.captured())


async def a_file_is_refused_where_others_were(scene: Scene) -> Path:
    scene.place.neighbour.folder(scene.folder / "failed")
    scene.place.neighbour.file(scene.folder / "failed" / "app.txt")
    return await a_file_is_refused(scene)


def taken_out(scene: Scene, path: Path, how: Callable[..., object]) -> Path:
    """A file leaves quarantine."""
    scene.place.neighbour.folder(scene.folder / "failed")
    failed = path.rename(scene.folder / "failed" / path.name)
    removal = QuarantineRemoval(scene.world.files, lambda file: scene.world.ledger)
    with scene.at_work():
        how(removal, [QuarantinedFile(str(failed), str(path), str(scene.place.logs))])
    return failed


async def a_file_is_put_back(scene: Scene) -> Path:
    return taken_out(scene, scene.text(), QuarantineRemoval.put_back)


async def readings_are_put_back(scene: Scene) -> Path:
    return taken_out(scene, scene.captured(), QuarantineRemoval.put_back)


async def a_file_is_discarded(scene: Scene) -> Path:
    return taken_out(scene, scene.text(), QuarantineRemoval.discard)


async def readings_are_deleted_for_space(scene: Scene) -> Path:
    path = scene.captured()
    deletion = Deletion(scene.world.files, SystemClock(), scene.world.ledger, Claims())
    with scene.at_work():
        deletion.delete(StoredFile(str(path), str(scene.folder), 4096, 1))
    return path


async def a_crash_is_recovered_from(scene: Scene) -> Path:
    return recovered(scene, scene.captured(IN_PROGRESS))


async def a_torn_file_is_recovered(scene: Scene) -> Path:
    path = scene.captured(IN_PROGRESS)
    path.write_bytes(path.read_bytes()[:-1])
    make_old(scene.folder)
    return recovered(scene, path)


async def a_damaged_file_is_recovered(scene: Scene) -> Path:
    path = scene.captured(IN_PROGRESS)
    path.write_bytes(b"\xff" * 100)
    make_old(scene.folder)
    return recovered(scene, path)


def recovered(scene: Scene, path: Path) -> Path:
    files, ledger = scene.world.files, scene.world.ledger
    with scene.at_work():
        for left in Recovery(files, SystemClock(), ledger, str(scene.folder), lambda path: False):
            left.complete()
    return path


async def a_file_is_kept_in_the_local_copy(scene: Scene) -> Path:
    scene.keep(scene.place.base / "kept")
    return await scene.attempt(scene.text())


async def readings_are_kept_in_a_local_copy_there(scene: Scene) -> Path:
    scene.keep(scene.folder)
    return await scene.attempt(scene.world.capture_file(NAME, [1.0]))


ACTIONS = [
    a_file_is_delivered,
    readings_are_delivered,
    a_sequence_is_delivered,
    a_file_is_refused,
    readings_are_refused,
    a_file_is_refused_where_others_were,
    a_file_is_put_back,
    readings_are_put_back,
    a_file_is_discarded,
    readings_are_deleted_for_space,
    a_crash_is_recovered_from,
    a_torn_file_is_recovered,
    a_damaged_file_is_recovered,
    a_file_is_kept_in_the_local_copy,
    readings_are_kept_in_a_local_copy_there,
]


def anew(scene: Scene) -> None:
    """Lets the neighbour have an empty folder again."""
    scene.folder.rename(scene.place.home / f"used-{scene.number}")
    scene.place.neighbour.folder(scene.folder)


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.__name__.replace("_", " "))
async def test_what_is_worked_on_is_what_was_found_whenever_its_folder_becomes_a_link(
    action: Action, scene: Scene
) -> None:
    before = scene.place.untouchable()
    swapped_before = []
    while True:
        path = await action(scene)
        swapped_before.append(scene.files.swapped_before)
        assert scene.place.untouchable() == before, f"after swaps before {swapped_before}"
        assert ROOTS not in [content for _, content in scene.world.arrived.files], f"{swapped_before}"
        if not scene.files.swapped_before:
            break
        anew(scene)
        scene.number += 1
    assert not path.exists()
    assert len(swapped_before) > 2
