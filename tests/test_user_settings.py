"""What users set by command: until it is taken back, its time is over, or the process ends."""

from __future__ import annotations

import errno
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.filesystem import FileSystem
from holdfast.storage import settings_file
from holdfast.storage.settings_file import Setting
from holdfast.user_settings import UserSettings

from .fakes import FakeClock, FaultyFileSystem
from .waiting import eventually


class User:
    def __init__(self, folder: Path, clock: FakeClock | None = None) -> None:
        self.folder = folder
        self.files = FaultyFileSystem()
        self.clock = clock or FakeClock()
        self.changes = 0
        self.settings = UserSettings(self.files, self.clock, self._changed)

    def _changed(self) -> None:
        self.changes += 1

    async def begin(self, name: str = "one") -> None:
        self.settings.place(str(self.folder / name))
        await eventually(lambda: self.settings.loaded)

    def stored(self, name: str = "one") -> list[str]:
        return [each.what for each in settings_file.read(FileSystem(), str(self.folder / name))]


@pytest.fixture
async def user(tmp_path: Path) -> AsyncIterator[User]:
    user = User(tmp_path)
    await user.begin()
    yield user
    await user.settings.stop()


async def test_a_setting_holds_until_it_is_taken_back(user: User) -> None:
    changes = user.changes
    await user.settings.set(Setting("lidar"), persist=False)
    await user.settings.set(Setting("lidar", "Readings", 5.0), persist=False)
    assert user.settings.paused_resources == {"lidar"} and user.settings.frequencies == {("lidar", "Readings"): 5.0}
    assert user.changes == changes + 2
    assert await user.settings.clear(("lidar", "")) and not await user.settings.clear(("lidar", ""))
    assert user.settings.paused_resources == set() and len(user.settings.frequencies) == 1
    assert user.changes == changes + 3 and user.stored() == []


async def test_a_setting_ends_when_its_time_is_over_and_a_new_one_has_its_own(user: User) -> None:
    await user.settings.set(Setting("lidar", for_s=10.0), persist=True)
    await user.settings.set(Setting("radar", for_s=30.0), persist=False)
    await user.clock.advance(5.0)
    await user.settings.set(Setting("lidar", for_s=10.0), persist=True)
    await user.clock.advance(9.0)
    assert user.settings.is_paused("lidar")
    changes = user.changes
    user.clock.step_wall(1e6)
    await user.clock.advance(1.1)
    assert not user.settings.is_paused("lidar") and user.settings.is_paused("radar") and user.changes == changes + 1
    await eventually(lambda: user.stored() == [])
    await user.clock.advance(20.0)
    assert user.settings.held == []


async def test_what_is_to_persist_holds_for_the_next_process_for_the_rest_of_its_time(user: User) -> None:
    await user.settings.set(Setting("sync"), persist=True)
    await user.settings.set(Setting("lidar", for_s=10.0), persist=True)
    await user.settings.set(Setting("radar"), persist=False)
    next_one = User(user.folder, user.clock)
    await user.clock.advance(4.0)
    await next_one.begin()
    assert {each.setting.what for each in next_one.settings.held} == {"sync", "lidar"}
    await user.clock.advance(6.1)
    assert [each.setting.what for each in next_one.settings.held] == ["sync"]
    await next_one.settings.stop()


@pytest.mark.parametrize(("step_s", "holds"), [(-1e9, True), (9.0, True), (11.0, False)])
async def test_a_clock_that_was_set_makes_no_setting_longer(user: User, step_s: float, holds: bool) -> None:
    await user.settings.set(Setting("lidar", for_s=10.0), persist=True)
    clock = FakeClock()
    clock.step_wall(step_s)
    next_one = User(user.folder, clock)
    await next_one.begin()
    assert next_one.settings.is_paused("lidar") == holds
    await clock.advance(10.1)
    assert not next_one.settings.is_paused("lidar")
    await next_one.settings.stop()


async def test_a_disk_that_refuses_costs_the_persistence_alone_and_says_so(user: User) -> None:
    with user.files.failing("replace", code=errno.ENOSPC):
        await user.settings.set(Setting("lidar"), persist=True)
    assert user.settings.is_paused("lidar") and "control.prog" in user.settings.problem
    await user.settings.set(Setting("radar"), persist=True)
    assert user.settings.problem == "" and user.stored() == ["lidar", "radar"]


async def test_settings_move_with_the_capture_folder(user: User) -> None:
    await user.settings.set(Setting("lidar"), persist=True)
    user.settings.place(str(user.folder / "two"))
    await eventually(lambda: user.stored("two") == ["lidar"] and user.stored() == [])


async def test_no_more_settings_hold_than_the_bound(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.user_settings.MAX_SETTINGS", 2)
    assert await user.settings.set(Setting("a"), persist=False)
    assert await user.settings.set(Setting("b"), persist=False)
    assert not await user.settings.set(Setting("c"), persist=False)
    assert await user.settings.set(Setting("b", for_s=1.0), persist=False)


async def test_a_disk_that_hangs_holds_capture_up_for_a_second_only(tmp_path: Path) -> None:
    await User(tmp_path).begin()
    user = User(tmp_path)
    settings_file.write(FileSystem(), str(tmp_path / "one"), [Setting("lidar")])
    stat, go_on = user.files.stat, threading.Event()

    def hanging(path: str) -> object:
        go_on.wait(20)
        return stat(path)

    user.files.stat = hanging  # type: ignore[assignment,method-assign]
    await user.begin()
    assert not user.settings.is_paused("lidar")
    go_on.set()
    await eventually(lambda: user.settings.is_paused("lidar"))
    await user.settings.stop()
