"""Frames: what is written is read back, and damage never becomes a reading."""

from __future__ import annotations

import itertools
import random
from itertools import pairwise
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st
from viam.proto.app.datasync import DataCaptureMetadata, SensorData, SensorMetadata
from viam.proto.common import GetReadingsResponse

from holdfast.errors import DamagedFileError
from holdfast.storage import frames

from . import samples

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
READINGS = st.dictionaries(st.text(max_size=10), VALUES, max_size=6)
TIMES_NS = st.integers(min_value=0, max_value=2**62)


def _sensor_data(requested_ns: int, received_ns: int, values: dict[str, Any]) -> SensorData:
    """As protobuf itself builds it."""
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
def test_a_message_is_what_protobuf_makes_of_the_same_reading(
    requested_ns: int, received_ns: int, values: dict[str, Any]
) -> None:
    built = frames.tabular_message(requested_ns, received_ns, frames.readings_payload(samples.response(values)))
    expected = _sensor_data(requested_ns, received_ns, values)
    assert SensorData.FromString(built) == expected
    assert len(built) == expected.ByteSize()


@given(TIMES_NS, READINGS)
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


@given(st.lists(st.tuples(TIMES_NS, READINGS), max_size=5), st.text(max_size=10))
def test_a_file_is_read_back_as_it_was_written(readings: list[tuple[int, dict[str, Any]]], name: str) -> None:
    header = samples.metadata(name)
    written = [_sensor_data(time_ns, time_ns, values).SerializeToString() for time_ns, values in readings]
    data = samples.our_file(header, written)
    found = frames.scan(data)
    assert found.metadata == header
    assert found.readings == written
    assert (found.checked, found.damaged, found.torn_bytes, found.good_end) == (True, [], 0, len(data))


@given(st.lists(READINGS, max_size=5))
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


@given(st.lists(READINGS, max_size=5))
def test_files_of_the_builtin_are_read_the_same(readings: list[dict[str, Any]]) -> None:
    header = samples.metadata()
    written = [samples.message(number, values) for number, values in enumerate(readings)]
    data = samples.builtin_file(header, written)
    found = frames.scan(data)
    assert (found.checked, found.metadata, found.readings) == (False, header, written)
    assert (found.damaged, found.torn_bytes, found.good_end) == ([], 0, len(data))


def test_a_message_without_data_in_a_file_of_the_builtin_is_no_reading() -> None:
    written = [*samples.messages(2), SensorData(metadata=SensorMetadata()).SerializeToString()]
    found = frames.scan(samples.builtin_file(samples.metadata(), written))
    assert found.readings == written[:2]
    assert len(found.damaged) == 1


def test_a_binary_reading_is_read_back() -> None:
    written = [SensorData(metadata=SensorMetadata(), binary=b"\x00\xff" * 5000).SerializeToString()]
    for make in (samples.our_file, samples.builtin_file):
        assert frames.scan(make(samples.metadata(), written)).readings == written


def test_a_response_is_wrapped_without_being_decoded() -> None:
    response = GetReadingsResponse()
    response.readings["t"].number_value = 1.5
    payload = Struct.FromString(frames.readings_payload(response.SerializeToString()))
    assert dict(payload["readings"]) == {"t": 1.5}  # type: ignore[arg-type]


def _ends(header: DataCaptureMetadata, readings: list[bytes], *, checked: bool) -> list[int]:
    """The offsets behind the header and behind each reading."""
    make = samples.our_file if checked else samples.builtin_file
    return [len(make(header, readings[:count])) for count in range(len(readings) + 1)]


@pytest.mark.parametrize("checked", [True, False], ids=["ours", "the builtin's"])
def test_a_torn_tail_costs_at_most_one_frame(checked: bool) -> None:
    header, written = samples.metadata(), samples.messages(5)
    data = (samples.our_file if checked else samples.builtin_file)(header, written)
    ends = _ends(header, written, checked=checked)
    for cut in range(ends[0], len(data)):
        found = frames.scan(data[:cut])
        whole = sum(end <= cut for end in ends) - 1
        assert found.readings == written[:whole]
        assert found.good_end == ends[whole]
        assert found.torn_bytes == cut - ends[whole]
        assert found.torn_readings == (cut not in ends)
        assert found.damaged == []


@pytest.mark.parametrize("checked", [True, False], ids=["ours", "the builtin's"])
def test_a_torn_header_is_a_damaged_file(checked: bool) -> None:
    header, written = samples.metadata(), samples.messages(1)
    data = (samples.our_file if checked else samples.builtin_file)(header, written)
    for cut in range(_ends(header, written, checked=checked)[0]):
        with pytest.raises(DamagedFileError):
            frames.scan(data[:cut])


