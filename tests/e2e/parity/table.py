"""The table: every API and method that a data manager captures, with what is awkward about each.

`fake` resources are viam-server's own; the others answer what `components/answers.py` says. A row that neither data
manager captures says why.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from .rows import Compared, Resource, Row

NOISE, SHAPE, OTHERWISE, NOTHING = Compared.NOISE, Compared.SHAPE, Compared.OTHERWISE, Compared.NOTHING
REMOTE, PREFIX = "rem", "far_"
PLAIN_REMOTE = "plain"
"""Another one, without a prefix."""
BY_QUATERNION = "Go keeps an orientation as a quaternion"
NOT_REGISTERED = "the builtin has no such method for this API"
TIMELESS = "the camera tells no time: for the builtin that is 1970, for us the moment of the answer"
RECEIVED = ("metadata", "time_received")

_RESOURCES: dict[str, Resource] = {}


def component(api: str, name: str, **more: Any) -> Resource:
    return _add(Resource(f"rdk:component:{api}", name, **more))


def service(api: str, name: str, **more: Any) -> Resource:
    return _add(Resource(f"rdk:service:{api}", name, **more))


def fake(api: str, **attributes: Any) -> Resource:
    return component(api, f"{api}-fake", model="fake", attributes=attributes, frame=frame(0.1, -20, 300))


def frame(x: float, y: float, z: float, parent: str = "world") -> dict[str, Any]:
    turned = {"type": "ov_degrees", "value": {"x": 0.1, "y": -0.7, "z": 0.3, "th": 33.3}}
    return {"parent": parent, "translation": {"x": x, "y": y, "z": z}, "orientation": turned}


def another(resource: Resource) -> Resource:
    """A second resource that answers as this one does.

    Two collectors of the same resource and method that start at the same time write into one file of the builtin.
    """
    number = sum(1 for name in _RESOURCES if re.fullmatch(rf"{resource.name}(-\d+)?", name)) + 1
    return _add(replace(resource, name=f"{resource.name}-{number}"))


def _add(resource: Resource) -> Resource:
    return _RESOURCES.setdefault(resource.name, resource)


def _arm() -> Iterator[Row]:
    for name in ("south", "almost-north", "long"):
        yield Row(component("arm", f"arm-{name}"), "EndPosition", compared=NOISE, why=BY_QUATERNION)
    miscounted = component("arm", "arm-miscounted")
    yield Row(miscounted, "JointPositions", compared=NOTHING, why="its model has another number of joints")
    for name in ("plain", "zero", "nan"):
        arm = component("arm", f"arm-{name}")
        yield Row(arm, "EndPosition", compared=NOISE, why=BY_QUATERNION)
        yield Row(arm, "JointPositions", compared=NOISE, why="Go keeps radians")
    modelled = component("arm", "arm-modelled", frame=frame(1, 2, 3))
    yield Row(modelled, "JointPositions", compared=NOISE, why="Go keeps radians")
    yield Row(modelled, "GetWorldPose", compared=NOISE, why=BY_QUATERNION)
    yield Row(modelled, "EndPosition", compared=NOTHING, why="it does not answer")


def _audio_in() -> Iterator[Row]:
    quiet = fake("audio_in", sample_rate=8000)
    plain = component("audio_in", "audio-plain")
    yield Row(quiet, "GetAudio", {"codec": "pcm16"})
    yield Row(plain, "GetAudio")
    for codec in ("pcm16", "pcm32", "pcm32_float", "mp3", "opus"):
        yield Row(another(plain), "GetAudio", {"codec": codec})
    yield Row(another(plain), "GetAudio", {"codec": 16})
    for name in ("changing", "odd", "negative"):
        yield Row(component("audio_in", f"audio-{name}"), "GetAudio")
    formless = component("audio_in", "audio-formless")
    yield Row(formless, "GetAudio", compared=NOTHING, why="its second part is of no known format")
    yield Row(component("audio_in", "audio-request"), "GetAudio", {"codec": "opus"}, hz=3.0)
    yield Row(component("audio_in", "audio-silent"), "GetAudio", compared=NOTHING, why="there is no sound in it")


def _board() -> Iterator[Row]:
    board = fake("board", analogs=[{"name": "steady", "pin": "1"}, {"name": "counting", "pin": "2"}])
    yield Row(board, "Analogs", {"reader_name": "steady"})
    yield Row(board, "Analogs", {"reader_name": "counting"}, SHAPE, "it counts its calls", hz=0.7)
    yield Row(board, "Gpios", {"pin_name": "7"})
    for name in ("awkward", "zero"):
        answers = component("board", f"board-{name}")
        yield Row(answers, "Analogs", {"reader_name": "ä"})
        yield Row(answers, "Gpios", {"pin_name": "2", "unknown": {"nested": [1, None, {}]}})
    careless = component("board", "board-careless")
    yield Row(careless, "Analogs", compared=NOTHING, why="reader_name is missing")
    yield Row(careless, "Gpios", {"reader_name": "a"}, NOTHING, "pin_name is missing")
    yield Row(another(careless), "Analogs", {"reader_name": 5}, NOTHING, "reader_name is no text")
    nobody = component("board", "board-readerless", model="fake")
    why = "the builtin writes zeros for a reader that the board does not have; viam-server tells us an error"
    yield Row(nobody, "Analogs", {"reader_name": "nobody"}, Compared.BUILTIN, why)


def _camera() -> Iterator[Row]:
    camera = fake("camera", width=32, height=24)
    yield Row(camera, "GetImages")
    yield Row(camera, "NextPointCloud")
    yield Row(camera, "ReadImage")
    large = component("camera", "camera-large", model="fake", attributes={"width": 400, "height": 300})
    yield Row(large, "NextPointCloud", hz=0.5)
    several = component("camera", "camera-several")
    yield Row(several, "NextPointCloud")
    yield Row(several, "GetImages")
    yield Row(another(several), "GetImages", {"filter_source_names": ["right", "left"]})
    yield Row(another(several), "GetImages", {"filter_source_names": []})
    yield Row(another(several), "GetImages", {"filter_source_names": ["nobody"]}, NOTHING, "no such source")
    yield Row(another(several), "GetImages", {"filter_source_names": "left"}, NOTHING, "not a list")
    yield Row(another(several), "GetImages", {"filter_source_names": ["left", "left"]})
    yield Row(another(several), "GetImages", {"filter_source_names": [1]}, NOTHING, "not a list of strings")
    yield Row(another(several), "GetImages", {"filter_source_names": None}, NOTHING, "not a list")
    yield Row(another(several), "ReadImage", {"mime_type": 5})
    yield Row(several, "ReadImage")
    for mime_type in ("image/jpeg", "image/png", "image/vnd.viam.dep", "pointcloud/pcd", "image/jpeg+lazy", ""):
        yield Row(another(several), "ReadImage", {"mime_type": mime_type})
    request = component("camera", "camera-request")
    yield Row(request, "GetImages", {"filter_source_names": ["right", "left"], "unknown": 1})
    yield Row(request, "ReadImage", {"mime_type": "image/png", "filter_source_names": ["left"]})
    yield Row(component("camera", "camera-future"), "GetImages")
    yield Row(component("camera", "camera-ancient"), "GetImages", compared=OTHERWISE, why=TIMELESS, but=RECEIVED)
    timeless = component("camera", "camera-timeless")
    yield Row(timeless, "GetImages", compared=OTHERWISE, why=TIMELESS, but=RECEIVED)
    yield Row(timeless, "ReadImage", compared=OTHERWISE, why=TIMELESS, but=RECEIVED)
    none = component("camera", "camera-none")
    yield Row(none, "GetImages", compared=NOTHING, why="there is no image")
    yield Row(none, "ReadImage", compared=NOTHING, why="there is no image")
    empty = component("camera", "camera-empty-image")
    yield Row(empty, "GetImages", compared=NOTHING, why="one image of the two is empty")
    yield Row(empty, "ReadImage", {"mime_type": "image/png"}, NOTHING, "the image is empty")
    yield Row(component("camera", "camera-filtered"), "GetImages", compared=NOTHING, why="filtered")
    ascii_cloud = component("camera", "camera-ascii")
    why = "viam-server hands a module's point cloud on as it is; the builtin decodes it and writes it in binary"
    yield Row(ascii_cloud, "NextPointCloud", compared=OTHERWISE, why=why, but=("payload",))


def _vision() -> Iterator[Row]:
    component("camera", "fake_camera", model="fake", attributes={"width": 40, "height": 20})
    by = {"camera_name": "fake_camera"}
    yield Row(service("vision", "vision-fake", model="fake"), "CaptureAllFromCamera", by)
    everything = service("vision", "vision-all")
    yield Row(everything, "CaptureAllFromCamera", by)
    for score in (0, 0.25, 0.5, 0.500001, 1):
        yield Row(another(everything), "CaptureAllFromCamera", {**by, "min_confidence_score": score})
    yield Row(another(everything), "CaptureAllFromCamera", {**by, "mime_type": "image/jpeg"})
    yield Row(service("vision", "vision-nothing"), "CaptureAllFromCamera", by)
    yield Row(service("vision", "vision-request"), "CaptureAllFromCamera", {**by, "mime_type": "image/png"})
    for name in ("wild", "rgba", "depth", "unnamed", "mistaken"):
        yield Row(service("vision", f"vision-{name}"), "CaptureAllFromCamera", by)
    why = "the builtin wants to know the image's size even where there is no box on it"
    yield Row(service("vision", "vision-blind"), "CaptureAllFromCamera", by, Compared.OURS, why)
    yield Row(service("vision", "vision-partial"), "CaptureAllFromCamera", by, NOTHING, "a box lacks a corner")
    yield Row(another(everything), "CaptureAllFromCamera", {**by, "min_confidence_score": "0.5"})
    careless = service("vision", "vision-careless")
    yield Row(careless, "CaptureAllFromCamera", compared=NOTHING, why="camera_name is missing")
    yield Row(careless, "CaptureAllFromCamera", {**by, "min_confidence_score": 1.5}, NOTHING, "beyond 1")
    yield Row(service("vision", "vision-filtered"), "CaptureAllFromCamera", by, NOTHING, "filtered")


def _numbers() -> Iterator[Row]:
    """The APIs whose answers are a few numbers each."""
    gantry, motor, movement = fake("gantry"), fake("motor"), fake("movement_sensor")
    power, servo, sensor = fake("power_sensor"), fake("servo"), fake("sensor")
    yield Row(fake("encoder"), "TicksCount")
    for name in ("degrees", "zero", "nan", "unknown"):
        yield Row(component("encoder", f"encoder-{name}"), "TicksCount")
    for each in (gantry, component("gantry", "gantry-several"), component("gantry", "gantry-none")):
        yield Row(each, "Position")
        yield Row(each, "Lengths")
    yield Row(motor, "IsPowered")
    yield Row(motor, "Position", compared=NOTHING, why="this fake has no encoder")
    for each in (component("motor", "motor-moving"), component("motor", "motor-off")):
        yield Row(each, "Position")
        yield Row(each, "IsPowered")
    awkward, zero = component("movement_sensor", "movement-awkward"), component("movement_sensor", "movement-zero")
    for method in ("Position", "LinearVelocity", "AngularVelocity", "CompassHeading", "LinearAcceleration"):
        yield Row(movement, method)
        yield Row(awkward, method)
    yield from (Row(each, "Orientation", compared=NOISE, why=BY_QUATERNION) for each in (movement, awkward, zero))
    south = component("movement_sensor", "movement-south")
    yield Row(south, "Orientation", compared=NOISE, why=BY_QUATERNION)
    yield from (Row(each, "Readings") for each in (movement, awkward, zero))
    yield from (Row(zero, method) for method in ("Position", "CompassHeading"))
    for method in ("Voltage", "Current", "Power", "Readings"):
        yield Row(power, method)
        yield Row(component("power_sensor", "power-awkward"), method)
    yield from (Row(each, "Position") for each in (servo, component("servo", "servo-most")))
    yield Row(component("servo", "servo-zero"), "Position")
    yield Row(sensor, "Readings")
    yield from (Row(component("sensor", f"sensor-{name}"), "Readings") for name in ("awkward", "typed"))
    why = "viam-server refuses a sensor's empty answer to its clients, and so to modules"
    yield Row(component("sensor", "sensor-empty"), "Readings", compared=Compared.BUILTIN, why=why)
    params = {"number": 1, "list": [1.5, "a", None, True, {"b": {}}], "ключ": "雪", "": False, "nested": {"a": []}}
    parametrized = component("sensor", "sensor-awkward")
    yield Row(another(parametrized), "Readings", params)
    for api in ("sensor", "movement_sensor", "power_sensor"):
        request = component(api, f"{api}-request")
        yield Row(request, "Readings")
        yield Row(another(request), "Readings", {**params, "fromDataManagement": False})
    yield Row(sensor, "Readings", {"off": "disabled"}, NOTHING, "disabled", more={"disabled": True})
    yield Row(sensor, "Readings", {"off": "0 Hz"}, NOTHING, "a frequency of 0", hz=0)
    yield Row(component("sensor", "sensor-filtered"), "Readings", compared=NOTHING, why="filtered")
    yield Row(component("sensor", "sensor-broken"), "Readings", compared=NOTHING, why="it fails")
    yield Row(component("sensor", "sensor-nothing"), "Nonsense", compared=NOTHING, why=NOT_REGISTERED)


def _slam() -> Iterator[Row]:
    for name in ("map", "request"):
        slam = service("slam", f"slam-{name}")
        yield Row(slam, "Position", compared=NOISE, why=BY_QUATERNION)
        yield Row(slam, "PointCloudMap")
    yield Row(service("slam", "slam-empty"), "PointCloudMap", compared=NOTHING, why="there is no map")


def _commands() -> Iterator[Row]:
    """DoCommand of every API, and of one that nobody knows."""
    command = {"docommand_input": {"number": 1, "list": [1.5, None, {"b": {}}], "ключ": "雪", "deep": [[[{}]]]}}
    for api in (
        *("arm", "audio_in", "base", "board", "button", "camera", "encoder", "gantry", "generic", "gripper"),
        *(
            "input_controller",
            "motor",
            "movement_sensor",
            "pose_tracker",
            "power_sensor",
            "sensor",
            "servo",
            "switch",
        ),
    ):
        yield Row(component(api, f"{api}-commands"), "DoCommand", command)
    for api in ("discovery", "generic", "navigation", "slam", "vision"):
        yield Row(service(api, f"{api}-service"), "DoCommand", command)
    motion = service("motion", "motion-service")
    yield Row(motion, "DoCommand", command, Compared.OURS, "this viam-server is built without motion")
    yield Row(fake("generic"), "DoCommand", command)
    yield from (Row(fake(api), "DoCommand", command) for api in ("movement_sensor", "power_sensor"))
    for name in ("awkward", "typed", "empty"):
        yield Row(component("generic", f"commands-{name}"), "DoCommand", {"docommand_input": {}})
    echo = component("generic", "generic-commands")
    yield Row(another(echo), "DoCommand", {"docommand_input": {}})
    yield Row(another(echo), "DoCommand", {"docommand_input": {"same": 1}, "more": "params"})
    careless = component("sensor", "sensor-commands")
    yield Row(careless, "DoCommand", {"other": "text"}, NOTHING, "docommand_input is missing")
    no_maps: tuple[object, ...] = ("text", 1, None, [])
    for command_input in no_maps:
        careless = another(careless)
        yield Row(careless, "DoCommand", {"docommand_input": command_input}, NOTHING, "docommand_input is no map")
    yield Row(component("generic", "commands-filtered"), "DoCommand", command, NOTHING, "filtered")
    yield Row(component("generic", "commands-broken"), "DoCommand", command, NOTHING, "it fails")
    yield Row(fake("sensor"), "DoCommand", command, NOTHING, "this fake has no DoCommand")
    yield Row(component("audio_out", "audio_out-commands"), "DoCommand", command, NOTHING, NOT_REGISTERED)
    gauge = _add(Resource("acme:component:gauge", "gauge"))
    yield Row(gauge, "DoCommand", command, NOTHING, NOT_REGISTERED)
    shell = service("shell", "shell-builtin", model="rdk:builtin:builtin")
    yield Row(shell, "DoCommand", {"docommand_input": {}}, NOTHING, "this shell has no DoCommand")


def _poses() -> Iterator[Row]:
    """GetWorldPose of every component API, by its place in the frame system."""
    for api in (
        *("audio_in", "audio_out", "base", "board", "button", "camera", "encoder", "gantry", "generic", "gripper"),
        *("input_controller", "motor", "movement_sensor", "power_sensor", "sensor", "servo", "switch"),
    ):
        yield Row(_RESOURCES.get(f"{api}-fake") or fake(api), "GetWorldPose", compared=NOISE, why=BY_QUATERNION)
    poses = component("pose_tracker", "poses", frame=frame(5, 5, 5, parent="sensor-fake"))
    yield Row(poses, "GetWorldPose", compared=NOISE, why=BY_QUATERNION)
    nowhere = component("sensor", "sensor-empty")
    yield Row(nowhere, "GetWorldPose", compared=NOTHING, why="it has no place in the frame system")
    at_origin = component("generic", "generic-origin", frame={"parent": "world"})
    yield Row(at_origin, "GetWorldPose", compared=NOISE, why=BY_QUATERNION)


AFAR = (Resource("rdk:component:sensor", "sensor-afar", "fake"),)
"""The own components of the remote without a prefix."""


def _remotes() -> Iterator[Row]:
    """A remote's resources have its prefix, where it has one, before their names."""

    def far(api: str, before: str = PREFIX) -> Resource:
        return Resource(f"rdk:component:{api}", f"{before}{api}-fake")

    yield Row(far("sensor"), "Readings", remote=REMOTE)
    yield Row(far("movement_sensor"), "Position", remote=REMOTE)
    yield Row(far("camera"), "GetImages", remote=REMOTE)
    yield Row(far("generic"), "DoCommand", {"docommand_input": {"a": 1}}, remote=REMOTE)
    (afar,) = AFAR
    yield Row(Resource(afar.api, afar.name), "Readings", remote=PLAIN_REMOTE)
    for before in (f"{REMOTE}:{PREFIX}", f"{REMOTE}:"):
        why = "the machine lists a remote's resource without the remote's name"
        yield Row(far("sensor", before), "Readings", {}, NOTHING, why, remote=REMOTE)


TABLE: tuple[Row, ...] = tuple(
    row
    for rows in (_arm, _audio_in, _board, _camera, _vision, _numbers, _slam, _commands, _poses, _remotes)
    for row in rows()
)
"""All rows. Their ids are unique."""

NOT_COMPARED = (
    ("rdk:service:motion", "DoCommand"),  # this viam-server is built without it
    ("rdk:service:shell", "DoCommand"),  # its only model answers no commands
)
"""What we capture and the builtin might too, but not on these machines."""

RESOURCES = tuple(_RESOURCES.values())
_FAR_AWAY = ("sensor", "movement_sensor", "camera", "generic")
FAR_AWAY = tuple(Resource(f"rdk:component:{api}", f"{api}-fake", "fake") for api in _FAR_AWAY)
"""The remote's own components."""
