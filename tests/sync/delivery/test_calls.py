from pathlib import Path
from typing import Any

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.struct_pb2 import Struct, Value
from viam.proto.app.datasync import (
    DataCaptureUploadRequest,
    DataType,
    FileData,
    FileUploadRequest,
    SensorData,
    StreamingDataCaptureUploadRequest,
)

from holdfast.base.filesystem import FileSystem
from holdfast.base.mime_types import extension_of
from holdfast.errors import StorageError
from holdfast.storage.capture_files.frames import CHECK_FIELD
from holdfast.storage.capture_files.reader import CaptureReader
from holdfast.storage.layout import FileKind
from holdfast.sync.delivery.calls import (
    MAX_CALL_BYTES,
    MAX_UNARY_BINARY_BYTES,
    Call,
    StreamCall,
    UnaryCall,
    capture_calls,
    file_contents,
    file_metadata,
)
from holdfast.sync.found import Found
from tests.storage.samples import builtin_file

from ..conftest import metadata, reading, write_capture_file


def calls_of(tmp_path: Path, messages: list[bytes], part_id: str = "p", **changes: Any) -> list[Call]:
    reader = CaptureReader(FileSystem(), str(write_capture_file(tmp_path, "a", messages, metadata(**changes))))
    try:
        return list(capture_calls(reader.metadata, reader, part_id))
    finally:
        reader.close()


def unary(call: Call) -> DataCaptureUploadRequest:
    assert isinstance(call, UnaryCall)
    return DataCaptureUploadRequest.FromString(call.request)


def found(path: str) -> Found:
    return Found(path, FileKind.ARBITRARY, 5, 2_500_000_000, 1_000_000_001)


def test_a_call_carries_the_files_metadata_and_its_readings_as_they_were_captured(tmp_path: Path) -> None:
    parameter = AnyMessage()
    parameter.Pack(Value(string_value="x"))
    messages = [reading(n) for n in range(3)]
    (call,) = calls_of(tmp_path, messages, "part-7", tags=["a", "b"], method_parameters={"p": parameter})
    request = unary(call)
    assert request.metadata.part_id == "part-7"
    assert request.metadata.component_type == "rdk:component:sensor"
    assert (request.metadata.component_name, request.metadata.method_name) == ("lidar", "Readings")
    assert request.metadata.type == DataType.DATA_TYPE_TABULAR_SENSOR
    assert list(request.metadata.tags) == ["a", "b"]
    assert request.metadata.method_parameters["p"] == parameter
    assert request.metadata.file_extension == ".dat"
    assert [data.SerializeToString() for data in request.sensor_contents] == messages


def test_the_checks_are_cut_off_before_upload(tmp_path: Path) -> None:
    (call,) = calls_of(tmp_path, [reading(1)])
    tag = (CHECK_FIELD << 3 | 5).to_bytes(3, "little")
    assert isinstance(call, UnaryCall)
    assert tag not in call.request
    assert b"\xfd\xe1\x09" not in call.request


def test_calls_stay_within_their_size_and_keep_the_order(tmp_path: Path) -> None:
    big = Struct()
    big.update({"readings": {"text": "x" * 100_000}})
    messages = [SensorData(struct=big).SerializeToString() for _ in range(25)]
    calls = calls_of(tmp_path, messages)
    assert len(calls) > 1
    assert all(len(unary(call).SerializeToString()) <= MAX_CALL_BYTES for call in calls)
    assert sum(call.readings for call in calls) == 25


def test_one_reading_larger_than_a_call_goes_alone(tmp_path: Path) -> None:
    big = Struct()
    big.update({"readings": {"text": "x" * (MAX_CALL_BYTES + 1)}})
    messages = [reading(1), SensorData(struct=big).SerializeToString(), reading(2)]
    assert [call.readings for call in calls_of(tmp_path, messages)] == [1, 1, 1]