@pytest.mark.parametrize("checked", [True, False], ids=["ours", "the builtin's"])
@pytest.mark.parametrize("zeros", [1, 2, 6, 7, 8, 11, 127, 128, 511, 512, 4095, 4096, 65536])
def test_a_zero_filled_tail_delivers_nothing_extra(checked: bool, zeros: int) -> None:
    header, written = samples.metadata(), samples.messages(3)
    data = (samples.our_file if checked else samples.builtin_file)(header, written)
    found = frames.scan(data + bytes(zeros))
    assert found.readings == written
    assert (found.good_end, found.torn_bytes, found.torn_readings) == (len(data), zeros, 0)
    assert found.damaged == []


@pytest.mark.parametrize("checked", [True, False], ids=["ours", "the builtin's"])
@pytest.mark.parametrize("zeros", [1, 7, 40, 512, 4096])
def test_zeros_behind_a_torn_frame_deliver_nothing_extra(checked: bool, zeros: int) -> None:
    header, written = samples.metadata(), samples.messages(3)
    data = (samples.our_file if checked else samples.builtin_file)(header, written)
    *_, last_start, _ = _ends(header, written, checked=checked)
    for cut in range(last_start + 1, len(data)):
        found = frames.scan(data[:cut] + bytes(zeros))
        if checked:
            assert found.readings in (written[:2], written)  # the last one's check may end in the zeros
        else:
            assert found.readings[:2] == written[:2]
            assert len(found.readings) <= 3
        assert found.good_end >= last_start


def test_damage_in_the_middle_costs_the_frames_that_it_touches() -> None:
    header, written = samples.metadata(), samples.messages(10)
    ends = _ends(header, written, checked=True)
    data = bytearray(samples.our_file(header, written))
    data[ends[3] + 5 : ends[5] - 20] = random.Random(1).randbytes(ends[5] - 20 - ends[3] - 5)
    found = frames.scan(bytes(data))
    assert found.readings == written[:3] + written[5:]
    assert found.damaged == [(ends[3], ends[5])]
    assert found.good_end == len(data)


def test_lost_bytes_in_the_middle_cost_the_frames_that_they_touch() -> None:
    header, written = samples.metadata(), samples.messages(10)
    ends = _ends(header, written, checked=True)
    data = samples.our_file(header, written)
    found = frames.scan(data[: ends[3] + 30] + data[ends[4] + 40 :])
    assert found.readings == written[:3] + written[5:]
    assert len(found.damaged) == 1


def test_a_frame_of_another_file_is_no_reading_of_this_one() -> None:
    mine, foreign = samples.messages(2), samples.messages(1, first=100)
    other = frames.FrameEncoder(samples.metadata("another"))
    data = samples.our_file(samples.metadata(), mine[:1]) + other.encode(foreign[0])
    data += frames.FrameEncoder(samples.metadata()).encode(mine[1])
    found = frames.scan(data)
    assert found.readings == mine
    assert len(found.damaged) == 1


def test_a_file_of_ours_whose_header_lost_its_check_is_not_taken_for_the_builtins() -> None:
    header, written = samples.metadata(), samples.messages(2)
    ours = samples.our_file(header, written)
    head = header.SerializeToString()
    with pytest.raises(DamagedFileError):
        frames.scan(frames.varint(len(head)) + head + ours[_ends(header, written, checked=True)[0] :])


@pytest.mark.parametrize("resource_and_method", [("", ""), ("", "x")])
def test_a_header_that_names_nothing_is_a_damaged_file(resource_and_method: tuple[str, str]) -> None:
    _, name = resource_and_method
    header = DataCaptureMetadata(component_name=name, tags=["x"])
    for make in (samples.our_file, samples.builtin_file):
        with pytest.raises(DamagedFileError):
            frames.scan(make(header, samples.messages(1)))


SAMPLE_FILES = [
    pytest.param(name, values, id=f"{len(name)} letters, {len(str(values))} bytes")
    for name in ("s", "sss", "sssss", "lidar", "a_sensor_with_a_long_name_on_the_roof")
    for values in ({"temperature": "a" * 20}, {"usage": "on"}, {"x": 1.5}, {"note": "n" * 200, "ok": True})
]


def _parts(header: DataCaptureMetadata, written: list[bytes]) -> dict[str, list[int]]:
    """The offsets of all bytes of a file of ours, by what they are."""
    ends = _ends(header, written, checked=True)
    found: dict[str, list[int]] = {}
    for kind, (start, end), message in zip(
        ["header", *["frame"] * len(written)], pairwise([0, *ends]), [None, *written], strict=True
    ):
        size = end - start - 7 if message is None else len(message)
        length = len(frames.varint((header.ByteSize() if message is None else size) + 7))
        for part, first, last in (
            ("length", start, start + length),
            ("body", start + length, end - 7),
            ("tag", end - 7, end - 4),
            ("sum", end - 4, end),
        ):
            found.setdefault(f"{part} of a {kind}", []).extend(range(first, last))
    return found


