"""The entries of `capture_methods` are understood, and a bad one costs only itself."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import config
from holdfast.config import CaptureMethod

from ..documented import DOCUMENTED_METHODS
from .samples import HOST, JSON, READINGS, parsed, with_methods

ENTRIES = st.dictionaries(
    st.sampled_from(
        ["name", "method", "capture_frequency_hz", "additional_params", "disabled", "tags", "timeout_ms", "zz"]
    ),
    JSON,
)


@pytest.mark.parametrize("name", ["front", "rdk:component:sensor/front"])
@pytest.mark.parametrize("entry", DOCUMENTED_METHODS, ids=str)
def test_viams_documented_capture_methods_are_understood(entry: dict[str, Any], name: str) -> None:
    found = config.parse({"capture_methods": [{"name": name, **entry}]}, HOST)
    assert found.problems == ()
    (method,) = found.methods
    assert (method.name, method.method) == (name, entry["method"])
    assert method.frequency_hz == entry["capture_frequency_hz"]
    assert dict(method.params) == entry.get("additional_params", {})


def test_a_capture_method_says_what_to_capture() -> None:
    found = with_methods(
        {
            "name": "rdk:component:sensor/lidar",
            "method": "Readings",
            "capture_frequency_hz": 4,
            "additional_params": {"b": [1.0], "a": "x"},
            "tags": ["front"],
            "timeout_ms": 250.0,
            "max_in_flight": 4.0,
            "capture_queue_size": 250.0,
            "capture_buffer_size": 4096.0,
            "disabled": False,
        }
    )
    (method,) = found.methods
    assert method == CaptureMethod(
        name="rdk:component:sensor/lidar",
        method="Readings",
        frequency_hz=4.0,
        params=(("a", "x"), ("b", [1.0])),
        tags=("front",),
        timeout_s=0.25,
        max_in_flight=4,
    )
    assert method.interval_s == 0.25
    assert found.problems == ()


def test_a_capture_method_needs_a_name_a_method_and_a_frequency_only() -> None:
    assert with_methods(READINGS).methods == (CaptureMethod("lidar", "Readings", 10.0, (), (), 5.0),)


@pytest.mark.parametrize("hz", [0.00001, 0.5, 1, 333.3, 5000])
def test_a_frequency_from_the_slowest_to_the_fastest_is_accepted(hz: float) -> None:
    found = with_methods({**READINGS, "capture_frequency_hz": hz})
    assert [method.frequency_hz for method in found.methods] == [hz]
    assert found.problems == ()


@pytest.mark.parametrize(
    ("entry", "wrong"),
    [
        ("lidar", ["capture_methods[1]", "'lidar'"]),
        (None, ["capture_methods[1]", "None"]),
        ({**READINGS, "name": ""}, ["capture_methods[1].name", "missing"]),
        ({"method": "Readings", "capture_frequency_hz": 1.0}, ["capture_methods[1].name", "missing"]),
        ({**READINGS, "name": 5.0}, ["capture_methods[1].name", "5.0"]),
        ({**READINGS, "method": None}, ["capture_methods[1].method", "missing"]),
        ({**READINGS, "method": ["Readings"]}, ["capture_methods[1].method", "['Readings']"]),
        ({**READINGS, "additional_params": "x"}, ["capture_methods[1] (lidar Readings).additional_params", "'x'"]),
        ({**READINGS, "tags": "x"}, ["capture_methods[1] (lidar Readings).tags", "'x'"]),
        ({**READINGS, "tags": [2.0]}, ["capture_methods[1] (lidar Readings).tags", "2.0"]),
        ({**READINGS, "timeout_ms": -3.0}, ["capture_methods[1] (lidar Readings).timeout_ms", "-3"]),
        ({**READINGS, "max_in_flight": -1.0}, ["capture_methods[1] (lidar Readings).max_in_flight", "-1"]),
        ({**READINGS, "max_in_flight": 1.5}, ["capture_methods[1] (lidar Readings).max_in_flight", "1.5"]),
        ({**READINGS, "timeout_ms": "1s"}, ["capture_methods[1] (lidar Readings).timeout_ms", "'1s'"]),
        ({**READINGS, "disabled": "no"}, ["capture_methods[1] (lidar Readings).disabled", "'no'"]),
        (
            {**READINGS, "capture_frequency_hz": "10"},
            ["capture_methods[1] (lidar Readings).capture_frequency_hz", "'10'"],
        ),
        ({**READINGS, "capture_frequency_hz": True}, ["capture_methods[1] (lidar Readings)", "True"]),
        ({**READINGS, "capture_frequency_hz": math.nan}, ["(lidar Readings).capture_frequency_hz", "nan"]),
        ({**READINGS, "capture_frequency_hz": math.inf}, ["(lidar Readings).capture_frequency_hz", "inf"]),
    ],
)
def test_a_bad_entry_is_named_with_its_value_and_the_others_stay(entry: object, wrong: list[str]) -> None:
    before, after = {**READINGS, "name": "before"}, {**READINGS, "name": "after"}
    found = with_methods(before, entry, after)
    assert [method.name for method in found.methods] == ["before", "after"]
    (problem,) = found.problems
    for part in wrong:
        assert part in problem


@pytest.mark.parametrize("hz", [0, 0.0, -1.0, 0.000001, None, -math.inf])
def test_a_frequency_of_nothing_switches_the_entry_off_and_says_so(hz: float | None) -> None:
    found = with_methods({**READINGS, "capture_frequency_hz": hz})
    assert found.methods == ()
    (problem,) = found.problems
    assert "capture_methods[0] (lidar Readings).capture_frequency_hz" in problem


def test_a_frequency_that_is_missing_is_not_said_to_be_0() -> None:
    entry = {"name": "lidar", "method": "Readings"}
    (missing,) = with_methods(entry).problems
    (zero,) = with_methods({**entry, "capture_frequency_hz": 0.0}).problems
    assert missing.partition("capture_frequency_hz: ")[2].startswith("is missing, so this entry is not captured")
    assert zero.partition("capture_frequency_hz: ")[2].startswith("it is 0, so this entry is not captured")


def test_a_disabled_entry_is_left_out_without_a_word() -> None:
    found = with_methods({**READINGS, "disabled": True}, {**READINGS, "name": "other"})
    assert [method.name for method in found.methods] == ["other"]
    assert found.problems == ()


def test_an_unknown_attribute_of_an_entry_is_named_and_the_entry_is_captured() -> None:
    found = with_methods({**READINGS, "capture_frequency": 5.0})
    assert len(found.methods) == 1
    (problem,) = found.problems
    assert problem.startswith("capture_methods[0] (lidar Readings).capture_frequency: ")
    assert "'capture_frequency_hz'" in problem


def test_an_entry_that_is_there_twice_is_captured_once_and_said() -> None:
    found = with_methods(READINGS, {**READINGS, "capture_frequency_hz": 99.0})
    assert [method.frequency_hz for method in found.methods] == [10.0]
    (problem,) = found.problems
    assert "capture_methods[1]" in problem
    assert "Readings of lidar" in problem


def test_parameters_in_another_order_are_the_same() -> None:
    """Protobuf gives the fields of an object in an order that differs from one message to the next."""
    one = {"b": {"x": 1.0, "y": [{"p": 1.0, "q": 2.0}]}, "a": 1.0}
    other = {"a": 1.0, "b": {"y": [{"q": 2.0, "p": 1.0}], "x": 1.0}}
    first = with_methods({**READINGS, "additional_params": one})
    second = with_methods({**READINGS, "additional_params": other})
    assert first.methods == second.methods and repr(first.methods) == repr(second.methods)
    assert dict(first.methods[0].params) == one
    both = with_methods({**READINGS, "additional_params": one}, {**READINGS, "additional_params": other})
    assert len(both.methods) == 1


def test_entries_that_differ_in_one_thing_are_no_duplicates() -> None:
    found = with_methods(
        READINGS,
        {**READINGS, "name": "radar"},
        {**READINGS, "method": "DoCommand"},
        {**READINGS, "additional_params": {"a": 1.0}},
    )
    assert (len(found.methods), found.problems) == (4, ())


def test_an_entry_that_is_off_is_kept_for_who_switches_it_on() -> None:
    off = {**READINGS, "name": "off", "disabled": True, "additional_params": {"a": 1.0}}
    found = with_methods(READINGS, off, {**READINGS, "disabled": True})
    assert [method.name for method in found.methods] == ["lidar"]
    assert found.off_methods == (CaptureMethod("off", "Readings", 0.0, (("a", 1.0),)),)
    assert found.dependencies == ("lidar",)
    steered = parsed(capture_methods=[off], capture_control_sensor={"name": "gate", "key": "k"})
    assert steered.dependencies == ("off", "rdk:component:sensor/gate")


def test_a_timeout_is_one_that_a_call_can_have() -> None:
    """gRPC ends a call at once if its deadline is later than it can represent."""
    found = with_methods({**READINGS, "timeout_ms": 1e14})
    assert [method.timeout_s for method in found.methods] == [3600.0]
    (problem,) = found.problems
    assert "timeout_ms" in problem and "lidar" in problem


@pytest.mark.parametrize("cause", [{"max_in_flight": -1.0}, {"name": "other"}])
def test_an_entry_that_is_left_out_is_one_problem_however_much_is_wrong(cause: dict[str, Any]) -> None:
    """What it says about an unused value would be false: "… is used instead"."""
    found = with_methods({**READINGS, "name": "other"}, {**READINGS, "timeout_ms": 1e14, "zz": 1.0, **cause})
    assert [method.name for method in found.methods] == ["other"]
    (problem,) = found.problems
    assert problem.startswith("capture_methods[1]") and "used instead" not in problem


@given(st.lists(JSON | ENTRIES, max_size=4))
def test_no_entry_keeps_a_good_one_from_being_captured(entries: list[Any]) -> None:
    good = {**READINGS, "name": "the good one"}
    found = with_methods(*entries, good)
    assert found.methods[-1].name == "the good one"
    assert all(0 < method.frequency_hz <= 5000 for method in found.methods)


def test_a_method_may_have_a_capture_directory_of_its_own() -> None:
    found = with_methods(
        {**READINGS, "capture_directory": "~/fast"},
        {**READINGS, "name": "radar", "capture_directory": "/other/../mnt/ssd/"},
        {**READINGS, "name": "sonar"},
        {**READINGS, "name": "gps", "capture_directory": "~/fast"},
    )
    assert found.problems == ()
    directories = [method.capture_directory for method in found.methods]
    assert directories == ["/home/user/fast", "/mnt/ssd", "", "/home/user/fast"]
    assert found.capture_dirs == ("/home/user/.viam/capture", "/home/user/fast", "/mnt/ssd")


def test_the_capture_directory_of_an_entry_that_is_off_is_a_folder_too() -> None:
    found = with_methods({**READINGS, "disabled": True, "capture_directory": "/mnt/ssd"})
    assert found.capture_dirs == ("/home/user/.viam/capture", "/mnt/ssd")


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("capture_directory", 7.0), ("capture_queue_size", -1.0), ("capture_buffer_size", -1.0)],
)
def test_a_method_with_a_bad_attribute_is_a_problem_by_its_name(attribute: str, value: object) -> None:
    found = with_methods({**READINGS, attribute: value}, {**READINGS, "name": "radar"})
    assert [method.name for method in found.methods] == ["radar"]
    (problem,) = found.problems
    assert attribute in problem and "lidar" in problem


def test_calls_in_flight_are_bounded_by_what_viam_server_answers() -> None:
    found = with_methods({**READINGS, "max_in_flight": 101.0})
    assert [method.max_in_flight for method in found.methods] == [100]
    (problem,) = found.problems
    assert "max_in_flight" in problem and "lidar" in problem and "100" in problem
