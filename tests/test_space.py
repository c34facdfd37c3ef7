"""Limits, memory mode and the local copy in the whole program: real files, a local cloud, a sensor in this
process."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from demo.cloud import LocalCloud
from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.capture.methods import sensor
from holdfast.config import Host, parse
from holdfast.manager import Manager, Resources
from holdfast.status import status
from holdfast.steering.settings_file import Setting
from holdfast.storage import layout
from holdfast.storage.relocation import move_out
from holdfast.storage.space.local_copy import LocalCopy

from .problems import problems_in
from .storage import samples
from .test_manager import UNAVAILABLE, World
from .waiting import eventually

SMALL_FILES = {
    "maximum_capture_file_size_bytes": 1.0,
    "capture_flush_interval_ms": 20,
    "capture_fsync_interval_ms": 50,
}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    cloud = LocalCloud(tmp_path / "cloud", api_keys={"id": "key"}, part_id="part")
    await cloud.start()
    made = World(tmp_path, cloud)
    yield made
    await made.manager.stop()
    await cloud.stop()
    shutil.rmtree(memory_of(made), ignore_errors=True)


def memory_of(world: World) -> Path:
    return Path(world.config().memory_dir)


def stored(folder: Path) -> int:
    """Returns the number of readings in complete files."""
    return sum(len(samples.scan(path.read_bytes()).readings) for path in folder.rglob("*.capture"))


def totals(world: World) -> dict[str, Any]:
    found: dict[str, Any] = status(world.manager)["readings"]
    return found


def collectors(world: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = status(world.manager)["capture"]["collectors"]
    return found


async def again(world: World) -> None:
    """Ends the process and starts another."""
    await world.manager.stop()
    world.manager = Manager(world.environment, FileSystem(), SystemClock())


needs_tmpfs = pytest.mark.skipif(
    not (Path("/dev/shm").is_dir() and FileSystem().is_in_memory("/dev/shm")), reason="there is no tmpfs here"
)


async def test_a_limit_holds_while_capture_goes_on_and_every_reading_is_accounted_for(world: World) -> None:
    world.apply(**SMALL_FILES, capture_dir_limit_bytes=16 * 4096)
    await eventually(lambda: totals(world)["deleted"] > 10)
    before = world.client.served["a"]
    await eventually(lambda: world.client.served["a"] > before + 5)
    deleted = status(world.manager)["space"]["folders"][0]["deleted_readings"]
    assert deleted > 10
    counts = world.manager.engine.store.ledger  # type: ignore[union-attr]
    await world.manager.stop()
    (of_a,) = counts.readings().values()
    left = stored(world.folder / "capture")
    assert world.client.served["a"] == of_a.captured == of_a.deleted + left + sum(of_a.dropped.values())
    assert of_a.on_disk == left


async def test_what_has_a_low_priority_goes_first_by_the_config(world: World) -> None:
    methods = [
        {"name": name, "method": "Readings", "capture_frequency_hz": 50, "priority": priority}
        for name, priority in (("a", 9), ("b", 1))
    ]
    world.apply("a", "b", **SMALL_FILES, capture_dir_limit_bytes=400_000, capture_methods=methods)
    ledger = world.manager.engine.store.ledger  # type: ignore[union-attr]

    def deleted() -> dict[str, int]:
        return {name: counts.deleted for (_, name, _), counts in ledger.readings().items()}

    await eventually(lambda: deleted().get("b", 0) > 0)
    assert deleted()["a"] == 0


@pytest.mark.parametrize("there", ["ab", "a"])
@pytest.mark.parametrize("paused", ["a", "capture"])
async def test_files_keep_their_priority_while_their_method_is_off_or_paused(
    paused: str, there: str, world: World
) -> None:
    """viam-server gives no dependency that is off, so `b` may not be there."""

    def applied(hz_of_b: float) -> list[int]:
        hz = {"a": 50.0, "b": hz_of_b}
        methods = [
            {"name": name, "method": "Readings", "capture_frequency_hz": hz[name], "priority": 9} for name in hz
        ]
        world.apply(*there, capture_methods=methods)
        store = world.manager.engine.store  # type: ignore[union-attr]
        return [
            store.limits.priority(layout.collector_folder(store.root, sensor.API, name, "Readings")) for name in hz
        ]

    assert applied(50.0) == [9, 9]
    await world.manager.steering.settings.set(Setting(paused), persist=False)
    assert applied(0.0) == [9, 9]


@needs_tmpfs
async def test_what_can_not_be_moved_out_of_the_package_to_another_disk_is_sent_from_there(world: World) -> None:
    package = Path(tempfile.mkdtemp(dir="/dev/shm"))
    try:
        world.apply(**SMALL_FILES, capture_dir=str(package / "data"))
        await eventually(lambda: len(list(package.rglob("*.capture"))) > 3)
        await world.manager.stop()
        left = stored(package / "data")
        world.manager = Manager(world.environment, FileSystem(), SystemClock())

        host = Host(str(world.folder), working_folder=str(world.folder), module_folders=(str(package),))
        attributes = {"capture_dir": "data", "cloud_address": world.cloud.address, "sync_interval_mins": 0.0002}
        config = parse(attributes, host)
        problems = [move_out(FileSystem(), folder) for folder in config.former_folders]
        assert any("Invalid cross-device link" in problem and "sent from there" in problem for problem in problems)
        world.manager.apply(config, Resources({}, None))
        await eventually(lambda: len(world.delivered) == left and not list(package.rglob("*.capture")))
        assert world.manager.engine is not None and not list(world.folder.rglob("data/rdk_*"))
        await eventually(lambda: not status(world.manager)["sync"]["draining"])
        assert [move_out(FileSystem(), folder) for folder in config.former_folders] == ["", ""]
    finally:
        shutil.rmtree(package)


@needs_tmpfs
@pytest.mark.parametrize("store", ["disk", "memory"])
async def test_several_resources_are_captured_at_their_own_frequencies_in_either_store(
    store: str, world: World
) -> None:
    hz = {"a": 200, "b": 20, "c": 0.00001}
    methods = [{"name": name, "method": "Readings", "capture_frequency_hz": hz[name]} for name in hz]
    world.apply(*hz, capture_store=store, capture_methods=methods)
    await world.served(15, "b")
    due = {each["resource"]: each["readings"] + each["missed"] for each in collectors(world)}
    assert 10 * (due["b"] - 2) <= due["a"] <= 10 * (due["b"] + 2)
    await world.manager.stop()
    assert problems_in(status(world.manager), "config") == []
    folder = memory_of(world) if store == "memory" else world.folder / "capture"
    assert {name: len(numbers) for name, numbers in world.stored(str(folder)).items()} == world.client.served


@needs_tmpfs
async def test_in_memory_mode_quarantine_has_a_bound_and_on_a_disk_none(world: World) -> None:
    def fail(folder: Path) -> list[Path]:
        failed = [folder / "failed" / f"{number}.capture" for number in range(8)]
        failed[0].parent.mkdir(mode=0o700, parents=True)
        for path in failed:
            path.write_bytes(bytes(4096))
        return failed

    of_memory, of_disk = fail(memory_of(world)), fail(world.folder / "capture")
    memory_of(world).chmod(0o700)
    world.apply(capture_store="memory", capture_dir_limit_bytes=16 * 4096)
    await eventually(lambda: sum(path.exists() for path in of_memory) == 4)

    def figures() -> tuple[int, int]:
        (folder,) = status(world.manager)["space"]["folders"][:1]
        return folder["failed_bytes"], folder["failed_limit_bytes"]

    await eventually(lambda: figures() == (4 * 4096, 4 * 4096))
    await again(world)
    world.apply(capture_dir_limit_bytes=16 * 4096)
    store = world.manager.engine.store  # type: ignore[union-attr]
    await eventually(lambda: store.space.counted_at_s is not None)
    assert all(path.exists() for path in of_disk)


@needs_tmpfs
async def test_in_memory_mode_readings_lie_in_memory_private_and_outlive_the_process(world: World) -> None:
    world.apply(capture_store="memory")
    await world.served(20)
    await again(world)
    memory = memory_of(world)
    assert memory.stat().st_mode & 0o077 == 0
    assert stored(memory) == world.client.served["a"]
    assert not (world.folder / "capture").exists()
    world.apply(capture_store="memory", sync_disabled=False, sync_interval_mins=0.001)
    await eventually(lambda: len(world.delivered) > 20)
    (folder,) = (f for f in status(world.manager)["space"]["folders"] if f["folder"] == str(memory))
    assert (folder["limit_bytes"], folder["when_full"]) == (64 << 20, "drop_oldest")
    assert problems_in(status(world.manager), "config") == []


@needs_tmpfs
async def test_from_memory_back_to_the_disk_what_is_in_memory_is_sent(world: World) -> None:
    world.apply(capture_store="memory")
    await world.served(20)
    world.apply(sync_disabled=False, sync_interval_mins=0.001)
    memory = memory_of(world)
    await eventually(lambda: not list(memory.rglob("*.capture")) and not list(memory.rglob("*/*/*/*.prog")))
    await eventually(lambda: status(world.manager)["sync"]["draining"] == [])
    assert set(range(1, 20)) <= set(map(int, world.delivered))


@needs_tmpfs
@pytest.mark.parametrize(("first", "then"), [("memory", "disk"), ("disk", "memory")])
async def test_what_an_earlier_run_left_in_the_other_place_is_sent(world: World, first: str, then: str) -> None:
    world.apply(capture_store=first)
    await world.served(20)
    await again(world)
    left = world.client.served["a"]
    world.apply(capture_store=then, capture_disabled=True, sync_disabled=False, sync_interval_mins=0.001)
    await eventually(lambda: len(world.delivered) == left)
    assert sorted(world.delivered) == list(range(1, left + 1))


@needs_tmpfs
async def test_the_limit_of_memory_deletes_nothing_of_what_lies_on_the_disk(world: World) -> None:
    world.apply(**SMALL_FILES)
    await world.served(30)
    await again(world)
    left = stored(world.folder / "capture")
    world.cloud.fail_while = lambda method, request: UNAVAILABLE
    memory = {
        **SMALL_FILES,
        "capture_store": "memory",
        "capture_dir_limit_bytes": 16 * 4096,
        "capture_disabled": True,
    }
    world.apply(**memory, sync_disabled=False, sync_interval_mins=0.001)
    folders = [str(memory_of(world)), str(world.folder / "capture")]
    await eventually(
        lambda: (
            [f["folder"] for f in status(world.manager)["space"]["folders"] if f["disk_total_bytes"] is not None]
            == folders
        )
    )
    for store in world.manager.engine.stores.all:  # type: ignore[union-attr]
        await asyncio.to_thread(store.limits.check)
    world.cloud.fail_while = None
    await eventually(lambda: len(world.delivered) == left)


class NoMemory(FileSystem):
    def is_in_memory(self, path: str) -> bool:
        return False


async def test_without_a_tmpfs_the_disk_is_used_and_the_status_says_so(world: World) -> None:
    world.manager = Manager(world.environment, NoMemory(), SystemClock())
    world.apply(capture_store="memory")
    await world.served(5)
    (problem,) = problems_in(status(world.manager), "config")
    assert problem.startswith("capture_store: ") and "no tmpfs" in problem
    await world.manager.stop()
    assert stored(world.folder / "capture") == world.client.served["a"]


@needs_tmpfs
async def test_a_folder_in_memory_that_others_may_read_is_not_used(world: World) -> None:
    memory_of(world).mkdir(mode=0o755)
    memory_of(world).chmod(0o755)
    world.apply(capture_store="memory")
    (problem,) = problems_in(status(world.manager), "config")
    assert "other users have access" in problem
    assert list(memory_of(world).iterdir()) == []


async def test_what_was_delivered_is_kept_as_it_was(world: World) -> None:
    logs = world.folder / "logs"
    logs.mkdir()
    (logs / "x.log").write_bytes(b"lines")
    world.apply(
        sync_disabled=False,
        sync_interval_mins=0.001,
        additional_sync_paths=[str(logs)],
        file_last_modified_millis=1,
        local_copy={"dir": str(world.folder / "kept")},
    )
    await eventually(lambda: len(world.delivered) > 5 and not (logs / "x.log").exists())
    await world.manager.stop()
    kept = world.folder / "kept" / "holdfast"
    assert (kept / "files" / str(logs).lstrip("/") / "x.log").read_bytes() == b"lines"
    assert stored(kept / "captured") == len(world.delivered)


async def test_a_copy_that_fails_holds_up_no_delivery(world: World) -> None:
    (world.folder / "kept").write_bytes(b"a file where the folder should be")
    world.apply(sync_disabled=False, sync_interval_mins=0.001, local_copy={"dir": str(world.folder / "kept")})
    await eventually(lambda: len(world.delivered) > 5)
    await eventually(lambda: status(world.manager)["space"]["local_copy"]["not_kept"] > 0)
    copy = world.manager.engine.stores.local_copy  # type: ignore[union-attr]
    assert isinstance(copy, LocalCopy) and copy.problem is not None and copy.problem.cost.endswith(" not kept")
    assert any("deleted without a copy" in each for each in problems_in(status(world.manager), "disk"))
    os.unlink(world.folder / "kept")
    await eventually(lambda: not problems_in(status(world.manager), "disk"))


async def test_a_sync_path_that_leads_around_the_local_copy_is_not_synced(world: World) -> None:
    """Else what is kept there would be sent and kept again, without end."""
    (world.folder / "data").mkdir()
    (world.folder / "data" / "notes.txt").write_text("x")
    (world.folder / "innocent").symlink_to("data")
    world.apply(
        capture_methods=[],
        file_last_modified_millis=1,
        additional_sync_paths=[str(world.folder / "innocent")],
        local_copy={"dir": str(world.folder / "data" / "kept")},
    )
    await world.manager.sync()
    (problem,) = problems_in(status(world.manager), "config")
    assert "innocent leads to" in problem and f"around the local copy {world.folder}/data/kept" in problem
    assert os.listdir(world.folder / "data") == ["notes.txt"]
