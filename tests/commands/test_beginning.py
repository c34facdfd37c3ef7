"""A command in the first moments waits until the locks of the folders were tried."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.base.filesystem import FileSystem
from holdfast.errors import NotReadyError
from holdfast.storage import store as store_module
from holdfast.storage.lock import FolderLock
from tests.steered import Steered, steered
from tests.sync.conftest import metadata, reading, write_capture_file
from tests.waiting import as_long_as_others_take


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Steered]:
    async with steered(tmp_path) as world:
        yield world


@pytest.fixture
def go_on(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """A disk on which no process gets the lock of a folder until this is set."""
    go_on = threading.Event()
    try_acquire = FolderLock.try_acquire

    def slowly(lock: FolderLock) -> bool:
        assert go_on.wait(30)
        return try_acquire(lock)

    monkeypatch.setattr(FolderLock, "try_acquire", slowly)
    return go_on


@pytest.fixture
async def asking(world: Steered, go_on: threading.Event) -> AsyncIterator[Callable[..., asyncio.Task[Any]]]:
    """Sends a command to a manager that was configured just now."""
    tasks: list[asyncio.Task[Any]] = []

    def ask(name: str, **arguments: Any) -> asyncio.Task[Any]:
        world.apply("a", capture_disabled=True, upload_roots=[str(world.folder)])
        tasks.append(asyncio.create_task(world.command(name, **arguments)))
        return tasks[-1]

    yield ask
    go_on.set()
    await asyncio.gather(*tasks, return_exceptions=True)


def captured(capture_dir: Path) -> None:
    folder = capture_dir / "rdk_component_sensor" / "a" / "Readings"
    write_capture_file(folder, "9999-a", [reading(1.0)], metadata("a"))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("sync", {}),
        ("upload", {"data": base64.b64encode(b"image").decode(), "mime_type": "image/jpeg"}),
        ("upload", {"path": "a.log"}),
        ("failed", {"action": "retry", "all": True}),
    ],
)
async def test_a_command_waits_for_the_folder_and_is_carried_out(
    world: Steered,
    go_on: threading.Event,
    asking: Callable[..., asyncio.Task[Any]],
    name: str,
    arguments: dict[str, Any],
) -> None:
    captured(world.folder / "capture" / ("failed/x" if name == "failed" else ""))
    (world.folder / "a.log").write_text("a")
    if "path" in arguments:
        arguments = {"path": str(world.folder / arguments["path"])}
    asked = asking(name, **arguments)
    await as_long_as_others_take()
    assert not asked.done()
    go_on.set()
    assert (await asked)["files"] == 1


async def test_a_sync_waits_for_every_folder(
    world: Steered, asking: Callable[..., asyncio.Task[Any]], go_on: threading.Event
) -> None:
    go_on.set()
    await asking("sync")
    go_on.clear()
    other = world.folder / "other"
    captured(other)
    method = {"name": "a", "method": "Readings", "capture_frequency_hz": 1, "capture_directory": str(other)}
    world.apply("a", capture_disabled=True, capture_methods=[method])
    asked = asyncio.create_task(world.command("sync"))
    await as_long_as_others_take()
    go_on.set()
    assert (await asked)["files"] == 1


async def test_a_disk_that_stalls_is_not_waited_for_for_ever(
    world: Steered, asking: Callable[..., asyncio.Task[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_FIRST_TRY_TIMEOUT_S", 0.01)
    with pytest.raises(NotReadyError, match="can't sync yet: starting"):
        await asyncio.wait_for(asking("sync"), 20)
    monkeypatch.setattr(store_module, "_FIRST_TRY_TIMEOUT_S", 3600.0)
    with pytest.raises(NotReadyError, match="can't sync yet: starting"):
        await asyncio.wait_for(world.command("sync"), 20)


async def test_what_waits_ends_with_the_manager(
    world: Steered,
    go_on: threading.Event,
    asking: Callable[..., asyncio.Task[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store_module, "_FIRST_TRY_TIMEOUT_S", 3600.0)
    asked = asking("sync")
    await asyncio.sleep(0)
    stopping = asyncio.create_task(world.manager.stop())
    with pytest.raises(NotReadyError, match="can't sync"):
        await asyncio.wait_for(asked, 20)
    go_on.set()
    await stopping


async def test_a_reading_now_is_kept_while_another_process_has_the_folder(world: Steered) -> None:
    other = FolderLock(FileSystem(), str(world.folder / "capture"))
    assert other.try_acquire()
    world.apply("a")
    await world.command("pause", what="capture")
    answer = await world.command("capture_now", resource="a", method="Readings")
    assert "which has the lock" in answer["delivery"] and Path(answer["files"][0]).exists()
    other.release()
