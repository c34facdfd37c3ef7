"""`parse` has the builtin's names, defaults and checks for the attributes of the service."""

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
from holdfast.config import ControlSensorConfig, Protected, SpaceLimits
from holdfast.errors import ConfigError

from ..documented import DOCUMENTED
from .samples import HOST, JSON, READINGS, parsed, refusal, with_methods

MEMORY_NAME = hashlib.sha256(b"\0/home/user\0/home/user/.viam/capture").hexdigest()[:12]


def test_without_attributes_everything_is_as_in_the_builtin() -> None:
    assert vars(parsed()) == {
        "capture_dir": "/home/user/.viam/capture",
        "tags": (),
        "capture_disabled": False,
        "adopt_component_settings": True,
        "maximum_capture_file_size_bytes": 256 * 1024,
        "flush_interval_s": 1.0,
        "fsync_interval_s": 5.0,
        "methods": (),
        "off_methods": (),
        "capture_control_sensor": None,
        "sync_disabled": False,
        "sync_interval_s": 6.0,
        "additional_sync_paths": (),
        "upload_roots": None,
        "paths": (),
        "former_folders": (),
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
        "protected": Protected("/home/user", "/home/user/.viam"),
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
        ("additional_sync_paths", ["/a", "/b/"], "additional_sync_paths", ("/a", "/b")),
        ("upload_roots", ["~/a", "/b/"], "upload_roots", ("/home/user/a", "/b")),
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
        ("~/", "/home/user/.viam/capture"),
        ("/data/../other", "/other"),
        ("/data~/x", "/data~/x"),
        ("", "/home/user/.viam/capture"),
    ],
)
def test_the_capture_folder_is_absolute_and_a_tilde_is_the_home(written: str, expected: str) -> None:
    assert parsed(capture_dir=written).capture_dir == expected


def test_a_tilde_before_a_name_is_a_folder_in_the_home_as_in_the_builtin() -> None:
    assert parsed(capture_dir="~data").capture_dir == "/home/user/data"


def test_additional_sync_paths_know_the_tilde() -> None:
    assert parsed(additional_sync_paths=["~/logs"]).additional_sync_paths == ("/home/user/logs",)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HOME": "/home/user", "VIAM_HOME": "/opt/viam"}, "/opt/viam/capture"),
        ({"HOME": "/home/user", "VIAM_HOME": ""}, "/home/user/.viam/capture"),
        ({"HOME": "/home/user"}, "/home/user/.viam/capture"),
        ({"HOME": "home/user"}, "/srv/viam/home/user/.viam/capture"),
        ({"VIAM_HOME": ".viam"}, "/srv/viam/.viam/capture"),
        ({}, "/srv/viam/.viam/capture"),
    ],
)
def test_the_default_folder_follows_viam_home(environment: dict[str, str], expected: str) -> None:
    found = config.parse({}, config.Host.of(environment, "/srv/viam"))
    assert (found.capture_dir, found.problems) == (expected, ())


@pytest.mark.parametrize(
    ("sample", "unfinished"),
    [
        (DOCUMENTED[0], []),
        (DOCUMENTED[1], []),
    ],
)
def test_viams_documented_samples_are_understood(sample: dict[str, Any], unfinished: list[str]) -> None:
    found = config.parse(sample, HOST)
    assert found.capture_dir == "/home/user/.viam/capture"
    assert found.sync_interval_s == sample["sync_interval_mins"] * 60
    assert [problem.partition(":")[0] for problem in found.problems] == unfinished


@pytest.mark.parametrize(
    "attribute", ["delete_data_on_part_deletion", "retention_policy", "recent_data_store", "cache_size_kb"]
)
@pytest.mark.parametrize("value", [True, 5.0, {"days": 5.0}])
def test_what_the_cloud_acts_on_is_accepted_without_a_word(attribute: str, value: object) -> None:
    assert parsed(**{attribute: value}).problems == ()
    found = with_methods({**READINGS, attribute: value})
    assert (len(found.methods), found.problems) == (1, ())


