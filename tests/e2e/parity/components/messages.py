"""What the answers of the parity test are made of: values, pictures, point clouds, sound, commands.

An answer is a message, a list of them (a stream), an error, or a function of the request. `asked` answers the
data manager alone, by the `extra` that it sends; `echo…` answers with the request itself, so that what the two
data managers ask is compared like what they write.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, NullValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from grpclib import GRPCError, Status
from viam.proto.app.data import Annotations, BoundingBox, Classification
from viam.proto.common import (
    AudioInfo,
    DoCommandResponse,
    GetKinematicsResponse,
    GetReadingsResponse,
    KinematicsFileFormat,
    Pose,
    ResponseMetadata,
)
from viam.proto.component import (
    arm,
    audioin,
    camera,
)
from viam.proto.service import slam, vision

Answer = Message | list[Message] | GRPCError | Callable[[Any], Any]

NAN, INF = math.nan, math.inf
CAPTURED_AT = Timestamp(seconds=1_700_000_000, nanos=123_456_789)
FILTERED = GRPCError(Status.FAILED_PRECONDITION, "no capture from filter module")


def asked(answer: Answer) -> Answer:
    """`answer` when the data manager asks, an error for everybody else."""

    def answer_to(request: Any) -> Answer:
        if not MessageToDict(request.extra).get("fromDataManagement"):
            return GRPCError(Status.PERMISSION_DENIED, f"only the data manager may ask: {request}")
        return answer(request) if callable(answer) else answer

    return answer_to


def filtered(answer: Answer) -> Answer:
    """A filter module: keeps back what the data manager asks for."""
    return lambda request: FILTERED if MessageToDict(request.extra).get("fromDataManagement") else answer


def value(of: Any) -> Value:
    """Any Python value as a protobuf value; `...` is one in which nothing is set."""
    if of is ...:
        return Value()
    if of is None:
        return Value(null_value=NullValue.NULL_VALUE)
    if isinstance(of, bool):
        return Value(bool_value=of)
    if isinstance(of, (int, float)):
        return Value(number_value=of)
    if isinstance(of, str):
        return Value(string_value=of)
    if isinstance(of, Mapping):
        return Value(struct_value=Struct(fields={key: value(each) for key, each in of.items()}))
    return Value(list_value=ListValue(values=[value(each) for each in of]))


def readings(**of: Any) -> Answer:
    return asked(GetReadingsResponse(readings={key: value(each) for key, each in of.items()}))


def readings_echo(request: Any) -> Message:
    return GetReadingsResponse(readings={"request": value(MessageToDict(request))})


def nested(depth: int) -> Any:
    inner: Any = {"leaf": [[], {}, None, -0.0]}
    for level in range(depth):
        inner = {f"level {level}": inner} if level % 2 else [inner]
    return inner


def as_json(request: Any) -> bytes:
    return json.dumps(MessageToDict(request), sort_keys=True).encode()


# Pictures and clouds.


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    lines = b"".join(b"\0" + bytes([row % 256, 128, 255]) * width for row in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    )


JPEG = (
    b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0\xff\xdb\0\x43\0"
    + b"\1" * 64
    + b"\xff\xc0\0\x0b\x08"
    + struct.pack(">HH", 20, 40)
    + b"\1\1\x11\0\xff\xd9"
)
"""A head without a picture: who wants to know its size finds it."""
PNG = png(40, 20)
DEPTH = b"DEPTHMAP" + struct.pack(">QQ8H", 4, 2, *range(0, 8000, 1000))
RGBA = b"RGBA" + struct.pack(">II", 4, 2) + bytes(range(32))
PCD_HEADER = (
    "VERSION .7\nFIELDS x y z{0}\nSIZE 4 4 4{1}\nTYPE F F F{2}\nCOUNT 1 1 1{1}\nWIDTH {3}\nHEIGHT 1\n"
    "VIEWPOINT 0 0 0 1 0 0 0\nPOINTS {3}\nDATA {4}\n"
)
PCD_ASCII = (
    PCD_HEADER.format("", "", "", 2, "ascii").replace(" 1 1 1\n", " 1 1 1\n", 1) + "1 2 3\n-1 0 0.5\n"
).encode()
PCD_BINARY = PCD_HEADER.format("", "", "", 2, "binary").encode() + struct.pack("<6f", 1, 2, 3, -1, 0, 0.5)


def image(name: str, mime_type: str, data: bytes, annotations: Annotations | None = None) -> camera.Image:
    return camera.Image(source_name=name, mime_type=mime_type, image=data, annotations=annotations)


def images(*of: camera.Image) -> Answer:
    return asked(camera.GetImagesResponse(images=of, response_metadata=ResponseMetadata(captured_at=CAPTURED_AT)))


def image_of(captured_at: Timestamp | None) -> Message:
    return camera.GetImagesResponse(
        images=[image("a", "image/jpeg", JPEG)], response_metadata=ResponseMetadata(captured_at=captured_at)
    )


def image_echo(request: Any) -> Message:
    return camera.GetImagesResponse(
        images=[image("request", "text/json", as_json(request))],
        response_metadata=ResponseMetadata(captured_at=CAPTURED_AT),
    )


ANNOTATIONS = Annotations(
    bboxes=[
        BoundingBox(
            id="box-1",
            label="дом 🏠",
            confidence=0.1,
            x_min_normalized=0.25,
            y_min_normalized=0.0,
            x_max_normalized=1.0,
            y_max_normalized=1 / 3,
        ),
        BoundingBox(label="unsure"),
    ],
    classifications=[Classification(label="sunny", confidence=0.0), Classification(label="")],
)
SEVERAL = [
    image("left", "image/jpeg", JPEG),
    image("right", "image/png", PNG, ANNOTATIONS),
    image("depth", "image/vnd.viam.dep", DEPTH),
    image("", "application/x-ünknown", b"\0\xff\n"),
    image("inferred", "", PNG),
    image("lazy", "image/jpeg+lazy", JPEG),
]


def several(request: Any) -> Message:
    wanted = list(request.filter_source_names)
    return camera.GetImagesResponse(
        images=[each for each in SEVERAL if not wanted or each.source_name in wanted],
        response_metadata=ResponseMetadata(captured_at=CAPTURED_AT),
    )


def detection(
    name: str, confidence: float, box_px: tuple[int, int, int, int] = (4, 2, 30, 13), *, normalized: bool = True
) -> vision.Detection:
    """`box_px` is x and y of the one corner, then of the other."""
    box: dict[str, Any] = dict(zip(("x_min", "y_min", "x_max", "y_max"), box_px, strict=True))
    if normalized:
        box |= {
            "x_min_normalized": 0.1,
            "y_min_normalized": 0.1,
            "x_max_normalized": 0.75,
            "y_max_normalized": 0.65,
        }
    return vision.Detection(class_name=name, confidence=confidence, **box)


def seen(data: bytes, mime_type: str, *detections: vision.Detection, **classes: float) -> Answer:
    return asked(
        vision.CaptureAllFromCameraResponse(
            image=image("eye", mime_type, data),
            detections=detections,
            classifications=[vision.Classification(class_name=name, confidence=c) for name, c in classes.items()],
        )
    )


def see_by_camera(request: Any) -> Message:
    """What is asked for comes as labels."""
    return vision.CaptureAllFromCameraResponse(
        image=image("eye", "image/png", PNG),
        classifications=[vision.Classification(class_name=as_json(request).decode(), confidence=1.0)],
    )


def cloud_map(*chunks: bytes) -> list[Message]:
    return [slam.GetPointCloudMapResponse(point_cloud_pcd_chunk=chunk) for chunk in chunks]


# Sound.


def sound(data: bytes, end_ns: int, rate: int = 8000, channels: int = 1) -> audioin.GetAudioResponse:
    info = AudioInfo(codec="pcm16", sample_rate_hz=rate, num_channels=channels)
    return audioin.GetAudioResponse(
        audio=audioin.AudioChunk(audio_data=data, audio_info=info, end_timestamp_nanoseconds=end_ns)
    )


def formless_sound(data: bytes) -> audioin.GetAudioResponse:
    return audioin.GetAudioResponse(audio=audioin.AudioChunk(audio_data=data))


def sound_of_first_request(request: Any) -> list[Message]:
    """The request as sound, but for its random id; afterwards the time from which on it should go on."""
    about = MessageToDict(request)
    about.pop("requestId", None)
    return [sound(json.dumps(about, sort_keys=True).encode().ljust(200), 2**62 + 1)]


# Commands.


def command_echo(request: Any) -> Message:
    return DoCommandResponse(result=request.command)


def commanded(**of: Any) -> Answer:
    return DoCommandResponse(result=value(of).struct_value)


POSES = {
    "south": Pose(x=1, o_z=-1, theta=190),
    "almost-north": Pose(x=1, o_x=1e-7, o_z=1, theta=-179.9999),
    "long": Pose(y=1e9, o_x=3, o_y=4, theta=720.5),
}
POSE = Pose(x=1.5, y=-2.25, z=1e-3, o_x=0.1, o_y=-0.7, o_z=0.3, theta=33.3)
JOINTS = arm.JointPositions(values=[10.0, -0.0, 1e-9])
KINEMATICS = GetKinematicsResponse(
    format=KinematicsFileFormat.KINEMATICS_FILE_FORMAT_SVA,
    kinematics_data=json.dumps(
        {
            "name": "arm",
            "kinematic_param_type": "SVA",
            "links": [
                {"id": "base", "parent": "world", "translation": {"x": 0, "y": 0, "z": 100}},
                {"id": "upper", "parent": "turn", "translation": {"x": 10, "y": 0, "z": 50}},
            ],
            "joints": [
                {
                    "id": "turn",
                    "type": "revolute",
                    "parent": "base",
                    "axis": {"x": 0, "y": 0, "z": 1},
                    "max": 180,
                    "min": -180,
                }
            ],
        }
    ).encode(),
)
