"""`backlog` keeps complete capture files waiting, as after a day without a network: it replaces each that is sent.

Each is a hard link to one of a few files outside the capture folder, so that adding one costs next to nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from google.protobuf.struct_pb2 import Struct
from viam.proto.app.datasync import DataCaptureMetadata, DataType

from holdfast.storage.capture_files.frames import FrameEncoder, tabular_message

NAME = "backlog"
_ORIGINALS, _READINGS = 50, 600  # 60 KiB each
_WAITING = 1000
_REFILL_S = 0.1


@asynccontextmanager
async def backlog(capture_dir: Path, originals: Path) -> AsyncIterator[None]:
    """Keeps `_WAITING` files in `capture_dir` during the block.

    `originals` is a folder on the same file system that does not exist yet.
    """
    made = await asyncio.to_thread(_make, originals)
    folder = capture_dir / "rdk_component_sensor" / NAME / "Readings"
    folder.mkdir(parents=True, exist_ok=True)
    names = itertools.count()

    def fill() -> None:
        for _ in range(_WAITING - len(os.listdir(folder))):
            number = next(names)
            os.link(made[number % len(made)], folder / f"{number:08}.capture")

    async def refill() -> None:
        while True:
            await asyncio.to_thread(fill)
            await asyncio.sleep(_REFILL_S)

    await asyncio.to_thread(fill)
    task = asyncio.create_task(refill())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _make(folder: Path) -> list[Path]:
    encoder = FrameEncoder(
        DataCaptureMetadata(
            component_type="rdk:component:sensor",
            component_name=NAME,
            method_name="Readings",
            type=DataType.DATA_TYPE_TABULAR_SENSOR,
            file_extension=".dat",
        )
    )
    value = Struct()
    value.update({"readings": {"a": 1.5, "b": 2.5}})
    payload = value.SerializeToString()
    folder.mkdir(parents=True)
    yesterday_ns = time.time_ns() - 86_400 * 10**9
    paths = []
    for number in range(_ORIGINALS):
        first_ns = yesterday_ns + number * 10**9
        times_ns = range(first_ns, first_ns + _READINGS * 1000, 1000)
        frames = [encoder.encode(tabular_message(each, each, payload)) for each in times_ns]
        paths.append(folder / f"{number}.frames")
        paths[-1].write_bytes(encoder.header_frame + b"".join(frames))
    return paths