@pytest.mark.parametrize(
    "part",
    [
        "length of a header",
        "body of a header",
        "tag of a header",
        "sum of a header",
        "length of a frame",
        "body of a frame",
        "tag of a frame",
        "sum of a frame",
    ],
)
def test_a_flipped_bit_costs_at_most_one_reading_or_says_that_the_file_is_damaged(part: str) -> None:
    for sample in SAMPLE_FILES:
        name, values = sample.values
        header = samples.metadata(name)  # type: ignore[arg-type]
        written = [samples.message(number, values) for number in range(4)]  # type: ignore[arg-type]
        data = samples.our_file(header, written)
        for bit in (8 * offset + bit for offset in _parts(header, written)[part] for bit in range(8)):
            damaged = bytearray(data)
            damaged[bit // 8] ^= 1 << bit % 8
            try:
                found = frames.scan(bytes(damaged))
            except DamagedFileError:
                assert "header" in part
                continue
            assert set(found.readings) <= set(written), f"an altered reading: bit {bit} of {sample.id}"
            assert len(found.readings) >= 3, f"{4 - len(found.readings)} readings lost: bit {bit} of {sample.id}"
            assert found.damaged or found.torn_bytes or len(found.readings) == 4


def test_a_flipped_bit_in_the_headers_length_never_makes_a_reading_up() -> None:
    time_ns = 1_700_000_000_000_000_123
    payload = frames.readings_payload(samples.response({"temperature": "a" * 20}))
    written = [frames.tabular_message(time_ns + n * 10_000_000, time_ns + 456_666, payload) for n in range(4)]
    data = bytearray(samples.our_file(samples.metadata("sss"), written))
    data[0] ^= 0b10  # 52 → 54 bytes: the header "ends" within the first frame
    try:
        found = frames.scan(bytes(data))
    except DamagedFileError:
        return
    assert set(found.readings) <= set(written)


def test_a_flipped_length_that_leads_to_a_later_frame_costs_one_reading() -> None:
    header = samples.metadata()
    encoder = frames.FrameEncoder(header)
    texts = (samples.message(1, {"t": "x" * count}) for count in range(200))
    written = [next(message for message in texts if len(encoder.encode(message)) == 64)] * 4
    data = bytearray(samples.our_file(header, written))
    data[len(encoder.header_frame)] ^= 64  # the first frame's length: now it ends with the second one
    assert len(frames.scan(bytes(data)).readings) == 3


@given(st.binary(max_size=400))
def test_garbage_is_a_damaged_file_or_damage_and_nothing_else(data: bytes) -> None:
    try:
        found = frames.scan(data)
    except DamagedFileError:
        return
    for reading in found.readings:
        SensorData.FromString(reading)


@given(st.binary(min_size=1, max_size=300), st.booleans())
def test_garbage_behind_the_readings_costs_none_of_them(garbage: bytes, checked: bool) -> None:
    header, written = samples.metadata(), samples.messages(2)
    data = (samples.our_file if checked else samples.builtin_file)(header, written)
    found = frames.scan(data + garbage)
    assert found.readings[:2] == written
    assert found.damaged or found.torn_bytes or len(found.readings) > 2
    if checked:
        assert found.readings == written


@given(st.data())
def test_damage_anywhere_in_a_file_of_ours_never_becomes_a_reading(data: st.DataObject) -> None:
    written = samples.messages(4)
    file = bytearray(samples.our_file(samples.metadata(), written))
    start = data.draw(st.integers(_ends(samples.metadata(), written, checked=True)[0], len(file) - 1))
    file[start : start + data.draw(st.integers(0, 80))] = data.draw(st.binary(max_size=80))
    found = frames.scan(bytes(file))
    assert set(found.readings) <= set(written)
    assert found.readings == sorted(found.readings, key=samples.number_of)
    assert 0 <= found.good_end <= len(file)


@given(st.data())
@settings(max_examples=1500, deadline=None)
def test_any_two_flipped_bits_never_alter_or_invent_a_reading(data: st.DataObject) -> None:
    written = samples.messages(4)
    file = bytearray(samples.our_file(samples.metadata(), written))
    bits = 8 * len(file)
    # Half of the draws go for the places whose damage could make the file pass for the builtin's.
    special = st.integers(0, 8 * 60)
    for position in data.draw(st.tuples(st.integers(0, bits - 1) | special, st.integers(0, bits - 1) | special)):
        file[position // 8] ^= 1 << position % 8
    try:
        found = frames.scan(bytes(file))
    except DamagedFileError:
        return
    assert [reading for reading in found.readings if reading not in written] == []
    assert len(found.readings) <= 4


def test_every_pair_of_flips_in_the_check_tags_of_header_and_first_frames_is_noticed() -> None:
    header, written = samples.metadata(), samples.messages(4)
    ends = _ends(header, written, checked=True)
    tags = [8 * (end - 7) + bit for end in ends[:3] for bit in range(24)]
    for first, second in itertools.combinations(tags, 2):
        file = bytearray(samples.our_file(header, written))
        for position in (first, second):
            file[position // 8] ^= 1 << position % 8
        try:
            found = frames.scan(bytes(file))
        except DamagedFileError:
            continue
        assert [reading for reading in found.readings if reading not in written] == []
