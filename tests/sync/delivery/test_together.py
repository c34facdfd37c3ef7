"""Small files share calls; where the cloud refuses some of it, the rest is delivered."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path

import grpc
import pytest
from viam.proto.app.datasync import DataCaptureUploadRequest, DataType, SensorData

from holdfast.base.filesystem import FileSystem
from holdfast.storage.ledger.counts import ReadingCounts
from holdfast.sync.cloud.link import LinkState
from holdfast.sync.delivery.calls import MAX_CALL_BYTES, MAX_UNARY_BINARY_BYTES
from tests.logs import limited
from tests.waiting import eventually

from ..conftest import API, World, make_world, metadata, reading, write_capture_file, write_old_file

DAY_NS = 86_400 * 1_000_000_000
INVALID = grpc.StatusCode.INVALID_ARGUMENT


async def sync(world: World, rounds: int = 1, **settings: object) -> None:
    world.rounds.configure(world.settings(disabled=True, **settings))
    for _ in range(rounds):
        await world.rounds.sync_now()


def counts(world: World, name: str = "lidar") -> ReadingCounts:
    return world.ledger.readings().get((API, name, "Readings"), ReadingCounts())


def numbers_in(request: bytes | None) -> list[float]:
    contents = DataCaptureUploadRequest.FromString(request or b"").sensor_contents
    return [data.struct.fields["readings"].struct_value.fields["n"].number_value for data in contents]


def refusing(world: World, *poison: float) -> None:
    """Makes the cloud refuse each call that has one of these readings in it."""

    def refuse(method: str, request: bytes | None) -> grpc.StatusCode | None:
        return INVALID if method == "DataCaptureUpload" and set(poison) & set(numbers_in(request)) else None

    world.cloud.fail_while = refuse


def uploads(world: World) -> int:
    return world.cloud.calls["DataCaptureUpload"]


def failed_files(world: World) -> list[str]:
    return sorted(path.name for path in world.folder.glob("failed/**/*.capture"))


async def test_many_small_files_with_equal_metadata_go_in_one_call(world: World) -> None:
    paths = [world.capture_file(f"9999-{number}", [number, number + 0.5]) for number in range(40)]
    await sync(world)
    assert uploads(world) == 1
    assert sorted(world.arrived.of("lidar")) == sorted(n for i in range(40) for n in (i, i + 0.5))
    assert counts(world).delivered == 80 and not any(path.exists() for path in paths)


class Unforeseen(FileSystem):
    """A disk on which reading the file at `path` raises an error that the code does not foresee."""

    path = ""

    def read_at(self, descriptor: int, path: str, offset: int, size_bytes: int) -> bytes:
        if path == self.path:
            raise OverflowError("nobody foresaw this")
        return super().read_at(descriptor, path, offset, size_bytes)


async def test_a_file_with_an_error_that_nobody_foresaw_holds_up_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = Unforeseen()
    async with make_world(tmp_path, files) as world:
        paths = [world.capture_file(f"9999-{number}", [number]) for number in range(8)]
        files.path = str(paths[3])
        await sync(world, rounds=10)  # 512 files together, half of them after each failure
        assert sorted(world.arrived.of("lidar")) == [0, 1, 2, 4, 5, 6, 7]
        assert [path for path in paths if path.exists()] == [paths[3]]
        assert world.delivery.last_error == f"{paths[3]}: OverflowError: nobody foresaw this"
        assert world.delivery.retrying == 1
        said = [record.getMessage() for record in limited(caplog)]
        assert sum("sync failed unexpectedly; tried again in" in text for text in said) == 1
        files.path = ""
        await sync(world)
        assert world.arrived.of("lidar")[-1] == 3 and not paths[3].exists()


class Reads(FileSystem):
    """Counts the reads of capture files. The first read waits a moment for another one to overlap with it."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.beside = threading.Event()
        self._under_way = 0

    def read_at(self, descriptor: int, path: str, offset: int, size_bytes: int) -> bytes:
        self.paths.append(path)
        self._under_way += 1
        if self._under_way > 1:
            self.beside.set()
        if len(self.paths) == 1:
            self.beside.wait(0.3)
        self._under_way -= 1
        return super().read_at(descriptor, path, offset, size_bytes)


