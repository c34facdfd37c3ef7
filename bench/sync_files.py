"""This module makes capture files for sync: the same readings in the own format of each data manager."""

from __future__ import annotations

import os
import time
from pathlib import Path

from google.protobuf.struct_pb2 import Struct
from viam.proto.app.datasync import DataCaptureMetadata, DataType

from holdfast.storage.capture_files.frames import FrameEncoder, tabular_message, varint

SENSORS = 10
"""The number of collectors to which the files belong."""
READINGS_OF_64_KIB, READINGS_OF_2_KIB = 640, 20


def content(sensor: int, readings: int, *, builtin: bool) -> bytes:
    """Returns a capture file with readings of three numbers each, a millisecond apart."""
    metadata = DataCaptureMetadata(
        component_type="rdk:component:sensor",
        component_name=f"sensor-{sensor}",
        method_name="Readings",
        type=DataType.DATA_TYPE_TABULAR_SENSOR,
        file_extension=".dat",
    )
    value = Struct()
    value.update({"readings": {"a": 1.5, "b": 2.5, "c": 3.5}})
    payload = value.SerializeToString()
    yesterday_ns = time.time_ns() // 86_400_000_000_000 * 86_400_000_000_000 - 43_200 * 10**9
    messages = [
        tabular_message(yesterday_ns + number * 1_000_000, yesterday_ns + number * 1_000_000 + 1, payload)
        for number in range(readings)
    ]
    if builtin:
        header = metadata.SerializeToString()
        return b"".join(varint(len(each)) + each for each in (header, *messages))
    encoder = FrameEncoder(metadata)
    return encoder.header_frame + b"".join(map(encoder.encode, messages))


def put(capture_dir: Path, files: int, readings: int, *, builtin: bool, prefix: str = "") -> None:
    """Puts `files` complete files into the collectors' folders; a rename makes each appear as a whole."""
    unseen = capture_dir.parent / "unseen.capture"
    for sensor in range(SENSORS):
        folder = capture_dir / "rdk_component_sensor" / f"sensor-{sensor}" / "Readings"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        data = content(sensor, readings, builtin=builtin)
        for number in range(sensor, files, SENSORS):
            unseen.write_bytes(data)
            unseen.rename(folder / f"{prefix}{number:06}.capture")


def put_large(files_dir: Path, size_bytes: int) -> None:
    """Puts one arbitrary file into a folder; a rename makes it appear as a whole."""
    piece = os.urandom(1024 * 1024)
    unseen = files_dir.parent / "unseen.bin"
    with unseen.open("wb") as file:
        for _ in range(size_bytes // len(piece)):
            file.write(piece)
    unseen.rename(files_dir / "large.bin")
