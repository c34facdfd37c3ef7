"""The tables of methods whose answers become files: payloads byte for byte, MIME types, extensions, annotations."""

from __future__ import annotations

import struct
import wave
from collections.abc import Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from viam.proto.app.data import Annotations, BoundingBox, Classification
from viam.proto.common import AudioInfo, ResponseMetadata
from viam.proto.component.audioin import AudioChunk, GetAudioRequest, GetAudioResponse
from viam.proto.component.camera import (
    GetImagesRequest,
    GetImagesResponse,
    GetPointCloudRequest,
    GetPointCloudResponse,
    Image,
)
from viam.proto.service import vision
from viam.proto.service.slam import GetPointCloudMapRequest, GetPointCloudMapResponse

from holdfast.capture.methods import TABLES, Binary, BinaryAnswer, BinaryMethod, Target, lookup
from holdfast.capture.methods.steps import FEW_STEPS, Steps
from holdfast.errors import ResourceCallError

CAMERA, AUDIO_IN = "rdk:component:camera", "rdk:component:audio_in"
SLAM, VISION = "rdk:service:slam", "rdk:service:vision"
FROM_DATA_MANAGEMENT = {"fromDataManagement": True}
CAPTURED_NS = 1_700_000_000_123_456_789


def row(api: str, method: str) -> BinaryMethod:
    found = lookup(api, method)
    assert isinstance(found, BinaryMethod)
    return found


def target(hz: float = 1.0, after_ns: int = 0, **params: Any) -> Target:
    return Target("it", params, hz, after_ns)


def answered(api: str, method: str, answers: Sequence[Message], to: Target | None = None) -> BinaryAnswer:
    return row(api, method).answer(
        to or target(), [answer.SerializeToString() for answer in answers], Steps(FEW_STEPS)
    )


def payload(binary: Binary) -> bytes:
    return b"".join(binary.parts)


def annotations_of(binary: Binary) -> Annotations:
    return Annotations.FromString(binary.annotations)


def images(*each: Image, captured_ns: int | None = CAPTURED_NS) -> GetImagesResponse:
    metadata = ResponseMetadata()
    if captured_ns is not None:
        metadata.captured_at.FromNanoseconds(captured_ns)
    return GetImagesResponse(images=each, response_metadata=metadata)


def test_these_are_the_methods_that_become_files() -> None:
    found = {
        (api, name): (method.streamed, method.gapless)
        for api, methods in TABLES.items()
        for name, method in methods.items()
        if isinstance(method, BinaryMethod)
    }
    assert found == {
        (CAMERA, "GetImages"): (False, False),
        (CAMERA, "ReadImage"): (False, False),
        (CAMERA, "NextPointCloud"): (False, False),
        (AUDIO_IN, "GetAudio"): (True, True),
        (SLAM, "PointCloudMap"): (True, False),
        (VISION, "CaptureAllFromCamera"): (False, False),
    }


@pytest.mark.parametrize(
    ("api", "method", "params", "extension"),
    [
        (CAMERA, "GetImages", {}, ""),
        (CAMERA, "ReadImage", {}, ""),
        (CAMERA, "ReadImage", {"mime_type": "image/jpeg"}, ".jpeg"),
        (CAMERA, "ReadImage", {"mime_type": "image/png"}, ".png"),
        (CAMERA, "ReadImage", {"mime_type": "pointcloud/pcd"}, ".pcd"),
        (CAMERA, "ReadImage", {"mime_type": "image/vnd.viam.dep"}, ""),
        (CAMERA, "NextPointCloud", {}, ".pcd"),
        (AUDIO_IN, "GetAudio", {}, ""),
        (AUDIO_IN, "GetAudio", {"codec": "pcm16"}, ".wav"),
        (AUDIO_IN, "GetAudio", {"codec": "pcm32_float"}, ".wav"),
        (AUDIO_IN, "GetAudio", {"codec": "mp3"}, ".mp3"),
        (AUDIO_IN, "GetAudio", {"codec": "opus"}, ""),
        (AUDIO_IN, "GetAudio", {"codec": ["pcm16"]}, ""),
        (AUDIO_IN, "GetAudio", {"codec": {}}, ""),
        (SLAM, "PointCloudMap", {}, ""),
        (VISION, "CaptureAllFromCamera", {"camera_name": "c"}, ""),
    ],
)
def test_the_extension_follows_from_the_parameters_alone(
    api: str, method: str, params: Mapping[str, Any], extension: str
) -> None:
    assert row(api, method).extension(params) == extension


