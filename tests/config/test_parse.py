"""The configuration: Viam's attributes with the builtin's names, defaults and checks."""

from __future__ import annotations

import hashlib
import math
import os
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import config
from holdfast.config import CaptureMethod, Config, ControlSensorConfig, MongoSettings, SpaceLimits
from holdfast.errors import ConfigError

from ..documented import DOCUMENTED, DOCUMENTED_METHODS

ENVIRONMENT = {"HOME": "/home/user"}
MEMORY_NAME = hashlib.sha256(b"\0/home/user\0/home/user/.viam/capture").hexdigest()[:12]
READINGS = {"name": "lidar", "method": "Readings", "capture_frequency_hz": 10.0}


def parsed(**attributes: Any) -> Config:
    return config.parse(attributes, ENVIRONMENT)


def with_methods(*entries: object) -> Config:
    return parsed(capture_methods=list(entries))


def refusal(**attributes: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parsed(**attributes)
    return caught.value


def test_without_attributes_everything_is_as_in_the_builtin() -> None:
    assert vars(parsed()) == {
        "capture_dir": "/home/user/.viam/capture",
        "tags": (),
        "capture_disabled": False,
        "maximum_capture_file_size_bytes": 256 * 1024,
        "flush_interval_s": 1.0,
        "fsync_interval_s": 5.0,
        "methods": (),
        "off_methods": (),
        "capture_control_sensor": None,
        "sync_disabled": False,
        "sync_interval_s": 6.0,
        "additional_sync_paths": (),
        "upload_roots": (),
        "selective_syncer_name": "",
        "file_last_modified_s": 10.0,
        "maximum_num_sync_threads": 8,
        "sync_bandwidth_limit_bytes_per_sec": 0.0,
        "sync_order": "oldest_first",
        "cloud_address": "https://app.viam.com:443",
        "allow_plaintext": False,
        "mongo_capture_config": None,
        "limits": SpaceLimits(5, 0.9, 0.5, None, None, None),
        "local_copy": None,
        "in_memory": False,
        "memory_dir": f"/dev/shm/holdfast-{os.getuid()}-{MEMORY_NAME}",
        "problems": (),
    }


@pytest.mark.parametrize(
    ("attribute", "value", "field", "expected"),
    [
        ("capture_dir", "/data", "capture_dir", "/data"),
        ("tags", ["a", "b"], "tags", ("a", "b")),
        ("capture_disabled", True, "capture_disabled", True),
        ("maximum_capture_file_size_bytes", 1000.0, "maximum_capture_file_size_bytes", 1000),
        ("capture_flush_interval_ms", 250.0, "flush_interval_s", 0.25),
        ("sync_disabled", True, "sync_disabled", True),
        ("sync_interval_mins", 1.5, "sync_interval_s", 90.0),
        ("additional_sync_paths", ["/a", "", "/b/"], "additional_sync_paths", ("/a", "/b")),
        ("upload_roots", ["~/a", "", "/b/"], "upload_roots", ("/home/user/a", "/b")),
        ("selective_syncer_name", "gate", "selective_syncer_name", "gate"),
        ("file_last_modified_millis", 2500.0, "file_last_modified_s", 2.5),
        ("maximum_num_sync_threads", 250.0, "maximum_num_sync_threads", 250),
        ("sync_bandwidth_limit_bytes_per_sec", 5e4, "sync_bandwidth_limit_bytes_per_sec", 5e4),
        ("sync_order", "newest_first", "sync_order", "newest_first"),
        ("cloud_address", "http://localhost:1", "cloud_address", "http://localhost:1"),
        ("allow_plaintext", True, "allow_plaintext", True),
    ],
)
def test_an_attribute_says_what_it_sets(attribute: str, value: object, field: str, expected: object) -> None:
    found = parsed(**{attribute: value})
    assert getattr(found, field) == expected
    assert type(getattr(found, field)) is type(expected)
    assert found.problems == ()


NUMBERS = {
    "maximum_capture_file_size_bytes": ("maximum_capture_file_size_bytes", 262144),
    "capture_flush_interval_ms": ("flush_interval_s", 1.0),
    "sync_interval_mins": ("sync_interval_s", 6.0),
    "file_last_modified_millis": ("file_last_modified_s", 10.0),
    "maximum_num_sync_threads": ("maximum_num_sync_threads", 8),
    "sync_bandwidth_limit_bytes_per_sec": ("sync_bandwidth_limit_bytes_per_sec", 0.0),
}
ONLY_CHECKED_NUMBERS = (
    "delete_every_nth_when_disk_full",
    "disk_usage_deletion_threshold",
    "capture_dir_deletion_threshold",
)


@pytest.mark.parametrize("attribute", NUMBERS)
@pytest.mark.parametrize("unset", [0, 0.0, None])
def test_a_zero_or_null_number_is_the_default(attribute: str, unset: float | None) -> None:
    field, default = NUMBERS[attribute]
    found = parsed(**{attribute: unset})
    assert getattr(found, field) == default
    assert found.problems == ()


@pytest.mark.parametrize("attribute", [*NUMBERS, *ONLY_CHECKED_NUMBERS])
@pytest.mark.parametrize("value", [-1, -0.5, math.nan, math.inf, -math.inf, True, "10", [1], {}])
def test_a_number_that_is_none_or_negative_is_refused_by_name(attribute: str, value: object) -> None:
    error = refusal(**{attribute: value})
    assert error.attribute == attribute
    assert str(error).startswith(f"{attribute}: ")


@pytest.mark.parametrize("attribute", ["maximum_capture_file_size_bytes", "maximum_num_sync_threads"])
def test_a_count_must_be_whole(attribute: str) -> None:
    assert refusal(**{attribute: 1.5}).attribute == attribute
    parsed(**{attribute: 2.0})


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("capture_dir", 5.0),
        ("selective_syncer_name", ["gate"]),
        ("cloud_address", True),
        ("tags", "a"),
        ("tags", ["a", 1.0]),
        ("additional_sync_paths", "/a"),
        ("upload_roots", "/a"),
        ("additional_sync_paths", [None]),
        ("capture_disabled", "true"),
        ("capture_disabled", 1.0),
        ("sync_disabled", "no"),
        ("allow_plaintext", 0.0),
        ("capture_methods", {}),
        ("capture_methods", "all"),
        ("mongo_capture_config", "mongodb://x"),
        ("capture_control_sensor", ["x"]),
    ],
)
def test_a_wrong_type_is_refused_by_name(attribute: str, value: object) -> None:
    error = refusal(**{attribute: value})
    assert error.attribute == attribute
    assert attribute in str(error)


