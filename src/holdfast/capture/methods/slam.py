"""rdk:service:slam."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from viam.proto.service.slam import GetPointCloudMapRequest, GetPositionRequest, GetPositionResponse

from ...base.filesystem import Buffer
from ...base.mime_types import PCD
from . import fields
from .common import decoded_row, do_command
from .method import Binary, BinaryAnswer, BinaryMethod, Method, Target
from .steps import Steps

API = "rdk:service:slam"
SERVICE = "viam.service.slam.v1.SLAMService"
_CHUNK = 1
"""The number of the field GetPointCloudMapResponse.point_cloud_pcd_chunk."""


def _position(target: Target) -> bytes:
    return GetPositionRequest(name=target.name).SerializeToString()


def _map_request(target: Target) -> bytes:
    return GetPointCloudMapRequest(name=target.name, return_edited_map=False).SerializeToString()


def _map(target: Target, answers: Sequence[Buffer], steps: Steps) -> BinaryAnswer:
    chunks = tuple(fields.last(memoryview(answer), _CHUNK, steps) for answer in answers)
    return BinaryAnswer((Binary(chunks, PCD),))


METHODS: Mapping[str, Method] = {
    # {"pose": {"x", "y", "z", "o_x", "o_y", "o_z", "theta"}}
    "Position": decoded_row(f"/{SERVICE}/GetPosition", _position, GetPositionResponse),
    # the chunks of the stream, joined
    "PointCloudMap": BinaryMethod(f"/{SERVICE}/GetPointCloudMap", _map_request, _map, streamed=True),
    "DoCommand": do_command(SERVICE),
}