# Cameras


def test_images_are_asked_of_the_configured_sources() -> None:
    method = row(CAMERA, "GetImages")
    assert method.rpc == "/viam.component.camera.v1.CameraService/GetImages"
    asked = GetImagesRequest.FromString(method.request(target(filter_source_names=["left", "ä"])))
    assert (asked.name, list(asked.filter_source_names)) == ("it", ["left", "ä"])
    assert dict(asked.extra) == FROM_DATA_MANAGEMENT
    assert not GetImagesRequest.FromString(method.request(target())).filter_source_names


@given(st.lists(st.tuples(st.text(), st.binary(), st.text()), max_size=4))
def test_each_image_is_a_payload_as_it_came_with_its_source_as_a_classification(
    each: list[tuple[str, bytes, str]],
) -> None:
    answer = images(*(Image(source_name=source, image=data, mime_type=mime) for source, data, mime in each))
    found = answered(CAMERA, "GetImages", [answer])
    assert [(payload(binary), binary.mime_type) for binary in found.binaries] == [
        (data, mime) for _, data, mime in each
    ]
    for binary, (source, _, _) in zip(found.binaries, each, strict=True):
        assert annotations_of(binary) == Annotations(classifications=[Classification(label=source)])


def test_an_images_own_annotations_are_kept_before_its_source() -> None:
    own = Annotations(
        bboxes=[BoundingBox(label="cat", confidence=0.0, x_min_normalized=0.5)],
        classifications=[Classification(label="indoors")],
    )
    image = Image(source_name="left", image=b"x", mime_type="image/png", annotations=own)
    (binary,) = answered(CAMERA, "GetImages", [images(image)]).binaries
    own.classifications.append(Classification(label="left"))
    assert annotations_of(binary) == own
    (binary,) = answered(CAMERA, "ReadImage", [images(image)]).binaries
    assert [each.label for each in annotations_of(binary).classifications] == ["indoors"]


@pytest.mark.parametrize("method", ["GetImages", "ReadImage"])
def test_images_were_received_when_the_camera_took_them(method: str) -> None:
    image = Image(source_name="left", image=b"x", mime_type="image/png")
    assert answered(CAMERA, method, [images(image)]).received_ns == CAPTURED_NS
    assert answered(CAMERA, method, [images(image, captured_ns=None)]).received_ns == 0
    assert answered(CAMERA, method, [GetImagesResponse(images=[image])]).received_ns == 0
    no_time = ResponseMetadata(captured_at=Timestamp(seconds=-62135596800))  # Go's zero time
    assert answered(CAMERA, method, [GetImagesResponse(images=[image], response_metadata=no_time)]).received_ns == 0


@pytest.mark.parametrize("captured_at", [Timestamp(seconds=1 << 60), Timestamp(nanos=-5), Timestamp(seconds=-1)])
def test_a_time_that_is_none_is_not_the_images(captured_at: Timestamp) -> None:
    answer = images(Image(image=b"i", mime_type="image/jpeg"), captured_ns=None)
    answer.response_metadata.captured_at.CopyFrom(captured_at)
    assert answered(CAMERA, "GetImages", [answer]).received_ns == 0


