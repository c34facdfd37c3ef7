"""rdk:service:vision. An image is stored with what the service saw on it as annotations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from viam.proto.app.data import Annotations, BoundingBox
from viam.proto.app.data import Classification as Label
from viam.proto.service.vision import CaptureAllFromCameraRequest, Classification, Detection

from ...base.filesystem import Buffer
from . import fields
from .camera import Image
from .common import do_command
from .image_size import image_size
from .method import (
    Binary,
    BinaryAnswer,
    BinaryMethod,
    Method,
    Params,
    Target,
    decoded_part,
    from_data_management,
    required_text,
    unusable,
)
from .steps import Steps

API = "rdk:service:vision"
SERVICE = "viam.service.vision.v1.VisionService"
MAX_SEEN = 10_000
"""The most boxes and classifications of one image."""
_IMAGE, _DETECTIONS, _CLASSIFICATIONS = 1, 2, 3


def _request(target: Target) -> bytes:
    return CaptureAllFromCameraRequest(
        name=target.name,
        camera_name=target.params["camera_name"],
        return_image=True,
        return_detections=True,
        return_classifications=True,
        extra=from_data_management(),
    ).SerializeToString()


def _capture(target: Target, answers: Sequence[Buffer], steps: Steps) -> BinaryAnswer:
    answer = memoryview(answers[0])
    image = Image.read(fields.last(answer, _IMAGE, steps), steps)
    if not image.data:
        raise unusable("the vision service returned no image")
    annotations = _annotations(answer, image.data, _min_confidence(target.params), steps)
    return BinaryAnswer((Binary((image.data,), image.mime_type, annotations.SerializeToString()),))


def _annotations(answer: memoryview, image: memoryview, min_confidence: float, steps: Steps) -> Annotations:
    """Returns what was seen with at least `min_confidence`.

    Boxes are given as fractions of the image's width and height. Raises ResourceCallError if there are boxes and
    the image's size can't be read, or if there is more than `MAX_SEEN`.
    """
    found = Annotations()
    size: tuple[int, int] | None = None
    for count, (number, value) in enumerate(fields.each_slice(answer, steps)):
        if count > MAX_SEEN:
            raise unusable(f"the vision service saw more than {MAX_SEEN} things on the image")
        if number == _DETECTIONS:
            seen = decoded_part(Detection, value, steps)
            if seen.confidence >= min_confidence:
                size = size or image_size(image, steps)
                found.bboxes.append(_box(seen, *size))
        elif number == _CLASSIFICATIONS:
            label = decoded_part(Classification, value, steps)
            if label.confidence >= min_confidence:
                found.classifications.append(Label(label=label.class_name, confidence=label.confidence))
    return found


def _box(seen: Detection, width: int, height: int) -> BoundingBox:
    return BoundingBox(
        label=seen.class_name,
        confidence=seen.confidence,
        x_min_normalized=seen.x_min / width,
        y_min_normalized=seen.y_min / height,
        x_max_normalized=seen.x_max / width,
        y_max_normalized=seen.y_max / height,
    )


def _min_confidence(params: Params) -> float:
    value = params.get("min_confidence_score", 0.0)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0


def _problem(params: Params) -> str:
    missing = required_text(params, "camera_name", "name the camera")
    if missing or 0.0 <= _min_confidence(params) <= 1.0:
        return missing
    return f"additional_params.min_confidence_score must be between 0 and 1, not {params['min_confidence_score']:g}"


METHODS: Mapping[str, Method] = {
    # camera_name, min_confidence_score (0) → the image, with what was seen on it as annotations
    "CaptureAllFromCamera": BinaryMethod(f"/{SERVICE}/CaptureAllFromCamera", _request, _capture, problem=_problem),
    "DoCommand": do_command(SERVICE),
}