@pytest.mark.parametrize(
    "attribute",
    ["capture_dir", "tags", "capture_disabled", "selective_syncer_name", "capture_methods", "mongo_capture_config"],
)
def test_null_is_as_not_there(attribute: str) -> None:
    assert parsed(**{attribute: None}) == parsed()


@pytest.mark.parametrize(("mins", "expected_s"), [(0.00009, 6.0), (0.0001, 0.006), (0.05, 3.0)])
def test_a_sync_interval_below_the_builtins_threshold_is_the_default(mins: float, expected_s: float) -> None:
    assert parsed(sync_interval_mins=mins).sync_interval_s == pytest.approx(expected_s)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("~/data", "/home/user/data"),
        ("~", "/home/user"),
        ("/data/../other", "/other"),
        ("/data~/x", "/data~/x"),
        ("", "/home/user/.viam/capture"),
    ],
)
def test_the_capture_folder_is_absolute_and_a_tilde_is_the_home(written: str, expected: str) -> None:
    assert parsed(capture_dir=written).capture_dir == expected


def test_a_tilde_before_a_name_is_a_folder_in_the_home_as_in_the_builtin() -> None:
    assert parsed(capture_dir="~data").capture_dir == "/home/user/data"


def test_a_relative_capture_folder_is_made_absolute() -> None:
    assert parsed(capture_dir="data").capture_dir == os.path.join(os.getcwd(), "data")


def test_without_a_home_a_tilde_stays() -> None:
    assert config.parse({"capture_dir": "/x/~y"}, {}).capture_dir == "/x/~y"
    assert config.parse({"capture_dir": "~/y"}, {}).capture_dir == os.path.join(os.getcwd(), "~/y")


def test_additional_sync_paths_know_the_tilde() -> None:
    assert parsed(additional_sync_paths=["~/logs"]).additional_sync_paths == ("/home/user/logs",)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HOME": "/home/user", "VIAM_HOME": "/opt/viam"}, "/opt/viam/capture"),
        ({"HOME": "/home/user", "VIAM_HOME": ""}, "/home/user/.viam/capture"),
        ({"HOME": "/home/user"}, "/home/user/.viam/capture"),
        ({}, "/.viam/capture"),
    ],
)
def test_the_default_folder_follows_viam_home(environment: dict[str, str], expected: str) -> None:
    assert config.parse({}, environment).capture_dir == expected


@pytest.mark.parametrize(
    ("sample", "unfinished"),
    [
        (DOCUMENTED[0], []),
        (DOCUMENTED[1], []),
    ],
)
def test_viams_documented_samples_are_understood(sample: dict[str, Any], unfinished: list[str]) -> None:
    found = config.parse(sample, ENVIRONMENT)
    assert found.capture_dir == "/home/user/.viam/capture"
    assert found.sync_interval_s == sample["sync_interval_mins"] * 60
    assert [problem.partition(":")[0] for problem in found.problems] == unfinished


