from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import Entry, FileSystem
from holdfast.storage.quarantine.quarantine import quarantine
from holdfast.storage.store import Store
from holdfast.sync import quarantine_count
from holdfast.sync.quarantine_count import QuarantineCount
from tests.fakes import FakeClock
from tests.waiting import eventually


class CountingDisk(FileSystem):
    """Counts how often a folder of quarantine was listed."""

    listed = 0

    def list_folder(self, path: str, *, with_status: bool = False) -> Iterator[Entry]:
        self.listed += path.endswith("failed")
        return super().list_folder(path, with_status=with_status)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    clock = SystemClock()
    store = Store(FileSystem(), clock, str(tmp_path / "capture"), 1.0, 5.0)
    await eventually(lambda: store.owned)
    yield store
    await store.close()


def fail(store: Store, name: str, size_bytes: int) -> None:
    """Puts a new file into quarantine, and the ledger counts it."""
    path = Path(store.root) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size_bytes))
    quarantine(FileSystem(), store.ledger, store.root, str(path), "refused")


async def test_what_lies_in_quarantine_is_counted_at_the_start_and_after_each_change(
    store: Store, tmp_path: Path
) -> None:
    fail(store, "a/1.bin", 10)
    (tmp_path / "other/failed").mkdir(parents=True)
    (tmp_path / "other/failed/x").write_bytes(b"123")
    disk, clock = CountingDisk(), FakeClock()
    count = QuarantineCount(disk, clock, lambda: [(store.root, store.ledger)], lambda: (str(tmp_path / "other"),))
    assert count.files is None
    task = asyncio.create_task(count.run())
    await eventually(lambda: (count.files, count.bytes) == (2, 13))
    assert count.counted_s == clock.monotonic()
    listed = disk.listed
    for _ in range(10):
        await clock.advance(quarantine_count.LOOK_S)
    assert disk.listed == listed, "nothing changed"
    fail(store, "b/2.bin", 100)
    await clock.advance(quarantine_count.LOOK_S)
    await eventually(lambda: (count.files, count.bytes) == (3, 113))
    (tmp_path / "other/failed/x").unlink()
    await clock.advance(quarantine_count.AGAIN_S)
    await eventually(lambda: (count.files, count.bytes) == (2, 110))
    task.cancel()


async def test_counting_takes_a_small_share_of_the_time(store: Store) -> None:
    clock = FakeClock()

    class SlowDisk(CountingDisk):
        def list_folder(self, path: str, *, with_status: bool = False) -> Iterator[Entry]:
            if path.endswith("failed"):
                clock._now_ns += 10_000_000_000
            return super().list_folder(path, with_status=with_status)

    disk = SlowDisk()
    fail(store, "1.bin", 1)
    count = QuarantineCount(disk, clock, lambda: [(store.root, store.ledger)], tuple)
    task = asyncio.create_task(count.run())
    await eventually(lambda: count.files == 1)
    fail(store, "2.bin", 1)
    await clock.advance(400)
    assert count.files == 1
    await clock.advance(100)
    await eventually(lambda: count.files == 2)
    task.cancel()
