"""Capture files that were made to cost much: what is done for one has a bound, and the rest of it is damage."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from viam.proto.app.datasync import DataCaptureMetadata, SensorData, SensorMetadata

from holdfast.errors import DamagedFileError
from holdfast.storage.capture_files import reader as readers
from holdfast.storage.capture_files.frames import CHECK_TAG, FrameEncoder, tabular_message, varint
from holdfast.storage.capture_files.old_images import MAX_ENTRIES, old_images
from holdfast.storage.capture_files.reader import (
    LEAST_READING_BYTES,
    MAX_HEADER_BYTES,
    MAX_NAME_CHARS,
    CaptureReader,
    count_checks,
)
from holdfast.storage.capture_files.shallow import MOST_DECODED_BYTES, binary_of, kind_of, metadata_of
from holdfast.storage.capture_files.source import WINDOW_BYTES

from ..samples import (
    InMemory,
    builtin_file,
    messages,
    metadata,
    old_images_reading,
    our_file,
    picture,
    pictures_header,
    scan,
    scan_or_refuse,
)

MakeFile = Callable[..., bytes]
GARBAGE = b"\xff" + CHECK_TAG + bytes(4)


class Counting(InMemory):
    """Counts what is read of its file."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.read_bytes = self.reads = 0

    def read_at(self, descriptor: int, path: str, offset: int, size_bytes: int) -> bytes:
        data = super().read_at(descriptor, path, offset, size_bytes)
        self.read_bytes, self.reads = self.read_bytes + len(data), self.reads + 1
        return data