@pytest.mark.parametrize("name", ["front", "rdk:component:sensor/front"])
@pytest.mark.parametrize("entry", DOCUMENTED_METHODS, ids=str)
def test_viams_documented_capture_methods_are_understood(entry: dict[str, Any], name: str) -> None:
    found = config.parse({"capture_methods": [{"name": name, **entry}]}, ENVIRONMENT)
    assert found.problems == ()
    (method,) = found.methods
    assert (method.name, method.method) == (name, entry["method"])
    assert method.frequency_hz == entry["capture_frequency_hz"]
    assert dict(method.params) == entry.get("additional_params", {})


@pytest.mark.parametrize(
    "attribute", ["delete_data_on_part_deletion", "retention_policy", "recent_data_store", "cache_size_kb"]
)
@pytest.mark.parametrize("value", [True, 5.0, {"days": 5.0}])
def test_what_the_cloud_acts_on_is_accepted_without_a_word(attribute: str, value: object) -> None:
    assert parsed(**{attribute: value}).problems == ()
    found = with_methods({**READINGS, attribute: value})
    assert (len(found.methods), found.problems) == (1, ())


def test_a_mongo_config_has_the_builtins_defaults() -> None:
    found = parsed(mongo_capture_config={"uri": "mongodb://localhost"})
    assert found.mongo_capture_config == MongoSettings("mongodb://localhost", "sensorData", "readings")
    whole = {"uri": "mongodb+srv://a.b.c/x?w=1", "database": "d", "collection": "c"}
    found = parsed(mongo_capture_config=whole)
    assert found.mongo_capture_config == MongoSettings(**whole)
    assert found.problems == ()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({}, "mongo_capture_config.uri: is missing"),
        ({"uri": None}, "mongo_capture_config.uri: is missing"),
        ({"database": "d"}, "mongo_capture_config.uri: is missing"),
        ({"uri": "localhost:27017"}, "mongo_capture_config.uri: must begin with mongodb://"),
    ],
)
def test_a_mongo_config_that_can_not_work_is_a_problem(value: object, words: str) -> None:
    found = parsed(mongo_capture_config=value)
    assert found.mongo_capture_config is None
    (problem,) = found.problems
    assert problem.startswith(words)


def test_an_unknown_attribute_of_a_mongo_config_is_a_problem() -> None:
    found = parsed(mongo_capture_config={"uri": "mongodb://a", "colection": "x"})
    assert found.mongo_capture_config == MongoSettings("mongodb://a")
    (problem,) = found.problems
    assert problem.startswith("mongo_capture_config.colection: ")
    assert "'collection'" in problem


@pytest.mark.parametrize(
    ("value", "attribute"),
    [
        ("mongodb://u:secret@h", "mongo_capture_config"),
        (["mongodb://u:secret@h"], "mongo_capture_config"),
        ({"uri": ["mongodb://u:secret@h"]}, "mongo_capture_config.uri"),
        ({"uri": "mongodb://h", "database": {"secret": "secret"}}, "mongo_capture_config.database"),
        ({"uri": "mongodb://h", "collection": 1.0}, "mongo_capture_config.collection"),
    ],
)
def test_no_error_about_a_mongo_config_shows_a_value_of_it(value: object, attribute: str) -> None:
    error = refusal(mongo_capture_config=value)
    assert error.attribute == attribute
    assert "secret" not in str(error)
    assert "secret" not in repr(parsed(mongo_capture_config={"uri": "mongodb://u:secret@h"}))
    assert "secret" not in str(parsed(mongo_capture_config={"uri": "u:secret@h"}).problems)


@pytest.mark.parametrize(
    ("attribute", "hint"),
    [
        ("sync_interval_min", "sync_interval_mins"),
        ("captur_dir", "capture_dir"),
        ("Tags", "tags"),
        ("capture_method", "capture_methods"),
        ("selective_sync_name", "selective_syncer_name"),
    ],
)
def test_an_unknown_attribute_is_named_with_the_closest_known_one(attribute: str, hint: str) -> None:
    found = parsed(**{attribute: "x", "sync_disabled": True})
    (problem,) = found.problems
    assert problem.startswith(f"{attribute}: ")
    assert repr(hint) in problem
    assert found.sync_disabled


def test_an_unknown_attribute_like_no_other_is_named_too() -> None:
    (problem,) = parsed(zzz=1.0).problems
    assert problem.startswith("zzz: ")
    assert "did you mean" not in problem


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
    """protobuf gives the fields of an object in an order that differs from one message to the next."""
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


