"""The calls that carry a file to the cloud, with the metadata that RDK sends.

No reading is decoded, except a large binary one that is in memory, one of an old file of images, and one that
neither RDK nor Holdfast laid out. No call is larger than the cloud accepts. Nothing here touches a disk, but for a
stream's payload and for `readings` that the caller reads from a disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp
from viam.proto.app.datasync import (
    DataCaptureMetadata,
    DataCaptureUploadMetadata,
    DataCaptureUploadRequest,
    DataType,
    FileUploadRequest,
    SensorData,
    SensorMetadata,
    StreamingDataCaptureUploadRequest,
    UploadMetadata,
)

from ...base.mime_types import extension_of
from ...storage.capture_files.frames import read_varint, varint
from ...storage.capture_files.large_payload import LargePayload
from ...storage.capture_files.old_images import may_hold_old_images, old_images
from ...storage.capture_files.shallow import binary_of, metadata_of
from ..found import Found

MAX_CALL_BYTES = 1024 * 1024
"""The most that a call carries, unless a single reading is larger."""
MAX_UNARY_BINARY_BYTES = 1_000_000
"""A larger binary reading is streamed."""
CHUNK_BYTES = 256 * 1024
"""The size of a stream's messages. With the builtin's 64 KiB a large file takes twice the CPU."""

_METADATA_TAG, _CONTENTS_TAG, _DATA_TAG = b"\x0a", b"\x12", b"\x12"
_FILE_CONTENTS_TAG, _DATA_FIELD = b"\x12", b"\x0a"
_DAY_S = 86_400
_SHORT = 4096
_PREFIXES = [_CONTENTS_TAG + varint(size) for size in range(_SHORT)]
_MOST_FRAMING_BYTES = 8
"""The most that a tag and a length add to a reading."""


@dataclass(frozen=True)
class UnaryCall:
    """A serialized `DataCaptureUploadRequest`: `head_bytes` of metadata, then `readings` readings."""

    request: bytes
    readings: int
    head_bytes: int

    def split(self, readings: int) -> tuple[UnaryCall, UnaryCall]:
        """Returns two calls with the same readings, the first with so many of them."""
        offset = self.head_bytes
        for _ in range(readings):
            size, begin = read_varint(self.request, offset + len(_CONTENTS_TAG))
            offset = begin + size
        head = self.request[: self.head_bytes]
        return (
            UnaryCall(self.request[:offset], readings, self.head_bytes),
            UnaryCall(head + self.request[offset:], self.readings - readings, self.head_bytes),
        )

    def as_stream(self) -> StreamCall | None:
        """Returns the same as a stream; None unless the call is one binary reading."""
        if self.readings != 1:
            return None
        _, begin = read_varint(self.request, self.head_bytes + len(_CONTENTS_TAG))
        metadata = DataCaptureUploadRequest.FromString(self.request[: self.head_bytes]).metadata
        return _stream_call(metadata, self.request[begin:])


@dataclass(frozen=True)
class StreamCall:
    """One large binary reading, sent by `StreamingDataCaptureUpload`."""

    metadata: bytes
    payload: LargePayload | bytes
    readings: int = 1

    def messages(self) -> Iterator[bytes]:
        """Yields the messages of the stream, read from the disk one by one. Blocks; raises StorageError and
        DamagedFileError."""
        yield self.metadata
        payload = self.payload
        chunks: Iterator[bytes]
        if isinstance(payload, bytes):
            chunks = (payload[at : at + CHUNK_BYTES] for at in range(0, len(payload), CHUNK_BYTES))
        else:
            chunks = payload.chunks(CHUNK_BYTES)
        for chunk in chunks:
            yield _field(_DATA_TAG, chunk)


@dataclass(frozen=True)
class ImagesCalls:
    """One reading of an old file of images. Each image is sent as a reading of its own; the reading is acknowledged
    when all of them are."""

    calls: tuple[UnaryCall | StreamCall, ...]
    readings: int = 1


Call = UnaryCall | StreamCall | ImagesCalls


def capture_calls(
    captured: DataCaptureMetadata, readings: Iterable[bytes | LargePayload], part_id: str
) -> Iterator[Call]:
    """Yields the calls for `readings` of one capture file, in order. Takes a reading only when it is needed, and
    raises what taking it raises."""
    if captured.type == DataType.DATA_TYPE_BINARY_SENSOR:
        yield from _binary_calls(captured, readings, part_id)
        return
    builder = CallBuilder(captured, part_id)
    for reading in readings:
        assert isinstance(reading, bytes)
        if not builder.takes(len(reading), day_of(reading)):
            yield builder.take_call()
        builder.add(reading)
    if builder.readings:
        yield builder.take_call()


def _binary_calls(
    captured: DataCaptureMetadata, readings: Iterable[bytes | LargePayload], part_id: str
) -> Iterator[Call]:
    metadata = upload_metadata(captured, part_id)
    for reading in readings:
        if isinstance(reading, LargePayload):
            sensor = SensorMetadata.FromString(reading.sensor_metadata)
            yield StreamCall(_stream_head(metadata, sensor), reading)
        elif may_hold_old_images(captured) and (old := old_images(reading)) is not None:
            yield _images_calls(metadata, *old)
        else:
            yield _binary_call(metadata, reading)


def _binary_call(metadata: UploadMetadata, reading: bytes) -> UnaryCall | StreamCall:
    stream = _stream_call(metadata, reading) if len(reading) > MAX_UNARY_BINARY_BYTES else None
    if stream is not None:
        return stream
    head = _field(_METADATA_TAG, metadata.SerializeToString())
    return UnaryCall(head + _field(_CONTENTS_TAG, reading), 1, len(head))


def _stream_call(metadata: UploadMetadata, reading: bytes) -> StreamCall | None:
    """Returns a stream with a reading; None when that is no binary reading."""
    sensor, payload = metadata_of(reading), binary_of(reading)
    if sensor is None or payload is None:
        return None
    return StreamCall(_stream_head(metadata, sensor), bytes(payload))


def _images_calls(metadata: UploadMetadata, times: SensorMetadata, images: Iterable[bytes]) -> ImagesCalls:
    of_images = UploadMetadata()
    of_images.CopyFrom(metadata)
    of_images.file_extension = extension_of(metadata.mime_type)
    readings = (SensorData(metadata=times, binary=image).SerializeToString() for image in images)
    return ImagesCalls(tuple(_binary_call(of_images, reading) for reading in readings))


class CallBuilder:
    """Gathers readings with the same metadata and of the same UTC day into a call."""

    def __init__(self, captured: DataCaptureMetadata, part_id: str) -> None:
        self._head = _field(_METADATA_TAG, upload_metadata(captured, part_id).SerializeToString())
        self.readings = self._day = 0
        self._begin()

    def takes(self, size_bytes: int, day: int) -> bool:
        """Whether readings of `size_bytes`, requested on `day`, fit into the call beside those that it has."""
        if not self.readings:
            return True
        return self._day == day and self._size_bytes + size_bytes + _MOST_FRAMING_BYTES <= MAX_CALL_BYTES

    def add(self, reading: bytes) -> None:
        self.add_all([reading])

    def add_all(self, readings: Sequence[bytes]) -> None:
        """Adds readings that were all requested on one day."""
        if not self.readings:
            self._day = day_of(readings[0])
        frames, prefixes = self._frames, _PREFIXES
        for reading in readings:
            size = len(reading)
            prefix = prefixes[size] if size < _SHORT else _CONTENTS_TAG + varint(size)
            frames.append(prefix)
            frames.append(reading)
            self._size_bytes += len(prefix) + size
        self.readings += len(readings)

    def take_call(self) -> UnaryCall:
        """Returns the call; what is added from now on goes into the next one."""
        call = UnaryCall(b"".join(self._frames), self.readings, len(self._head))
        self._begin()
        return call

    def _begin(self) -> None:
        self._frames = [self._head]
        self._size_bytes = len(self._head)
        self.readings = self._day = 0


def day_of(reading: bytes) -> int:
    """Returns the UTC day on which a serialized `SensorData` was requested, counted from the epoch. What can't be
    understood, as only a forger writes it, is of the first day: the cloud will refuse it."""
    if reading[:1] == b"\x0a" and reading[2:3] == b"\x0a" and reading[4:5] == b"\x08":
        with suppress(IndexError, ValueError):
            return read_varint(reading, 5)[0] // _DAY_S  # as RDK's writers lay it out, and ours
    metadata = metadata_of(reading)
    return 0 if metadata is None else int(metadata.time_requested.seconds // _DAY_S)


def upload_metadata(captured: DataCaptureMetadata, part_id: str) -> UploadMetadata:
    """Returns the metadata of a capture file's calls, made of the file's header."""
    metadata = UploadMetadata(
        part_id=part_id,
        component_type=captured.component_type,
        component_name=captured.component_name,
        method_name=captured.method_name,
        type=captured.type,
        file_extension=captured.file_extension,
        tags=captured.tags,
        mime_type=captured.mime_type,
    )
    for name, value in captured.method_parameters.items():
        metadata.method_parameters[name].CopyFrom(value)
    if captured.type == DataType.DATA_TYPE_BINARY_SENSOR:
        metadata.file_extension = extension_of(captured.mime_type) or captured.file_extension
    return metadata


def file_metadata(found: Found, part_id: str, tags: Iterable[str] = (), dataset_ids: Iterable[str] = ()) -> bytes:
    """Returns the first message of a `FileUpload`. Folders named `tag=…` and `dataset=…` add tags and datasets."""
    inferred_tags, inferred_ids = labels_in(found.folder)
    metadata = UploadMetadata(
        part_id=part_id,
        type=DataType.DATA_TYPE_FILE,
        file_name=_unicode(found.path),
        file_extension=_unicode(os.path.splitext(found.path)[1]),
        file_create_time=_timestamp(found.status_changed_ns),
        file_modify_time=_timestamp(found.modified_ns),
        tags=dict.fromkeys((*tags, *inferred_tags)),
        dataset_ids=dict.fromkeys((*dataset_ids, *inferred_ids)),
    )
    return FileUploadRequest(metadata=metadata).SerializeToString()


def file_contents(chunk: bytes) -> bytes:
    """Returns the message of a `FileUpload` that carries a chunk of the file."""
    head = _DATA_FIELD + varint(len(chunk))
    return b"".join((_FILE_CONTENTS_TAG, varint(len(head) + len(chunk)), head, chunk))  # one copy of the chunk


def labels_in(folder: str) -> tuple[list[str], list[str]]:
    """Returns the tags and the dataset ids in the names of the folders on a path."""
    tags: list[str] = []
    dataset_ids: list[str] = []
    for segment in reversed(_unicode(folder).split(os.sep)):
        name, separator, value = segment.strip().partition("=")
        if separator and value.strip() and name in ("tag", "dataset"):
            (tags if name == "tag" else dataset_ids).append(value.strip())
    return tags, dataset_ids


def _unicode(path: str) -> str:
    """Returns `path` as protobuf accepts it: bytes that are not UTF-8 become \\xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _stream_head(metadata: UploadMetadata, sensor: SensorMetadata) -> bytes:
    head = DataCaptureUploadMetadata(upload_metadata=metadata, sensor_metadata=sensor)
    return StreamingDataCaptureUploadRequest(metadata=head).SerializeToString()


def _field(tag: bytes, content: bytes) -> bytes:
    return tag + varint(len(content)) + content


def _timestamp(time_ns: int) -> Timestamp:
    seconds, nanos = divmod(time_ns, 1_000_000_000)
    return Timestamp(seconds=seconds, nanos=nanos)
