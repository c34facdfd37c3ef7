"""Binary readings on the disk: each is a file of its own, never copied, bounded in memory, and dropped by
itself."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from viam.proto.app.data import Annotations, Classification
from viam.proto.app.datasync import DataCaptureMetadata, DataType, SensorData

from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import Buffer, FileSystem
from holdfast.storage.capture_files import frames
from holdfast.storage.ledger.counts import ReadingCounts
from holdfast.storage.ledger.ledger import Ledger
from holdfast.storage.recovery import Recovery
from holdfast.storage.writing import disk_writer
from holdfast.storage.writing.disk_writer import Appender, DiskWriter
from tests.fakes import START_NS, FakeClock, FaultyFileSystem

from .. import samples

NEVER_S = 3600.0
HEADER = DataCaptureMetadata(
    component_type="rdk:component:camera",
    component_name="cam",
    method_name="GetImages",
    type=DataType.DATA_TYPE_BINARY_SENSOR,
    tags=("t",),
)
CAM = (HEADER.component_type, HEADER.component_name, HEADER.method_name)


def open_camera(writer: DiskWriter) -> Appender:
    return writer.open(HEADER, 256 * 1024)


def put(appender: Appender, *payload: Buffer, mime_type: str = "image/png", annotations: bytes = b"") -> None:
    head = frames.binary_head(START_NS, START_NS + 5, annotations, sum(map(len, payload)))
    appender.append_binary(head, payload, mime_type)


def stored(folder: Path, extension: str = ".capture") -> list[tuple[str, bytes]]:
    """Returns MIME type and payload of each file, which plain protobuf and our reader must agree on."""
    found = []
    for path in samples.files_under(folder, extension):
        data = path.read_bytes()
        header, reading = map(bytes, samples.plain_messages(data))
        scan = samples.scan(data)
        assert (scan.checked, scan.damaged, scan.torn_bytes, len(scan.readings)) == (True, [], 0, 1)
        payload = SensorData.FromString(reading).binary
        assert SensorData.FromString(scan.readings[0]).binary == payload
        found.append((DataCaptureMetadata.FromString(header).mime_type, payload))
    return found


def counts(ledger: Ledger) -> ReadingCounts:
    return ledger.readings()[CAM]


async def test_each_payload_is_a_file_with_its_own_mime_type(
    writer: DiskWriter, ledger: Ledger, tmp_path: Path
) -> None:
    appender = open_camera(writer)
    each = [("image/png", b"\x89PNG"), ("image/jpeg", b"\xff\xd8" * 1000), ("", b"x")]
    for mime_type, payload in each:
        put(appender, payload, mime_type=mime_type)
    await writer.complete()
    assert stored(tmp_path) == each  # in the order of their names, too
    assert counts(ledger).captured == counts(ledger).on_disk == 3
    for path in samples.files_under(tmp_path, ".capture"):
        assert path.parent == tmp_path / "rdk_component_camera" / "cam" / "GetImages"
        header = samples.scan(path.read_bytes()).metadata
        header.ClearField("mime_type")
        header.DiscardUnknownFields()  # type: ignore[attr-defined]
        assert header == HEADER


async def test_a_flush_is_enough_to_complete_a_payload(writer: DiskWriter, tmp_path: Path) -> None:
    put(open_camera(writer), b"x")
    await writer.flush()
    await writer.completion.settled()
    assert stored(tmp_path) == [("image/png", b"x")]
    assert samples.files_under(tmp_path, ".prog") == []


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5), st.text(max_size=200), st.booleans())
def test_a_frame_in_parts_is_the_frame_of_the_whole(payload: list[bytes], label: str, annotated: bool) -> None:
    annotations = (
        Annotations(classifications=[Classification(label=label)]).SerializeToString() if annotated else b""
    )
    head = frames.binary_head(START_NS, START_NS + 1, annotations, sum(map(len, payload)))
    message = SensorData.FromString(head + b"".join(payload))
    assert message.binary == b"".join(payload)
    assert message.WhichOneof("data") == "binary"
    assert message.metadata.time_requested.ToNanoseconds() == START_NS
    assert message.metadata.time_received.ToNanoseconds() == START_NS + 1
    assert message.metadata.annotations.SerializeToString() == annotations
    encoder = frames.FrameEncoder(HEADER)
    parts: Sequence[Buffer] = (head, *(memoryview(part) for part in payload))
    assert b"".join(encoder.encode_parts(parts)) == encoder.encode(head + b"".join(payload))


async def test_an_answer_of_32_mib_passes_beside_others(
    writer: DiskWriter, files: FaultyFileSystem, ledger: Ledger, tmp_path: Path
) -> None:
    appender = open_camera(writer)
    files.stall_writes()
    put(appender, bytes(8 << 20))
    put(appender, memoryview(bytes(32 << 20)))
    assert counts(ledger).dropped == {}
    files.resume_writes()
    await writer.complete()
    assert [len(payload) for _, payload in stored(tmp_path)] == [8 << 20, 32 << 20]


async def test_payloads_beyond_the_bound_are_dropped_and_counted_until_the_disk_has_taken_others(
    writer: DiskWriter, files: FaultyFileSystem, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_writer, "MAX_PENDING_BYTES", 14_000)  # a reading takes more than its bytes
    appender = open_camera(writer)
    files.stall_writes()
    put(appender, b"0" * 3000)
    flushed = asyncio.ensure_future(writer.flush())
    assert await asyncio.to_thread(files.stalled.wait, 30)
    for number in range(1, 20):
        put(appender, str(number).encode() * 3000)
        assert writer.pending_bytes <= 14_000
    # The reading that is being written still counts, since it is in memory.
    assert counts(ledger).dropped == {"disk_too_slow": 17}
    files.resume_writes()
    await flushed
    await writer.flush()
    put(appender, b"x" * 9000)
    await writer.complete()
    assert [payload[:1] for _, payload in stored(tmp_path)] == [b"0", b"1", b"2", b"x"]
    assert counts(ledger).on_disk == 4
    assert writer.pending_bytes == 0


async def test_tiny_payloads_are_bounded_by_the_memory_that_they_take(
    writer: DiskWriter, files: FaultyFileSystem, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reading of one byte takes about a kibibyte, and each part of a payload an object."""
    monkeypatch.setattr(disk_writer, "MAX_PENDING_BYTES", 100_000)
    appender = open_camera(writer)
    files.stall_writes()
    for _ in range(1000):
        put(appender, b"0")
    assert counts(ledger).dropped["disk_too_slow"] > 900
    dropped = sum(counts(ledger).dropped.values())
    appender.append_binary(b"", [b"0"] * 1000, "image/png")
    assert sum(counts(ledger).dropped.values()) == dropped + 1
    files.resume_writes()
    await writer.complete()


