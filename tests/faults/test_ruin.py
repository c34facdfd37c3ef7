"""What the torture does to a capture file costs the readings that it reports, and no other."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from viam.proto.app.datasync import DataCaptureMetadata, DataType, SensorData

from demo.received import struct_to_json
from holdfast.base.filesystem import FileSystem
from holdfast.errors import DamagedFileError
from holdfast.storage.capture_files.frames import FrameEncoder
from holdfast.storage.capture_files.reader import CaptureReader, count_checks

from .ruin import damage, take_away

READINGS = 8


@pytest.fixture
def capture_file(tmp_path: Path) -> Path:
    path = tmp_path / "one.capture"
    encoder = FrameEncoder(
        DataCaptureMetadata(
            component_type="rdk:component:sensor",
            component_name="counting",
            method_name="Readings",
            type=DataType.DATA_TYPE_TABULAR_SENSOR,
        )
    )
    frames = [encoder.header_frame]
    for seq in range(READINGS):
        message = SensorData()
        message.metadata.time_requested.FromSeconds(1_700_000_000 + seq)
        message.struct.update({"readings": {"seq": seq}})
        frames.append(encoder.encode(message.SerializeToString()))
    path.write_bytes(b"".join(frames))
    return path


@pytest.mark.parametrize("seed", range(300))
def test_damage_costs_the_readings_that_it_tells_and_no_other(capture_file: Path, seed: int) -> None:
    before = capture_file.stat().st_mtime_ns
    done = damage(capture_file, random.Random(seed))
    assert done is not None
    assert (done.resource, capture_file.stat().st_mtime_ns) == ("counting", before)
    try:
        reader = CaptureReader(FileSystem(), str(capture_file))
    except DamagedFileError:
        assert done.seqs == tuple(range(READINGS))
        assert count_checks(FileSystem(), str(capture_file)) in (READINGS, READINGS - 1)
        return
    good = {struct_to_json(SensorData.FromString(each).struct)["readings"]["seq"] for each in reader}
    reader.close()
    assert set(range(READINGS)) - good == set(done.seqs)
    assert (reader.damaged_readings, reader.torn_readings, len(done.seqs)) == (1, 0, 1)


def test_a_file_that_is_taken_away_tells_what_was_in_it(capture_file: Path) -> None:
    done = take_away(capture_file)
    assert done is not None and done.seqs == tuple(range(READINGS))
    assert not capture_file.exists()
    assert take_away(capture_file) is None and damage(capture_file, random.Random(1)) is None
