"""`.holdfast/` in a capture folder of the neighbour, which changes places with a link before each single operation:
nothing of root is read, written or deleted."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.errors import HoldfastError
from holdfast.mongo.spool import Spool
from holdfast.steering import settings_file
from holdfast.steering.settings_file import Setting
from holdfast.storage.store import Store
from holdfast.sync.uploads.kept import keep, path_for
from tests.storage import samples
from tests.sync.conftest import reading

from .place import Place, make_old
from .plants import name_of
from .swapping import Swapping


async def a_store_opens_and_captures(files: FileSystem, capture_dir: str) -> None:
    store = Store(files, SystemClock(), capture_dir, 0.01, 0.01)
    try:
        await store.tried()
        store.writer.open(samples.metadata(), 1 << 20).append(samples.message(0))
        await store.writer.flush()
        await store.writer.complete()
    finally:
        await store.close()


async def settings_are_kept(files: FileSystem, capture_dir: str) -> None:
    settings_file.write(files, capture_dir, [Setting("capture")])
    settings_file.read(files, capture_dir)
    settings_file.write(files, capture_dir, [])
    settings_file.remove(files, capture_dir)


async def readings_wait_for_mongodb(files: FileSystem, capture_dir: str) -> None:
    spool = Spool(files, SystemClock(), capture_dir, 0.01, lambda: None)
    try:
        spool.reader.adopt()
        spool.append(("rdk:component:sensor", "lidar", "Readings"), reading(1.0))
        await spool.flush()
        if (batch := spool.reader.next_batch(10, 1 << 20)) is not None:
            spool.reader.finish(batch, {})
    finally:
        spool.close()
        spool.reader.close()


async def an_upload_is_kept(files: FileSystem, capture_dir: str) -> None:
    data = os.urandom(16)  # the same would not be kept twice
    keep(files, capture_dir, path_for(capture_dir, data, ".txt", ["a tag"], []), data, None)


USES = [a_store_opens_and_captures, settings_are_kept, readings_wait_for_mongodb, an_upload_is_kept]


@pytest.mark.parametrize("use", USES, ids=name_of)
async def test_our_state_is_ours_whenever_its_folder_becomes_a_link(
    use: Callable[[FileSystem, str], Awaitable[None]], place: Place
) -> None:
    root_folder, link = place.etc / "state", place.home / "trap"
    (root_folder / "mongo").mkdir(parents=True)
    for name in ("ledger", "control", "lock", "mongo/acknowledged"):
        for extension in (".prog", ".prog.new.prog"):
            (root_folder / f"{name}{extension}").write_bytes(b"root's own content")
    make_old(root_folder)
    place.neighbour.link(root_folder, link)
    before, swapped_before = place.untouchable(), list[str]()
    while not swapped_before or swapped_before[-1]:
        capture_dir = place.neighbour.folder(place.home / f"captured-{len(swapped_before)}")
        await used(use, capture_dir, link, swapped_before)
        assert place.untouchable() == before, f"after swaps before {swapped_before}"
    assert len(swapped_before) > 2


async def used(
    use: Callable[[FileSystem, str], Awaitable[None]], capture_dir: Path, link: Path, swapped_before: list[str]
) -> None:
    """Does it once without a swap, so that everything is there, and then with one."""
    await use(FileSystem(), str(capture_dir))
    folder = capture_dir / ".holdfast"
    assert folder.is_dir()
    files = Swapping(folder, link)
    files.arm(len(swapped_before))
    try:
        with suppress(HoldfastError):
            await use(files, str(capture_dir))
    finally:
        swapped_before.append(files.swapped_before)
        files.disarm()
