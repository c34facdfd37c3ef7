"""Reading files back: no crash and no damage makes a reading up, and none costs more than what it touches.

Each scan here also checks that good frames, damage and torn end cover the file: see `samples.scan`.
"""

from __future__ import annotations

import itertools
import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from viam.proto.app.datasync import DataCaptureMetadata, DataType, SensorData, SensorMetadata

from holdfast.errors import DamagedFileError
from holdfast.storage.capture_files import frames

from .. import samples
from ..samples import READINGS

HUGE_LENGTH = b"\x80" * 9 + b"\x01"
"""2 ** 63: more than a file can have."""


def flipped(data: bytes, *bits: int) -> bytes:
    out = bytearray(data)
    for bit in bits:
        out[bit // 8] ^= 1 << bit % 8
    return bytes(out)


@given(st.lists(READINGS, max_size=5), st.text(max_size=10))
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_a_file_is_read_back_as_it_was_written(readings: list[dict[str, Any]], name: str) -> None:
    header = samples.metadata(name)
    written = [samples.message(number, values) for number, values in enumerate(readings)]
    data = samples.our_file(header, written)
    found = samples.scan(data)
    assert found.metadata == header
    assert found.readings == written
    assert (found.checked, found.damaged, found.torn_bytes, found.good_end) == (True, [], 0, len(data))


@given(st.lists(READINGS, max_size=5))
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_files_of_the_builtin_are_read_the_same(readings: list[dict[str, Any]]) -> None:
    header = samples.metadata()
    written = [samples.message(number, values) for number, values in enumerate(readings)]
    data = samples.builtin_file(header, written)
    found = samples.scan(data)
    assert (found.checked, found.metadata, found.readings) == (False, header, written)
    assert (found.damaged, found.torn_bytes, found.good_end) == ([], 0, len(data))


def test_a_message_without_data_in_a_file_of_the_builtin_is_no_reading() -> None:
    written = [*samples.messages(2), SensorData(metadata=SensorMetadata()).SerializeToString()]
    found = samples.scan(samples.builtin_file(samples.metadata(), written))
    assert found.readings == written[:2]
    assert len(found.damaged) == 1


@pytest.mark.parametrize(
    "header",
    [
        samples.old_images_header(method_name="ReadImage"),
        samples.metadata(),
        samples.old_images_header(type=DataType.DATA_TYPE_TABULAR_SENSOR),
    ],
    ids=str,
)
def test_a_reading_of_another_kind_than_the_header_tells_is_none(header: DataCaptureMetadata) -> None:
    tabular = header.type == DataType.DATA_TYPE_TABULAR_SENSOR
    wrong = samples.picture(b"\xff") if tabular else samples.message(1)
    found = samples.scan(samples.builtin_file(header, [wrong]))
    assert (found.readings, found.damaged_readings) == ([], 1)


@pytest.mark.parametrize("kind", [DataType.DATA_TYPE_UNSPECIFIED, DataType.DATA_TYPE_FILE])
def test_a_header_that_tells_no_kind_of_readings_is_damage(kind: DataType.ValueType) -> None:
    with pytest.raises(DamagedFileError):
        samples.scan(samples.builtin_file(samples.old_images_header(type=kind), [samples.message(1)]))


def test_old_images_of_any_length_are_readings_and_what_can_not_be_images_is_damage() -> None:
    good = [samples.old_images_reading({"left": bytes(40_000), "right": b""}, number) for number in range(3)]
    found = samples.scan(samples.builtin_file(samples.old_images_header(), [*good, samples.message(1)]))
    assert (found.readings, found.damaged_readings) == (good, 1)


def test_a_binary_reading_is_read_back() -> None:
    written = [samples.picture(b"\x00\xff" * 5000)]
    for checked in (True, False):
        assert samples.scan(samples.file_of(checked)(samples.pictures_header(), written)).readings == written


@samples.BOTH
def test_a_torn_tail_costs_at_most_one_frame(checked: bool) -> None:
    header, written = samples.metadata(), samples.messages(5)
    data = samples.file_of(checked)(header, written)
    ends = samples.ends(header, written, checked=checked)
    for cut in range(ends[0], len(data)):
        found = samples.scan(data[:cut])
        whole = sum(end <= cut for end in ends) - 1
        assert found.readings == written[:whole]
        assert found.good_end == ends[whole]
        assert found.torn_bytes == cut - ends[whole]
        assert found.torn_readings == (cut not in ends)
        assert found.damaged == []


@samples.BOTH
def test_a_torn_header_is_a_damaged_file(checked: bool) -> None:
    header, written = samples.metadata(), samples.messages(1)
    data = samples.file_of(checked)(header, written)
    for cut in range(samples.ends(header, written, checked=checked)[0]):
        with pytest.raises(DamagedFileError):
            samples.scan(data[:cut])


@samples.BOTH
@pytest.mark.parametrize("zeros", [1, 2, 6, 7, 8, 11, 127, 128, 511, 512, 4095, 4096, 65536])
def test_a_zero_filled_tail_delivers_nothing_extra(checked: bool, zeros: int) -> None:
    header, written = samples.metadata(), samples.messages(3)
    data = samples.file_of(checked)(header, written)
    found = samples.scan(data + bytes(zeros))
    assert found.readings == written
    assert (found.good_end, found.torn_bytes, found.torn_readings) == (len(data), zeros, 0)
    assert found.damaged == []


@samples.BOTH
@pytest.mark.parametrize("zeros", [1, 7, 40, 512, 4096])
def test_zeros_behind_a_torn_frame_deliver_nothing_extra(checked: bool, zeros: int) -> None:
    header, written = samples.metadata(), samples.messages(3)
    data = samples.file_of(checked)(header, written)
    *_, last_start, _ = samples.ends(header, written, checked=checked)
    for cut in range(last_start + 1, len(data)):
        found = samples.scan(data[:cut] + bytes(zeros))
        if checked:
            assert found.readings in (written[:2], written)  # the check of the last one may end in zeros itself
        else:
            assert found.readings[:2] == written[:2]
            assert len(found.readings) <= 3
        assert found.good_end >= last_start


def test_damage_in_the_middle_costs_the_frames_that_it_touches() -> None:
    header, written = samples.metadata(), samples.messages(10)
    ends = samples.ends(header, written, checked=True)
    data = bytearray(samples.our_file(header, written))
    data[ends[3] + 5 : ends[5] - 20] = random.Random(1).randbytes(ends[5] - 20 - ends[3] - 5)
    found = samples.scan(bytes(data))
    assert found.readings == written[:3] + written[5:]
    assert found.damaged == [(ends[3], ends[5])]
    assert found.good_end == len(data)


def test_lost_bytes_in_the_middle_cost_the_frames_that_they_touch() -> None:
    header, written = samples.metadata(), samples.messages(10)
    ends = samples.ends(header, written, checked=True)
    data = samples.our_file(header, written)
    found = samples.scan(data[: ends[3] + 30] + data[ends[4] + 40 :])
    assert found.readings == written[:3] + written[5:]
    assert len(found.damaged) == 1


def test_a_frame_of_another_file_is_no_reading_of_this_one() -> None:
    mine, foreign = samples.messages(2), samples.messages(1, first=100)
    other = frames.FrameEncoder(samples.metadata("another"))
    data = samples.our_file(samples.metadata(), mine[:1]) + other.encode(foreign[0])
    data += frames.FrameEncoder(samples.metadata()).encode(mine[1])
    found = samples.scan(data)
    assert found.readings == mine
    assert len(found.damaged) == 1


def test_the_readings_in_a_damaged_range_are_counted_by_their_checks() -> None:
    mine, foreign = samples.messages(2), samples.messages(3, first=100)
    encoder, other = (frames.FrameEncoder(samples.metadata(name)) for name in ("lidar", "another"))
    data = encoder.header_frame + encoder.encode(mine[0])
    found = samples.scan(data + b"".join(map(other.encode, foreign)) + encoder.encode(mine[1]))
    assert found.readings == mine
    assert (len(found.damaged), found.damaged_readings) == (1, 3)


def test_a_file_of_ours_whose_header_lost_its_check_is_not_taken_for_the_builtins() -> None:
    header, written = samples.metadata(), samples.messages(2)
    ours = samples.our_file(header, written)
    head = header.SerializeToString()
    with pytest.raises(DamagedFileError):
        samples.scan(frames.varint(len(head)) + head + ours[samples.ends(header, written, checked=True)[0] :])


@pytest.mark.parametrize("resource_and_method", [("", ""), ("", "x")])
def test_a_header_that_names_nothing_is_a_damaged_file(resource_and_method: tuple[str, str]) -> None:
    _, name = resource_and_method
    header = DataCaptureMetadata(component_name=name, tags=["x"])
    for checked in (True, False):
        with pytest.raises(DamagedFileError):
            samples.scan(samples.file_of(checked)(header, samples.messages(1)))


SAMPLE_FILES = [
    pytest.param(name, values, id=f"{len(name)} letters, {len(str(values))} bytes")
    for name in ("s", "sss", "sssss", "lidar", "a_sensor_with_a_long_name_on_the_roof")
    for values in ({"temperature": "a" * 20}, {"usage": "on"}, {"x": 1.5}, {"note": "n" * 200, "ok": True})
]


def _parts(header: DataCaptureMetadata, written: list[bytes]) -> dict[str, list[int]]:
    """Returns the offsets of all bytes in a file of ours, by what they belong to."""
    ends = samples.ends(header, written, checked=True)
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
                found = samples.scan(bytes(damaged))
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
        found = samples.scan(bytes(data))
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
    assert len(samples.scan(bytes(data)).readings) == 3


@pytest.mark.parametrize("part", ["body of a header", "sum of a header"])
def test_a_flipped_bit_in_a_header_that_nothing_follows_is_a_damaged_file(part: str) -> None:
    """No frame shows then that there were checks."""
    header = samples.metadata()
    data = samples.our_file(header, [])
    for bit in (8 * offset + bit for offset in _parts(header, [])[part] for bit in range(8)):
        assert samples.scan_or_refuse(flipped(data, bit)) is None


@given(st.binary(max_size=400))
def test_garbage_is_a_damaged_file_or_damage_and_nothing_else(data: bytes) -> None:
    try:
        found = samples.scan(data)
    except DamagedFileError:
        return
    for reading in found.readings:
        SensorData.FromString(reading)


@given(st.binary(min_size=1, max_size=300), st.booleans())
@example(HUGE_LENGTH, True)
@example(HUGE_LENGTH, False)
def test_garbage_behind_the_readings_costs_none_of_them(garbage: bytes, checked: bool) -> None:
    header, written = samples.metadata(), samples.messages(2)
    data = samples.file_of(checked)(header, written)
    found = samples.scan(data + garbage)
    assert found.readings[:2] == written
    assert found.damaged or found.torn_bytes or len(found.readings) > 2
    if checked:
        assert found.readings == written


@given(st.data())
def test_damage_anywhere_in_a_file_of_ours_never_becomes_a_reading(data: st.DataObject) -> None:
    written = samples.messages(4)
    file = bytearray(samples.our_file(samples.metadata(), written))
    start = data.draw(st.integers(samples.ends(samples.metadata(), written, checked=True)[0], len(file) - 1))
    file[start : start + data.draw(st.integers(0, 80))] = data.draw(st.binary(max_size=80))
    found = samples.scan(bytes(file))
    assert set(found.readings) <= set(written)
    assert found.readings == sorted(found.readings, key=samples.number_of)
    assert 0 <= found.good_end <= len(file)


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_any_two_flipped_bits_never_alter_or_invent_a_reading(data: st.DataObject) -> None:
    written = samples.messages(4)
    file = bytearray(samples.our_file(samples.metadata(), written))
    bits = 8 * len(file)
    # Half of the draws hit the places whose damage could make the file look like the builtin's.
    special = st.integers(0, 8 * 60)
    for position in data.draw(st.tuples(st.integers(0, bits - 1) | special, st.integers(0, bits - 1) | special)):
        file[position // 8] ^= 1 << position % 8
    try:
        found = samples.scan(bytes(file))
    except DamagedFileError:
        return
    assert [reading for reading in found.readings if reading not in written] == []
    assert len(found.readings) <= 4


def test_every_pair_of_flips_in_the_check_tags_of_header_and_first_frames_is_noticed() -> None:
    header, written = samples.metadata(), samples.messages(4)
    ends = samples.ends(header, written, checked=True)
    tags = [8 * (end - 7) + bit for end in ends[:3] for bit in range(24)]
    for first, second in itertools.combinations(tags, 2):
        file = bytearray(samples.our_file(header, written))
        for position in (first, second):
            file[position // 8] ^= 1 << position % 8
        try:
            found = samples.scan(bytes(file))
        except DamagedFileError:
            continue
        assert [reading for reading in found.readings if reading not in written] == []


@samples.BOTH
@pytest.mark.parametrize("zeros", [1, 40, 700])
def test_a_tail_of_zeros_from_any_point_on_makes_no_reading_up(checked: bool, zeros: int) -> None:
    """A power cut may leave a file with its full size but only a part of its content."""
    header, written = samples.metadata(), samples.messages(3)
    data = samples.file_of(checked)(header, written)
    ends = samples.ends(header, written, checked=checked)
    for cut in range(ends[0], len(data)):
        found = samples.scan(data[:cut] + bytes(zeros))
        whole = sum(end <= cut for end in ends) - 1
        assert found.readings[:whole] == written[:whole]
        if cut in ends:
            assert (found.readings, found.torn_bytes, found.torn_readings) == (written[:whole], zeros, 0)
        if checked:
            assert found.readings in (written[:whole], written[: whole + 1])  # its last bytes may be zeros
        else:  # where a number is cut off and zeros follow, that can't be known
            begun = SensorData.FromString(written[whole]).metadata
            assert len(found.readings) <= whole + 1
            assert all(SensorData.FromString(reading).metadata == begun for reading in found.readings[whole:])


def test_a_flipped_bit_in_a_file_of_the_builtin_alters_at_most_one_reading_and_makes_none_up() -> None:
    """It has no checks, so an altered value can't be noticed."""
    written = samples.messages(4)
    data = samples.builtin_file(samples.metadata(), written)
    for bit in range(8 * len(data)):
        found = samples.scan_or_refuse(flipped(data, bit))
        if found is not None:
            assert len(found.readings) <= 4
            assert sum(reading not in written for reading in found.readings) <= 1
            assert not found.checked


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_two_flipped_bits_in_a_file_of_the_builtin_alter_at_most_two_readings(data: st.DataObject) -> None:
    written = samples.messages(4)
    file = samples.builtin_file(samples.metadata(), written)
    bits = st.integers(0, 8 * len(file) - 1)
    found = samples.scan_or_refuse(flipped(file, data.draw(bits), data.draw(bits)))
    if found is not None:
        assert len(found.readings) <= 4
        assert sum(reading not in written for reading in found.readings) <= 2


def test_the_last_frame_of_ours_with_a_flipped_length_is_damage_and_not_torn() -> None:
    """Torn ends are cut off and gone; damage is kept."""
    for size in (5, 200):
        header = samples.metadata()
        written = [samples.message(number, {"note": "n" * size}) for number in range(3)]
        data = samples.our_file(header, written)
        start = samples.ends(header, written, checked=True)[2]
        length_bytes = len(frames.varint(len(written[2]) + frames.CHECK_SIZE))
        for bit in range(8 * start, 8 * (start + length_bytes)):
            found = samples.scan(flipped(data, bit))
            assert found.readings == written[:2]
            assert (found.damaged, found.torn_bytes) == ([(start, len(data))], 0)


def test_a_frame_of_the_builtin_that_is_too_long_for_an_unfinished_one_is_damage() -> None:
    """Its writer leaves at most one buffer; several frames of which the first has a wrong length are longer."""
    few, many = samples.messages(10), samples.messages(200)
    for written, damaged in ((few, False), (many, True)):
        data = bytearray(samples.builtin_file(samples.metadata(), written))
        start = samples.ends(samples.metadata(), written[:1], checked=False)[1]
        assert len(frames.varint(len(written[1]))) == 1
        data[start : start + 1] = frames.varint(1 << 20)
        found = samples.scan(bytes(data))
        assert found.readings == written[:1]
        assert bool(found.damaged) == damaged
        assert bool(found.torn_bytes) == (not damaged)


def test_a_torn_frame_of_the_builtin_may_be_twice_as_long_as_its_longest_one() -> None:
    header = samples.pictures_header()
    reading, torn = (samples.picture(bytes([1]) * size) for size in (5000, 20_000))
    data = samples.builtin_file(header, [reading, torn])
    start = len(samples.builtin_file(header, [reading]))
    frame = start - len(samples.builtin_file(header, []))
    whole = samples.scan(data[: start + 2 * frame])
    assert (whole.torn_bytes, whole.torn_readings, whole.damaged) == (2 * frame, 1, [])
    assert samples.scan(data[: start + 2 * frame + 1]).damaged == [(start, start + 2 * frame + 1)]
