"""Settings by command hold until they are undone, their time is over, or the process ends."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.base import tasks
from holdfast.base.at import Identity
from holdfast.base.filesystem import FileSystem
from holdfast.errors import StorageError
from holdfast.steering import settings_file, user_settings
from holdfast.steering.settings_file import Setting
from holdfast.steering.user_settings import UserSettings

from ..fakes import FakeClock, FaultyFileSystem
from ..waiting import eventually


class User:
    def __init__(self, folder: Path, clock: FakeClock | None = None) -> None:
        self.folder = folder
        self.files = FaultyFileSystem()
        self.clock = clock or FakeClock()
        self.changes = 0
        self.fails = False
        self.settings = UserSettings(self.files, self.clock, self._changed)

    def _changed(self) -> None:
        self.changes += 1
        if self.fails:
            raise MemoryError

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
    assert user.settings.active == []


async def test_what_is_to_persist_holds_for_the_next_process_for_the_rest_of_its_time(user: User) -> None:
    await user.settings.set(Setting("sync"), persist=True)
    await user.settings.set(Setting("lidar", for_s=10.0), persist=True)
    await user.settings.set(Setting("radar"), persist=False)
    next_one = User(user.folder, user.clock)
    await user.clock.advance(4.0)
    await next_one.begin()
    assert {each.setting.what for each in next_one.settings.active} == {"sync", "lidar"}
    await user.clock.advance(6.1)
    assert [each.setting.what for each in next_one.settings.active] == ["sync"]
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
    assert "free space" in user.settings.remedy
    await user.settings.set(Setting("radar"), persist=True)
    assert user.settings.problem == "" and user.stored() == ["lidar", "radar"]


async def test_after_the_end_what_the_disk_refuses_is_not_written_again(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is free then, and another process may have it."""
    with user.files.failing("replace", code=errno.ENOSPC):
        await user.settings.set(Setting("lidar"), persist=True)
    at_work, go_on = threading.Event(), threading.Event()

    def refuse(*_: object) -> None:
        at_work.set()
        go_on.wait()
        raise StorageError("replace", "control.prog", OSError(errno.ENOSPC, "No space left on device"))

    monkeypatch.setattr(settings_file, "write", refuse)
    await user.clock.advance(user_settings.AGAIN_S)
    assert await asyncio.to_thread(at_work.wait, 60)
    stopping = asyncio.create_task(user.settings.stop())
    await user.clock.settle()
    go_on.set()
    await stopping
    await user.clock.settle()
    assert [each for each in asyncio.all_tasks() if each.get_name().startswith("holdfast-settings")] == []


async def test_settings_move_with_the_capture_folder(user: User) -> None:
    await user.settings.set(Setting("lidar"), persist=True)
    user.settings.place(str(user.folder / "two"))
    await eventually(lambda: user.stored("two") == ["lidar"] and user.stored() == [])


async def test_settings_that_the_new_folder_does_not_take_stay_in_the_old_one(user: User) -> None:
    await user.settings.set(Setting("lidar"), persist=True)
    with user.files.failing("replace", code=errno.ENOSPC):
        user.settings.place(str(user.folder / "two"))
        await eventually(lambda: user.settings.problem)
    await user.settings.stop()
    assert user.stored() == ["lidar"]


async def test_settings_stay_where_the_folder_is_changed_and_changed_back_at_once(user: User) -> None:
    await user.settings.set(Setting("lidar"), persist=True)
    remove, written = user.files.remove, threading.Event()

    def late(path: str, identity: Identity | None = None) -> None:
        written.wait(0.5)
        remove(path, identity)

    user.files.remove = late  # type: ignore[method-assign]
    user.settings.place(str(user.folder / "two"))
    user.settings.place(str(user.folder / "one"))
    await eventually(lambda: len(user.files.tried("replace")) == 3)
    written.set()
    await user.settings.stop()
    assert (user.stored(), user.stored("two")) == (["lidar"], [])


async def test_what_is_written_for_a_caller_that_is_gone_is_written_before_what_comes_next(user: User) -> None:
    replace, overtaken, stalls = user.files.replace, threading.Event(), threading.Event()
    written: list[bytes] = []

    def overtakable(path: str, data: bytes) -> None:
        if not stalls.is_set():
            stalls.set()
            overtaken.wait(0.5)
        replace(path, data)
        written.append(data)
        overtaken.set()

    user.files.replace = overtakable  # type: ignore[method-assign]
    caller = asyncio.create_task(user.settings.set(Setting("lidar"), persist=True))
    await eventually(stalls.is_set)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    await user.settings.clear(("lidar", ""))
    await eventually(lambda: len(written) == 2)
    assert user.stored() == []


