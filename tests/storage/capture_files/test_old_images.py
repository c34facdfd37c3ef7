from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st
from viam.proto.app.datasync import SensorData

from holdfast.storage.capture_files.frames import tabular_message
from holdfast.storage.capture_files.old_images import may_hold_old_images, old_images

from .. import samples

AS_RDK_WROTE_IT = bytes.fromhex(
    "0ad2010a06696d6167657312c70132c4010a752a730a110a0b616e6e6f746174696f6e7312022a000a2c0a05696d616765122332210a0911"
    "00000000000000000a0911000000000000f03f0a09110000000000e06f400a190a096d696d655f74797065120c1a0a696d6167652f6a7065"
    "670a150a0b736f757263655f6e616d6512061a046c6566740a4b2a490a110a0b616e6e6f746174696f6e7312022a000a0b0a05696d616765"
    "120232000a0f0a096d696d655f7479706512021a000a160a0b736f757263655f6e616d6512071a0572696768740a540a11726573706f6e73"
    "655f6d65746164617461123f2a3d0a3b0a0b63617074757265645f6174122c2a2a0a120a056e616e6f731209110000809b285ac8410a140a"
    "077365636f6e64731209110000c08b7bc1da41"
)
"""RDK's StructToStructPbIgnoreOmitEmpty of a GetImagesResponse with the images 00 01 ff and an empty one."""


def reading_of(answer: dict[str, Any]) -> bytes:
    struct = Struct()
    struct.update(answer)
    return tabular_message(1, 2, struct.SerializeToString())


def images_in(reading: bytes) -> list[bytes] | None:
    found = old_images(reading)
    return None if found is None else found[1]


def test_the_images_are_found_in_what_rdk_wrote() -> None:
    found = old_images(tabular_message(1_000_000_005, 2_000_000_006, AS_RDK_WROTE_IT))
    assert found is not None
    times, images = found
    assert images == [b"\x00\x01\xff", b""]
    assert (times.time_requested.ToNanoseconds(), times.time_received.ToNanoseconds()) == (
        1_000_000_005,
        2_000_000_006,
    )


@given(st.lists(st.binary(max_size=300), max_size=4))
def test_any_images_come_back_byte_for_byte(images: list[bytes]) -> None:
    named = {f"source {number}": image for number, image in enumerate(images)}
    assert images_in(samples.old_images_reading(named)) == images


@pytest.mark.parametrize(
    ("answer", "images"),
    [
        ({"images": None}, []),
        ({"images": []}, []),
        ({"images": [{"source_name": "left"}]}, [b""]),
        ({}, None),
        ({"readings": {"a": 1}}, None),
        ({"images": [7]}, None),
        ({"images": [{"image": "AAH/"}]}, None),
        ({"images": [{"image": [1, "2"]}]}, None),
        ({"images": [{"image": [1, None]}]}, None),
        ({"images": [{"image": [256]}]}, None),
        ({"images": [{"image": [-1]}]}, None),
        ({"images": [{"image": [float("nan")]}]}, None),
        ({"images": [{"image": [float("inf")]}]}, None),
    ],
    ids=str,
)
def test_what_is_no_answer_with_images_is_none(answer: dict[str, Any], images: list[bytes] | None) -> None:
    assert images_in(reading_of(answer)) == images


def test_what_is_cut_off_or_binary_is_none() -> None:
    whole = samples.old_images_reading({"left": b"\x01\x02"})
    assert [cut for cut in range(len(whole)) if images_in(whole[:cut])] == []
    assert images_in(SensorData(binary=b"\x00").SerializeToString()) is None


def test_only_a_binary_header_of_get_images_may_hold_them() -> None:
    assert may_hold_old_images(samples.old_images_header())
    assert not may_hold_old_images(samples.old_images_header(method_name="ReadImage"))
    assert not may_hold_old_images(samples.metadata(method="GetImages"))
