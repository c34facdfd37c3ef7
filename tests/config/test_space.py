"""The attributes about space are accepted or refused by name; memory mode has a folder of its own."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from holdfast.config import MEMORY_LIMIT_BYTES, CopySettings, Host, SpaceLimits, WhenFull, parse
from holdfast.errors import ConfigError

from .samples import HOST, READINGS, parsed


@pytest.mark.parametrize(
    ("attribute", "value", "expected"),
    [
        ("delete_every_nth_when_disk_full", 3.0, SpaceLimits(every_nth=3)),
        ("disk_usage_deletion_threshold", 0.5, SpaceLimits(disk_usage=0.5)),
        ("capture_dir_deletion_threshold", 0.1, SpaceLimits(capture_dir_share=0.1)),
        ("delete_every_nth_when_disk_full", 0.0, SpaceLimits()),
        ("capture_dir_limit_bytes", 1e9, SpaceLimits(most_bytes=1_000_000_000)),
        ("capture_dir_limit_bytes", 0.0, SpaceLimits()),
        ("capture_dir_limit_age_hours", 1.5, SpaceLimits(most_age_s=5400.0)),
        ("when_full", "thin", SpaceLimits(when_full=WhenFull.THIN)),
        ("when_full", "drop_oldest", SpaceLimits(when_full=WhenFull.DROP_OLDEST)),
        ("when_full", "drop_newest", SpaceLimits(when_full=WhenFull.DROP_NEWEST)),
    ],
)
def test_a_limit_is_taken_as_it_is_said(attribute: str, value: object, expected: SpaceLimits) -> None:
    found = parsed(**{attribute: value})
    assert (found.limits, found.problems) == (expected, ())


@pytest.mark.parametrize(
    "attribute",
    [
        "delete_every_nth_when_disk_full",
        "disk_usage_deletion_threshold",
        "capture_dir_deletion_threshold",
        "capture_dir_limit_bytes",
        "capture_dir_limit_age_hours",
    ],
)
@pytest.mark.parametrize("value", [-1.0, "5", True])
def test_a_limit_that_is_negative_or_no_number_is_refused_by_name(attribute: str, value: object) -> None:
    with pytest.raises(ConfigError, match=attribute):
        parsed(**{attribute: value})


@pytest.mark.parametrize(
    ("attribute", "value"), [("when_full", "drop"), ("capture_store", "ram"), ("sync_order", "random")]
)
def test_an_unknown_choice_is_a_problem_that_says_what_can_be(attribute: str, value: str) -> None:
    found = parsed(**{attribute: value})
    (problem,) = found.problems
    assert problem.startswith(f"{attribute}: {value!r}")
    assert (found.limits, found.in_memory) == (SpaceLimits(), False)


@pytest.mark.parametrize("value", [0, 9.0, 5])
def test_a_priority_from_0_to_9_is_taken(value: float) -> None:
    (method,) = parsed(capture_methods=[{**READINGS, "priority": value}]).methods
    assert method.priority == value


def test_without_a_priority_it_is_5_and_a_change_of_it_is_no_other_collector() -> None:
    (without,) = parsed(capture_methods=[READINGS]).methods
    (other,) = parsed(capture_methods=[{**READINGS, "priority": 1}]).methods
    assert without.priority == 5
    assert without == other


@pytest.mark.parametrize("value", [-1, 10, 2.5, "high", True])
def test_another_priority_costs_its_entry_alone_and_is_named(value: object) -> None:
    found = parsed(capture_methods=[{**READINGS, "priority": value}, {**READINGS, "name": "radar"}])
    assert [method.name for method in found.methods] == ["radar"]
    assert "capture_methods[0] (lidar Readings).priority: must be a whole number from 0 to 9" in found.problems[0]


def test_a_local_copy_has_a_folder_and_bounds() -> None:
    found = parsed(local_copy={"dir": "~/kept", "max_bytes": 1e6, "max_age_hours": 2.0})
    assert found.local_copy == CopySettings("/home/user/kept", 1_000_000, 7200.0)
    assert parsed(local_copy={"dir": "/kept"}).local_copy == CopySettings("/kept", 1 << 30, None)
    assert parsed(local_copy={}).local_copy is None


@pytest.mark.parametrize(
    ("value", "attribute"),
    [
        ({"max_bytes": 1.0}, "local_copy.dir"),
        ({"dir": 5.0}, "local_copy.dir"),
        ({"dir": "/kept", "max_bytes": -1.0}, "local_copy.max_bytes"),
        ({"dir": "/kept", "max_age_hours": "2"}, "local_copy.max_age_hours"),
        ("/kept", "local_copy"),
        ({"dir": "/home/user/.viam/capture"}, "local_copy.dir"),
        ({"dir": "/home/user/.viam/capture/kept"}, "local_copy.dir"),
        ({"dir": "/home/user/.viam"}, "local_copy.dir"),
        ({"dir": "/logs/kept"}, "local_copy.dir"),
        ({"dir": "/own/kept"}, "local_copy.dir"),
    ],
)
def test_a_local_copy_that_can_not_be_is_refused_by_name(value: object, attribute: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(
            local_copy=value,
            additional_sync_paths=["/logs"],
            capture_methods=[{**READINGS, "capture_directory": "/own"}],
        )
    assert caught.value.attribute == attribute


def test_an_unknown_bound_of_the_local_copy_is_a_problem() -> None:
    (problem,) = parsed(local_copy={"dir": "/kept", "max_mb": 5.0}).problems
    assert problem.startswith("local_copy.max_mb: ")


def test_the_folder_in_memory_is_the_same_each_time_and_another_for_another_machine_and_folder() -> None:
    found = parsed(capture_store="memory")
    assert found.in_memory and found.memory_dir == parsed().memory_dir
    assert found.memory_dir.startswith(f"/dev/shm/holdfast-{os.getuid()}-")
    others = {
        parsed(capture_dir="/other").memory_dir,
        parse({}, replace(HOST, part_id="part")).memory_dir,
        parse({}, Host("/home/other")).memory_dir,
    }
    assert len(others | {found.memory_dir}) == 4
    assert MEMORY_LIMIT_BYTES == 64 * 1024 * 1024
