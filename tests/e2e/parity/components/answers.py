"""What each resource of the parity test answers: resource → RPC → answer (see `messages`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from grpclib import GRPCError, Status
from viam.proto.common import (
    GeoPoint,
    GetReadingsResponse,
    Orientation,
    Pose,
    PoseInFrame,
    Vector3,
)
from viam.proto.component import (
    arm,
    board,
    camera,
    encoder,
    gantry,
    motor,
    movementsensor,
    posetracker,
    powersensor,
    servo,
)
from viam.proto.service import slam, vision

from .messages import (
    DEPTH,
    FILTERED,
    INF,
    JOINTS,
    JPEG,
    KINEMATICS,
    NAN,
    PCD_ASCII,
    PCD_BINARY,
    PNG,
    POSE,
    POSES,
    RGBA,
    Answer,
    as_json,
    asked,
    cloud_map,
    command_echo,
    commanded,
    detection,
    filtered,
    formless_sound,
    image,
    image_echo,
    image_of,
    images,
    nested,
    readings,
    readings_echo,
    see_by_camera,
    seen,
    several,
    sound,
    sound_of_first_request,
    value,
)

AWKWARD: Mapping[str, Any] = {
    "nan": NAN,
    "inf": INF,
    "minus_inf": -INF,
    "minus_zero": -0.0,
    "zero": 0,
    "tiny": 5e-324,
    "huge": 1.7976931348623157e308,
    "int53": 2**53,
    "int64": 2**63 - 1,
    "third": 1 / 3,
    "true": True,
    "false": False,
    "none": None,
    "unset": ...,
    "empty": "",
    "text": "Grüße \u0000 \u202e 雪 👩‍🚀 \n\t\"'\\ </script>",
    "no_map": {},
    "no_list": [],
    "list": [1, "1", True, None, [], {}, [[1]], ...],
    "map": {"": 1, " ": 2, "a.b": 3, "$ref": 4, "ключ": {"inner": []}},
    "deep": nested(24),
    "long": "x" * 20_000,
    "": "no name",
    "_type": "not a type",
}
TYPED: Mapping[str, Any] = {
    "vector": {"_type": "vector3", "x": 1, "y": -0.0, "z": 1e300},
    "angular": {"_type": "angular_velocity", "x": 1, "y": 2, "z": 3},
    "euler": {"_type": "euler", "roll": 0.1, "pitch": 0.2, "yaw": 0.3},
    "quat": {"_type": "quat", "r": 1, "i": 0.5, "j": 0.25, "k": 0.125},
    "radians": {"_type": "orientation_vector_radians", "theta": 1, "ox": 0, "oy": 0, "oz": 1},
    "degrees": {"_type": "orientation_vector_degrees", "theta": 90, "ox": 0, "oy": 0.6, "oz": 0.8},
    "axis": {"_type": "r4aa", "theta": 1, "rx": 0, "ry": 1, "rz": 0},
    "point": {"_type": "geopoint", "lat": 40.7, "lng": -73.98},
    "unknown": {"_type": "tensor", "x": 1},
    "inside": [{"_type": "vector3", "x": 1, "y": 2, "z": 3}],
}
DEGREES = encoder.PositionType.POSITION_TYPE_ANGLE_DEGREES
TICKS = encoder.PositionType.POSITION_TYPE_TICKS_COUNT
COMPONENTS = (
    *(
        "arm",
        "audio_in",
        "audio_out",
        "base",
        "board",
        "button",
        "camera",
        "encoder",
        "gantry",
        "generic",
        "gripper",
    ),
    *("input_controller", "motor", "movement_sensor", "pose_tracker", "power_sensor", "sensor", "servo", "switch"),
)
SERVICES = ("discovery", "generic", "motion", "navigation", "slam", "vision")

ANSWERS: Mapping[str, Mapping[str, Answer]] = {
    **{f"{api}-commands": {"DoCommand": command_echo} for api in COMPONENTS},
    **{f"{api}-service": {"DoCommand": command_echo} for api in SERVICES},
    "gauge": {"DoCommand": command_echo},
    "commands-awkward": {"DoCommand": commanded(**AWKWARD)},
    "commands-typed": {"DoCommand": commanded(**TYPED)},
    "commands-empty": {"DoCommand": commanded()},
    "commands-filtered": {"DoCommand": FILTERED},
    "commands-broken": {"DoCommand": GRPCError(Status.INTERNAL, "broken")},
    "arm-plain": {
        "GetEndPosition": asked(arm.GetEndPositionResponse(pose=POSE)),
        "GetJointPositions": asked(arm.GetJointPositionsResponse(positions=JOINTS)),
    },
    "arm-modelled": {
        "GetKinematics": KINEMATICS,
        "GetJointPositions": arm.GetJointPositionsResponse(positions=arm.JointPositions(values=[45.0])),
    },
    "arm-zero": {
        "GetEndPosition": asked(arm.GetEndPositionResponse(pose=Pose())),
        "GetJointPositions": asked(arm.GetJointPositionsResponse(positions=arm.JointPositions())),
    },
    "arm-nan": {
        "GetEndPosition": asked(arm.GetEndPositionResponse(pose=Pose(x=NAN, y=INF, z=-INF, o_z=1))),
        "GetJointPositions": asked(arm.GetJointPositionsResponse(positions=arm.JointPositions(values=[NAN, -INF]))),
    },
    **{
        f"arm-{name}": {"GetEndPosition": asked(arm.GetEndPositionResponse(pose=pose))}
        for name, pose in POSES.items()
    },
    "arm-miscounted": {
        "GetKinematics": KINEMATICS,
        "GetJointPositions": arm.GetJointPositionsResponse(positions=arm.JointPositions(values=[1.0, 2.0])),
    },
    "audio-plain": {"GetAudio": asked([sound(b"\1\0" * 800, 1), sound(b"\2\0" * 800, 2)])},
    "audio-changing": {
        "GetAudio": asked([sound(b"\1\0", 1), sound(b"\2\0" * 2, 2, 16000), sound(b"\3\0", 3, 16000, 2)])
    },
    "audio-request": {"GetAudio": asked(sound_of_first_request)},
    "audio-odd": {
        "GetAudio": asked([sound(b"\1\2\3", -5, 2**31 - 1, 7), sound(b"", 6), sound(b"\4", 7, 2**31 - 1, 7)])
    },
    "audio-negative": {"GetAudio": asked([sound(b"\1", 1, -8000, -2)])},
    "audio-formless": {"GetAudio": asked([sound(b"\1\0", 1), formless_sound(b"\2\0")])},
    "audio-silent": {"GetAudio": asked([sound(b"", 1)])},
    "board-awkward": {
        "ReadAnalogReader": asked(
            board.ReadAnalogReaderResponse(value=-(2**31), min_range=0.1, max_range=3.3, step_size=-0.0)
        ),
        "GetGPIO": asked(board.GetGPIOResponse(high=True)),
    },
    "board-zero": {
        "ReadAnalogReader": asked(board.ReadAnalogReaderResponse()),
        "GetGPIO": asked(board.GetGPIOResponse()),
    },
    "camera-several": {
        "GetImages": asked(several),
        "GetPointCloud": asked(camera.GetPointCloudResponse(mime_type="pointcloud/pcd", point_cloud=PCD_BINARY)),
    },
    "camera-ascii": {
        "GetPointCloud": asked(camera.GetPointCloudResponse(mime_type="pointcloud/pcd", point_cloud=PCD_ASCII)),
    },
    "camera-request": {"GetImages": asked(image_echo)},
    "camera-none": {"GetImages": images()},
    "camera-empty-image": {"GetImages": images(image("a", "image/jpeg", JPEG), image("b", "image/png", b""))},
    "camera-ancient": {"GetImages": asked(image_of(Timestamp(seconds=-5, nanos=5)))},
    "camera-future": {"GetImages": asked(image_of(Timestamp(seconds=2**34, nanos=1)))},
    "camera-timeless": {"GetImages": asked(image_of(None))},
    "camera-filtered": {"GetImages": filtered(several)},
    "encoder-degrees": {
        "GetPosition": asked(encoder.GetPositionResponse(value=0.1, position_type=DEGREES)),
    },
    "encoder-unknown": {"GetPosition": asked(encoder.GetPositionResponse(value=-1e38, position_type=7))},  # type: ignore[arg-type]
    "encoder-zero": {"GetPosition": asked(encoder.GetPositionResponse())},
    "encoder-nan": {
        "GetPosition": asked(encoder.GetPositionResponse(value=NAN, position_type=TICKS)),
    },
    "gantry-several": {
        "GetPosition": asked(gantry.GetPositionResponse(positions_mm=[0.1, -0.0, NAN, INF])),
        "GetLengths": asked(gantry.GetLengthsResponse(lengths_mm=[1e308, 0, 5e-324])),
    },
    "gantry-none": {
        "GetPosition": asked(gantry.GetPositionResponse()),
        "GetLengths": asked(gantry.GetLengthsResponse()),
    },
    "motor-moving": {
        "GetPosition": asked(motor.GetPositionResponse(position=-1e308)),
        "IsPowered": asked(motor.IsPoweredResponse(is_on=True, power_pct=0.1)),
    },
    "motor-off": {
        "GetPosition": asked(motor.GetPositionResponse()),
        "IsPowered": asked(motor.IsPoweredResponse()),
    },
    "movement-awkward": {
        "GetPosition": asked(
            movementsensor.GetPositionResponse(coordinate=GeoPoint(latitude=NAN, longitude=-0.0), altitude_m=0.1)
        ),
        "GetLinearVelocity": asked(
            movementsensor.GetLinearVelocityResponse(linear_velocity=Vector3(x=NAN, y=INF, z=-INF))
        ),
        "GetAngularVelocity": asked(
            movementsensor.GetAngularVelocityResponse(angular_velocity=Vector3(x=-0.0, y=1e308, z=1 / 3))
        ),
        "GetLinearAcceleration": asked(movementsensor.GetLinearAccelerationResponse(linear_acceleration=Vector3())),
        "GetCompassHeading": asked(movementsensor.GetCompassHeadingResponse(value=-0.0)),
        "GetOrientation": asked(
            movementsensor.GetOrientationResponse(orientation=Orientation(o_x=0.6, o_y=0, o_z=0.8, theta=-12.5))
        ),
        "GetReadings": readings(**TYPED),
    },
    "movement-south": {
        "GetOrientation": asked(
            movementsensor.GetOrientationResponse(orientation=Orientation(o_x=1e-9, o_z=-2, theta=190))
        )
    },
    "movement-zero": {
        "GetPosition": asked(movementsensor.GetPositionResponse(coordinate=GeoPoint())),
        "GetCompassHeading": asked(movementsensor.GetCompassHeadingResponse()),
        "GetOrientation": asked(movementsensor.GetOrientationResponse(orientation=Orientation())),
        "GetReadings": readings(),
    },
    "poses": {
        "GetPoses": posetracker.GetPosesResponse(body_poses={"a": PoseInFrame(reference_frame="world", pose=POSE)}),
    },
    "power-awkward": {
        "GetVoltage": asked(powersensor.GetVoltageResponse(volts=NAN, is_ac=True)),
        "GetCurrent": asked(powersensor.GetCurrentResponse(amperes=-INF)),
        "GetPower": asked(powersensor.GetPowerResponse(watts=-0.0)),
        "GetReadings": readings(**AWKWARD),
    },
    "sensor-awkward": {"GetReadings": readings(**AWKWARD)},
    "sensor-typed": {"GetReadings": readings(**TYPED)},
    "sensor-empty": {"GetReadings": readings()},
    **{f"{api}-request": {"GetReadings": readings_echo} for api in ("sensor", "movement_sensor", "power_sensor")},
    "sensor-filtered": {"GetReadings": filtered(GetReadingsResponse(readings={"a": value(1)}))},
    "sensor-broken": {"GetReadings": GRPCError(Status.INTERNAL, "broken")},
    "servo-most": {"GetPosition": asked(servo.GetPositionResponse(position_deg=2**32 - 1))},
    "servo-zero": {"GetPosition": asked(servo.GetPositionResponse())},
    "slam-map": {
        "GetPosition": slam.GetPositionResponse(pose=POSE),
        "GetPointCloudMap": cloud_map(PCD_BINARY[:7], PCD_BINARY[7:]),
    },
    "slam-request": {
        "GetPosition": slam.GetPositionResponse(pose=Pose()),
        "GetPointCloudMap": lambda request: cloud_map(as_json(request)),
    },
    "slam-empty": {"GetPointCloudMap": cloud_map(b"")},
    "vision-all": {
        "CaptureAllFromCamera": seen(
            PNG,
            "image/png",
            detection("дом 🏠", 0.5),
            detection("", 0.0, normalized=False),
            detection("sure", 1.0),
            sunny=0.5,
            rainy=0.25,
        )
    },
    "vision-wild": {
        "CaptureAllFromCamera": seen(
            JPEG,
            "image/jpeg",
            detection("beyond", 2.0, (-5, 100, 2**40, -(2**40)), normalized=False),
            detection("turned", 0.5, (30, 13, 4, 2), normalized=False),
            detection("nan", NAN),
            detection("negative", -0.5),
            nan=NAN,
            negative=-0.5,
            inf=INF,
        )
    },
    "vision-rgba": {"CaptureAllFromCamera": seen(RGBA, "image/vnd.viam.rgba", detection("a", 1.0, (1, 1, 3, 2)))},
    "vision-depth": {"CaptureAllFromCamera": seen(DEPTH, "image/vnd.viam.dep", detection("a", 1.0, (1, 1, 3, 2)))},
    "vision-unnamed": {"CaptureAllFromCamera": seen(PNG, "", detection("a", 1.0))},
    "vision-mistaken": {"CaptureAllFromCamera": seen(PNG, "image/jpeg", detection("a", 1.0))},
    "vision-blind": {"CaptureAllFromCamera": seen(b"no image", "image/jpeg", sunny=1.0)},
    "vision-partial": {
        "CaptureAllFromCamera": seen(PNG, "image/png", vision.Detection(class_name="a", confidence=1.0, x_min=1))
    },
    "vision-nothing": {"CaptureAllFromCamera": seen(JPEG, "image/jpeg")},
    "vision-request": {"CaptureAllFromCamera": asked(see_by_camera)},
    "vision-filtered": {"CaptureAllFromCamera": filtered(see_by_camera)},
}