def like_checks(claimed_bytes: int, size_bytes: int) -> bytes:
    """Returns bytes that look like ends of frames, each followed by the beginning of one that is as long."""
    unit = CHECK_TAG + bytes(4) + varint(claimed_bytes)
    return b"\xff" + unit * (size_bytes // len(unit))


def like_payloads(claimed_bytes: int, size_bytes: int) -> bytes:
    """Returns the same, with frames that seem to hold large payloads."""
    body = b"\x0a\x00\x1a" + varint(claimed_bytes)
    unit = CHECK_TAG + bytes(4) + varint(claimed_bytes + len(body) + 7) + body
    return b"\xff" + unit * (size_bytes // len(unit))


@pytest.mark.parametrize("header", [metadata(), pictures_header()], ids=["tabular", "binary"])
@pytest.mark.parametrize("made", [like_checks, like_payloads], ids=lambda made: str(made.__name__))
@pytest.mark.parametrize("claimed_part", [0.9, 0.3, 0.01])
def test_the_search_behind_damage_reads_a_few_times_the_file_at_most(
    header: DataCaptureMetadata, made: MakeFile, claimed_part: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "_PASS_BYTES", 0)
    size_bytes = 4 * WINDOW_BYTES
    data = our_file(header, [picture(b"x")]) + made(int(size_bytes * claimed_part), size_bytes)
    files = Counting(data)
    reader = CaptureReader(files, "x")
    found = list(reader.contents(1_000_000))
    assert len(found) == 1 and len(reader.damaged) == 1 and reader.damaged[0][1] == len(data)
    assert files.read_bytes < (readers._MOST_PASSES + 6) * len(data)
    assert files.reads < (readers._MOST_PASSES + 6) * len(data) / 512


def test_places_of_damage_have_a_bound_and_what_is_left_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "MAX_DAMAGED", 20)
    encoder, readings = FrameEncoder(metadata()), messages(40)
    data = encoder.header_frame + b"".join(GARBAGE + encoder.encode(reading) for reading in readings)
    found = scan(data)
    assert found.readings == readings[:20] and len(found.damaged) == 21
    assert found.damaged[-1][1] == len(data) and found.damaged_readings >= 40


def test_a_broken_disk_with_many_small_places_of_damage_costs_these_readings_only() -> None:
    encoder, readings = FrameEncoder(metadata()), messages(1500)
    frames = [encoder.encode(reading) for reading in readings]
    for number in range(0, 1500, 3):
        middle = len(frames[number]) // 2
        frames[number] = frames[number][:middle] + b"\xff\xff" + frames[number][middle + 2 :]
    found = scan(encoder.header_frame + b"".join(frames))
    assert found.readings == [reading for number, reading in enumerate(readings) if number % 3]
    assert found.damaged_readings == 500


@pytest.mark.parametrize("made", [our_file, builtin_file], ids=["ours", "the builtin's"])
def test_a_header_has_a_bound(made: MakeFile) -> None:
    good = metadata(tags=["x" * 100] * 2_000)
    assert good.ByteSize() < MAX_HEADER_BYTES
    assert scan(made(good, messages(2))).readings == messages(2)
    for bad in (metadata(tags=["x"] * 200_000), metadata(tags=["x" * 10_000_000])):
        files = Counting(made(bad, messages(2)))
        with pytest.raises(DamagedFileError, match="too long"):
            CaptureReader(files, "x")
        assert files.read_bytes < 2 * WINDOW_BYTES, "it is not read"


@pytest.mark.parametrize("field", ["component_type", "component_name", "method_name"])
def test_the_names_in_a_header_have_a_bound(field: str) -> None:
    """They are kept in the counts, and shown in the status."""
    header = metadata()
    setattr(header, field, "é" * MAX_NAME_CHARS)
    assert scan(our_file(header, messages(1))).readings == messages(1)
    setattr(header, field, "é" * (MAX_NAME_CHARS + 1))
    with pytest.raises(DamagedFileError, match=f"more than {MAX_NAME_CHARS}"):
        scan(our_file(header, messages(1)))


@pytest.mark.parametrize("length", [1 << 63, (1 << 64) - 1, 1 << 69, 1 << 40])
@pytest.mark.parametrize("made", [our_file, builtin_file], ids=["ours", "the builtin's"])
def test_a_length_beyond_all_bounds_is_damage(made: MakeFile, length: int) -> None:
    data = made(metadata(), messages(3))
    files = Counting(data + varint(length) + b"x" * 100_000)
    reader = CaptureReader(files, "x")
    assert list(reader) == messages(3) and (reader.damaged or reader.torn_bytes)
    assert files.read_bytes < 4 * (len(data) + 100_000)


@given(
    parts=st.lists(st.sampled_from([b"\xff", CHECK_TAG, bytes(4), GARBAGE]) | st.binary(max_size=12), max_size=30),
    good=st.lists(st.integers(0, 30), max_size=6),
)
def test_no_file_counts_more_readings_than_its_size_allows(parts: list[bytes], good: list[int]) -> None:
    encoder = FrameEncoder(metadata())
    for number in good:
        parts.insert(number, encoder.encode(b""))
    data = encoder.header_frame + b"".join(parts)
    found = scan_or_refuse(data)
    most = len(data) // LEAST_READING_BYTES + 1
    assert found is None or len(found.readings) + found.damaged_readings <= most
    assert count_checks(InMemory(data), "x") <= most


def nulls(count: int) -> bytes:
    """Returns a serialized `Struct` with a list of so many nulls."""
    values = b"\x0a\x02\x08\x00" * count
    listed = b"\x32" + varint(len(values)) + values
    entry = b"\x0a\x01a\x12" + varint(len(listed)) + listed
    return b"\x0a" + varint(len(entry)) + entry


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Yields the sizes of the messages that were decoded."""
    sizes: list[int] = []
    real = SensorData.FromString

    class Watched:
        @staticmethod
        def FromString(message: bytes) -> SensorData:
            sizes.append(len(message))
            return real(message)

    monkeypatch.setattr("holdfast.storage.capture_files.shallow.SensorData", Watched)
    yield sizes


def test_a_large_message_is_never_decoded(decoded: list[int]) -> None:
    large = tabular_message(1, 2, nulls(100_000))
    assert scan(builtin_file(metadata(), [*messages(2), large])).readings == [*messages(2), large]
    image = picture(bytes(100_000))
    assert scan(builtin_file(pictures_header(), [image])).readings == [image]
    assert decoded and max(decoded) < 100_000


@pytest.mark.parametrize("size_bytes", [10, 2 * MOST_DECODED_BYTES])
def test_small_and_large_messages_are_known_by_their_parts(size_bytes: int) -> None:
    times = SensorMetadata()
    times.time_requested.seconds = 86_400
    times_field = b"\x0a" + varint(times.ByteSize()) + times.SerializeToString()
    payload, content = b"x" * size_bytes, nulls(size_bytes // 4)
    binary = b"\x1a" + varint(len(payload)) + payload
    struct = b"\x12" + varint(len(content)) + content
    assert kind_of(times_field + binary) == kind_of(binary + times_field) == kind_of(struct + binary) == "binary"
    assert kind_of(times_field + struct) == kind_of(binary + struct) == "struct"
    assert bytes(binary_of(binary + times_field) or b"") == payload and binary_of(times_field + struct) is None
    assert metadata_of(binary + times_field) == metadata_of(times_field + struct) == times
    for wrong in (b"\x0a\x05ab" + binary, binary[:-1], b"\x0a\x02\xff\xff" + binary):
        assert kind_of(wrong) is None and metadata_of(wrong) is None
    assert kind_of(times_field) is None


def test_a_large_message_of_many_parts_is_no_reading() -> None:
    for part in (b"\x12\x00", b"\x20\x00", b"\x0a\x00"):
        assert kind_of(part * MOST_DECODED_BYTES) is None
    for count, kind in ((MOST_DECODED_BYTES // 2 - 9, "binary"), (MOST_DECODED_BYTES // 2 + 1, None)):
        long_metadata = b"\x0a" + varint(2 * count) + b"\x22\x00" * count
        assert kind_of(long_metadata + b"\x1a\x09" + bytes(9)) == kind


def test_an_answer_of_more_images_than_any_camera_has_is_no_old_one() -> None:
    assert old_images(old_images_reading({str(n): b"" for n in range(20)})) is not None
    assert old_images(old_images_reading({str(n): b"" for n in range(MAX_ENTRIES + 1)})) is None


@given(data=st.binary(max_size=300), header=st.sampled_from([metadata(), pictures_header()]))
def test_whatever_follows_a_header_is_read_or_refused(data: bytes, header: DataCaptureMetadata) -> None:
    for content in (our_file(header, []) + data, builtin_file(header, []) + data, data):
        scan_or_refuse(content)
    assert kind_of(data) in (None, "struct", "binary")
