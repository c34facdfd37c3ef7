"""Recovery of large files takes no more memory than that of small ones."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from viam.proto.app.datasync import DataCaptureMetadata

from holdfast.base.filesystem import FileSystem
from holdfast.storage.capture_files import frames, reader, source
from holdfast.storage.ledger.ledger import Ledger
from holdfast.storage.recovery import RecoveryReport

from . import samples
from .crashes import STEM, leave, run

GIB = 1 << 30


MIB = 1 << 20


@contextmanager
def memory_below(size_bytes: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < size_bytes, f"{peak / MIB:.1f} MiB"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(FileSystem(), str(tmp_path))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "rdk_component_sensor" / "lidar" / "Readings"
    folder.mkdir(parents=True)
    return folder


class TestLarge:
    """A file is read a window at a time, never as a whole."""

    @pytest.mark.parametrize(
        ("make", "size_bytes"),
        [(samples.our_file, GIB), (samples.builtin_file, GIB // 8)],
        ids=["ours", "the builtin's"],
    )
    def test_a_gibibyte_of_zeros_behind_the_readings_is_cut_off(
        self, make: Callable[..., bytes], size_bytes: int, tmp_path: Path, folder: Path, ledger: Ledger
    ) -> None:
        data = make(samples.metadata(), samples.messages(5))
        path = leave(folder / f"{STEM}.prog", data)
        os.truncate(path, size_bytes)
        os.utime(path, (1, 1))
        with memory_below(8 * MIB):
            assert run(tmp_path, ledger) == RecoveryReport(files=1, readings=5)
        assert path.with_suffix(".capture").read_bytes() == data

    def test_a_large_file_of_nothing_is_removed(self, tmp_path: Path, folder: Path, ledger: Ledger) -> None:
        path = leave(folder / f"{STEM}.prog", b"")
        os.truncate(path, GIB // 8)
        os.utime(path, (1, 1))
        with memory_below(8 * MIB):
            assert run(tmp_path, ledger) == RecoveryReport()
        assert not path.exists()

    def test_a_large_hole_between_the_readings_costs_none_of_them(
        self, tmp_path: Path, folder: Path, ledger: Ledger
    ) -> None:
        encoder = frames.FrameEncoder(samples.metadata())
        path = leave(folder / f"{STEM}.prog", samples.our_file(samples.metadata(), samples.messages(2)))
        hole = path.stat().st_size
        os.truncate(path, GIB // 8)
        with path.open("ab") as file:
            for reading in samples.messages(3, first=2):  # the beginning of the first one is lost in the damage
                file.write(encoder.encode(reading))
        os.utime(path, (1, 1))
        with memory_below(8 * MIB):
            assert run(tmp_path, ledger) == RecoveryReport(files=1, readings=4)
        with memory_below(8 * MIB):
            opened = reader.CaptureReader(FileSystem(), str(path.with_suffix(".capture")))
            found = [samples.number_of(reading) for reading in opened]
            opened.close()
        assert found == [0, 1, 3, 4]
        assert opened.damaged == [(hole, GIB // 8 + len(encoder.encode(samples.message(2))))]

    @pytest.mark.parametrize("checked", [True, False], ids=["ours", "the builtin's"])
    def test_a_gibibyte_of_pictures_with_a_torn_one_at_the_end_is_recovered(
        self, checked: bool, tmp_path: Path, folder: Path, ledger: Ledger
    ) -> None:
        header = samples.pictures_header()
        frame = self.frame(header, samples.picture(bytes(4 * MIB)), checked)
        path = leave(folder / f"{STEM}.prog", (samples.our_file if checked else samples.builtin_file)(header, []))
        pictures = GIB // len(frame) + 1
        beginning, end = frame[:64], frame[-64:]
        with path.open("r+b") as file:  # the black pictures are holes in the file
            size = path.stat().st_size
            for _ in range(pictures):
                file.seek(size)
                file.write(beginning)
                size += len(frame)
                file.seek(size - len(end))
                file.write(end)
            file.write(frame[:MIB])
            file.write(b"torn")
        assert size > GIB
        os.utime(path, (1, 1))
        with memory_below(32 * MIB):
            assert run(tmp_path, ledger) == RecoveryReport(files=1, readings=pictures, torn_readings=1)
        assert path.with_suffix(".capture").stat().st_size == size

    def frame(self, header: DataCaptureMetadata, message: bytes, checked: bool) -> bytes:
        if checked:
            return frames.FrameEncoder(header).encode(message)
        return frames.varint(len(message)) + message

    def test_a_frame_that_claims_to_be_longer_than_any_is_not_read(
        self, tmp_path: Path, folder: Path, ledger: Ledger
    ) -> None:
        data = samples.our_file(samples.metadata(), samples.messages(2)) + frames.varint(source.MAX_FRAME_BYTES + 1)
        path = leave(folder / f"{STEM}.prog", data + b"x")
        os.truncate(path, 2 * source.MAX_FRAME_BYTES)
        os.utime(path, (1, 1))
        with memory_below(8 * MIB):
            assert run(tmp_path, ledger) == RecoveryReport(files=1, readings=2, torn_readings=1)