@pytest.mark.parametrize(
    ("attribute", "hint"),
    [
        ("sync_interval_min", "sync_interval_mins"),
        ("captur_dir", "capture_dir"),
        ("tagss", "tags"),
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


def test_dependencies_are_the_names_as_written_without_remotes_and_with_the_selector_as_a_sensor() -> None:
    names = ("lidar", "rdk:component:sensor/radar", "rem:lidar", "rdk:component:sensor/rem:radar", "radar")
    found = parsed(
        capture_methods=[{**READINGS, "name": name} for name in names],
        selective_syncer_name="gate",
    )
    full = "rdk:component:sensor/radar", "rdk:component:sensor/gate"
    assert found.dependencies == ("lidar", full[0], "radar", full[1])
    assert parsed(selective_syncer_name="rem:gate").dependencies == ()
    assert parsed().dependencies == ()


def test_problems_do_not_make_a_config_another_one() -> None:
    assert parsed(zzz=1.0) == parsed()
    assert parsed(sync_disabled=True) != parsed()


ATTRIBUTES = st.sampled_from(
    [
        *("capture_dir", "tags", "capture_disabled", "maximum_capture_file_size_bytes", "capture_methods"),
        *("capture_flush_interval_ms", "sync_disabled", "sync_interval_mins", "additional_sync_paths"),
        *("selective_syncer_name", "file_last_modified_millis", "maximum_num_sync_threads", "cloud_address"),
        *("allow_plaintext", "mongo_capture_config", "capture_control_sensor", *ONLY_CHECKED_NUMBERS),
    ]
)


def test_a_control_sensor_has_a_name_and_a_key() -> None:
    found = parsed(capture_control_sensor={"name": "gate", "key": "controls"})
    assert found.capture_control_sensor == ControlSensorConfig("gate", "controls")
    assert found.problems == () and found.dependencies == ("rdk:component:sensor/gate",)


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


def test_a_control_sensor_may_have_the_attributes_that_others_act_on() -> None:
    found = parsed(capture_control_sensor={"name": "gate", "key": "k", "retention_policy": {"days": 5.0}})
    assert found.capture_control_sensor == ControlSensorConfig("gate", "k")
    assert found.problems == ()


def test_a_control_sensor_of_a_wrong_type_is_refused_by_its_attribute() -> None:
    assert refusal(capture_control_sensor={"name": 5.0}).attribute == "capture_control_sensor.name"
    assert parsed(capture_control_sensor={}).problems == ()


def test_a_flush_interval_is_one_that_the_disk_thread_can_wait_for() -> None:
    found = parsed(capture_flush_interval_ms=1e14)
    assert found.flush_interval_s == 3600 < threading.TIMEOUT_MAX
    assert any("capture_flush_interval_ms" in problem for problem in found.problems)


@pytest.mark.parametrize("attributes", [{"capture_dir": "/a\0b"}, {"additional_sync_paths": ["/a", "/a\0b"]}])
def test_a_path_that_can_not_be_is_refused_by_name(attributes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="NUL") as caught:
        parsed(**attributes)
    assert caught.value.attribute == next(iter(attributes))


@given(st.dictionaries(ATTRIBUTES | st.text(max_size=8), JSON))
def test_any_attributes_give_a_config_or_a_config_error(attributes: dict[str, Any]) -> None:
    try:
        found = config.parse(attributes, HOST)
    except ConfigError as error:
        assert error.attribute in attributes
    else:
        assert os.path.isabs(found.capture_dir)


@pytest.mark.parametrize(
    "name", ["capture_frequency_hz", "Method", "additional_params", "timeout_ms", "max_in_flight"]
)
def test_what_belongs_in_an_entry_is_said_to_where_it_stands_at_the_top(name: str) -> None:
    (problem,) = parsed(**{name: 1}).problems
    assert problem == (
        f"{name}: there is no such attribute, it has no effect; it belongs in an entry of capture_methods"
    )