async def test_one_call_is_made_at_a_time_and_each_small_file_is_read_once(tmp_path: Path) -> None:
    files = Reads()
    async with make_world(tmp_path, files=files) as world:
        for name in ("a", "b", "c"):
            for number in range(3):
                world.capture_file(f"9999-{number}", [number], name)
        await sync(world)
        assert len(world.arrived.of("a")) == 3 and uploads(world) == 3
    assert not files.beside.is_set()
    assert len(files.paths) == len(set(files.paths)) == 9


async def test_files_of_different_metadata_share_no_call(world: World) -> None:
    for number, tags in enumerate((["a"], ["b"], ["a"])):
        write_capture_file(world.folder / "x", f"9999-{number}", [reading(number)], metadata(tags=tags))
    await sync(world)
    assert uploads(world) == 2 and sorted(world.arrived.of("lidar")) == [0, 1, 2]
    assert sorted(tuple(meta.tags) for meta in world.arrived.metadata) == [("a",), ("a",), ("b",)]


async def test_a_call_holds_one_day_of_readings(world: World) -> None:
    days: list[set[int]] = []

    def watch(method: str, request: bytes | None) -> None:
        if method == "DataCaptureUpload":
            contents = DataCaptureUploadRequest.FromString(request or b"").sensor_contents
            days.append({data.metadata.time_requested.seconds // 86_400 for data in contents})

    world.cloud.fail_while = watch
    for number in range(3):
        write_capture_file(world.folder / "x", f"9999-{number}", [reading(number, number * DAY_NS)], metadata())
    midnight = [reading(10, 5 * DAY_NS - 1), reading(11, 5 * DAY_NS)]
    write_capture_file(world.folder / "x", "9999-m", midnight, metadata())
    await sync(world)
    assert sorted(world.arrived.of("lidar")) == [0, 1, 2, 10, 11]
    assert all(len(days_of_call) == 1 for days_of_call in days) and len(days) == 5


async def test_common_calls_stay_within_their_size(world: World) -> None:
    sizes: list[int] = []
    world.cloud.fail_while = lambda method, request: sizes.append(len(request or b""))
    for number in range(12):
        messages = [reading(number + n / 100) + b"\x9a\x3e\x90\x4e" + b"x" * 10_000 for n in range(20)]
        write_capture_file(world.folder / "x", f"9999-{number:02}", messages, metadata())
    await sync(world)
    assert len(world.arrived.numbers) == 240 and max(sizes) <= MAX_CALL_BYTES
    assert uploads(world) <= 4


async def test_the_journal_is_written_once_for_all_files_of_a_call(world: World) -> None:
    world.ledger.save()
    journal = world.folder / ".holdfast/ledger.prog"
    before = journal.read_bytes().count(b"\n")
    for number in range(40):
        world.capture_file(f"9999-{number}", [number])
    await sync(world)
    assert journal.read_bytes().count(b"\n") == before + 1


async def test_what_a_common_call_delivered_and_can_not_be_deleted_is_never_sent_again(
    tmp_path: Path, failing_removal: type[FileSystem]
) -> None:
    files = failing_removal()
    image = SensorData(binary=bytes(MAX_UNARY_BINARY_BYTES + 1)).SerializeToString()
    async with make_world(tmp_path, files=files) as world:
        for number in range(10):
            world.capture_file(f"9999-{number}", [number])
        header = metadata("cam", type=DataType.DATA_TYPE_BINARY_SENSOR, mime_type="image/jpeg")
        write_capture_file(world.folder / "cam", "9999-a", [image], header)
        await sync(world, rounds=3)
        assert sorted(world.arrived.of("lidar")) == list(range(10))
        assert (uploads(world), world.cloud.calls["StreamingDataCaptureUpload"]) == (1, 1)
        assert len(list(world.folder.glob("*/*.capture"))) == 11
        assert (counts(world).delivered, counts(world, "cam").delivered) == (10, 1)
    files.broken = False  # type: ignore[attr-defined]
    async with make_world(tmp_path, files=files) as again:
        await sync(again)
        assert again.cloud.readings_count == 0 and not list(again.folder.glob("*/*.capture"))
        assert (counts(again).delivered, counts(again).on_disk) == (10, 0)


async def test_one_poisoned_reading_among_a_thousand_files_is_alone_in_quarantine(world: World) -> None:
    for number in range(1000):
        world.capture_file(f"9999-{number}", [number * 10 + n for n in range(5)])
    refusing(world, 4242)
    await sync(world)
    assert sorted(world.arrived.of("lidar")) == [
        n * 10 + i for n in range(1000) for i in range(5) if n * 10 + i != 4242
    ]
    assert uploads(world) < 40
    assert failed_files(world) == ["9999-424.capture"]
    kept = world.folder / "failed/lidar/9999-424.capture"
    note = json.loads(kept.with_name(kept.name + ".cause.json").read_text())
    ((start, end),) = note["damaged"]
    assert reading(4242) in kept.read_bytes()[start:end] and end - start < 2 * len(reading(4242))
    assert "1 of its readings" in note["cause"] and "INVALID_ARGUMENT" in note["cause"]
    assert (counts(world).delivered, counts(world).quarantined, counts(world).on_disk) == (4999, 1, 0)


async def test_what_was_refused_of_a_file_is_known_after_a_restart(tmp_path: Path) -> None:
    """The first process ends when the refused reading is found and its file is not settled yet."""
    async with make_world(tmp_path) as world:
        world.capture_file("9999-a", [1, 2, 3, 4])

        def refuse(method: str, request: bytes | None) -> grpc.StatusCode | None:
            if method != "DataCaptureUpload":
                return None
            return {2.0: INVALID, 3.0: grpc.StatusCode.INTERNAL, 4.0: grpc.StatusCode.INTERNAL}.get(
                max(numbers_in(request)) if len(numbers_in(request)) == 1 else 2.0
            )

        world.cloud.fail_while = refuse
        await sync(world)
        assert world.arrived.of("lidar") == [1] and failed_files(world) == []
    async with make_world(tmp_path) as again:
        await sync(again)
        assert again.arrived.of("lidar") == [3, 4]
        assert failed_files(again) == ["9999-a.capture"]
        assert (counts(again).delivered, counts(again).quarantined, counts(again).on_disk) == (3, 1, 0)


async def test_a_call_that_is_too_large_for_the_cloud_is_halved(tmp_path: Path) -> None:
    async with make_world(tmp_path) as world:
        await world.cloud.stop()
        world.cloud._max_message_bytes = 20_000
        await world.cloud.start()
        messages = [reading(n) + b"\x9a\x3e\x88\x27" + b"x" * 5_000 for n in range(10)]
        write_capture_file(world.folder / "lidar", "9999-a", messages, metadata())
        for number in range(20, 30):
            write_capture_file(
                world.folder / "radar",
                f"9999-{number}",
                [reading(number) + b"\x9a\x3e\x88\x27" + b"x" * 5_000],
                metadata("radar"),
            )
        too_large = reading(99) + b"\x9a\x3e\xa0\x9c\x01" + b"x" * 20_000
        write_capture_file(world.folder / "giant", "9999-a", [too_large], metadata("giant"))
        await eventually(lambda: world.link.up)
        await sync(world, rounds=2)
        assert sorted(world.arrived.of("lidar")) == list(range(10))
        assert sorted(world.arrived.of("radar")) == list(range(20, 30))
        assert failed_files(world) == ["9999-a.capture"] and counts(world, "giant").quarantined == 1


async def test_a_binary_reading_that_is_too_large_for_a_call_is_streamed(tmp_path: Path) -> None:
    async with make_world(tmp_path) as world:
        await world.cloud.stop()
        world.cloud._max_message_bytes = 300_000
        await world.cloud.start()
        image = SensorData(binary=bytes(400_000)).SerializeToString()
        header = metadata("cam", type=DataType.DATA_TYPE_BINARY_SENSOR, mime_type="image/jpeg")
        write_capture_file(world.folder / "cam", "9999-a", [image], header)
        await eventually(lambda: world.link.up)
        await sync(world, rounds=2)
        assert world.cloud.calls["StreamingDataCaptureUpload"] == 1
        assert (counts(world, "cam").delivered, failed_files(world)) == (1, [])


async def test_a_cloud_that_refuses_everything_stops_sync_instead_of_filling_the_quarantine(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.cloud.fail_while = lambda method, request: INVALID if "Upload" in method else None
    for number in range(10):
        world.capture_file("9999-a", [number], f"sensor-{number}")
    world.rounds.configure(world.settings(uploads=1))
    await eventually(lambda: world.link.state is LinkState.ALL_REFUSED)
    assert "nothing is accepted" in world.link.explanation and "everything refused" in caplog.text
    world.cloud.fail_while = None
    await eventually(lambda: len(world.arrived.numbers) == 10)
    assert world.link.up and failed_files(world) == []


async def test_once_something_is_accepted_refusals_are_believed(world: World) -> None:
    refusing(world, *range(10))
    for number in range(10):
        world.capture_file("9999-a", [number], f"sensor-{number}")
    world.rounds.configure(world.settings())
    await eventually(lambda: world.link.state is LinkState.ALL_REFUSED)
    assert failed_files(world) == []
    world.capture_file("9999-a", [100], "good")
    await eventually(lambda: len(failed_files(world)) == 10, 40)
    assert world.link.up and world.arrived.numbers == [("good", 100)]


async def test_what_is_under_way_at_three_cuts_goes_last_and_alone(world: World) -> None:
    """The call of one file cuts the link each time; the others arrive all the same."""
    cut = 0

    def cuts(method: str, request: bytes | None) -> grpc.StatusCode | None:
        nonlocal cut
        if method == "DataCaptureUpload" and 666 in numbers_in(request):
            cut += 1
            asyncio.get_running_loop().create_task(_flap(world))
            return grpc.StatusCode.UNAVAILABLE
        return None

    world.cloud.fail_while = cuts
    world.capture_file("9999-a", [666], "poison")
    world.rounds.configure(world.settings())
    await eventually(lambda: world.delivery.retries.is_suspect(str(world.folder / "poison/9999-a.capture")), 40)
    for number in range(10):
        world.capture_file("9999-b", [number], f"sensor-{number}")
    await eventually(lambda: len(world.arrived.numbers) == 10, 40)
    assert cut >= 3


async def _flap(world: World) -> None:
    await world.cable.cut()
    await world.cable.restore()


async def test_a_large_file_does_not_hold_up_small_ones_and_many_do_not_either(world: World) -> None:
    release = asyncio.Event()
    large = 0

    async def hold() -> None:
        nonlocal large
        if world.cloud.calls["FileUpload"] > large:
            large += 1
            await release.wait()

    world.cloud.before_answer = hold
    for number in range(10):
        write_old_file(world.folder / f"large-{number}.bin", bytes(MAX_CALL_BYTES + 1))
    world.rounds.configure(world.settings(uploads=2))
    await eventually(lambda: large == 2)
    for number in range(10):
        world.capture_file("9999-a", [number], f"sensor-{number}")
    await eventually(lambda: len(world.arrived.numbers) == 10)
    assert len(world.arrived.files) <= 2, "the cloud tells of a file before it answers"
    release.set()
    await eventually(lambda: len(world.arrived.files) == 10)