@pytest.mark.parametrize("operation", ["create", "write", "make_folder"])
async def test_what_a_failing_disk_refuses_is_counted_and_the_next_payload_is_tried(
    writer: DiskWriter, files: FaultyFileSystem, ledger: Ledger, tmp_path: Path, operation: str
) -> None:
    appender = open_camera(writer)
    with files.failing(operation, code=errno.ENOSPC, partial_bytes=50):
        put(appender, b"lost" * 100)
        put(appender, b"lost" * 100)
        await writer.flush()
    put(appender, b"kept")
    await writer.complete()
    assert stored(tmp_path) == [("image/png", b"kept")]
    assert counts(ledger).dropped == {"no_space": 2}
    assert counts(ledger).on_disk == 1
    assert samples.files_under(tmp_path, ".prog") == []
    assert "No space" in (writer.last_error or "")


async def test_a_payload_that_fails_takes_no_other_with_it(
    writer: DiskWriter, files: FaultyFileSystem, ledger: Ledger, tmp_path: Path
) -> None:
    appender = open_camera(writer)
    tried: list[str] = []

    def second(path: str) -> bool:
        tried.append(path)
        return len(tried) == 2

    for number in range(3):
        put(appender, str(number).encode())
    with files.failing("create", code=errno.EIO, on=second):
        await writer.flush()
    await writer.complete()
    assert [payload for _, payload in stored(tmp_path)] == [b"0", b"2"]
    assert counts(ledger).dropped == {"io_error": 1}


async def test_a_released_camera_takes_nothing_more_and_its_payloads_are_complete(
    writer: DiskWriter, ledger: Ledger, tmp_path: Path
) -> None:
    appender = open_camera(writer)
    put(appender, b"x")
    await writer.release([appender])
    put(appender, b"late")
    assert stored(tmp_path) == [("image/png", b"x")]
    assert counts(ledger).dropped == {"stopped": 1}


async def test_payloads_from_the_time_of_the_end_are_complete(
    files: FaultyFileSystem, ledger: Ledger, tmp_path: Path
) -> None:
    writer = DiskWriter(files, SystemClock(), ledger, str(tmp_path), NEVER_S)
    put(open_camera(writer), b"x")
    await writer.close()
    assert stored(tmp_path) == [("image/png", b"x")]


async def test_taking_a_payload_does_not_wait_for_its_check(
    writer: DiskWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    encode = frames.FrameEncoder.encode_parts

    def noted(self: frames.FrameEncoder, parts: Sequence[Buffer]) -> list[Buffer]:
        threads.append(threading.current_thread().name)
        return encode(self, parts)

    monkeypatch.setattr(frames.FrameEncoder, "encode_parts", noted)
    put(open_camera(writer), b"x")
    await writer.complete()
    assert threads == ["holdfast-disk"]


async def test_a_payload_that_a_crash_tore_is_removed_and_counted_and_a_whole_one_is_kept(tmp_path: Path) -> None:
    encoder = frames.FrameEncoder(HEADER)
    parts = encoder.encode_parts([frames.binary_head(START_NS, START_NS, b"", 50), bytes(50)])
    whole = encoder.header_frame + b"".join(parts)
    ledger = Ledger(FileSystem(), str(tmp_path))
    for cut in range(len(whole) + 1):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / "a.prog").write_bytes(whole[:cut])
        for left in Recovery(FileSystem(), FakeClock(), ledger, str(folder), lambda path: False):
            left.complete()
        kept = [path.read_bytes() for path in folder.glob("*.capture")]
        assert kept == ([whole] if cut == len(whole) else [])
        assert not list(folder.glob("*.prog"))
    assert counts(ledger).dropped == {"torn": len(whole) - len(encoder.header_frame) - 1}
