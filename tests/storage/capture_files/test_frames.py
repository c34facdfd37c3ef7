"""Frames are what protobuf itself would write, and protobuf reads them."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from viam.proto.app.datasync import DataCaptureMetadata, SensorData, SensorMetadata
from viam.proto.common import GetReadingsResponse

from holdfast.storage.capture_files import frames

from .. import samples
from ..samples import READINGS

TIMES_NS = st.integers(min_value=0, max_value=2**62)


def _sensor_data(requested_ns: int, received_ns: int, values: dict[str, Any]) -> SensorData:
    """Returns what protobuf itself builds."""
    requested, received = Timestamp(), Timestamp()
    requested.FromNanoseconds(requested_ns)
    received.FromNanoseconds(received_ns)
    struct = Struct()
    struct.update({"readings": values})
    return SensorData(
        metadata=SensorMetadata(time_requested=requested, time_received=received),
        struct=struct,
    )


@given(TIMES_NS, TIMES_NS, READINGS)
@settings(max_examples=50)
def test_a_message_is_what_protobuf_makes_of_the_same_reading(
    requested_ns: int, received_ns: int, values: dict[str, Any]
) -> None:
    built = frames.tabular_message(requested_ns, received_ns, frames.readings_payload(samples.response(values)))
    expected = _sensor_data(requested_ns, received_ns, values)
    assert SensorData.FromString(built) == expected
    assert len(built) == expected.ByteSize()


@given(TIMES_NS, READINGS)
@settings(max_examples=50)
def test_a_message_of_one_entry_is_byte_for_byte_protobufs(time_ns: int, values: dict[str, Any]) -> None:
    single = dict(list(values.items())[:1])
    single = {key: 1.5 if isinstance(value, dict) else value for key, value in single.items()}  # map order is free
    single = {key: [] if isinstance(value, list) else value for key, value in single.items()}
    built = frames.tabular_message(time_ns, time_ns + 1, frames.readings_payload(samples.response(single)))
    assert built == _sensor_data(time_ns, time_ns + 1, single).SerializeToString()


@given(st.integers(min_value=0, max_value=2**70 - 1), st.binary(max_size=3))
def test_a_varint_is_read_back_whatever_follows(value: int, behind: bytes) -> None:
    written = frames.varint(value)
    assert frames.read_varint(written + behind, 0) == (value, len(written))


@given(st.lists(READINGS, max_size=5))
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_plain_protobuf_reads_our_files_and_passes_over_the_checks(readings: list[dict[str, Any]]) -> None:
    header = samples.metadata(tags=("a", "b"))
    written = [samples.message(number, values) for number, values in enumerate(readings)]
    head, *bodies = samples.plain_messages(samples.our_file(header, written))
    read_header = DataCaptureMetadata.FromString(head)
    read = [SensorData.FromString(body) for body in bodies]
    for read_message in (read_header, *read):
        read_message.DiscardUnknownFields()  # type: ignore[attr-defined]
    assert read_header == header
    assert read == [SensorData.FromString(message) for message in written]


def test_a_response_is_wrapped_without_being_decoded() -> None:
    response = GetReadingsResponse()
    response.readings["t"].number_value = 1.5
    payload = Struct.FromString(frames.readings_payload(response.SerializeToString()))
    assert dict(payload["readings"]) == {"t": 1.5}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "time_ns", [0, 1, -1, -1_000_000_000, -286_825_166_691_717_702, 1 - (1 << 63), (1 << 63) - 1]
)
def test_a_time_is_that_of_protobuf_also_before_1970(time_ns: int) -> None:
    read = Timestamp.FromString(frames.timestamp(time_ns))
    assert read.seconds * 1_000_000_000 + read.nanos == time_ns
    assert 0 <= read.nanos < 1_000_000_000
    message = SensorData.FromString(frames.tabular_message(time_ns, time_ns, b""))
    assert message.metadata.time_received == read
