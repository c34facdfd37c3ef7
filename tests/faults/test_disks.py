"""Capture runs on disks that really fail: all ten collectors continue without help, and the sum holds."""

from __future__ import annotations

import os
import resource
import shutil
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.config import Host, parse
from holdfast.manager import Manager, Resources
from holdfast.status import status
from holdfast.storage.ledger.counts import ReadingCounts
from holdfast.storage.store import Store
from tests.storage import samples
from tests.test_manager import SENSOR, CountingClient
from tests.waiting import eventually

from . import disks, strace
from .disks import MEBIBYTE, Disk

NAMES = [f"s{number}" for number in range(10)]
HZ = 50


class Machine:
    """Ten sensors that count how often they were read, captured into `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client = CountingClient()
        self._manager = Manager({"HOME": str(folder)}, FileSystem(), SystemClock())

    def start(self, **attributes: Any) -> None:
        methods = [{"name": name, "method": "Readings", "capture_frequency_hz": HZ} for name in NAMES]
        config = parse(
            {
                "capture_dir": str(self.folder / "capture"),
                "sync_disabled": True,
                "maximum_capture_file_size_bytes": 4096.0,
                "capture_flush_interval_ms": 50.0,
                "capture_fsync_interval_ms": 200.0,
                "capture_dir_deletion_threshold": 1.0,
                "capture_methods": methods,
                **attributes,
            },
            Host(str(self.folder)),
        )
        self._manager.apply(config, Resources(dict.fromkeys(NAMES, SENSOR), self.client))
        self._ledger = self.store.ledger

    @property
    def store(self) -> Store:
        assert self._manager.engine is not None
        return self._manager.engine.store

    @property
    def status(self) -> dict[str, Any]:
        return status(self._manager)

    def counts(self, name: str) -> ReadingCounts:
        return self.store.ledger.readings().get((next(iter(SENSOR)), name, "Readings"), ReadingCounts())

    def kept(self, name: str) -> int:
        """Returns the number of readings that were not dropped so far."""
        counts = self.counts(name)
        return counts.captured - sum(counts.dropped.values())

    async def all_drop(self, reason: str) -> None:
        await eventually(lambda: all(self.counts(name).dropped.get(reason, 0) > 3 for name in NAMES))

    async def all_drop_more(self, reason: str) -> None:
        before = {name: self.counts(name).dropped.get(reason, 0) for name in NAMES}
        await eventually(lambda: all(self.counts(name).dropped.get(reason, 0) > before[name] + 3 for name in NAMES))

    async def all_are_kept_again(self) -> None:
        """Returns when each collector's readings reach the disk again, enough of them to be no accident."""
        await self.kept_more(HZ // 2)

    async def kept_more(self, readings: int) -> None:
        before = {name: self.kept(name) for name in NAMES}
        await eventually(lambda: all(self.kept(name) >= before[name] + readings for name in NAMES))

    @property
    def dropped(self) -> dict[str, int]:
        """The dropped readings of all collectors, by reason."""
        reasons: Counter[str] = Counter()
        for counts in self._ledger.readings().values():
            reasons.update(counts.dropped)
        return dict(reasons)

    async def stop(self) -> None:
        await self._manager.stop()

    async def stopped_with_a_true_account(self) -> None:
        """Stops, and checks by each sensor's counter that its readings are in complete files or counted as lost."""
        ledger = self._ledger
        await self.stop()
        counts = {resource: counts for (_, resource, _), counts in ledger.readings().items()}
        for name in NAMES:
            of_it = counts[name]
            lost = sum(of_it.dropped.values()) + of_it.deleted + of_it.vanished
            assert self.client.served[name] == of_it.captured, name
            assert self.client.served[name] == self.stored(name) + lost, (name, of_it)
            assert of_it.on_disk == self.stored(name)

    def stored(self, name: str) -> int:
        folder = self.folder / "capture" / "rdk_component_sensor" / name
        return sum(len(samples.scan(path.read_bytes()).readings) for path in folder.rglob("*.capture"))


def disk_threads(name: str) -> list[int]:
    return [thread.native_id for thread in threading.enumerate() if thread.name == name and thread.native_id]


@pytest.fixture
async def started() -> AsyncIterator[Callable[..., Machine]]:
    machines: list[Machine] = []

    def start(folder: Path, **attributes: Any) -> Machine:
        machine = Machine(folder)
        machines.append(machine)
        machine.start(**attributes)
        return machine

    yield start
    for machine in machines:
        await machine.stop()


async def fills_and_is_freed(machine: Machine, disk: Disk) -> None:
    await machine.all_are_kept_again()
    for _ in range(2):
        disk.fill()
        await machine.all_drop("no_space")
        await disk.free()
        await machine.all_are_kept_again()
    await machine.stopped_with_a_true_account()


@pytest.mark.usefixtures("needs_disks")
async def test_after_a_full_disk_all_ten_collectors_go_on(started: Callable[..., Machine], tmp_path: Path) -> None:
    with disks.ext4(tmp_path / "disk", 16 * MEBIBYTE) as disk:
        await fills_and_is_freed(started(disk.folder), disk)


@pytest.mark.usefixtures("needs_disks")
async def test_after_full_memory_all_ten_collectors_go_on(started: Callable[..., Machine], tmp_path: Path) -> None:
    with disks.tmpfs(tmp_path / "disk", 2 * MEBIBYTE) as disk:
        await fills_and_is_freed(started(disk.folder), disk)


@pytest.mark.usefixtures("needs_disks")
async def test_a_disk_that_captured_data_fills_is_thinned_by_itself(
    started: Callable[..., Machine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.storage.space.limits.DISK_CHECK_S", 1.0)
    with disks.tmpfs(tmp_path / "disk", MEBIBYTE) as disk:
        machine = started(disk.folder, disk_usage_deletion_threshold=0.6, capture_dir_deletion_threshold=0.3)
        await eventually(lambda: machine.status["readings"]["deleted"] > 0, timeout_s=40)
        await machine.all_are_kept_again()
        assert machine.status["space"]["folders"][0]["disk_total_bytes"] == MEBIBYTE
        await machine.stopped_with_a_true_account()


@pytest.mark.usefixtures("needs_disks")
async def test_after_a_disk_went_read_only_and_came_back_all_ten_collectors_go_on(
    started: Callable[..., Machine], tmp_path: Path
) -> None:
    with disks.ext4(tmp_path / "disk", 16 * MEBIBYTE) as disk:
        machine = started(disk.folder)
        await machine.all_are_kept_again()
        disk.refuse()
        await machine.all_drop("read_only")
        disk.permit()
        await machine.all_are_kept_again()
        await machine.stopped_with_a_true_account()


@pytest.mark.usefixtures("needs_strace")
@pytest.mark.parametrize("calls", ["write", "openat"])
async def test_what_a_disk_with_io_errors_refuses_is_counted_and_all_ten_collectors_go_on(
    calls: str, started: Callable[..., Machine], tmp_path: Path
) -> None:
    machine = started(tmp_path)
    await machine.all_are_kept_again()
    for _ in range(2):
        async with strace.failing(disk_threads("holdfast-disk"), calls, "EIO"):
            await machine.all_drop_more("io_error")
        await machine.all_are_kept_again()
    await machine.stopped_with_a_true_account()


@pytest.mark.usefixtures("needs_strace")
@pytest.mark.parametrize("calls", ["fsync", "rename", "write"])
async def test_a_disk_that_can_not_complete_files_costs_no_reading_and_completes_them_later(
    calls: str, started: Callable[..., Machine], tmp_path: Path
) -> None:
    machine = started(tmp_path)
    await machine.all_are_kept_again()
    async with strace.failing(disk_threads("holdfast-sync-disk"), calls, "EIO"):
        await machine.all_are_kept_again()
    await machine.all_are_kept_again()
    await machine.stopped_with_a_true_account()
    assert not machine.dropped


async def test_a_folder_that_is_removed_while_capturing_is_made_again(
    started: Callable[..., Machine], tmp_path: Path
) -> None:
    machine = started(tmp_path)
    await machine.all_are_kept_again()
    shutil.rmtree(tmp_path / "capture", ignore_errors=True)
    await machine.all_are_kept_again()
    await eventually(lambda: all(machine.stored(name) for name in NAMES))


async def test_without_a_file_descriptor_left_readings_are_counted_and_all_go_on(
    started: Callable[..., Machine], tmp_path: Path
) -> None:
    machine = started(tmp_path)
    await machine.all_are_kept_again()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(lowest, 3), limits[1]))
    try:
        await machine.all_drop("too_many_open_files")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    await machine.all_are_kept_again()
    await machine.stopped_with_a_true_account()


@pytest.mark.skipif(os.geteuid() != 0, reason="giving up root and taking it again needs root")
async def test_without_permission_readings_are_counted_and_all_go_on(
    started: Callable[..., Machine], tmp_path: Path
) -> None:
    machine = started(tmp_path)
    await machine.all_are_kept_again()
    os.seteuid(65534)
    try:
        await machine.all_drop("no_permission")
    finally:
        os.seteuid(0)
    await machine.all_are_kept_again()
    await machine.stopped_with_a_true_account()


@pytest.mark.usefixtures("needs_disks")
async def test_a_full_disk_that_is_unmounted_leaves_the_computer_s_own_one_alone(tmp_path: Path) -> None:
    """A test that fails while its disk is full unmounts it, and the disk is still refilled for a moment."""
    with disks.tmpfs(tmp_path / "disk", MEBIBYTE) as disk:
        disk.fill()
    disk._take_all()
    assert list(disk.folder.iterdir()) == []
    await disk.free()