def test_one_image_is_the_first_of_the_wanted_type_or_else_the_first() -> None:
    first, jpeg, other = (
        Image(source_name=source, image=source.encode(), mime_type=mime)
        for source, mime in [("first", "image/png"), ("second", "image/jpeg"), ("third", "image/jpeg")]
    )
    cases: list[tuple[dict[str, Any], bytes]] = [
        ({}, b"second"),
        ({"mime_type": "image/jpeg"}, b"second"),
        ({"mime_type": "image/png"}, b"first"),
        ({"mime_type": "image/qoi"}, b"first"),
        ({"mime_type": ""}, b"first"),
        ({"mime_type": 7.0}, b"first"),
    ]
    for params, expected in cases:
        (binary,) = answered(CAMERA, "ReadImage", [images(first, jpeg, other)], target(**params)).binaries
        assert payload(binary) == expected
        assert binary.mime_type == ("image/jpeg" if expected == b"second" else "image/png")
        assert binary.annotations == b""


def test_no_image_at_all_is_an_error() -> None:
    with pytest.raises(ResourceCallError, match="no images"):
        answered(CAMERA, "ReadImage", [images()])


def test_a_point_cloud_is_asked_for_and_stored_as_pcd() -> None:
    method = row(CAMERA, "NextPointCloud")
    assert method.rpc == "/viam.component.camera.v1.CameraService/GetPointCloud"
    asked = GetPointCloudRequest.FromString(method.request(target()))
    assert (asked.name, asked.mime_type, dict(asked.extra)) == ("it", "pointcloud/pcd", FROM_DATA_MANAGEMENT)
    answer = GetPointCloudResponse(mime_type="pointcloud/pcd", point_cloud=b"VERSION .7\n\x00\xff")
    (binary,) = answered(CAMERA, "NextPointCloud", [answer]).binaries
    assert (payload(binary), binary.mime_type, binary.annotations) == (
        b"VERSION .7\n\x00\xff", "pointcloud/pcd", b"",
    )  # fmt: skip
    with pytest.raises(ResourceCallError, match="pointcloud/las"):
        answered(CAMERA, "NextPointCloud", [GetPointCloudResponse(mime_type="pointcloud/las", point_cloud=b"x")])


# SLAM


def test_a_map_is_the_chunks_of_its_stream_joined() -> None:
    method = row(SLAM, "PointCloudMap")
    assert method.rpc == "/viam.service.slam.v1.SLAMService/GetPointCloudMap"
    asked = GetPointCloudMapRequest.FromString(method.request(target()))
    assert asked == GetPointCloudMapRequest(name="it", return_edited_map=False)
    assert asked.HasField("return_edited_map")
    chunks = [b"VERSION", b"", b" .7\n", b"\x00\xff"]
    answers = [GetPointCloudMapResponse(point_cloud_pcd_chunk=chunk) for chunk in chunks]
    (binary,) = answered(SLAM, "PointCloudMap", answers).binaries
    assert (payload(binary), binary.mime_type) == (b"".join(chunks), "pointcloud/pcd")


# Vision

PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 640, 480) + b"\x08\x02\x00\x00\x00"


def capture(image: bytes = PNG, mime_type: str = "image/png") -> vision.CaptureAllFromCameraResponse:
    return vision.CaptureAllFromCameraResponse(
        image=Image(source_name="cam", image=image, mime_type=mime_type),
        detections=[
            vision.Detection(x_min=64, y_min=48, x_max=320, y_max=480, confidence=0.5, class_name="cat",
                             x_min_normalized=0.9, y_min_normalized=0.9, x_max_normalized=0.9),
            vision.Detection(x_min=0, y_min=-48, x_max=1280, y_max=0, confidence=0.25, class_name=""),
        ],
        classifications=[
            vision.Classification(class_name="indoors", confidence=0.75),
            vision.Classification(class_name="outdoors", confidence=0.0),
        ],
    )  # fmt: skip


