"""The tables: what each method asks, and what of the answer is stored, value for value as the builtin does it."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct, Value
from hypothesis import given
from hypothesis import strategies as st
from viam.proto import common
from viam.proto.component import arm, board, encoder, gantry, motor, movementsensor, powersensor, servo
from viam.proto.robot import GetPoseRequest, GetPoseResponse
from viam.proto.service import slam

from holdfast.capture.methods import TABLES, TabularMethod, Target, lookup
from holdfast.errors import ResourceCallError
from holdfast.storage.capture_files.frames import varint

FROM_DATA_MANAGEMENT = {"fromDataManagement": True}
POSE = {"x": 1.5, "y": -2.0, "z": 0.0, "o_x": 0.25, "o_y": -0.0, "o_z": 1.0, "theta": 33.25}
NO_POSE = dict.fromkeys(POSE, 0.0)
VECTOR, NO_VECTOR = {"x": 1.0, "y": -2.5, "z": 1e-14}, {"x": 0.0, "y": 0.0, "z": 0.0}


@dataclass(frozen=True)
class Row:
    """A row as the test expects it: the RPC, its request, and an answer with what is stored of it."""

    api: str
    method: str
    rpc: str
    request: Message
    answer: Message
    stored: Mapping[str, Any]
    stored_of_nothing: Mapping[str, Any]
    """What is stored when all fields of the answer have their default."""
    params: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.api.rpartition(':')[2]} {self.method}"


COMPONENT = "rdk:component:"
ROWS = [
    Row(COMPONENT + "arm", "EndPosition", "/viam.component.arm.v1.ArmService/GetEndPosition",
        arm.GetEndPositionRequest(name="it"), arm.GetEndPositionResponse(pose=common.Pose(**POSE)),
        {"pose": POSE}, {"pose": NO_POSE}),
    Row(COMPONENT + "arm", "JointPositions", "/viam.component.arm.v1.ArmService/GetJointPositions",
        arm.GetJointPositionsRequest(name="it"),
        arm.GetJointPositionsResponse(positions=arm.JointPositions(values=[90.0, -0.0, 1e-300])),
        {"positions": {"values": [90.0, -0.0, 1e-300]}}, {"positions": {"values": []}}),
    Row(COMPONENT + "board", "Analogs", "/viam.component.board.v1.BoardService/ReadAnalogReader",
        board.ReadAnalogReaderRequest(board_name="it", analog_reader_name="a1"),
        board.ReadAnalogReaderResponse(value=-7, min_range=0.5, max_range=3.25, step_size=0.125),
        {"value": -7.0, "min_range": 0.5, "max_range": 3.25, "step_size": 0.125},
        {"value": 0.0, "min_range": 0.0, "max_range": 0.0, "step_size": 0.0}, {"reader_name": "a1"}),
    Row(COMPONENT + "board", "Gpios", "/viam.component.board.v1.BoardService/GetGPIO",
        board.GetGPIORequest(name="it", pin="5"), board.GetGPIOResponse(high=True),
        {"high": True}, {"high": False}, {"pin_name": "5"}),
    Row(COMPONENT + "encoder", "TicksCount", "/viam.component.encoder.v1.EncoderService/GetPosition",
        encoder.GetPositionRequest(name="it"),
        encoder.GetPositionResponse(value=12.5, position_type=encoder.PositionType.POSITION_TYPE_ANGLE_DEGREES),
        {"value": 12.5, "position_type": 2.0}, {"value": 0.0, "position_type": 0.0}),
    Row(COMPONENT + "gantry", "Position", "/viam.component.gantry.v1.GantryService/GetPosition",
        gantry.GetPositionRequest(name="it"), gantry.GetPositionResponse(positions_mm=[1.0, 2.5]),
        {"positions_mm": [1.0, 2.5]}, {"positions_mm": []}),
    Row(COMPONENT + "gantry", "Lengths", "/viam.component.gantry.v1.GantryService/GetLengths",
        gantry.GetLengthsRequest(name="it"), gantry.GetLengthsResponse(lengths_mm=[1000.0]),
        {"lengths_mm": [1000.0]}, {"lengths_mm": []}),
    Row(COMPONENT + "motor", "Position", "/viam.component.motor.v1.MotorService/GetPosition",
        motor.GetPositionRequest(name="it"), motor.GetPositionResponse(position=-1.25),
        {"position": -1.25}, {"position": 0.0}),
    Row(COMPONENT + "motor", "IsPowered", "/viam.component.motor.v1.MotorService/IsPowered",
        motor.IsPoweredRequest(name="it"), motor.IsPoweredResponse(is_on=True, power_pct=0.5),
        {"is_on": True, "power_pct": 0.5}, {"is_on": False, "power_pct": 0.0}),
    Row(COMPONENT + "movement_sensor", "Position",
        "/viam.component.movementsensor.v1.MovementSensorService/GetPosition",
        movementsensor.GetPositionRequest(name="it"),
        movementsensor.GetPositionResponse(
            coordinate=common.GeoPoint(latitude=40.7, longitude=-73.98), altitude_m=50.5),
        {"coordinate": {"latitude": 40.7, "longitude": -73.98}, "altitude_m": 50.5},
        {"coordinate": {"latitude": 0.0, "longitude": 0.0}, "altitude_m": 0.0}),
    Row(COMPONENT + "movement_sensor", "LinearVelocity",
        "/viam.component.movementsensor.v1.MovementSensorService/GetLinearVelocity",
        movementsensor.GetLinearVelocityRequest(name="it"),
        movementsensor.GetLinearVelocityResponse(linear_velocity=common.Vector3(**VECTOR)),
        {"linear_velocity": VECTOR}, {"linear_velocity": NO_VECTOR}),
    Row(COMPONENT + "movement_sensor", "AngularVelocity",
        "/viam.component.movementsensor.v1.MovementSensorService/GetAngularVelocity",
        movementsensor.GetAngularVelocityRequest(name="it"),
        movementsensor.GetAngularVelocityResponse(angular_velocity=common.Vector3(**VECTOR)),
        {"angular_velocity": VECTOR}, {"angular_velocity": NO_VECTOR}),
    Row(COMPONENT + "movement_sensor", "LinearAcceleration",
        "/viam.component.movementsensor.v1.MovementSensorService/GetLinearAcceleration",
        movementsensor.GetLinearAccelerationRequest(name="it"),
        movementsensor.GetLinearAccelerationResponse(linear_acceleration=common.Vector3(**VECTOR)),
        {"linear_acceleration": VECTOR}, {"linear_acceleration": NO_VECTOR}),
    Row(COMPONENT + "movement_sensor", "CompassHeading",
        "/viam.component.movementsensor.v1.MovementSensorService/GetCompassHeading",
        movementsensor.GetCompassHeadingRequest(name="it"),
        movementsensor.GetCompassHeadingResponse(value=359.5), {"value": 359.5}, {"value": 0.0}),
    Row(COMPONENT + "movement_sensor", "Orientation",
        "/viam.component.movementsensor.v1.MovementSensorService/GetOrientation",
        movementsensor.GetOrientationRequest(name="it"),
        movementsensor.GetOrientationResponse(
            orientation=common.Orientation(o_x=0.5, o_y=-0.5, o_z=1.0, theta=180.0)),
        {"orientation": {"o_x": 0.5, "o_y": -0.5, "o_z": 1.0, "theta": 180.0}},
        {"orientation": {"o_x": 0.0, "o_y": 0.0, "o_z": 0.0, "theta": 0.0}}),
    Row(COMPONENT + "power_sensor", "Voltage", "/viam.component.powersensor.v1.PowerSensorService/GetVoltage",
        powersensor.GetVoltageRequest(name="it"), powersensor.GetVoltageResponse(volts=230.5, is_ac=True),
        {"volts": 230.5, "is_ac": True}, {"volts": 0.0, "is_ac": False}),
    Row(COMPONENT + "power_sensor", "Current", "/viam.component.powersensor.v1.PowerSensorService/GetCurrent",
        powersensor.GetCurrentRequest(name="it"), powersensor.GetCurrentResponse(amperes=-2.5, is_ac=True),
        {"amperes": -2.5, "is_ac": True}, {"amperes": 0.0, "is_ac": False}),
    Row(COMPONENT + "power_sensor", "Power", "/viam.component.powersensor.v1.PowerSensorService/GetPower",
        powersensor.GetPowerRequest(name="it"), powersensor.GetPowerResponse(watts=1.5),
        {"watts": 1.5}, {"watts": 0.0}),
    Row(COMPONENT + "servo", "Position", "/viam.component.servo.v1.ServoService/GetPosition",
        servo.GetPositionRequest(name="it"), servo.GetPositionResponse(position_deg=180),
        {"position_deg": 180.0}, {"position_deg": 0.0}),
    Row("rdk:service:slam", "Position", "/viam.service.slam.v1.SLAMService/GetPosition",
        slam.GetPositionRequest(name="it"), slam.GetPositionResponse(pose=common.Pose(**POSE)),
        {"pose": POSE}, {"pose": NO_POSE}),
]  # fmt: skip


def table(api: str, method: str) -> TabularMethod:
    found = lookup(api, method)
    assert isinstance(found, TabularMethod)
    return found


def stored(api: str, method: str, answer: Message) -> Struct:
    return Struct.FromString(table(api, method).payload(answer.SerializeToString()))


def plain(values: Struct) -> dict[str, Any]:
    """Returns the values as they are: a number is a float, a null is None; `repr` distinguishes -0 and NaN."""

    def value_of(value: Value) -> Any:
        kind = value.WhichOneof("kind")
        assert kind is not None, "a value of no kind"
        if kind == "struct_value":
            return plain(value.struct_value)
        if kind == "list_value":
            return [value_of(item) for item in value.list_value.values]
        return None if kind == "null_value" else getattr(value, kind)

    return {name: value_of(value) for name, value in values.fields.items()}


def same(found: Any, expected: Any) -> bool:
    return repr(in_order(found)) == repr(in_order(expected))


def in_order(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: in_order(value[name]) for name in sorted(value)}
    return [in_order(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_row_asks_its_rpc_for_the_resource(row: Row) -> None:
    method = table(row.api, row.method)
    assert method.rpc == row.rpc
    asked = type(row.request).FromString(method.request(Target("it", row.params, 1.0)))
    if "extra" in row.request.DESCRIPTOR.fields_by_name:
        assert dict(asked.extra) == FROM_DATA_MANAGEMENT  # type: ignore[attr-defined]
        asked.ClearField("extra")
    assert asked == row.request


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_every_field_of_the_answer_is_stored_by_its_name(row: Row) -> None:
    assert same(plain(stored(row.api, row.method, row.answer)), row.stored)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_field_that_is_zero_or_not_there_is_stored_all_the_same(row: Row) -> None:
    assert same(plain(stored(row.api, row.method, type(row.answer)())), row.stored_of_nothing)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_an_answer_that_is_none_is_an_error_of_that_reading(row: Row) -> None:
    with pytest.raises(ResourceCallError):
        table(row.api, row.method).payload(b"\x0a\xff")


def test_these_rows_and_the_ones_of_their_own_are_all_there_are() -> None:
    tabular = {
        (api, name)
        for api, methods in TABLES.items()
        for name, method in methods.items()
        if isinstance(method, TabularMethod) and name not in ("DoCommand", "GetWorldPose", "Readings")
    }
    assert tabular == {(row.api, row.method) for row in ROWS}


@given(st.floats(), st.floats(), st.floats())
def test_every_number_stays_what_it_is(x: float, y: float, z: float) -> None:
    answer = movementsensor.GetLinearVelocityResponse(linear_velocity=common.Vector3(x=x, y=y, z=z))
    found = plain(stored(COMPONENT + "movement_sensor", "LinearVelocity", answer))["linear_velocity"]
    assert [struct.pack("<d", found[axis]) for axis in "xyz"] == [struct.pack("<d", value) for value in (x, y, z)]


@given(st.lists(st.floats()))
def test_a_list_stays_a_list_of_any_length(values: list[float]) -> None:
    found = plain(stored(COMPONENT + "gantry", "Position", gantry.GetPositionResponse(positions_mm=values)))
    assert same(found, {"positions_mm": values})


@given(st.floats(width=32))
def test_a_short_number_is_widened_as_go_does(value: float) -> None:
    found = plain(stored(COMPONENT + "encoder", "TicksCount", encoder.GetPositionResponse(value=value)))
    assert math.isnan(value) or struct.pack("<d", found["value"]) == struct.pack("<d", value)


# Readings: the bytes of the answer, around them one field.

WITH_READINGS = {
    COMPONENT + "sensor": "/viam.component.sensor.v1.SensorService/GetReadings",
    COMPONENT + "movement_sensor": "/viam.component.movementsensor.v1.MovementSensorService/GetReadings",
    COMPONENT + "power_sensor": "/viam.component.powersensor.v1.PowerSensorService/GetReadings",
}

VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize(("api", "rpc"), WITH_READINGS.items())
def test_readings_are_asked_of_the_apis_own_service(api: str, rpc: str) -> None:
    method = table(api, "Readings")
    assert method.rpc == rpc
    asked = common.GetReadingsRequest.FromString(method.request(Target("it", {}, 1.0)))
    assert (asked.name, dict(asked.extra)) == ("it", FROM_DATA_MANAGEMENT)


def test_only_a_sensor_is_told_the_parameters() -> None:
    for api in WITH_READINGS:
        request = table(api, "Readings").request(Target("it", {"unit": "K", "deep": {"a": [1.0]}}, 1.0))
        extra = plain(common.GetReadingsRequest.FromString(request).extra)
        told = {"unit": "K", "deep": {"a": [1.0]}} if api == COMPONENT + "sensor" else {}
        assert extra == {**told, **FROM_DATA_MANAGEMENT}


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_readings_of_any_shape_are_stored_as_they_are(values: dict[str, Any]) -> None:
    answer = Struct()
    answer.update(values)
    response = common.GetReadingsResponse(readings=answer.fields)
    for api in WITH_READINGS:
        assert same(plain(stored(api, "Readings", response)), {"readings": plain(answer)})


# DoCommand and GetWorldPose

DO_COMMAND = {
    **{
        COMPONENT + api: f"/viam.component.{package}.v1.{service}Service/DoCommand"
        for api, package, service in [
            ("arm", "arm", "Arm"), ("audio_in", "audioin", "AudioIn"), ("base", "base", "Base"),
            ("board", "board", "Board"), ("button", "button", "Button"), ("camera", "camera", "Camera"),
            ("encoder", "encoder", "Encoder"), ("gantry", "gantry", "Gantry"), ("generic", "generic", "Generic"),
            ("gripper", "gripper", "Gripper"), ("input_controller", "inputcontroller", "InputController"),
            ("motor", "motor", "Motor"), ("movement_sensor", "movementsensor", "MovementSensor"),
            ("pose_tracker", "posetracker", "PoseTracker"), ("power_sensor", "powersensor", "PowerSensor"),
            ("sensor", "sensor", "Sensor"), ("servo", "servo", "Servo"), ("switch", "switch", "Switch"),
        ]
    },
    **{
        f"rdk:service:{api}": f"/viam.service.{api}.v1.{service}Service/DoCommand"
        for api, service in [
            ("discovery", "Discovery"), ("generic", "Generic"), ("motion", "Motion"), ("navigation", "Navigation"),
            ("shell", "Shell"), ("slam", "SLAM"), ("vision", "Vision"),
        ]
    },
}  # fmt: skip


def test_every_api_with_a_do_command_has_it_on_its_own_service() -> None:
    found = {api: methods["DoCommand"].rpc for api, methods in TABLES.items() if "DoCommand" in methods}
    assert found == DO_COMMAND


@given(st.dictionaries(st.text(), VALUES, max_size=4), st.dictionaries(st.text(), VALUES, max_size=4))
def test_a_command_goes_as_it_is_configured_and_its_output_is_stored_as_it_is(
    command: dict[str, Any], output: dict[str, Any]
) -> None:
    method = table(COMPONENT + "generic", "DoCommand")
    request = method.request(Target("it", {"docommand_input": command}, 1.0))
    asked = common.DoCommandRequest.FromString(request)
    expected, result = Struct(), Struct()
    expected.update(command)
    result.update(output)
    assert asked.name == "it"
    assert same(plain(asked.command), plain(expected))
    found = plain(stored(COMPONENT + "generic", "DoCommand", common.DoCommandResponse(result=result)))
    assert same(found, {"docommand_output": plain(result)})


def nested(depth: int) -> bytes:
    """Returns a serialized `Struct`, nested under "a" `depth` times; this protobuf decodes about thirty levels."""
    inner = b""
    for _ in range(depth):
        value = b"\x2a" + varint(len(inner)) + inner
        entry = b"\x0a\x01a\x12" + varint(len(value)) + value
        inner = b"\x0a" + varint(len(entry)) + entry
    return inner


def test_an_answer_is_nested_as_deep_as_it_likes() -> None:
    for depth in (1, 20, 500):
        deep = nested(depth)
        output = table(COMPONENT + "generic", "DoCommand").payload(b"\x0a" + varint(len(deep)) + deep)
        readings = table(COMPONENT + "sensor", "Readings").payload(deep)
        assert output.endswith(deep) and readings.endswith(deep)
    with pytest.raises(ResourceCallError):
        table(COMPONENT + "generic", "DoCommand").payload(b"\x0a\xff")


def test_a_command_that_returns_nothing_is_stored_as_an_empty_output() -> None:
    assert plain(stored(COMPONENT + "generic", "DoCommand", common.DoCommandResponse())) == {"docommand_output": {}}


def test_every_component_has_a_world_pose_and_no_service_has() -> None:
    with_pose = {api for api, methods in TABLES.items() if "GetWorldPose" in methods}
    assert with_pose == {api for api in TABLES if api.startswith(COMPONENT)}
    assert {api for api in with_pose if api not in DO_COMMAND} == {COMPONENT + "audio_out"}


@pytest.mark.parametrize("pose", [POSE, {**NO_POSE, "x": math.nan, "theta": -math.inf}, NO_POSE])
def test_the_world_pose_is_that_of_the_frame_system(pose: Mapping[str, float]) -> None:
    method = table(COMPONENT + "camera", "GetWorldPose")
    assert method.rpc == "/viam.robot.v1.RobotService/GetPose"
    asked = GetPoseRequest.FromString(method.request(Target("it", {}, 1.0)))
    assert (asked.component_name, asked.destination_frame, dict(asked.extra)) == (
        "it",
        "world",
        FROM_DATA_MANAGEMENT,
    )
    answer = GetPoseResponse(pose=common.PoseInFrame(reference_frame="world", pose=common.Pose(**pose)))
    assert same(plain(stored(COMPONENT + "camera", "GetWorldPose", answer)), {"pose": pose})
