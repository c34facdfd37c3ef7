"""A store is one capture folder: it is ours when its lock is, and closing it frees all of it."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.base.at import Identity
from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem, occupied_bytes
from holdfast.storage import recovery
from holdfast.storage import store as store_module
from holdfast.storage.lock import FolderLock
from holdfast.storage.store import Store
from holdfast.storage.writing.disk_writer import Appender
from tests.fakes import FaultyFileSystem
from tests.waiting import as_long_as_others_take, eventually

from . import samples

NEVER_S = 3600.0


def a_store(folder: Path) -> Store:
    clock = SystemClock()
    return Store(FileSystem(), clock, str(folder), NEVER_S, NEVER_S)


@pytest.fixture
async def linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    """A store whose folder is reached by a symbolic link, as folders on another disk often are."""
    monkeypatch.setattr(store_module, "_RECOVER_AGAIN_S", 0.0)
    (tmp_path / "disk").mkdir()
    (tmp_path / "capture").symlink_to(tmp_path / "disk")
    store = a_store(tmp_path / "capture")
    await eventually(lambda: store.recovered_all)
    yield store
    await store.close()


async def write(store: Store) -> str:
    """Captures a reading; returns the file in progress, as a walk finds it."""
    store.writer.open(samples.metadata(), 256 * 1024).append(samples.message(0))
    await store.writer.flush()
    (path,) = Path(store.root).rglob("rdk*/**/*.prog")
    return str(path)


async def test_a_folder_behind_a_link_is_known_by_the_paths_that_a_walk_finds(
    linked: Store, tmp_path: Path
) -> None:
    path = await write(linked)
    assert path.startswith(str(tmp_path / "disk")) and linked.holds(path)
    assert not linked.holds(str(tmp_path / "disk-2" / "a.capture"))


async def test_a_file_that_we_write_is_no_reason_to_recover(linked: Store) -> None:
    path = await write(linked)
    passes = []
    linked._left_over.set = lambda: passes.append(1)  # type: ignore[method-assign]
    linked.found_in_progress([path, "/elsewhere/a.prog"])
    left = os.path.join(os.path.dirname(path), "2023-11-14T22_13_20.123456Z.prog")
    Path(left).write_bytes(b"")
    await linked.writer.flush()
    assert passes == []
    linked.found_in_progress([path, left])
    await eventually(lambda: passes)


async def test_counts_of_the_journal_are_added_once(linked: Store) -> None:
    await write(linked)
    await linked.writer.complete()
    linked.ledger.attach(linked.writer.completion.wrote)
    (counts,) = linked.ledger.readings().values()
    assert counts.captured == 1


async def test_closing_completes_the_files_and_frees_the_lock_for_good(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    await eventually(lambda: store.owned)
    await write(store)
    await store.close()
    await store.close()
    assert len(samples.readings_under(tmp_path)) == 1
    assert not store.owned
    assert FolderLock(FileSystem(), str(tmp_path)).try_acquire()


async def test_the_space_that_is_taken_up_is_right_while_files_are_written_and_over_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "QUIET_S", 0.0)

    def on_disk() -> int:
        files = [path for path in tmp_path.rglob("rdk*/**/*") if path.is_file()]
        return sum(occupied_bytes(path.stat().st_size) for path in files)

    def append(appender: Appender) -> None:
        for message in samples.messages(300):
            appender.append(message)

    store = a_store(tmp_path)
    await eventually(lambda: store.recovered_all)
    appender = store.writer.open(samples.metadata(), 1 << 20)
    append(appender)
    await store.writer.flush()
    store.space.count(lambda _: 5)
    append(appender)
    await store.writer.flush()
    assert store.space.captured_bytes == on_disk()
    assert appender.file is not None
    left = Path(appender.file.path).read_bytes()
    await store.writer.complete()
    assert store.space.captured_bytes == on_disk()
    await store.close()
    (path,) = samples.files_under(tmp_path, ".capture")
    path.rename(path.with_suffix(".prog"))
    path.with_suffix(".prog").write_bytes(left)  # as a kill leaves it

    store = a_store(tmp_path)
    store.space.count(lambda _: 5)
    await eventually(lambda: store.recovered_all)
    assert samples.files_under(tmp_path, ".capture") == [path]
    assert store.space.captured_bytes == on_disk() > 8 * 4096
    append(store.writer.open(samples.metadata("gps"), 1 << 20))
    await store.writer.complete()
    assert store.space.captured_bytes == on_disk()
    for complete in samples.files_under(tmp_path, ".capture"):
        status = complete.stat()
        store.let_go(str(complete), Identity.of(status), status.st_size)
    assert store.space.captured_bytes == on_disk() == 0
    await store.close()


async def test_without_the_lock_readings_are_kept_and_the_folder_is_not_ours(tmp_path: Path) -> None:
    other = FolderLock(FileSystem(), str(tmp_path))
    assert other.try_acquire()
    store = a_store(tmp_path)
    await eventually(lambda: "has the lock" in store.waiting_for)
    await write(store)
    assert not store.owned
    assert (
        store.counts_state
        == f"in memory so far: waiting for process {os.getpid()}, which has the lock of {tmp_path}"
    )
    other.release()
    await eventually(lambda: store.owned)
    await store.writer.complete()
    await store.close()
    again = a_store(tmp_path)
    await eventually(lambda: again.owned)
    (counts,) = again.ledger.readings().values()
    assert counts.captured == counts.in_files == 1
    await again.close()


async def test_while_the_disk_refuses_the_folder_the_counts_are_in_memory_for_its_reason(tmp_path: Path) -> None:
    files = FaultyFileSystem()
    with files.failing("make_folder", code=errno.EROFS):
        store = Store(files, SystemClock(), str(tmp_path), NEVER_S, NEVER_S)
        await store.tried()
        assert store.counts_state.startswith("in memory so far: ") and "lock" not in store.counts_state
        assert os.strerror(errno.EROFS) in store.counts_state
    await eventually(lambda: store.owned)
    assert store.counts_state.startswith("kept in ")
    await store.close()
    assert store.counts_state.startswith("kept in ")


async def test_a_store_has_been_tried_when_its_lock_was_given_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_FIRST_TRY_TIMEOUT_S", NEVER_S)
    first = a_store(tmp_path)
    await asyncio.wait_for(first.tried(), 20)
    second = a_store(tmp_path)
    await asyncio.wait_for(second.tried(), 20)
    assert first.owned and "has the lock" in second.waiting_for
    await second.close()
    await first.close()


async def test_a_store_that_is_closed_while_it_gets_its_lock_frees_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    try_acquire = FolderLock.try_acquire

    def slowly(lock: FolderLock) -> bool:
        begun.set()
        assert go_on.wait(30)
        return try_acquire(lock)

    monkeypatch.setattr(FolderLock, "try_acquire", slowly)
    store = a_store(tmp_path)
    assert await asyncio.to_thread(begun.wait, 20)
    closing = asyncio.create_task(store.close())
    await as_long_as_others_take()
    go_on.set()
    await closing
    other = FolderLock(FileSystem(), str(tmp_path))
    assert not store.owned and try_acquire(other)
    other.release()