def test_each_binary_payload_is_a_call_with_the_extension_of_its_mime_type(tmp_path: Path) -> None:
    messages = [SensorData(binary=b"\xff\xd8" + bytes([n])).SerializeToString() for n in range(2)]
    calls = calls_of(
        tmp_path, messages, type=DataType.DATA_TYPE_BINARY_SENSOR, mime_type="image/jpeg", file_extension=""
    )
    requests = [unary(call) for call in calls]
    assert [request.metadata.file_extension for request in requests] == [".jpeg", ".jpeg"]
    assert [request.sensor_contents[0].binary[-1] for request in requests] == [0, 1]


def test_a_large_binary_payload_is_streamed_in_chunks(tmp_path: Path) -> None:
    payload = bytes(range(256)) * 8000
    data = SensorData(binary=payload)
    data.metadata.time_requested.FromNanoseconds(5)
    calls = calls_of(
        tmp_path, [data.SerializeToString()], type=DataType.DATA_TYPE_BINARY_SENSOR, mime_type="pointcloud/pcd"
    )
    (call,) = calls
    assert isinstance(call, StreamCall)
    head, *chunks = [StreamingDataCaptureUploadRequest.FromString(message) for message in call.messages()]
    assert head.metadata.upload_metadata.file_extension == ".pcd"
    assert head.metadata.sensor_metadata.time_requested.ToNanoseconds() == 5
    assert b"".join(chunk.data for chunk in chunks) == payload
    assert max(len(chunk.data) for chunk in chunks) == 256 * 1024


def test_an_arbitrary_file_tells_its_name_times_tags_and_datasets() -> None:
    path = "/data/tag=night/dataset=64fa/tag= rain /cam/tag=/a.b.log"
    message = FileUploadRequest.FromString(file_metadata(found(path), "part-7", ("fleet", "night")))
    assert message.metadata.part_id == "part-7"
    assert message.metadata.type == DataType.DATA_TYPE_FILE
    assert message.metadata.file_name == path
    assert message.metadata.file_extension == ".log"
    assert message.metadata.file_modify_time.ToNanoseconds() == 2_500_000_000
    assert message.metadata.file_create_time.ToNanoseconds() == 1_000_000_001
    assert sorted(message.metadata.tags) == ["fleet", "night", "rain"]
    assert list(message.metadata.dataset_ids) == ["64fa"]


def test_a_name_that_is_no_utf_8_can_be_sent() -> None:
    message = FileUploadRequest.FromString(file_metadata(found("/data/a\udcff\n.b\udc80"), "p", ()))
    assert message.metadata.file_name == "/data/a\\xff\n.b\\x80"
    assert message.metadata.file_extension == ".b\\x80"


def test_contents_are_the_bytes_of_the_chunk() -> None:
    assert FileUploadRequest.FromString(file_contents(b"\x00abc")).file_contents.data == b"\x00abc"


@pytest.mark.parametrize(
    ("mime_type", "extension"),
    [("image/jpeg", ".jpeg"), ("image/png", ".png"), ("pointcloud/pcd", ".pcd"), ("audio/mpeg", ".mp3"), ("", "")],
)
def test_mime_types_have_rdks_extensions(mime_type: str, extension: str) -> None:
    assert extension_of(mime_type) == extension


def test_a_large_payload_is_never_whole_in_memory_and_arrives_as_it_was(tmp_path: Path) -> None:
    class Watched(FileSystem):
        most = 0

        def read_at(self, descriptor: int, path: str, offset: int, size_bytes: int) -> bytes:
            self.most = max(self.most, size_bytes)
            return super().read_at(descriptor, path, offset, size_bytes)

    payload = bytes(range(256)) * 20_000
    data = SensorData(binary=payload)
    data.metadata.time_requested.FromNanoseconds(5)
    header = metadata(type=DataType.DATA_TYPE_BINARY_SENSOR, mime_type="pointcloud/pcd")
    path = write_capture_file(tmp_path, "a", [data.SerializeToString(), data.SerializeToString()], header)
    files = Watched()
    reader = CaptureReader(files, str(path))
    calls = list(capture_calls(reader.metadata, reader.contents(MAX_UNARY_BINARY_BYTES), "p"))
    assert reader.readings == 2 and not reader.damaged
    reader.close()
    for call in calls:
        assert isinstance(call, StreamCall)
        head, *chunks = [StreamingDataCaptureUploadRequest.FromString(message) for message in call.messages()]
        assert head.metadata.sensor_metadata.time_requested.ToNanoseconds() == 5
        assert b"".join(chunk.data for chunk in chunks) == payload
    assert len(calls) == 2 and files.most <= 256 * 1024