async def test_the_time_of_a_setting_goes_on_for_who_comes_after_a_stop(user: User) -> None:
    await user.settings.set(Setting("lidar", for_s=10.0), persist=False)
    await user.settings.stop()
    await user.begin()
    await user.clock.advance(9.9)
    assert user.settings.is_paused("lidar")
    await user.clock.advance(0.2)
    assert not user.settings.is_paused("lidar")


async def test_no_more_settings_hold_than_the_bound(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.steering.user_settings.MAX_SETTINGS", 2)
    assert await user.settings.set(Setting("a"), persist=False)
    assert await user.settings.set(Setting("b"), persist=False)
    assert not await user.settings.set(Setting("c"), persist=False)
    assert await user.settings.set(Setting("b", for_s=1.0), persist=False)


async def test_what_goes_wrong_at_the_end_of_one_setting_keeps_none_other_from_ending(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "_RESTART_S", 0.0)
    await user.settings.set(Setting("lidar", for_s=10.0), persist=False)
    await user.settings.set(Setting("radar", for_s=20.0), persist=False)
    user.fails = True
    await user.clock.advance(10.1)
    user.fails = False
    await user.clock.advance(10.1)
    assert user.settings.active == []


class Hanging(User):
    """With `lidar` paused by an earlier process, and a disk that does not tell before `go_on`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        settings_file.write(FileSystem(), str(folder / "one"), [Setting("lidar")])
        self.go_on = threading.Event()
        read_own = self.files.read_own

        def hanging(path: str, most_bytes: int | None = None) -> bytes:
            self.go_on.wait(20)
            return read_own(path, most_bytes)

        self.files.read_own = hanging  # type: ignore[method-assign]


@pytest.fixture
async def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hanging]:
    hanging = Hanging(tmp_path)
    yield hanging
    hanging.go_on.set()
    await hanging.settings.stop()


async def test_a_disk_that_hangs_holds_capture_up_for_a_second_only(hanging: Hanging) -> None:
    await hanging.begin()
    assert not hanging.settings.is_paused("lidar") and "slow" in hanging.settings.problem
    hanging.go_on.set()
    await eventually(lambda: hanging.settings.is_paused("lidar"))
    assert hanging.settings.problem == ""


async def test_what_is_set_before_the_disk_told_what_holds_costs_none_of_that(
    hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_settings, "LOAD_TIMEOUT_S", 0.01)
    await hanging.begin()
    setting = asyncio.create_task(hanging.settings.set(Setting("radar"), persist=True))
    await eventually(lambda: hanging.settings.is_paused("radar"))
    hanging.go_on.set()
    assert await setting
    assert sorted(hanging.stored()) == ["lidar", "radar"]


async def test_settings_move_though_the_folder_changes_before_they_are_read(hanging: Hanging) -> None:
    hanging.settings.place(str(hanging.folder / "one"))
    hanging.settings.place(str(hanging.folder / "two"))
    hanging.go_on.set()
    await eventually(lambda: hanging.stored("two") == ["lidar"] and hanging.stored() == [])


async def test_who_stops_waiting_for_the_disk_takes_no_setting_from_who_comes_next(
    hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_settings, "LOAD_TIMEOUT_S", 0.01)
    await hanging.begin()
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(hanging.settings.stop(), 0.01)
    hanging.go_on.set()
    await eventually(lambda: hanging.settings.is_paused("lidar"))


async def test_capture_begins_though_reading_the_settings_fails_in_a_way_that_nobody_foresaw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> list[Setting]:
        raise RecursionError

    monkeypatch.setattr(settings_file, "read", fail)
    user = User(tmp_path)
    await user.begin()
    assert (user.settings.problem, user.changes) == ("RecursionError", 1)
    await user.settings.stop()


async def test_the_names_in_settings_are_bounded_so_that_the_file_can_be_read_again(user: User) -> None:
    """With more, the next process would take the file for a damaged one, and lose all of them."""
    long = [str(number) + chr(1) * 4_000 for number in range(16)]
    for name in long:
        assert await user.settings.set(Setting(name), persist=True)
    assert not await user.settings.set(Setting("x" * 4_000), persist=True)
    assert await user.settings.set(Setting(long[0], for_s=5.0), persist=True), "one that holds may be set anew"
    next_one = User(user.folder, user.clock)
    await next_one.begin()
    assert len(next_one.settings.active) == len(long)
    await next_one.settings.stop()