def test_dependencies_are_short_names_without_remotes_and_with_the_selector() -> None:
    names = ("lidar", "rdk:component:sensor/radar", "rem:lidar", "rdk:component:sensor/rem:radar", "radar")
    found = parsed(
        capture_methods=[{**READINGS, "name": name} for name in names],
        selective_syncer_name="rdk:component:sensor/gate",
    )
    assert found.dependencies == ("lidar", "radar", "gate")
    assert parsed(selective_syncer_name="rem:gate").dependencies == ()
    assert parsed().dependencies == ()


def test_problems_do_not_make_a_config_another_one() -> None:
    assert parsed(zzz=1.0) == parsed()
    assert parsed(sync_disabled=True) != parsed()


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
ATTRIBUTES = st.sampled_from(
    [
        *("capture_dir", "tags", "capture_disabled", "maximum_capture_file_size_bytes", "capture_methods"),
        *("capture_flush_interval_ms", "sync_disabled", "sync_interval_mins", "additional_sync_paths"),
        *("selective_syncer_name", "file_last_modified_millis", "maximum_num_sync_threads", "cloud_address"),
        *("allow_plaintext", "mongo_capture_config", "capture_control_sensor", *ONLY_CHECKED_NUMBERS),
    ]
)
ENTRIES = st.dictionaries(
    st.sampled_from(
        ["name", "method", "capture_frequency_hz", "additional_params", "disabled", "tags", "timeout_ms", "zz"]
    ),
    JSON,
)


def test_a_control_sensor_has_a_name_and_a_key() -> None:
    found = parsed(capture_control_sensor={"name": "gate", "key": "controls"})
    assert found.capture_control_sensor == ControlSensorConfig("gate", "controls")
    assert found.problems == () and found.dependencies == ("gate",)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"name": "gate"}, "capture_control_sensor.key: is missing"),
        ({"key": "controls"}, "capture_control_sensor.name: is missing"),
        ({"name": "gate", "kez": "controls"}, "did you mean 'key'"),
    ],
)
def test_a_control_sensor_without_a_name_or_a_key_steers_nothing_and_says_so(
    value: dict[str, str], problem: str
) -> None:
    found = parsed(capture_control_sensor=value)
    assert found.capture_control_sensor is None
    assert any(problem in each for each in found.problems)


def test_a_control_sensor_of_a_wrong_type_is_refused_by_its_attribute() -> None:
    assert refusal(capture_control_sensor={"name": 5.0}).attribute == "capture_control_sensor.name"
    assert parsed(capture_control_sensor={}).problems == ()


def test_an_entry_that_is_off_is_kept_for_who_switches_it_on() -> None:
    off = {**READINGS, "name": "off", "disabled": True, "additional_params": {"a": 1.0}}
    found = with_methods(READINGS, off, {**READINGS, "disabled": True})
    assert [method.name for method in found.methods] == ["lidar"]
    assert found.off_methods == (CaptureMethod("off", "Readings", 0.0, (("a", 1.0),)),)
    assert found.dependencies == ("lidar",)
    steered = parsed(capture_methods=[off], capture_control_sensor={"name": "gate", "key": "k"})
    assert steered.dependencies == ("off", "gate")


def test_a_flush_interval_is_one_that_the_disk_thread_can_wait_for() -> None:
    found = parsed(capture_flush_interval_ms=1e14)
    assert found.flush_interval_s == 3600 < threading.TIMEOUT_MAX
    assert any("capture_flush_interval_ms" in problem for problem in found.problems)


def test_a_timeout_is_one_that_a_call_can_have() -> None:
    """gRPC ends a call at once whose deadline lies beyond what it can count."""
    found = with_methods({**READINGS, "timeout_ms": 1e14})
    assert [method.timeout_s for method in found.methods] == [3600.0]
    (problem,) = found.problems
    assert "timeout_ms" in problem and "lidar" in problem


@pytest.mark.parametrize("attributes", [{"capture_dir": "/a\0b"}, {"additional_sync_paths": ["/a", "/a\0b"]}])
def test_a_path_that_can_not_be_is_refused_by_name(attributes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="NUL") as caught:
        parsed(**attributes)
    assert caught.value.attribute == next(iter(attributes))


@given(st.dictionaries(ATTRIBUTES | st.text(max_size=8), JSON))
def test_any_attributes_give_a_config_or_a_config_error(attributes: dict[str, Any]) -> None:
    try:
        found = config.parse(attributes, ENVIRONMENT)
    except ConfigError as error:
        assert error.attribute in attributes
    else:
        assert os.path.isabs(found.capture_dir)


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