@pytest.mark.parametrize("place", [0.001, 0.5, 0.9999])
def test_a_large_payload_that_was_altered_is_not_sent(tmp_path: Path, place: float) -> None:
    header = metadata(type=DataType.DATA_TYPE_BINARY_SENSOR, mime_type="image/jpeg")
    path = write_capture_file(tmp_path, "a", [SensorData(binary=bytes(2_000_000)).SerializeToString()], header)
    content = bytearray(path.read_bytes())
    content[int(len(content) * place) + 80 * (place < 0.1)] ^= 1
    path.write_bytes(content)
    reader = CaptureReader(FileSystem(), str(path))
    assert list(capture_calls(reader.metadata, reader.contents(MAX_UNARY_BINARY_BYTES), "p")) == []
    assert reader.damaged_readings + reader.torn_readings == 1
    reader.close()


def test_a_large_payload_of_the_builtin_whose_times_can_not_be_read_is_damage(tmp_path: Path) -> None:
    data = SensorData(binary=bytes(2_000_000))
    data.metadata.time_requested.FromNanoseconds(5)
    message = data.SerializeToString()
    times = data.metadata.SerializeToString()
    damaged = message.replace(times, b"\x0f" + times[1:], 1)  # a field of no kind that there is
    path = tmp_path / "a.capture"
    path.write_bytes(builtin_file(metadata(type=DataType.DATA_TYPE_BINARY_SENSOR), [message, damaged]))
    reader = CaptureReader(FileSystem(), str(path))
    assert len(list(capture_calls(reader.metadata, reader.contents(MAX_UNARY_BINARY_BYTES), "p"))) == 1
    assert (reader.readings, reader.damaged_readings) == (1, 1)
    reader.close()


@pytest.mark.parametrize("offset", [1_000_000, -20, -1])
def test_a_large_payload_that_is_altered_while_it_is_sent_does_not_come_to_its_end(
    tmp_path: Path, offset: int
) -> None:
    header = metadata(type=DataType.DATA_TYPE_BINARY_SENSOR, mime_type="image/jpeg")
    path = write_capture_file(tmp_path, "a", [SensorData(binary=bytes(2_000_000)).SerializeToString()], header)
    reader = CaptureReader(FileSystem(), str(path))
    (call,) = capture_calls(reader.metadata, reader.contents(MAX_UNARY_BINARY_BYTES), "p")
    reader.close()
    assert isinstance(call, StreamCall)
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)
    with pytest.raises(StorageError, match="it was damaged while it was sent"):
        list(call.messages())


def test_the_contents_of_a_file_are_messages_as_protobuf_makes_them() -> None:
    for chunk in (b"x", bytes(127), bytes(128), bytes(65_536)):
        expected = FileUploadRequest(file_contents=FileData(data=chunk)).SerializeToString()
        assert file_contents(chunk) == expected


FORGED = [b"", b"\xff" * 40, b"\x0a\x06\x0a\x04\x08" + b"\xff" * 30, b"\x0a\x20\x0a\x10\x08", b"\x12\x05ab"]


@pytest.mark.parametrize("kind", ["DATA_TYPE_TABULAR_SENSOR", "DATA_TYPE_BINARY_SENSOR"])
@pytest.mark.parametrize("message", [*FORGED, b"\x12\x80\x89\x7a" + b"\x0a\x00" * 1_000_000], ids=range(6))
def test_what_is_no_reading_and_has_the_right_check_goes_to_the_cloud_as_it_is(
    tmp_path: Path, message: bytes, kind: Any
) -> None:
    """A check is no signature: another user of the computer can make such a file. The cloud refuses it."""
    calls = calls_of(tmp_path, [message], type=kind)
    assert len(calls) == 1 and isinstance(calls[0], UnaryCall)
    assert calls[0].request.endswith(message) and calls[0].readings == 1
    assert calls[0].as_stream() is None
