"""Sync against a local cloud over a real connection; only the backoffs' clock may be fake."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from viam.proto.app.datasync import DataCaptureMetadata, DataType, SensorData, UploadMetadata

from demo.cloud import LocalCloud
from demo.link import Link as Cable
from holdfast.base.at import Identity
from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.storage.capture_files.frames import FrameEncoder
from holdfast.storage.layout import kind_of
from holdfast.storage.ledger.ledger import Ledger
from holdfast.storage.store import Store
from holdfast.storage.writing.completion import CompletedFile
from holdfast.sync.cloud.cloud import Cloud, CloudSettings
from holdfast.sync.cloud.link import Link
from holdfast.sync.delivery.delivery import Delivery
from holdfast.sync.found import Found
from holdfast.sync.rounds import Rounds, SyncSettings
from tests.waiting import as_long_as_others_take, eventually

API = "rdk:component:sensor"


def reading(number: float, time_ns: int = 1_700_000_000_000_000_000) -> bytes:
    values = Struct()
    values.update({"readings": {"n": number}})
    data = SensorData(struct=values)
    data.metadata.time_requested.FromNanoseconds(time_ns)
    return data.SerializeToString()


def metadata(name: str = "lidar", **changes: Any) -> DataCaptureMetadata:
    values: dict[str, Any] = {
        "component_type": API,
        "component_name": name,
        "method_name": "Readings",
        "type": DataType.DATA_TYPE_TABULAR_SENSOR,
        "file_extension": ".dat",
    }
    return DataCaptureMetadata(**{**values, **changes})


def write_capture_file(folder: Path, stem: str, messages: list[bytes], header: DataCaptureMetadata) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    encoder = FrameEncoder(header)
    path = folder / f"{stem}.capture"
    path.write_bytes(encoder.header_frame + b"".join(encoder.encode(message) for message in messages))
    return path


def write_old_file(path: Path, content: bytes) -> Path:
    """Writes a file that was last modified long ago. Its ctime can't be set, so tests use a small minimum age."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (1, 1))
    return path


def found_at(path: Path) -> Found:
    status = path.stat()
    return Found(str(path), kind_of(str(path)), status.st_size, status.st_mtime_ns, status.st_ctime_ns)


async def waited(event: asyncio.Event) -> None:
    await event.wait()


class HeldUp(FileSystem):
    """A disk that blocks one operation, on paths with `part` in them, until `cancelled` releases it."""

    def __init__(self, operation: str, part: str) -> None:
        self._began, self._go_on = threading.Event(), threading.Event()
        unheld = getattr(self, operation)

        def held(*arguments: Any) -> Any:
            if any(isinstance(each, str) and part in each for each in arguments):
                self._began.set()
                assert self._go_on.wait(30)
            return unheld(*arguments)

        setattr(self, operation, held)

    async def cancelled(
        self,
        task: asyncio.Task[Any],
        end: Callable[[], object],
        is_free: Callable[[], bool],
        error: type[BaseException] = asyncio.CancelledError,
    ) -> None:
        """Ends `task` by `end` in the middle of the operation. What the task has claimed must be free no earlier
        than the disk is done with it."""
        try:
            assert await asyncio.to_thread(self._began.wait, 20)
            end()
            await as_long_as_others_take()
            assert not task.done() and not is_free()
        finally:
            self._go_on.set()
        with pytest.raises(error):
            await task
        assert is_free()


@dataclass
class Arrived:
    """What reached the cloud."""

    numbers: list[tuple[str, float]] = field(default_factory=list)
    files: list[tuple[UploadMetadata, bytes]] = field(default_factory=list)
    metadata: list[UploadMetadata] = field(default_factory=list)
    binary: list[SensorData] = field(default_factory=list)

    def of(self, name: str) -> list[float]:
        return [number for owner, number in self.numbers if owner == name]

    def add(self, meta: UploadMetadata, data: SensorData) -> None:
        self.metadata.append(meta)
        if data.WhichOneof("data") == "struct":
            value = data.struct.fields["readings"].struct_value.fields["n"].number_value
            self.numbers.append((meta.component_name, value))
        else:
            self.binary.append(data)

    def add_file(self, meta: UploadMetadata, path: Path) -> None:
        self.files.append((meta, path.read_bytes()))


