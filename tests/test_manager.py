"""The life of the whole program, with resources in this process and a local cloud."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from viam.proto.app.datasync import SensorData
from viam.proto.common import GetReadingsResponse

from demo.cloud import LocalCloud
from holdfast import manager as manager_module
from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.capture import gap_file, gap_keeper
from holdfast.capture.large_call import RoomForAnswer
from holdfast.commands import COMMANDS, run_command
from holdfast.config import Config, Host, parse
from holdfast.errors import CommandError, NotReadyError
from holdfast.manager import Manager, Resources
from holdfast.status import status
from holdfast.storage import store
from holdfast.storage.lock import FolderLock
from holdfast.storage.space.limits import Limits
from holdfast.storage.writing import disk_writer

from .fakes import FaultyFileSystem
from .problems import problems_in
from .storage import samples
from .waiting import eventually

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
SENSOR = frozenset({"rdk:component:sensor"})


class CountingClient:
    """Answers each call with the next number of its resource."""

    def __init__(self) -> None:
        self.served: dict[str, int] = {}

    async def call(self, method: str, request: bytes, timeout_s: float, most_bytes: int) -> bytes:
        if not request:  # what the machine itself is asked
            return b""
        name = request[2 : 2 + request[1]].decode()
        self.served[name] = self.served.get(name, 0) + 1
        response = GetReadingsResponse()
        response.readings["seq"].number_value = self.served[name]
        return response.SerializeToString()

    async def large_call(self, method: str, request: bytes, timeout_s: float, room: RoomForAnswer) -> bytes:
        raise AssertionError("no method here answers with a payload")

    async def stream(self, method: str, request: bytes, timeout_s: float, room: RoomForAnswer) -> list[bytes]:
        raise AssertionError("no method here answers with a stream")

    async def close(self) -> None:
        pass


class World:
    def __init__(self, folder: Path, cloud: LocalCloud) -> None:
        self.folder = folder
        self.cloud = cloud
        self.client = CountingClient()
        self.environment = {
            "HOME": str(folder),
            "VIAM_API_KEY_ID": "id",
            "VIAM_API_KEY": "key",
            "VIAM_MACHINE_PART_ID": "part",
        }
        self.manager = Manager(self.environment, FileSystem(), SystemClock())

    def config(self, **attributes: Any) -> Config:
        return parse(
            {
                "capture_dir": str(self.folder / "capture"),
                "cloud_address": self.cloud.address,
                "sync_disabled": True,
                "capture_methods": [{"name": "a", "method": "Readings", "capture_frequency_hz": 200}],
                **attributes,
            },
            Host.of(self.environment),
        )

    def apply(self, *names: str, **attributes: Any) -> None:
        self.manager.apply(
            self.config(**attributes), Resources(dict.fromkeys(names or ("a",), SENSOR), self.client)
        )

    @property
    def delivered(self) -> list[float]:
        """Returns the numbers that the cloud has."""
        path = self.folder / "cloud" / "readings" / "a" / "Readings.jsonl"
        rows = path.read_text().splitlines() if path.exists() else []
        return [json.loads(row)["data"]["readings"]["seq"] for row in rows]

    def stored(self, folder: str = "capture") -> dict[str, list[float]]:
        """Returns the numbers in the complete capture files, by resource, in the order of their files."""
        numbers: dict[str, list[float]] = {}
        for path in sorted((self.folder / folder).rglob("*.capture")):
            found = samples.scan(path.read_bytes())
            for message in found.readings:
                fields = SensorData.FromString(message).struct.fields["readings"].struct_value.fields
                numbers.setdefault(found.metadata.component_name, []).append(fields["seq"].number_value)
        return numbers

    async def served(self, count: int, name: str = "a") -> None:
        target = self.client.served.get(name, 0) + count
        await eventually(lambda: self.client.served.get(name, 0) >= target)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    cloud = LocalCloud(tmp_path / "cloud", api_keys={"id": "key"}, part_id="part")
    await cloud.start()
    made = World(tmp_path, cloud)
    yield made
    await made.manager.stop()
    await cloud.stop()


async def test_what_is_read_lies_in_complete_files_after_stop(world: World) -> None:
    world.apply()
    await world.served(20)
    await world.manager.stop()
    assert world.stored()["a"] == list(range(1, world.client.served["a"] + 1))
    assert not list(world.folder.rglob("capture/rdk*/**/*.prog"))


async def test_a_capture_folder_that_leads_to_a_home_is_captured_to_and_not_synced(world: World) -> None:
    kept = world.folder / "notes.txt"
    kept.write_text("x")
    os.utime(kept, (0, 0))
    (world.folder / "capture").symlink_to(world.folder)
    world.apply(sync_disabled=False, sync_interval_mins=0.0002)
    await world.served(20)
    with pytest.raises(NotReadyError, match="leads to"):
        await world.manager.sync()
    (problem,) = problems_in(status(world.manager), "config")
    assert problem.startswith(f"{world.folder}/capture leads to {world.folder}, a home folder, and sync deletes")
    assert status(world.manager)["sync"]["state"] == f"waiting: {problem}"
    assert kept.exists()
    await world.manager.stop()
    assert world.stored()["a"] == list(range(1, world.client.served["a"] + 1))


async def test_a_hand_over_loses_nothing_and_an_unchanged_collector_goes_on(world: World) -> None:
    world.apply()
    for _ in range(5):
        await world.served(5)
        await world.manager.hand_over()
        world.apply()
    (running,) = world.manager.engine.capture.running  # type: ignore[union-attr]
    await world.manager.stop()
    assert world.stored()["a"] == list(range(1, world.client.served["a"] + 1))
    assert running.collector.errors == 0


async def test_a_change_of_one_collector_leaves_the_others_alone(world: World) -> None:
    methods = [{"name": name, "method": "Readings", "capture_frequency_hz": 100} for name in ("a", "b")]
    world.apply("a", "b", capture_methods=methods)
    await world.served(1, "b")
    before = {r.collector.spec.resource: r for r in world.manager.engine.capture.running}  # type: ignore[union-attr]
    await world.served(3, "b")
    world.apply("a", "b", capture_methods=[methods[0], {**methods[1], "capture_frequency_hz": 50}])
    after = {r.collector.spec.resource: r for r in world.manager.engine.capture.running}  # type: ignore[union-attr]
    assert after["a"] is before["a"] and after["b"] is not before["b"]
    await world.served(3, "b")
    await world.manager.stop()
    assert world.stored()["b"] == list(range(1, world.client.served["b"] + 1))


async def test_after_a_hand_over_what_was_read_is_handed_to_the_operating_system(world: World) -> None:
    world.apply(capture_flush_interval_ms=60_000)
    await world.served(10)
    read = world.client.served["a"]
    await world.manager.hand_over()
    (path,) = world.folder.rglob("capture/rdk*/**/*.prog")
    assert len(samples.scan(path.read_bytes()).readings) >= read - 1


async def test_without_a_successor_everything_stops_and_the_folder_is_free(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager_module, "HAND_OVER_S", 0.05)
    world.apply()
    await world.served(3)
    await world.manager.hand_over()
    await eventually(lambda: world.manager.engine is None)
    await world.manager.stop()
    read = world.client.served["a"]
    assert world.stored()["a"] == list(range(1, read + 1))
    assert FolderLock(FileSystem(), str(world.folder / "capture")).try_acquire()
    assert world.client.served["a"] == read


async def test_a_service_that_comes_back_later_begins_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager_module, "HAND_OVER_S", 0.01)
    world.apply()
    await world.served(3)
    await world.manager.hand_over()
    await eventually(lambda: world.manager.engine is None)
    world.apply()
    await world.served(3)
    await world.manager.stop()
    assert world.stored()["a"] == list(range(1, world.client.served["a"] + 1))


async def test_a_changed_capture_dir_loses_nothing(world: World) -> None:
    world.apply()
    await world.served(5)
    world.apply(capture_dir=str(world.folder / "other"))
    await world.served(5)
    await world.manager.stop()
    numbers = world.stored()["a"] + world.stored("other")["a"]
    assert sorted(numbers) == list(range(1, world.client.served["a"] + 1))


async def test_capture_disabled_reads_nothing_and_sync_works(world: World) -> None:
    world.apply(capture_disabled=True)
    (world.folder / "capture").mkdir(exist_ok=True)
    (world.folder / "capture" / "note.txt").write_text("x")
    os.utime(world.folder / "capture" / "note.txt", (1, 1))
    world.apply(capture_disabled=True, file_last_modified_millis=1)
    await eventually(lambda: world.manager.engine.store.owned)  # type: ignore[union-attr]
    report = await world.manager.sync()
    assert report.files == 1 and world.cloud.files_count == 1
    assert world.client.served == {}


async def test_sync_flushes_what_was_captured_and_the_sum_holds(world: World) -> None:
    world.apply()
    await world.served(20)
    await eventually(lambda: world.manager.engine.store.owned)  # type: ignore[union-attr]
    before = world.client.served["a"]
    await world.manager.sync()
    assert world.cloud.readings_count >= before - 1
    found = status(world.manager)["readings"]
    assert found["captured"] == found["delivered"] + found["on_disk"]
    assert found["delivered"] == world.cloud.readings_count


async def test_a_methods_own_folder_is_filled_and_synced_like_the_capture_folder(world: World) -> None:
    own = {"name": "b", "method": "Readings", "capture_frequency_hz": 200, "capture_directory": "~/fast"}
    world.apply("a", "b", capture_methods=[{**own, "name": "a", "capture_directory": None}, own])
    await world.served(20, "b")
    await eventually(lambda: all(store.owned for store in world.manager.engine.stores.all))  # type: ignore[union-attr]
    folder = world.folder / "fast" / "rdk_component_sensor" / "b" / "Readings"
    await eventually(lambda: list(folder.glob("*.prog")))
    before = world.client.served["b"]
    await world.manager.sync()
    await world.manager.stop()
    arrived = world.cloud.readings_count
    assert set(world.stored()) <= {"a"} and set(world.stored("fast")) <= {"b"}
    left = sum(len(numbers) for folder in ("capture", "fast") for numbers in world.stored(folder).values())
    assert arrived + left == sum(world.client.served.values())
    assert (world.folder / "cloud" / "readings" / "b" / "Readings.jsonl").read_text().count("\n") >= before - 1


async def test_a_methods_own_folder_is_locked_recovered_counted_and_drained(world: World) -> None:
    own = {"name": "b", "method": "Readings", "capture_frequency_hz": 200, "capture_directory": "~/fast"}
    left = world.folder / "fast" / "rdk_component_sensor" / "b" / "Readings" / "2023-11-14T22_13_20.123456Z.prog"
    left.parent.mkdir(parents=True)
    left.write_bytes(samples.our_file(samples.metadata("b"), samples.messages(5)))
    os.utime(left, (1, 1))
    fast = {"sync_disabled": False, "sync_interval_mins": 0.0002}
    world.apply("b", capture_methods=[own], **fast)
    await eventually(lambda: not left.exists())
    await world.served(5, "b")
    lock = FolderLock(FileSystem(), str(world.folder / "fast"))
    assert not lock.try_acquire()
    world.apply("b", capture_methods=[], **fast)
    assert status(world.manager)["sync"]["draining"] == [str(world.folder / "fast")]
    await eventually(lock.try_acquire)
    assert world.stored("fast") == {}
    await eventually(lambda: world.cloud.readings_count == world.client.served["b"] + 5)


async def test_while_another_process_has_the_lock_capture_goes_on_and_sync_waits(world: World) -> None:
    other = FolderLock(FileSystem(), str(world.folder / "capture"))
    assert other.try_acquire()
    world.apply(sync_disabled=False)
    await world.served(5)
    await eventually(lambda: "has the lock" in status(world.manager)["sync"]["state"])
    assert str(os.getpid()) in status(world.manager)["sync"]["state"]
    with pytest.raises(NotReadyError, match="has the lock"):
        await world.manager.sync()
    other.release()
    await eventually(lambda: world.cloud.readings_count > 0)


async def test_files_of_a_crash_are_recovered_and_delivered(world: World) -> None:
    world.apply()
    await world.served(10)
    await world.manager.hand_over()
    (left,) = world.folder.rglob("capture/rdk*/**/*.prog")
    content = left.read_bytes()
    await world.manager.stop()
    for path in (*world.folder.rglob("*.capture"), *world.folder.rglob("ledger.prog")):
        path.unlink()
    left.write_bytes(content[:-3])
    os.utime(left, (1, 1))
    world.manager = Manager(world.environment, FileSystem(), SystemClock())
    world.apply(capture_disabled=True)
    await eventually(lambda: status(world.manager).get("sync", {}).get("recovery", "").startswith("done"))
    await world.manager.sync()
    assert world.cloud.readings_count == len(samples.scan(content).readings) - 1
    found = status(world.manager)["readings"]
    assert found["dropped"] == {"torn": 1}
    assert found["captured"] + found["adopted"] == found["delivered"] + sum(found["dropped"].values())


def start_again(world: World) -> None:
    """Another process in the same folder."""
    world.manager = Manager(world.environment, FileSystem(), SystemClock())


async def test_the_sum_is_kept_across_restarts(world: World) -> None:
    for round_ in range(1, 4):
        world.apply(sync_disabled=round_ == 1)
        await world.served(20)
        await eventually(lambda: "ledger.prog" in status(world.manager)["ledger"]["state"])
        if round_ > 1:
            await world.manager.sync()
        await world.manager.stop()
        start_again(world)
    world.apply(capture_disabled=True)
    await eventually(lambda: status(world.manager)["sync"]["recovery"].startswith("done"))
    await world.manager.sync()
    (of_a,) = status(world.manager)["ledger"]["collectors"]
    assert (of_a["resource"], of_a["on_disk"], of_a["dropped"]) == ("a", 0, {})
    assert of_a["captured"] == of_a["delivered"] == len(set(world.delivered)) == len(world.delivered)
    assert of_a["captured"] >= world.client.served["a"] - 3  # three calls may have been given up by a stop


async def test_counts_of_a_newer_version_are_left_alone(world: World) -> None:
    theirs = world.folder / "capture" / ".holdfast" / "ledger.prog"
    theirs.parent.mkdir(parents=True)
    text = b'{"version":99}'
    theirs.write_bytes(b"%08x %b\n" % (zlib.crc32(text), text))
    before = theirs.read_bytes()
    world.apply(sync_disabled=False)
    await eventually(lambda: world.cloud.readings_count >= 10)
    assert "version 99" in status(world.manager)["ledger"]["state"]
    await world.manager.stop()
    assert theirs.read_bytes() == before


async def test_what_somebody_takes_away_has_vanished(world: World) -> None:
    world.cloud.fail_while = lambda method, request: UNAVAILABLE if "Upload" in method else None
    world.apply(sync_disabled=False, sync_interval_mins=0.001)
    await world.served(20)
    await eventually(lambda: len(world.stored().get("a", ())) >= 10)
    world.apply(sync_disabled=True, capture_disabled=True)
    await eventually(lambda: not list(world.folder.rglob("capture/rdk*/**/*.prog")))
    for path in world.folder.rglob("*.capture"):
        path.unlink()
    world.cloud.fail_while = None
    world.apply(sync_disabled=False, capture_disabled=True, sync_interval_mins=0.001)
    await eventually(lambda: status(world.manager)["readings"]["on_disk"] == 0)
    found = status(world.manager)["readings"]
    assert found["vanished"] >= 10
    assert found["captured"] == found["delivered"] + found["vanished"]
    assert found["delivered"] == world.cloud.readings_count


async def test_capture_and_sync_do_not_wait_for_recovery(world: World) -> None:
    go_on = threading.Event()

    class Slow(FileSystem):
        def read_at(self, descriptor: int, path: str, offset: int, size_bytes: int) -> bytes:
            if path.endswith(".prog"):
                go_on.wait(20)
            return super().read_at(descriptor, path, offset, size_bytes)

    left = world.folder / "capture" / "rdk_component_sensor" / "b" / "Readings" / "2023-11-14T22_13_20.123456Z.prog"
    left.parent.mkdir(parents=True)
    left.write_bytes(samples.our_file(samples.metadata("b"), samples.messages(5)))
    os.utime(left, (1, 1))
    world.manager = Manager(world.environment, Slow(), SystemClock())
    world.apply(sync_disabled=False, sync_interval_mins=0.001)
    await eventually(lambda: len(world.delivered) >= 10)
    assert status(world.manager)["sync"]["recovery"] == "running" and left.exists()
    go_on.set()
    await eventually(lambda: (world.folder / "cloud" / "readings" / "b" / "Readings.jsonl").exists())


async def test_what_another_process_leaves_while_we_run_is_recovered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_RECOVER_AGAIN_S", 0.01)
    world.apply(capture_disabled=True, sync_disabled=False, sync_interval_mins=0.001)
    await eventually(lambda: status(world.manager)["sync"]["recovery"].startswith("done"))
    left = world.folder / "capture" / "rdk_component_sensor" / "b" / "Readings" / "2023-11-14T22_13_20.123456Z.prog"
    left.parent.mkdir(parents=True)
    left.write_bytes(samples.our_file(samples.metadata("b"), samples.messages(5)))
    os.utime(left, (1, 1))
    await eventually(lambda: status(world.manager)["readings"]["delivered"] == 5)
    assert world.cloud.readings_count == status(world.manager)["readings"]["captured"] == 5


async def test_a_resource_that_is_not_there_is_waited_for(world: World) -> None:
    methods = [{"name": name, "method": "Readings", "capture_frequency_hz": 100} for name in ("a", "late")]
    world.apply("a", capture_methods=methods)
    assert status(world.manager)["capture"]["waiting_for"] == ["late"]
    world.apply("a", "late", capture_methods=methods)
    await world.served(2, "late")
    assert status(world.manager)["capture"]["waiting_for"] == []


async def test_a_method_that_can_not_be_captured_is_a_problem_and_the_rest_works(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    methods = [{"name": "a", "method": method, "capture_frequency_hz": 100} for method in ("Reading", "Readings")]
    world.apply(capture_methods=methods, capture_dirr="x")
    await world.served(2)
    problems = problems_in(status(world.manager), "config")
    assert any("did you mean 'Readings'" in problem for problem in problems)
    assert any("capture_dirr" in problem and "capture_dir" in problem for problem in problems)
    assert all(problem in caplog.text for problem in problems)


@pytest.mark.parametrize(
    ("reading", "expected"),
    [({"bool_value": False}, "false"), ({"string_value": "yes"}, "true or false"), (None, "has no 'should_sync'")],
)
async def test_the_selector_holds_scheduled_sync_until_it_says_true(
    world: World, reading: dict[str, Any] | None, expected: str
) -> None:
    answer = GetReadingsResponse()

    class Selector(CountingClient):
        async def call(self, method: str, request: bytes, timeout_s: float, most_bytes: int) -> bytes:
            if b"selector" in request:
                return answer.SerializeToString()
            return await super().call(method, request, timeout_s, most_bytes)

    world.client = Selector()
    if reading is not None:
        for kind, value in reading.items():
            setattr(answer.readings["should_sync"], kind, value)
    world.apply("a", "selector", sync_disabled=False, sync_interval_mins=0.0002, selective_syncer_name="selector")
    await eventually(lambda: expected in status(world.manager)["sync"]["state"])
    assert world.cloud.readings_count == 0
    answer.readings["should_sync"].bool_value = True
    await eventually(lambda: world.cloud.readings_count > 0)


async def test_a_selector_that_is_not_there_holds_scheduled_sync(world: World) -> None:
    world.apply("a", sync_disabled=False, sync_interval_mins=0.0002, selective_syncer_name="selector")
    await eventually(lambda: "'selector' is not there" in status(world.manager)["sync"]["state"])
    told = status(world.manager)["sync"]
    assert "'selector' is not there" in told["selector"] and 0 <= told["selector_age_s"] < 20
    assert world.cloud.readings_count == 0


async def test_help_lists_every_command_and_status_is_one(world: World) -> None:
    world.apply()
    commands = (await run_command(world.manager, {"command": "help"}))["commands"]
    assert set(commands) == set(COMMANDS)
    assert commands["pause"]["arguments"].keys() == {"what", "for_s", "persist"}
    assert set(await run_command(world.manager, {"command": "status"})) == set(status(world.manager))


async def test_an_unknown_command_gets_the_closest_name(world: World) -> None:
    with pytest.raises(CommandError, match="did you mean 'sync'"):
        await run_command(world.manager, {"command": "synk"})
    with pytest.raises(CommandError, match=r"None; there are: help, status, sync, "):
        await run_command(world.manager, {})


async def test_a_sync_before_anything_is_configured_says_so(world: World) -> None:
    with pytest.raises(NotReadyError, match="not configured"):
        await world.manager.sync()


async def test_a_folder_that_is_not_the_capture_folder_any_more_is_drained_and_released(world: World) -> None:
    world.apply(sync_disabled=False, sync_interval_mins=0.0002)
    await world.served(20)
    world.apply(sync_disabled=False, sync_interval_mins=0.0002, capture_dir=str(world.folder / "other"))
    assert status(world.manager)["sync"]["draining"] == [str(world.folder / "capture")]
    await eventually(lambda: not status(world.manager)["sync"]["draining"])
    assert world.stored() == {}
    lock = FolderLock(FileSystem(), str(world.folder / "capture"))
    await eventually(lock.try_acquire)
    await world.manager.stop()
    assert sorted(world.delivered + world.stored("other").get("a", [])) == list(
        range(1, world.client.served["a"] + 1)
    )


async def test_a_folder_is_not_drained_while_sync_is_disabled_and_loses_nothing(world: World) -> None:
    world.apply()
    await world.served(5)
    world.apply(capture_dir=str(world.folder / "other"))
    await eventually(lambda: len(world.stored().get("a", ())) >= 5)
    await eventually(lambda: not status(world.manager)["sync"]["draining"])
    assert world.cloud.readings_count == 0


async def test_going_back_to_a_folder_that_drains_takes_it_again(world: World) -> None:
    world.cloud.fail_while = lambda method, request: UNAVAILABLE if method == "DataCaptureUpload" else None
    fast = {"sync_disabled": False, "sync_interval_mins": 0.0002}
    world.apply(**fast)
    await world.served(5)
    for folder in ("other", "capture", "other", "capture"):
        world.apply(**fast, capture_dir=str(world.folder / folder))
    await eventually(lambda: world.manager.engine.store.owned)  # type: ignore[union-attr]
    world.cloud.fail_while = None
    await world.served(5)
    await eventually(lambda: not status(world.manager)["sync"]["draining"])
    await world.manager.stop()
    numbers = world.delivered + world.stored().get("a", []) + world.stored("other").get("a", [])
    assert sorted(set(numbers)) == list(range(1, world.client.served["a"] + 1))


async def test_between_two_services_nothing_new_is_sent_since_the_builtin_may_come(world: World) -> None:
    world.apply(sync_disabled=False, sync_interval_mins=0.0002)
    await eventually(lambda: world.cloud.readings_count > 0)
    await world.manager.hand_over()
    await eventually(lambda: not status(world.manager)["sync"]["in_flight"])
    sent = world.cloud.calls["DataCaptureUpload"]
    await world.served(50)
    assert world.cloud.calls["DataCaptureUpload"] == sent
    world.apply(sync_disabled=False, sync_interval_mins=0.0002)
    await eventually(lambda: world.cloud.calls["DataCaptureUpload"] > sent)


@pytest.mark.parametrize("where", [".prog", "ledger.prog"])
async def test_a_disk_that_stalls_holds_up_the_end_for_a_bounded_time_and_keeps_what_it_takes_later(
    world: World, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(disk_writer, "END_TIMEOUT_S", 0.1)
    files = FaultyFileSystem()
    world.manager = Manager(world.environment, files, SystemClock())
    world.apply()
    await world.served(20)
    files.stall_writes(lambda path: path.endswith(where))
    try:
        await asyncio.wait_for(world.manager.stop(), 20)
        assert await asyncio.to_thread(files.stalled.wait, 20)
        assert FolderLock(FileSystem(), str(world.folder / "capture")).try_acquire()
    finally:
        files.resume_writes()
    await eventually(lambda: len(world.stored().get("a", ())) >= 20)


async def test_a_disk_that_stalled_for_the_writers_is_not_waited_for_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_writer, "END_TIMEOUT_S", 0.1)
    monkeypatch.setattr(gap_keeper, "_END_S", 1000.0)
    resumed = threading.Event()
    files = FaultyFileSystem()
    world.manager = Manager(world.environment, files, SystemClock())
    world.apply()
    await world.served(20)
    await eventually((world.folder / "capture" / ".holdfast" / "gaps.prog").exists)
    monkeypatch.setattr(gap_file, "write", lambda *arguments: resumed.wait())
    files.stall_writes()
    try:
        await asyncio.wait_for(world.manager.stop(), 60)
    finally:
        files.resume_writes()
        resumed.set()


async def test_what_deletes_ends_while_the_writers_wait_for_a_stalled_disk(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_writer, "END_TIMEOUT_S", 1000.0)
    closed = asyncio.Event()
    close = Limits.close

    async def noted(limits: Limits) -> None:
        await close(limits)
        closed.set()

    monkeypatch.setattr(Limits, "close", noted)
    files = FaultyFileSystem()
    world.manager = Manager(world.environment, files, SystemClock())
    world.apply()
    await world.served(20)
    files.stall_writes()
    stopping = asyncio.create_task(world.manager.stop())
    try:
        await asyncio.wait_for(closed.wait(), 60)
    finally:
        files.resume_writes()
        await stopping


async def test_in_a_hurry_the_end_does_not_wait_long_for_uploads(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager_module, "STOP_PATIENCE_S", 1000.0)
    arrived = asyncio.Event()

    async def never() -> None:
        arrived.set()
        await asyncio.Event().wait()

    world.cloud.before_answer = never
    world.apply(sync_disabled=False, sync_interval_mins=0.0002)
    await asyncio.wait_for(arrived.wait(), 20)
    await asyncio.wait_for(world.manager.stop(in_a_hurry=True), 20)


async def test_a_disk_that_stalls_at_the_end_and_goes_on_loses_nothing(world: World) -> None:
    files = FaultyFileSystem()
    world.manager = Manager(world.environment, files, SystemClock())
    world.apply()
    await world.served(20)
    files.stall_writes()
    stopping = asyncio.create_task(world.manager.stop())
    assert await asyncio.to_thread(files.stalled.wait, 20)
    files.resume_writes()
    await stopping
    assert world.stored() == {"a": [float(seq) for seq in range(1, world.client.served["a"] + 1)]}
