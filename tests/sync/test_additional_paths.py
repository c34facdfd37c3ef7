"""The additional sync paths are looked at again and again; a problem is said when it begins and when it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.config import Protected
from holdfast.sync import additional_paths
from holdfast.sync.additional_paths import AdditionalPaths
from holdfast.sync.path_check import PathKind
from tests.waiting import eventually

from .conftest import World, write_old_file


class Hanging(FileSystem):
    """A file system that does not answer under `hangs`, until `go_on` is set."""

    def __init__(self) -> None:
        self.hangs = ""
        self.go_on = threading.Event()
        self.asked = 0

    def stat(self, path: str) -> os.stat_result:
        if self.hangs and path.startswith(self.hangs):
            self.asked += 1
            assert self.go_on.wait(30)
        return super().stat(path)


@pytest.fixture
async def paths() -> AsyncIterator[AdditionalPaths]:
    made = AdditionalPaths(FileSystem(), SystemClock())
    yield made


async def problems(paths: AdditionalPaths) -> list[str]:
    await paths.check()
    return paths.problems


async def test_a_problem_is_logged_once_when_it_begins_and_its_end_too(
    paths: AdditionalPaths, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "logs"
    paths.configure([str(path)], Protected())
    kinds = []
    for change in (path.mkdir, path.rmdir, path.touch, path.unlink, lambda: os.mkfifo(path), path.unlink):
        for _ in range(2):
            await paths.check()
        kinds.append(paths.all[0].kind)
        change()
    assert kinds == [
        PathKind.MISSING, PathKind.FOLDER, PathKind.MISSING, PathKind.FILE, PathKind.MISSING, PathKind.OTHER,
    ]  # fmt: skip
    said = [record.getMessage().removeprefix(f"additional_sync_paths: {path} ") for record in caplog.records]
    assert said == [
        "is not there; it is synced as soon as it is",
        "is a folder now, and synced",
        "is not there; it is synced as soon as it is",
        "is a file now, and synced",
        "is a pipe; name a folder or a file",
    ]


async def test_a_file_that_was_there_may_go_without_a_word(paths: AdditionalPaths, tmp_path: Path) -> None:
    """It is gone when it is delivered, until a program writes it again."""
    path = tmp_path / "app.log"
    path.touch()
    paths.configure([str(path)], Protected())
    assert await problems(paths) == []
    path.unlink()
    assert await problems(paths) == [] and paths.all[0].kind is PathKind.MISSING
    path.mkdir()
    assert await problems(paths) == []
    path.rmdir()
    assert "is not there" in (await problems(paths))[0], "a folder does not go by itself"


async def test_the_paths_are_looked_at_when_they_are_configured_and_without_any_round(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(additional_paths, "LOOK_S", 0.02)
    paths = AdditionalPaths(FileSystem(), SystemClock())
    task = asyncio.create_task(paths.run())
    try:
        paths.configure([str(tmp_path / "logs")], Protected())
        await asyncio.wait_for(paths.checked(), 20)
        assert paths.problems
        (tmp_path / "logs").mkdir()
        await eventually(lambda: not paths.problems)
        shutil.rmtree(tmp_path / "logs")
        await eventually(lambda: paths.problems)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_file_system_that_hangs_holds_up_no_other_path_and_one_thread_waits_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(additional_paths, "STALL_S", 0.05)
    files = Hanging()
    paths = AdditionalPaths(files, SystemClock())
    for name in ("stalls", "works"):
        (tmp_path / name).mkdir()
    files.hangs = str(tmp_path / "stalls")
    paths.configure([str(tmp_path / "stalls"), str(tmp_path / "works")], Protected())
    for _ in range(5):
        assert "does not answer: its file system hangs" in (await problems(paths))[0]
        assert paths.synced == (str(tmp_path / "works"),)
    assert files.asked == 1
    files.hangs = ""
    files.go_on.set()
    await eventually(lambda: all(look.done() for look in paths._hanging.values()))
    assert await problems(paths) == [] and len(paths.synced) == 2


async def test_paths_that_hang_do_not_wait_for_each_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(additional_paths, "STALL_S", 100.0)
    files = Hanging()
    paths = AdditionalPaths(files, SystemClock())
    files.hangs = str(tmp_path)
    paths.configure([str(tmp_path / name) for name in "abc"], Protected())
    check = asyncio.create_task(paths.check())
    await eventually(lambda: files.asked == 3)
    files.go_on.set()
    await check


async def test_a_path_that_hangs_keeps_no_round_from_sending_the_others(
    monkeypatch: pytest.MonkeyPatch, world: World, tmp_path: Path
) -> None:
    monkeypatch.setattr(additional_paths, "STALL_S", 0.05)
    files = Hanging()
    world.rounds.additional._files = files
    (tmp_path / "stalls").mkdir()
    write_old_file(tmp_path / "works/a.txt", b"x")
    files.hangs = str(tmp_path / "stalls")
    world.capture_file("9999-a", [1])
    try:
        world.rounds.configure(world.settings(additional_paths=(str(tmp_path / "stalls"), str(tmp_path / "works"))))
        await eventually(lambda: world.arrived.of("lidar") == [1] and len(world.arrived.files) == 1)
    finally:
        files.go_on.set()


async def test_a_single_file_is_sent_and_deleted_and_what_lies_beside_it_is_not(
    world: World, tmp_path: Path
) -> None:
    file = write_old_file(tmp_path / "logs/app.log", b"first")
    beside = write_old_file(tmp_path / "logs/other.log", b"x")
    target = write_old_file(tmp_path / "real/linked.log", b"linked")
    link = tmp_path / "link.log"
    link.symlink_to(target)
    world.rounds.configure(world.settings(additional_paths=(str(file), str(link))))
    await eventually(lambda: len(world.arrived.files) == 2)
    sent = {about.file_name: data for about, data in world.arrived.files}
    assert sent == {str(file): b"first", str(link): b"linked"}
    await eventually(lambda: not file.exists() and not link.is_symlink())
    assert target.exists() and beside.exists()
    write_old_file(file, b"second")
    await eventually(lambda: len(world.arrived.files) == 3)
    assert world.arrived.files[2][1] == b"second"
    assert world.rounds.additional.problems == []


async def test_a_path_that_leads_to_a_home_is_not_synced(world: World, tmp_path: Path) -> None:
    kept = write_old_file(tmp_path / "home/notes.txt", b"x")
    (tmp_path / "innocent").symlink_to("home")
    settings = world.settings(
        additional_paths=(str(tmp_path / "innocent"),), protected=Protected(str(tmp_path / "home"))
    )
    world.rounds.configure(settings)
    world.capture_file("9999-a", [1])
    await eventually(lambda: world.arrived.of("lidar") == [1] and world.rounds.additional.problems)
    rounds = world.completed
    await eventually(lambda: world.completed > rounds + 5)
    assert kept.exists() and not world.arrived.files
