"""A file is read one window at a time: where the windows end makes no difference."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from viam.proto.app.datasync import SensorData, SensorMetadata

from holdfast.base.filesystem import FileSystem
from holdfast.storage.capture_files import frames, reader, source
from holdfast.storage.capture_files.reader import count_checks, is_blank

from .. import samples

WINDOWS = (8, 64, 65, 127, 1000)


@contextmanager
def window_of(size_bytes: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "WINDOW_BYTES", size_bytes)
        yield


@samples.BOTH
def test_a_longer_frame_than_any_reading_is_damage(checked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_FRAME_BYTES", 600)
    monkeypatch.setattr(source, "MAX_FRAME_BYTES", 600)
    monkeypatch.setattr(source, "WINDOW_BYTES", 64)
    check = frames.CHECK_SIZE if checked else 0
    payload = b"x" * (600 - check - len(samples.picture(b"x" * 500)) + 500)
    written = [samples.picture(each) for each in (b"a", payload, payload + b"x", b"b")]
    assert len(written[1]) + check == 600
    header = samples.pictures_header()
    data = samples.file_of(checked)(header, written)
    found = samples.scan(data)
    ends = samples.ends(header, written, checked=checked)
    if checked:
        assert found.readings == [*written[:2], written[3]]
        assert found.damaged == [(ends[2], ends[3])]
    else:
        assert found.readings == written[:2]
        assert found.torn_bytes + sum(end - start for start, end in found.damaged) == len(data) - ends[2]


def test_a_torn_frame_that_holds_what_looks_like_a_check_is_kept() -> None:
    binary = SensorData(metadata=SensorMetadata(), binary=b"a" * 50 + frames.CHECK_TAG + b"b" * 50)
    data = samples.our_file(samples.metadata(), [samples.message(0), binary.SerializeToString()])
    assert len(samples.scan(data).readings) == 2
    found = samples.scan(data[:-20])
    assert len(found.readings) == 1
    assert (len(found.damaged), found.torn_bytes) == (1, 0)


def mixed_messages() -> list[bytes]:
    """Shorter and longer than a small window, with what looks like checks, or like zeros, inside."""
    payloads = (b"x" * 150, frames.CHECK_TAG * 30, bytes(90), b"\xfd\xe1")
    return [
        *samples.messages(2),
        *(SensorData(metadata=SensorMetadata(), binary=payload).SerializeToString() for payload in payloads),
        *samples.messages(2, first=2),
    ]


def same_for_all_windows(data: bytes) -> None:
    expected = samples.scan_or_refuse(data)
    for size_bytes in WINDOWS:
        with window_of(size_bytes):
            assert samples.scan_or_refuse(data) == expected, f"windows of {size_bytes} bytes"


@samples.BOTH
def test_windows_make_no_difference_to_a_torn_file(checked: bool) -> None:
    data = samples.file_of(checked)(samples.metadata(), mixed_messages())
    for cut in range(len(data) + 1):
        same_for_all_windows(data[:cut])
    for cut in range(0, len(data), 7):
        same_for_all_windows(data[:cut] + bytes(100))


@samples.BOTH
@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_windows_make_no_difference_to_a_damaged_file(checked: bool, data: st.DataObject) -> None:
    file = bytearray(samples.file_of(checked)(samples.metadata(), mixed_messages()))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(file)))
        lost = data.draw(st.sampled_from([0, 1, 30, 200]))
        file[start : start + lost] = data.draw(st.binary(max_size=30) | st.sampled_from([frames.CHECK_TAG * 3]))
    same_for_all_windows(bytes(file))


def test_a_window_that_ends_anywhere_costs_no_frame_behind_damage() -> None:
    """The check after which reading continues may lie across two windows."""
    header, written = samples.metadata(), samples.messages(6)
    ends = samples.ends(header, written, checked=True)
    for lost in range(1, 60):
        file = samples.our_file(header, written)
        file = file[: ends[1] + 3] + file[ends[1] + 3 + lost :]
        with window_of(16):
            found = samples.scan(file)
        assert found.readings == written[:1] + written[2 if lost < ends[2] - ends[1] - 3 else 3 :]
        same_for_all_windows(file)


def test_the_longest_frame_may_lie_far_before_the_torn_one() -> None:
    sizes = [5000, *range(20), 9000]
    data = samples.builtin_file(samples.pictures_header(), [samples.picture(bytes([1]) * size) for size in sizes])
    with window_of(300):
        assert samples.scan(data[:-1]).damaged == []
    same_for_all_windows(data[:-1])


def test_a_scan_that_is_not_finished_can_be_closed(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("closed") / "x.prog"
    path.write_bytes(samples.our_file(samples.metadata(), samples.messages(3)))
    opened = reader.CaptureReader(FileSystem(), str(path))
    assert next(iter(opened)) == samples.message(0)
    opened.close()


@pytest.mark.parametrize("window", [16, 1 << 18])
def test_the_checks_of_a_file_tell_how_many_readings_it_holds(window: int) -> None:
    with window_of(window):
        for count in range(5):
            file = samples.our_file(samples.metadata(), samples.messages(count))
            assert count_checks(samples.InMemory(file), "x") == count
            assert count_checks(samples.InMemory(file[:-1]), "x") == max(0, count - 1)
        assert count_checks(samples.InMemory(b""), "x") == 0
        assert count_checks(samples.InMemory(frames.CHECK_TAG * 2), "x") == 0


@pytest.mark.parametrize("window", [16, 1 << 18])
def test_a_file_of_zeros_is_blank_and_one_with_any_other_byte_is_not(window: int) -> None:
    with window_of(window):
        for size in (0, 1, 15, 16, 17, 64):
            assert is_blank(samples.InMemory(bytes(size)), "x")
            for place in range(size):
                file = bytearray(size)
                file[place] = 1
                assert not is_blank(samples.InMemory(bytes(file)), "x")
