"""rdk:component:camera. Images are stored byte for byte as they come and are never decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from viam.proto.app.data import Annotations, Classification
from viam.proto.common import ResponseMetadata
from viam.proto.component.camera import GetImagesRequest, GetPointCloudRequest

from ...base.filesystem import Buffer
from ...base.mime_types import JPEG, PCD, PNG, extension_of
from ...base.words import shown
from . import fields
from .common import of_component
from .method import (
    MAX_PAYLOADS,
    Binary,
    BinaryAnswer,
    BinaryMethod,
    Method,
    Params,
    Target,
    by_name,
    decoded_part,
    from_data_management,
    unusable,
)
from .steps import Steps

API = "rdk:component:camera"
SERVICE = "viam.component.camera.v1.CameraService"
_IMAGES, _RESPONSE_METADATA = 1, 84260
_SOURCE_NAME, _IMAGE, _MIME_TYPE, _ANNOTATIONS = 1, 3, 4, 5
_PCD_MIME_TYPE, _POINT_CLOUD = 1, 2
_WITH_EXTENSION = (JPEG, PNG, PCD)
"""The MIME types that set an extension in the header; as in the builtin, others set none."""


@dataclass
class Image:
    """One image of an answer. `data` is a slice of the answer."""

    source: str
    mime_type: str
    data: memoryview
    annotations: bytes

    @classmethod
    def read(cls, message: memoryview, steps: Steps) -> Image:
        """Reads a serialized `viam.component.camera.v1.Image`."""
        found = dict(fields.each_slice(message, steps))
        nothing = memoryview(b"")
        return cls(
            source=fields.text(found.get(_SOURCE_NAME, nothing)),
            mime_type=fields.text(found.get(_MIME_TYPE, nothing)),
            data=found.get(_IMAGE, nothing),
            annotations=bytes(found.get(_ANNOTATIONS, nothing)),
        )


def _images(answer: memoryview, steps: Steps) -> list[Image]:
    """Reads the images, but not all where there are too many: garbage collection would look through them."""
    found: list[Image] = []
    for number, value in fields.each_slice(answer, steps):
        if number == _IMAGES:
            if len(found) == MAX_PAYLOADS:
                raise unusable(
                    f"the camera returned more than {MAX_PAYLOADS} images; no more are taken of one answer"
                )
            found.append(Image.read(value, steps))
    return found


def _captured_ns(answer: memoryview, steps: Steps) -> int:
    """Returns when the camera says that it took the images, in ns; 0 if it gives no time or an invalid one.

    A time before 1970 is invalid.
    """
    metadata = decoded_part(ResponseMetadata, fields.last(answer, _RESPONSE_METADATA, steps), steps)
    try:
        return max(0, metadata.captured_at.ToNanoseconds())
    except ValueError:
        return 0


def _images_request(target: Target) -> bytes:
    """Builds a request with each source name once: viam-server refuses a request that repeats one."""
    return GetImagesRequest(
        name=target.name,
        filter_source_names=dict.fromkeys(target.params.get("filter_source_names", ())),
        extra=from_data_management(),
    ).SerializeToString()


def _all_images(target: Target, answers: Sequence[Buffer], steps: Steps) -> BinaryAnswer:
    answer = memoryview(answers[0])
    binaries = (
        Binary((image.data,), image.mime_type, image.annotations + _classified(image.source))
        for image in _images(answer, steps)
    )
    return BinaryAnswer(tuple(binaries), _captured_ns(answer, steps))


def _classified(label: str) -> bytes:
    """Returns serialized `Annotations` that, appended to others, add the source's name as a classification."""
    return Annotations(classifications=[Classification(label=label)]).SerializeToString()


def _one_image(target: Target, answers: Sequence[Buffer], steps: Steps) -> BinaryAnswer:
    answer = memoryview(answers[0])
    images = _images(answer, steps)
    if not images:
        raise unusable("the camera returned no images")
    wanted = target.params.get("mime_type", JPEG)
    image = next((image for image in images if image.mime_type == wanted), images[0])
    return BinaryAnswer((Binary((image.data,), image.mime_type, image.annotations),), _captured_ns(answer, steps))


def _cloud_request(target: Target) -> bytes:
    return GetPointCloudRequest(name=target.name, mime_type=PCD, extra=from_data_management()).SerializeToString()


def _cloud(target: Target, answers: Sequence[Buffer], steps: Steps) -> BinaryAnswer:
    answer = memoryview(answers[0])
    found = dict(fields.each_slice(answer, steps))
    mime_type = fields.text(found.get(_PCD_MIME_TYPE, memoryview(b"")))
    if mime_type != PCD:
        raise unusable(f"the camera returned a point cloud of the unknown type {shown(mime_type)}")
    return BinaryAnswer((Binary((found.get(_POINT_CLOUD, memoryview(b"")),), PCD),))


def _filter_problem(params: Params) -> str:
    names = params.get("filter_source_names", ())
    if isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names):
        return ""
    return f"additional_params.filter_source_names must be a list of strings, not {names!r}"


def _image_extension(params: Params) -> str:
    mime_type = str(params.get("mime_type", ""))
    return extension_of(mime_type) if mime_type in _WITH_EXTENSION else ""


METHODS: Mapping[str, Method] = {
    # filter_source_names → a file for each image, with the source's name as a classification
    "GetImages": BinaryMethod(f"/{SERVICE}/GetImages", _images_request, _all_images, problem=_filter_problem),
    # mime_type → the first image of that type, or else the first of all
    "ReadImage": BinaryMethod(f"/{SERVICE}/GetImages", by_name(GetImagesRequest), _one_image, _image_extension),
    "NextPointCloud": BinaryMethod(f"/{SERVICE}/GetPointCloud", _cloud_request, _cloud, lambda params: ".pcd"),
    **of_component(SERVICE),
}
