"""What RDK captures of every component and of some services: DoCommand and GetWorldPose."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from viam.proto.common import DoCommandRequest
from viam.proto.robot import GetPoseRequest, GetPoseResponse

from ...storage.capture_files.frames import varint
from . import fields
from .method import (
    MAX_DECODED_BYTES,
    Method,
    Params,
    Problem,
    TabularMethod,
    Target,
    by_name,
    decoded,
    fields_of,
    from_data_management,
    no_problem,
    struct_of,
)
from .steps import FEW_STEPS, Steps

_RESULT = 1
"""The number of the field DoCommandResponse.result."""


OF_ALL = frozenset({"DoCommand", "GetWorldPose"})
"""The methods that every component has."""


def row(service: str, rpc: str, request_type: Callable[..., Message], answer_type: type[Message]) -> TabularMethod:
    """Returns the usual row: the request has the resource's name, and the answer is stored field by field."""
    return decoded_row(f"/{service}/{rpc}", by_name(request_type), answer_type)


def decoded_row(
    rpc: str, request: Callable[[Target], bytes], answer_type: type[Message], problem: Problem = no_problem
) -> TabularMethod:
    """Returns a row whose answer is decoded and stored field by field."""
    return TabularMethod(rpc, request, fields_of(answer_type), problem, MAX_DECODED_BYTES)


def of_component(service: str) -> Mapping[str, Method]:
    """Returns the rows that every component has. `service` is the component's gRPC service."""
    return {"DoCommand": do_command(service), "GetWorldPose": WORLD_POSE}


def do_command(service: str) -> TabularMethod:
    """Returns the row for DoCommand: parameter docommand_input → {"docommand_output": the result}."""
    return TabularMethod(f"/{service}/DoCommand", _command, _command_output, _command_problem)


def _command(target: Target) -> bytes:
    command = Struct()
    command.update(dict(target.params["docommand_input"]))
    return DoCommandRequest(name=target.name, command=command).SerializeToString()


def _command_output(answer: bytes) -> bytes:
    """Returns {"docommand_output": …} around the bytes of the result, as a serialized `Struct`.

    The result is not decoded, because it may be nested deeper than protobuf allows.
    """
    result = fields.last(memoryview(answer), _RESULT, Steps(FEW_STEPS))
    value = b"\x2a" + varint(len(result)) + result
    entry = b"\x0a\x10docommand_output\x12" + varint(len(value)) + value
    return b"\x0a" + varint(len(entry)) + entry


def _command_problem(params: Params) -> str:
    if "docommand_input" not in params:
        return "additional_params.docommand_input is missing: give the command, {} for an empty one"
    if not isinstance(params["docommand_input"], Mapping):
        return f"additional_params.docommand_input must be an object, not {params['docommand_input']!r}"
    return ""


def _pose_request(target: Target) -> bytes:
    return GetPoseRequest(
        component_name=target.name, destination_frame="world", extra=from_data_management()
    ).SerializeToString()


def _pose_payload(answer: bytes) -> bytes:
    pose = decoded(GetPoseResponse, answer).pose.pose
    payload = Struct()
    payload.fields["pose"].struct_value.CopyFrom(struct_of(pose))
    return payload.SerializeToString()


WORLD_POSE = TabularMethod(
    "/viam.robot.v1.RobotService/GetPose", _pose_request, _pose_payload, most_bytes=MAX_DECODED_BYTES
)
"""The row for GetWorldPose; the frame system answers → {"pose": {"x", "y", "z", "o_x", "o_y", "o_z", "theta"}}."""
