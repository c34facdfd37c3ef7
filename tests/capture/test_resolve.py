"""What becomes of a configured method: it runs, it waits for its resource, or it can't run, and why."""

from __future__ import annotations

import pytest

from holdfast.capture.methods import lookup, methods_of
from holdfast.capture.resolve import Resolution, resolve
from holdfast.config import CaptureMethod

SENSOR, CAMERA = "rdk:component:sensor", "rdk:component:camera"
MOVEMENT = "rdk:component:movement_sensor"


def resolved(name: str, method: str = "Readings", **resources: tuple[str, ...]) -> Resolution:
    (found,) = resolve([CaptureMethod(name, method, 1.0)], resources)
    assert (found.method.name, found.method.method) == (name, method)
    return found


@pytest.mark.parametrize("name", ["lidar", f"{SENSOR}/lidar"])
def test_a_resource_that_is_there_runs(name: str) -> None:
    found = resolved(name, lidar=(SENSOR,))
    assert found.table is lookup(SENSOR, "Readings") is not None
    assert (found.api, found.waiting, found.problem) == (SENSOR, False, "")


@pytest.mark.parametrize("name", ["lidar", f"{SENSOR}/lidar"])
def test_a_resource_that_is_not_there_waits(name: str) -> None:
    found = resolved(name, radar=(SENSOR,))
    assert (found.waiting, found.table, found.problem) == (True, None, "")


@pytest.mark.parametrize("name", ["rem:lidar", f"{SENSOR}/rem:lidar"])
def test_a_resource_by_its_remotes_name_is_a_problem_that_says_how_it_is_called(name: str) -> None:
    found = resolved(name, lidar=(SENSOR,))
    assert (found.waiting, found.table) == (False, None)
    for part in ("rem:lidar", "prefix", "'rem'", "'lidar'"):
        assert part in found.problem


def test_a_resource_of_another_api_than_configured_is_a_problem() -> None:
    found = resolved(f"{SENSOR}/lidar", lidar=(CAMERA,))
    assert (found.table, found.waiting) == (None, False)
    for part in ("lidar", CAMERA, SENSOR, "capture_methods"):
        assert part in found.problem


def test_of_two_resources_with_one_name_the_one_that_has_the_method_runs() -> None:
    for name in ("lidar", f"{SENSOR}/lidar"):
        found = resolved(name, lidar=(CAMERA, SENSOR))
        assert (found.api, found.problem) == (SENSOR, "")
        assert found.table is not None


def test_a_short_name_that_several_resources_have_is_a_problem_that_names_them() -> None:
    found = resolved("imu", imu=(SENSOR, MOVEMENT, CAMERA))
    assert (found.table, found.api, found.waiting) == (None, "", False)
    assert f"write {MOVEMENT}/imu or {SENSOR}/imu" in found.problem


def test_a_full_name_waits_while_what_is_there_is_meant_by_another_full_name() -> None:
    methods = [CaptureMethod(f"{api}/imu", "Readings", 1.0) for api in (SENSOR, MOVEMENT)]
    first, second = resolve(methods, {"imu": (MOVEMENT,)})
    assert (first.waiting, first.problem) == (True, "")
    assert second.table is lookup(MOVEMENT, "Readings")


def test_a_method_misspelt_is_a_problem_with_the_closest_name() -> None:
    found = resolved("lidar", "Reading", lidar=(SENSOR,))
    assert found.table is None
    for part in ("Reading ", "lidar", SENSOR, "did you mean 'Readings'?"):
        assert part in found.problem


def test_a_method_like_no_other_is_a_problem_with_what_there_is() -> None:
    found = resolved("lidar", "Zzz", lidar=(SENSOR,))
    assert found.table is None
    assert all(name in found.problem for name in ("Zzz", *methods_of(SENSOR)))


def test_an_api_without_methods_is_a_problem_that_says_so() -> None:
    found = resolved("thing", lidar=(SENSOR,), thing=("acme:component:thing",))
    assert (found.table, found.waiting) == (None, False)
    assert "acme:component:thing" in found.problem
    assert "this version captures nothing of that API" in found.problem


def test_every_method_gets_its_resolution_in_order() -> None:
    methods = [CaptureMethod(name, "Readings", 1.0) for name in ("a", "b", "d", "c")]
    found = resolve(methods, {"a": (SENSOR,), "d": (SENSOR,), "b": (CAMERA,)})
    assert [one.method for one in found] == methods
    assert [(bool(one.table), one.waiting, bool(one.problem)) for one in found] == [
        (True, False, False),
        (False, False, True),
        (True, False, False),
        (False, True, False),
    ]


def test_a_resource_configured_by_short_and_by_full_name_runs_once_and_says_so() -> None:
    methods = [CaptureMethod("lidar", "Readings", 1.0), CaptureMethod(f"{SENSOR}/lidar", "Readings", 50.0)]
    first, second = resolve(methods, {"lidar": (SENSOR,)})
    assert first.table is not None
    assert second.table is None
    assert second.problem


BOARD, VISION = "rdk:component:board", "rdk:service:vision"


@pytest.mark.parametrize(
    ("api", "method", "params", "named"),
    [
        (BOARD, "Analogs", {}, "additional_params.reader_name is missing"),
        (BOARD, "Analogs", {"reader_name": 7.0}, "additional_params.reader_name must be a string, not 7.0"),
        (BOARD, "Gpios", {"reader_name": "a"}, "additional_params.pin_name is missing"),
        (BOARD, "Gpios", {"pin_name": ""}, "additional_params.pin_name must be a string"),
        (SENSOR, "DoCommand", {}, "additional_params.docommand_input is missing"),
        (SENSOR, "DoCommand", {"docommand_input": "go"}, "additional_params.docommand_input must be an object"),
        (CAMERA, "GetImages", {"filter_source_names": "left"}, "filter_source_names must be a list of strings"),
        (CAMERA, "GetImages", {"filter_source_names": ["a", 1.0]}, "filter_source_names must be a list"),
        (CAMERA, "GetImages", {"filter_source_names": None}, "filter_source_names must be a list of strings"),
        (VISION, "CaptureAllFromCamera", {}, "additional_params.camera_name is missing"),
        (VISION, "CaptureAllFromCamera", {"camera_name": "c", "min_confidence_score": 1.5}, "between 0 and 1"),
    ],
)
def test_parameters_that_can_not_work_are_a_problem_by_name(
    api: str, method: str, params: dict[str, object], named: str
) -> None:
    (found,) = resolve([CaptureMethod("it", method, 1.0, tuple(params.items()))], {"it": (api,)})
    assert (found.table, found.waiting) == (None, False)
    assert found.problem.startswith(f"{method} of it: ") and named in found.problem


@pytest.mark.parametrize(
    ("api", "method", "params"),
    [
        (BOARD, "Analogs", {"reader_name": "a"}),
        (SENSOR, "DoCommand", {"docommand_input": {}}),
        (CAMERA, "GetImages", {}),
        (CAMERA, "GetImages", {"filter_source_names": ["a"]}),
        (VISION, "CaptureAllFromCamera", {"camera_name": "c", "min_confidence_score": 1.0, "mime_type": "x"}),
    ],
)
def test_parameters_that_are_right_run(api: str, method: str, params: dict[str, object]) -> None:
    (found,) = resolve([CaptureMethod("it", method, 1.0, tuple(params.items()))], {"it": (api,)})
    assert (found.table, found.problem) == (lookup(api, method), "")