@dataclass
class World:
    """A capture folder, a cloud behind a cable that can be cut, and sync between them."""

    folder: Path
    cloud: LocalCloud
    cable: Cable
    arrived: Arrived
    files: FileSystem
    store: Store
    connection: Cloud
    link: Link
    delivery: Delivery
    rounds: Rounds
    stores: list[Store]
    """The stores that sync sends from. A test may change them, as a new configuration does."""
    completed: int = 0
    """How often sync asked for the files to be completed."""
    hold_completion: asyncio.Event | None = None

    @property
    def ledger(self) -> Ledger:
        return self.store.ledger

    @property
    def pending(self) -> tuple[int, int] | None:
        """How many files and bytes wait; None while that is not known."""
        waiting = self.rounds.backlog.waiting
        return None if waiting is None else (waiting.files, waiting.bytes)

    def complete(self, path: Path) -> None:
        """Says that the file at `path` has just got its final name."""
        clock = SystemClock()
        file = CompletedFile(str(path), path.stat().st_size, clock.time_ns(), clock.monotonic())
        self.store.writer.completion.just_completed.add(file)

    async def connected(self) -> None:
        """Returns when there is a link, be it by a later attempt: the first one may take too long on a busy disk,
        which the tests use on the event loop."""
        await eventually(lambda: self.link.usable)

    def capture_file(self, stem: str, numbers: list[float], name: str = "lidar") -> Path:
        messages = [reading(number) for number in numbers]
        return write_capture_file(self.folder / name, stem, messages, metadata(name))

    def settings(self, **changes: Any) -> SyncSettings:
        values: dict[str, Any] = {"interval_s": 0.02, "min_age_s": 0.0}
        return SyncSettings(**{**values, **changes})


WorldMaker = Callable[..., World]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with make_world(tmp_path) as made:
        yield made


@asynccontextmanager
async def make_world(
    tmp_path: Path, files: FileSystem | None = None, key: str = "key", address: str = ""
) -> AsyncIterator[World]:
    """Yields a world that runs. With `address`, sync connects to that address instead of the cloud."""
    arrived = Arrived()
    cloud = LocalCloud(tmp_path / "cloud", api_keys={"id": "key"}, on_reading=arrived.add, on_file=arrived.add_file)
    await cloud.start()
    cable = Cable(int(cloud.address.rpartition(":")[2]))
    await cable.start()
    clock, files = SystemClock(), files or FileSystem()
    settings = CloudSettings(address or cable.address, False, "part", "id", key)
    connection = Cloud(settings)
    link = Link(connection, settings, clock)
    folder = tmp_path / "capture"
    folder.mkdir(exist_ok=True)
    store = Store(files, clock, str(folder), 1.0, 5.0)
    await eventually(lambda: store.owned)
    stores = [store]
    delivery = Delivery(files, clock, connection, link)

    async def complete(appenders: object = None) -> None:
        made.completed += 1
        if made.hold_completion is not None:
            await made.hold_completion.wait()

    store.writer.complete = complete  # type: ignore[method-assign]
    rounds = Rounds(files, clock, link, delivery, lambda: stores)
    made = World(folder, cloud, cable, arrived, files, store, connection, link, delivery, rounds, stores)
    tasks = [asyncio.create_task(run()) for run in (link.run, rounds.run, rounds.backlog.run)]
    try:
        yield made
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        await rounds.stop()
        await connection.close()
        await store.close()
        await cable.stop()
        await cloud.stop()


@pytest.fixture
def failing_removal() -> Iterator[type[FileSystem]]:
    class CannotDelete(FileSystem):
        broken = True

        def remove(self, path: str, identity: Identity | None = None) -> None:
            if self.broken:
                from holdfast.errors import StorageError

                raise StorageError("delete", path, PermissionError(1, "Operation not permitted"))
            super().remove(path, identity)

    yield CannotDelete
