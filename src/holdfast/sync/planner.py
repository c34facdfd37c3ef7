"""From a file to the calls that carry it: RDK's metadata, undecoded readings, sizes within the cloud's limits."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp
from viam.proto.app.datasync import (
    DataCaptureMetadata,
    DataCaptureUploadMetadata,
    DataType,
    FileData,
    FileUploadRequest,
    SensorData,
    StreamingDataCaptureUploadRequest,
    UploadMetadata,
)

from ..errors import printable
from ..storage.frames import varint
from .walker import Found

MAX_CALL_BYTES = 1024 * 1024
"""A call carries at most this much, or one reading if that alone is more."""
MAX_UNARY_BINARY_BYTES = 1_000_000
CHUNK_BYTES = 64 * 1024

_EXTENSIONS = {
    "image/jpeg": ".jpeg",
    "image/png": ".png",
    "image/vnd.viam.dep": ".dep",
    "image/vnd.viam.rgba": ".rgba",
    "pointcloud/pcd": ".pcd",
    "video/mp4": ".mp4",
    "audio/wav": ".wav",
    "audio/mpeg": ".mp3",
}
_METADATA_TAG, _CONTENTS_TAG = b"\x0a", b"\x12"


@dataclass(frozen=True)
class UnaryPart:
    """A serialized `DataCaptureUploadRequest` with `readings` readings."""

    request: bytes
    readings: int


@dataclass(frozen=True)
class StreamPart:
    """One large binary reading for `StreamingDataCaptureUpload`."""

    metadata: bytes
    payload: bytes
    readings: int = 1

    def messages(self) -> Iterator[bytes]:
        yield self.metadata
        for start in range(0, len(self.payload), CHUNK_BYTES):
            yield StreamingDataCaptureUploadRequest(
                data=self.payload[start : start + CHUNK_BYTES]
            ).SerializeToString()


Part = UnaryPart | StreamPart


def capture_parts(captured: DataCaptureMetadata, readings: Iterable[bytes], part_id: str) -> Iterator[Part]:
    """The calls for `readings` of one capture file, in order; takes them as they are needed."""
    metadata = upload_metadata(captured, part_id)
    head = _field(_METADATA_TAG, metadata.SerializeToString())
    binary = captured.type == DataType.DATA_TYPE_BINARY_SENSOR
    batch, size = [head], len(head)
    for reading in readings:
        if binary and len(reading) > MAX_UNARY_BINARY_BYTES:
            yield _stream_part(metadata, reading)
            continue
        frame = _field(_CONTENTS_TAG, reading)
        if len(batch) > 1 and (binary or size + len(frame) > MAX_CALL_BYTES):
            yield UnaryPart(b"".join(batch), len(batch) - 1)
            batch, size = [head], len(head)
        batch.append(frame)
        size += len(frame)
    if len(batch) > 1:
        yield UnaryPart(b"".join(batch), len(batch) - 1)


def upload_metadata(captured: DataCaptureMetadata, part_id: str) -> UploadMetadata:
    """What the cloud is told of a capture file, from the file's header."""
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


def extension_of(mime_type: str) -> str:
    """The file extension for a MIME type, with its dot; empty when it is not known."""
    return _EXTENSIONS.get(mime_type, "")


def file_metadata(found: Found, part_id: str, tags: tuple[str, ...]) -> bytes:
    """The first message of a `FileUpload`. Folders named `tag=…` and `dataset=…` say tags and datasets."""
    inferred_tags, dataset_ids = _from_folders(found.path)
    metadata = UploadMetadata(
        part_id=part_id,
        type=DataType.DATA_TYPE_FILE,
        file_name=printable(found.path),
        file_extension=printable(os.path.splitext(found.path)[1]),
        file_create_time=_timestamp(found.status_changed_ns),
        file_modify_time=_timestamp(found.modified_ns),
        tags=dict.fromkeys((*tags, *inferred_tags)),
        dataset_ids=dict.fromkeys(dataset_ids),
    )
    return FileUploadRequest(metadata=metadata).SerializeToString()


def file_contents(chunk: bytes) -> bytes:
    """A further message of a `FileUpload`."""
    return FileUploadRequest(file_contents=FileData(data=chunk)).SerializeToString()


def _from_folders(path: str) -> tuple[list[str], list[str]]:
    tags: list[str] = []
    dataset_ids: list[str] = []
    for segment in reversed(os.path.dirname(printable(path)).split(os.sep)):
        name, separator, value = segment.strip().partition("=")
        if separator and value.strip() and name in ("tag", "dataset"):
            (tags if name == "tag" else dataset_ids).append(value.strip())
    return tags, dataset_ids


def _stream_part(metadata: UploadMetadata, reading: bytes) -> StreamPart:
    data = SensorData.FromString(reading)
    head = DataCaptureUploadMetadata(upload_metadata=metadata, sensor_metadata=data.metadata)
    return StreamPart(StreamingDataCaptureUploadRequest(metadata=head).SerializeToString(), data.binary)


def _field(tag: bytes, content: bytes) -> bytes:
    return tag + varint(len(content)) + content


def _timestamp(time_ns: int) -> Timestamp:
    seconds, nanos = divmod(time_ns, 1_000_000_000)
    return Timestamp(seconds=seconds, nanos=nanos)