def test_a_vision_service_is_asked_for_the_image_and_all_that_is_on_it() -> None:
    method = row(VISION, "CaptureAllFromCamera")
    assert method.rpc == "/viam.service.vision.v1.VisionService/CaptureAllFromCamera"
    asked = vision.CaptureAllFromCameraRequest.FromString(method.request(target(camera_name="cam")))
    assert dict(asked.extra) == FROM_DATA_MANAGEMENT
    asked.ClearField("extra")
    assert asked == vision.CaptureAllFromCameraRequest(
        name="it", camera_name="cam", return_image=True, return_detections=True, return_classifications=True
    )


def test_what_was_seen_becomes_annotations_in_parts_of_the_image() -> None:
    (binary,) = answered(VISION, "CaptureAllFromCamera", [capture()], target(camera_name="cam")).binaries
    assert (payload(binary), binary.mime_type) == (PNG, "image/png")
    assert annotations_of(binary) == Annotations(
        bboxes=[
            BoundingBox(label="cat", confidence=0.5, x_min_normalized=0.1, y_min_normalized=0.1,
                        x_max_normalized=0.5, y_max_normalized=1.0),
            BoundingBox(label="", confidence=0.25, x_min_normalized=0.0, y_min_normalized=-0.1,
                        x_max_normalized=2.0, y_max_normalized=0.0),
        ],
        classifications=[
            Classification(label="indoors", confidence=0.75), Classification(label="outdoors", confidence=0.0),
        ],
    )  # fmt: skip


def test_what_was_seen_with_too_little_confidence_is_left_out() -> None:
    for least, boxes, labels in [(0.25, 2, 1), (0.26, 1, 1), (0.5, 1, 1), (0.76, 0, 0)]:
        to = target(camera_name="cam", min_confidence_score=least)
        (binary,) = answered(VISION, "CaptureAllFromCamera", [capture()], to).binaries
        found = annotations_of(binary)
        assert (len(found.bboxes), len(found.classifications)) == (boxes, labels)
    assert binary.annotations == b""


def test_a_capture_without_an_image_is_an_error() -> None:
    with pytest.raises(ResourceCallError, match="no image"):
        answered(VISION, "CaptureAllFromCamera", [capture(b"")], target(camera_name="cam"))


JPEG = (
    b"\xff\xd8\xff\xe0\x00\x06JFIF\xff\xff\xdb\x00\x04\x00\x00\xff\xc2"
    + struct.pack(">HBHH", 17, 8, 480, 640)
    + bytes(20)
)


@pytest.mark.parametrize(
    "image",
    [
        PNG,
        JPEG,
        b"qoif" + struct.pack(">IIBB", 640, 480, 3, 0),
        b"RGBA" + struct.pack(">II", 640, 480) + bytes(8),
        b"DEPTHMAP" + struct.pack(">QQ", 640, 480) + bytes(8),
    ],
    ids=["png", "jpeg", "qoi", "rgba", "depth"],
)
def test_an_images_size_is_read_from_its_first_bytes(image: bytes) -> None:
    (binary,) = answered(VISION, "CaptureAllFromCamera", [capture(image)], target(camera_name="cam")).binaries
    assert annotations_of(binary).bboxes[0].x_max_normalized == 0.5
    assert annotations_of(binary).bboxes[0].y_max_normalized == 1.0


@given(st.sampled_from([PNG, JPEG, b"DEPTHMAP"]), st.integers(0, 40), st.binary(max_size=40))
def test_a_broken_image_is_an_error_of_that_reading_and_no_other(image: bytes, cut: int, tail: bytes) -> None:
    broken = image[:cut] + tail
    with suppress(ResourceCallError):
        answered(VISION, "CaptureAllFromCamera", [capture(broken)], target(camera_name="cam"))


# Audio


def chunk(data: bytes, rate: int = 8000, channels: int = 1, end_ns: int = 5) -> GetAudioResponse:
    info = AudioInfo(codec="pcm16", sample_rate_hz=rate, num_channels=channels)
    return GetAudioResponse(
        audio=AudioChunk(audio_data=data, audio_info=info, end_timestamp_nanoseconds=end_ns), request_id="r"
    )


