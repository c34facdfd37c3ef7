"""A machine in a network namespace of its own, for `networks`: `python -m tests.faults.near_machine`.

The first line that it reads is the cloud's address: it then keeps a link to it. Each further line is `call` or
`stream`, and the size in bytes of what is uploaded so until the cloud has it. Each line that it prints has the
time in seconds, and what happened.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Iterator

from viam.proto.app.datasync import (
    DataCaptureUploadRequest,
    DataType,
    FileData,
    FileUploadRequest,
    SensorData,
    UploadMetadata,
)

from holdfast.base.clock import SystemClock
from holdfast.base.tasks import begin, end
from holdfast.errors import CloudError
from holdfast.sync.cloud.cloud import Cloud, CloudSettings
from holdfast.sync.cloud.link import Link
from holdfast.sync.cloud.replies import FILE_UPLOAD
from module import event_loop

CHUNK_BYTES = 10_000
_BEGAN_S = time.monotonic()


def say(what: str) -> None:
    print(f"{time.monotonic() - _BEGAN_S:.1f} {what}", flush=True)


class _Said(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


async def upload(cloud: Cloud, link: Link, unit: str, size_bytes: int, *, is_stream: bool) -> None:
    about = UploadMetadata(
        part_id="part",
        component_name="camera",
        component_type="rdk:component:camera",
        method_name="GetImages",
        type=DataType.DATA_TYPE_BINARY_SENSOR,
    )
    payload = SensorData(binary=os.urandom(size_bytes))
    request = DataCaptureUploadRequest(metadata=about, sensor_contents=[payload]).SerializeToString()

    def messages() -> Iterator[bytes]:
        yield FileUploadRequest(metadata=about).SerializeToString()
        for _ in range(size_bytes // CHUNK_BYTES):
            yield FileUploadRequest(file_contents=FileData(data=bytes(CHUNK_BYTES))).SerializeToString()

    while True:
        began_s = await link.admit_call(wait=True)
        say(f"begins {unit}")
        try:
            if is_stream:
                await cloud.upload_stream(FILE_UPLOAD, messages)
            else:
                await cloud.upload_capture(request)
        except CloudError as error:
            say(f"failed {unit}: {error}")
            link.judge_failure(unit, error)
        else:
            link.note_success(began_s)
            say(f"uploaded {unit}")
            return


async def watch_loop() -> None:
    """Tells when the event loop, on which everything runs, was held up."""
    while True:
        before_s = time.monotonic()
        await asyncio.sleep(0.05)
        if (late_s := time.monotonic() - before_s) > 5:
            say(f"held up for {late_s:.2f} s")


async def main() -> None:
    logging.getLogger("holdfast").addHandler(_Said())
    logging.getLogger("holdfast").setLevel(logging.INFO)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    address = (await lines.readline()).decode().strip()
    settings = CloudSettings(address, True, "part", "id", "key", environment=os.environ)
    cloud = Cloud(settings)
    link = Link(cloud, settings, SystemClock())
    tasks = [begin(link.run(), "link"), begin(watch_loop(), "watch")]
    while line := await lines.readline():
        unit = str(len(tasks) - 1)
        kind, size_bytes = line.split()
        tasks.append(begin(upload(cloud, link, unit, int(size_bytes), is_stream=kind == b"stream"), unit))
    await end(tasks)
    await cloud.close()


if __name__ == "__main__":
    event_loop.run(main())
