"""Answers of hostile components: serialized messages as they would come from viam-server's socket.

Each is built only when it is asked for, since many are as large as an answer may be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from viam.proto.common import AudioInfo, ResponseMetadata
from viam.proto.component.audioin import AudioChunk, GetAudioResponse
from viam.proto.component.camera import GetImagesResponse, GetPointCloudResponse, Image
from viam.proto.component.movementsensor import GetPositionResponse
from viam.proto.service.vision import CaptureAllFromCameraResponse, Detection

from holdfast.storage.capture_files.frames import varint

SENSOR, CAMERA, VISION = "rdk:component:sensor", "rdk:component:camera", "rdk:service:vision"
ARM, GANTRY, AUDIO_IN, SLAM = (
    "rdk:component:arm",
    "rdk:component:gantry",
    "rdk:component:audio_in",
    "rdk:service:slam",
)
MOVEMENT_SENSOR, ENCODER = "rdk:component:movement_sensor", "rdk:component:encoder"
GENERIC = "rdk:component:generic"
MIB = 1024 * 1024
LARGEST_BYTES = 38 * MIB
"""Just under what the module takes of one answer."""
_PNG = b"\x89PNG\r\n\x1a\n" + bytes(8) + b"\0\0\2\x80\0\0\1\xe0"
_UNKNOWN_VARINT = b"\xf8\x06\x01"  # field 111


@dataclass(frozen=True)
class Hostile:
    """One answer of a method. `messages` builds it: one message, or all messages of a stream."""

    name: str
    api: str
    method: str
    messages: Callable[[], list[bytes]]
    params: Mapping[str, Any] = field(default_factory=dict)


def length_delimited(number: int, content: bytes) -> bytes:
    """Returns one length-delimited field of a message."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def filled(unit: bytes, size_bytes: int) -> bytes:
    """Returns `unit` repeated up to about `size_bytes`."""
    return unit * (size_bytes // len(unit))


def images(count: int, image: bytes = b"x", **fields: Any) -> bytes:
    """Returns an answer with so many equal images."""
    one = Image(image=image, **({"source_name": "s", "mime_type": "image/png"} | fields))
    return length_delimited(1, one.SerializeToString()) * count


def seen(image: bytes, boxes: int, label: str = "cat") -> bytes:
    """Returns an answer of a vision service with so many boxes on an image."""
    answer = CaptureAllFromCameraResponse(image=Image(image=image, mime_type="image/jpeg"))
    box = Detection(class_name=label, confidence=0.9, x_min=1, y_min=2, x_max=3, y_max=4)
    return answer.SerializeToString() + length_delimited(2, box.SerializeToString()) * boxes


def nested(depth: int) -> bytes:
    """Returns an answer of a sensor with an object in an object, `depth` levels deep.

    It is built from the innermost value outwards, since no encoder goes so deep.
    """
    heads = [b"\x20\x01"]  # true
    size_bytes = len(heads[0])
    for _ in range(depth):
        value = b"\x12" + varint(size_bytes)
        entry = b"\x0a" + varint(3 + len(value) + size_bytes)
        struct = b"\x2a" + varint(len(entry) + 3 + len(value) + size_bytes)
        heads.append(struct + entry + b"\x0a\x01a" + value)
        size_bytes += len(heads[-1])
    value = b"".join(reversed(heads))
    return length_delimited(1, b"\x0a\x01a" + length_delimited(2, value))


def _vision(answer: Callable[[], bytes], name: str) -> Hostile:
    return Hostile(name, VISION, "CaptureAllFromCamera", lambda: [answer()], {"camera_name": "c"})


def _captured_at(seconds: int, nanos: int) -> bytes:
    metadata = ResponseMetadata()
    metadata.captured_at.seconds, metadata.captured_at.nanos = seconds, nanos
    return GetImagesResponse(
        images=[Image(source_name="s", image=b"x", mime_type="image/png")], response_metadata=metadata
    ).SerializeToString()


def audio(data: bytes, rate_hz: int = 16_000, channels: int = 1) -> bytes:
    info = AudioInfo(sample_rate_hz=rate_hz, num_channels=channels)
    return GetAudioResponse(audio=AudioChunk(audio_data=data, audio_info=info)).SerializeToString()


def many(size_bytes: int = LARGEST_BYTES) -> Iterator[Hostile]:
    """Yields answers of up to `size_bytes` that consist of as many parts as possible."""
    tiny, count = filled(_UNKNOWN_VARINT, size_bytes), size_bytes // 32

    def camera(name: str, answer: Callable[[], bytes], method: str = "GetImages") -> Hostile:
        return Hostile(name, CAMERA, method, lambda: [answer()])

    def sensor(name: str, answer: Callable[[], bytes]) -> Hostile:
        return Hostile(name, SENSOR, "Readings", lambda: [answer()])

    yield camera("images of one byte", lambda: images(size_bytes // 26))
    yield camera("images of one byte of which one is wanted", lambda: images(size_bytes // 26), "ReadImage")
    yield camera("tiny unknown fields", lambda: tiny)
    yield camera("an image beside tiny unknown fields", lambda: images(1) + tiny)
    yield camera("tiny unknown fields in an image", lambda: length_delimited(1, images(1)[2:] + tiny))
    yield camera("tiny fixed fields", lambda: filled(b"\x7d\0\0\0\0", size_bytes))
    yield camera("varints of ten bytes", lambda: filled(b"\xf8\x06" + b"\xff" * 9 + b"\x01", size_bytes))
    yield camera("empty metadata", lambda: images(1) + filled(length_delimited(84260, b""), size_bytes))
    yield camera("images that are empty", lambda: filled(length_delimited(1, b""), size_bytes))
    yield camera(
        "point clouds of one byte",
        lambda: filled(
            GetPointCloudResponse(mime_type="pointcloud/pcd", point_cloud=b"x").SerializeToString(), size_bytes
        ),
        "NextPointCloud",
    )
    yield _vision(lambda: seen(b"\xff\xd8" + b"\xff" * (size_bytes - 100), 1), "fill bytes of a JPEG")
    yield _vision(lambda: seen(b"\xff\xd8" + filled(b"\xff\x01", size_bytes), 1), "markers of a JPEG")
    yield _vision(lambda: seen(b"\xff\xd8" + filled(b"\xff\xe0\0\2", size_bytes), 1), "segments of a JPEG")
    yield _vision(lambda: seen(_PNG, count), "boxes")
    yield _vision(lambda: seen(_PNG, 1, "x" * (size_bytes - 200)), "a box with a long label")
    yield _vision(lambda: seen(_PNG, 0) + filled(length_delimited(3, b"\x0a\x01a"), size_bytes), "classifications")
    yield _vision(lambda: seen(_PNG, 0) + filled(length_delimited(2, b""), size_bytes), "empty boxes")
    yield sensor("readings with equal names", lambda: filled(length_delimited(1, b"\x0a\x01a"), size_bytes))
    yield sensor(
        "a reading of a long text",
        lambda: length_delimited(1, b"\x0a\x01a" + length_delimited(2, length_delimited(3, b"x" * size_bytes))),
    )
    yield Hostile(
        "a result of a long text",
        GENERIC,
        "DoCommand",
        lambda: [length_delimited(1, tiny)],
        {"docommand_input": {}},
    )
    yield Hostile("tiny fields beside a result", GENERIC, "DoCommand", lambda: [tiny], {"docommand_input": {}})
    yield Hostile(
        "joints", ARM, "JointPositions", lambda: [length_delimited(1, length_delimited(1, bytes(size_bytes)))]
    )
    yield Hostile("axes", GANTRY, "Position", lambda: [length_delimited(1, bytes(size_bytes))])
    yield Hostile("axes one by one", GANTRY, "Lengths", lambda: [filled(b"\x09" + bytes(8), size_bytes)])
    yield Hostile("tiny unknown fields in a position", MOVEMENT_SENSOR, "Position", lambda: [tiny])
    yield Hostile("audio of one byte", AUDIO_IN, "GetAudio", lambda: [audio(b"xx")] * count)
    yield Hostile("audio without data", AUDIO_IN, "GetAudio", lambda: [audio(b"")] * count)
    yield Hostile(
        "audio in ever other formats",
        AUDIO_IN,
        "GetAudio",
        lambda: [audio(b"xx"), audio(b"xx", 8000)] * (count // 2),
    )
    yield Hostile("tiny unknown fields in audio", AUDIO_IN, "GetAudio", lambda: [audio(b"xx") + tiny])
    yield Hostile("a map in pieces of one byte", SLAM, "PointCloudMap", lambda: [length_delimited(1, b"x")] * count)


def strange() -> Iterator[Hostile]:
    """Yields small and large answers whose content makes no sense."""

    def camera(name: str, answer: bytes, method: str = "GetImages") -> Hostile:
        return Hostile(name, CAMERA, method, lambda: [answer])

    text = "x" * MIB
    yield camera("a MIME type of 1 MiB", images(1, mime_type=text))
    yield camera("a MIME type with control characters", images(1, mime_type="image/\x00\n\x1b[31mpng"))
    yield camera("an unknown MIME type", images(1, mime_type="application/x-nobody-knows"))
    yield camera("a source's name of 1 MiB", images(1, source_name=text))
    yield camera("a source's name with control characters", images(1, source_name="\x00\n\x1b[31m"))
    yield camera("a MIME type that is not UTF-8", length_delimited(1, b"\x1a\x01x\x22\x02\xff\xfe"))
    yield camera("a source's name that is not UTF-8", length_delimited(1, b"\x0a\x02\xff\xfe\x1a\x01x"))
    for name, seconds, nanos in (
        ("in the year 10^9", 31_556_952_000_000_000, 0),
        ("before 1970", -1, 0),
        ("with negative nanoseconds", 5, -1),
        ("with too many nanoseconds", 5, 2_000_000_000),
        ("at the end of time", (1 << 63) - 1, 999_999_999),
        ("in the last second of 9999", 253_402_300_799, 999_999_999),
    ):
        yield camera(f"a time {name}", _captured_at(seconds, nanos))
    yield camera("a group", images(1) + b"\x0b\x0c")
    yield camera("a varint that is cut off", images(1) + b"\xff")
    yield camera("a varint that is too long", images(1) + b"\xff" * 11)
    yield camera("a length beyond the end", b"\x0a\xff\xff\xff\xff\x0f")
    yield camera("a length of 64 bits", b"\x0a" + b"\xff" * 9 + b"\x01")
    yield camera("the field number 0", images(1) + b"\x00\x00")
    yield camera("no protobuf message", b"\xff\xff")
    yield camera("an image given as a number", b"\x08\x01")
    yield camera(
        "a cloud of an unknown type",
        GetPointCloudResponse(mime_type=text, point_cloud=b"x").SerializeToString(),
        "NextPointCloud",
    )
    yield _vision(lambda: seen(b"RGBA" + b"\xff" * 8, 1), "an image of 2^32 pixels")
    yield _vision(lambda: seen(b"DEPTHMAP" + b"\xff" * 16, 1), "an image of 2^64 pixels")
    yield _vision(lambda: seen(b"\xff\xd8\xff\xc0", 1), "a JPEG that is cut off")
    yield _vision(lambda: seen(b"no image", 1), "an unknown format")
    yield Hostile("no numbers", MOVEMENT_SENSOR, "Position", lambda: [_nowhere()])
    yield Hostile("an unknown type of position", ENCODER, "TicksCount", lambda: [b"\x10\xff\xff\xff\xff\x07"])
    yield Hostile("audio at a negative rate", AUDIO_IN, "GetAudio", lambda: [audio(b"xx", -1, -1)])
    yield Hostile("audio at the highest rate", AUDIO_IN, "GetAudio", lambda: [audio(b"xx", 2**31 - 1, 2**31 - 1)])
    for depth in (30, 100, 3_000, 30_000):
        yield Hostile(f"readings {depth} levels deep", SENSOR, "Readings", lambda depth=depth: [nested(depth)])  # type: ignore[misc]


def _nowhere() -> bytes:
    answer = GetPositionResponse(altitude_m=float("inf"))
    answer.coordinate.latitude = answer.coordinate.longitude = float("nan")
    return answer.SerializeToString()