def test_audio_is_asked_for_as_long_as_its_interval_from_where_it_ended() -> None:
    method = row(AUDIO_IN, "GetAudio")
    assert method.rpc == "/viam.component.audioin.v1.AudioInService/GetAudio"
    asked = GetAudioRequest.FromString(method.request(target(hz=0.125, after_ns=77, codec="mp3")))
    assert (asked.name, asked.duration_seconds, asked.codec) == ("it", 8.0, "mp3")
    assert (asked.previous_timestamp_nanoseconds, dict(asked.extra)) == (77, FROM_DATA_MANAGEMENT)
    again = GetAudioRequest.FromString(method.request(target()))
    assert (again.codec, again.previous_timestamp_nanoseconds) == ("pcm16", 0)
    assert asked.request_id != again.request_id


@pytest.mark.parametrize(("codec", "width", "form"), [("pcm16", 2, 1), ("pcm32", 4, 1), ("pcm32_float", 4, 3)])
def test_pcm_becomes_a_wav_file(codec: str, width: int, form: int) -> None:
    answers = [chunk(b"12345678", 44100, 2), chunk(b"abcdefgh", 44100, 2, end_ns=9)]
    found = answered(AUDIO_IN, "GetAudio", answers, target(codec=codec))
    (binary,) = found.binaries
    assert (binary.mime_type, found.end_ns) == ("audio/wav", 9)
    whole = payload(binary)
    assert struct.unpack_from("<H", whole, 20) == (form,)
    assert struct.unpack_from("<I", whole, 4) == (len(whole) - 8,)
    assert struct.unpack_from("<IH", whole, 28) == (44100 * 2 * width, 2 * width)
    with wave.open(BytesIO(whole[:20] + b"\x01\x00" + whole[22:])) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (44100, 2, width)
        assert file.readframes(99) == b"12345678abcdefgh"


@pytest.mark.parametrize(
    ("codec", "mime_type"),
    [("mp3", "audio/mpeg"), ("opus", "application/octet-stream"), (7.0, "application/octet-stream")],
)
def test_other_codecs_are_stored_as_they_come(codec: Any, mime_type: str) -> None:
    (binary,) = answered(AUDIO_IN, "GetAudio", [chunk(b"one"), chunk(b"two")], target(codec=codec)).binaries
    assert (payload(binary), binary.mime_type) == (b"onetwo", mime_type)


def test_a_change_of_the_format_begins_another_file() -> None:
    answers = [chunk(b"a"), chunk(b""), chunk(b"b"), chunk(b"c", rate=16000), chunk(b"d", rate=16000, channels=2)]
    found = answered(AUDIO_IN, "GetAudio", answers, target(codec="opus"))
    assert [payload(binary) for binary in found.binaries] == [b"ab", b"c", b"d"]


def test_silence_of_another_format_ends_a_file_and_is_none_itself() -> None:
    answers = [chunk(b""), chunk(b"a"), chunk(b"", rate=16000), chunk(b"b")]
    found = answered(AUDIO_IN, "GetAudio", answers, target(codec="opus"))
    assert [payload(binary) for binary in found.binaries] == [b"a", b"b"]


def test_audio_of_an_unknown_format_is_an_error() -> None:
    nameless = GetAudioResponse(audio=AudioChunk(audio_data=b"x"))
    with pytest.raises(ResourceCallError, match="sample rate"):
        answered(AUDIO_IN, "GetAudio", [chunk(b"a"), nameless])


# All


@given(st.binary(max_size=60))
def test_an_answer_that_is_none_is_an_error_of_that_reading(answer: bytes) -> None:
    for methods in TABLES.values():
        for method in methods.values():
            if isinstance(method, BinaryMethod):
                with suppress(ResourceCallError):
                    method.answer(target(camera_name="c"), [answer], Steps(FEW_STEPS))
