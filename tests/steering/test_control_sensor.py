"""The capture control sensor: what its readings mean, and when they change anything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from holdfast.errors import ResourceCallError, ResourceErrorKind
from holdfast.steering.control_sensor import MAX_ENTRIES, Controls, ControlSensor, Override, controls_in
from holdfast.steering.open_sequences import SequenceSpec
from tests.fakes import FakeClock

PAIR = ("lidar", "Readings")
LIDAR = {"resource_name": "lidar", "method": "Readings"}


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([], {}),
        (None, {}),
        ([{**LIDAR, "capture_frequency_hz": 5.0, "tags": ["a"]}], {PAIR: Override(5.0, ("a",))}),
        ([{**LIDAR, "capture_frequency_hz": 0.0}], {PAIR: Override(0.0, None)}),
        ([{**LIDAR, "capture_frequency_hz": -3.0}], {PAIR: Override(0.0, None)}),
        ([{**LIDAR, "capture_frequency_hz": None, "tags": None}], {PAIR: Override(None, None)}),
        ([{**LIDAR, "tags": []}], {PAIR: Override(None, ())}),
        ([{**LIDAR, "capture_frequency_hz": 1.0}, {**LIDAR, "tags": ["z"]}], {PAIR: Override(None, ("z",))}),
        ([{**LIDAR, "something": "else"}], {PAIR: Override(None, None)}),
        ([{}], {("", ""): Override(None, None)}),
        ([None], {("", ""): Override(None, None)}),
    ],
)
def test_what_the_control_sensor_says_is_read_as_the_builtin_reads_it(
    entries: Any, expected: Mapping[tuple[str, str], Override]
) -> None:
    assert controls_in({"controls": entries}, "controls") == Controls(expected)


@pytest.mark.parametrize("key", ["controls", "sequences"])
def test_a_list_of_more_entries_than_are_read_says_so_and_the_config_applies(key: str) -> None:
    readings = {"controls": [], key: [{**LIDAR, "resources": [LIDAR]}] * MAX_ENTRIES}
    assert controls_in(readings, "controls").problem == ""
    controls = controls_in({"controls": [], key: [None] * (MAX_ENTRIES + 1)}, "controls")
    assert "it has 1001 entries; at most 1000 are read" in controls.problem
    assert (controls.overrides, controls.sequences) == ({}, ())


@pytest.mark.parametrize(
    "entries",
    [
        "all",
        {"lidar": 1.0},
        5.0,
        [LIDAR, "x"],
        [{**LIDAR, "capture_frequency_hz": "5"}],
        [{**LIDAR, "capture_frequency_hz": True}],
        [{**LIDAR, "capture_frequency_hz": 1e40}],
        [{**LIDAR, "capture_frequency_hz": float("nan")}],
        [{**LIDAR, "tags": "x"}],
        [{**LIDAR, "tags": [1.0]}],
        [{**LIDAR, "method": 1.0}],
        "x" * 10_000,
        ["x" * 10_000],
        [{**LIDAR, "method": ["x" * 10_000]}],
        [{**LIDAR, "capture_frequency_hz": "x" * 10_000}],
        [{**LIDAR, "tags": "x" * 10_000}],
    ],
)
def test_one_entry_that_can_not_be_understood_makes_the_whole_list_void(entries: Any) -> None:
    found = controls_in({"controls": entries, "sequences": [{"resources": [LIDAR]}]}, "controls")
    assert found.overrides == {} and "the config applies" in found.problem and len(found.problem) < 500
    assert found.sequences == (SequenceSpec((PAIR,), ()),), "the lists are read each for itself"


def test_a_missing_key_is_said_and_sequences_are_read_all_the_same() -> None:
    found = controls_in(
        {"sequences": [{"resources": [LIDAR], "sequence_tags": ["t"]}, {"resources": []}]}, "controls"
    )
    assert found.overrides == {} and "no 'controls'" in found.problem and "is ignored" in found.problem
    assert found.sequences == (SequenceSpec((PAIR,), ("t",)),)
    assert controls_in({"controls": [], "sequences": [{"resources": "x"}]}, "controls").sequences == ()


class Gate:
    """A control sensor with answers that a test sets. It counts the polls and records the changes."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.answer: Mapping[str, Any] | ResourceCallError = {"controls": []}
        self.asked = 0
        self.changes: list[Controls] = []
        self.sensor = ControlSensor(self.clock, "gate", "controls", self._read, self.changes.append)

    async def _read(self) -> Mapping[str, Any]:
        self.asked += 1
        if isinstance(self.answer, ResourceCallError):
            raise self.answer
        return self.answer


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    gate = Gate()
    yield gate
    gate.sensor.stop()


async def test_it_is_asked_ten_times_a_second_and_only_what_is_different_is_a_change(gate: Gate) -> None:
    gate.answer = {"controls": [{**LIDAR, "capture_frequency_hz": 5.0}], "noise": 1.0}
    await gate.clock.advance(2.01)
    assert gate.asked == 20
    gate.answer = {**gate.answer, "noise": 2.0}
    await gate.clock.advance(1.0)
    assert [each.overrides for each in gate.changes] == [{PAIR: Override(5.0)}]
    gate.answer = {"controls": []}
    await gate.clock.advance(1.0)
    assert [each.overrides for each in gate.changes] == [{PAIR: Override(5.0)}, {}]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ResourceCallError(ResourceErrorKind.TIMEOUT, "too late"), "no reading: too late"),
        ({"other": 1.0}, "no 'controls'"),
        ({"controls": "all"}, "can't be understood"),
    ],
)
async def test_without_a_usable_reading_the_config_holds(gate: Gate, answer: Any, said: str) -> None:
    gate.answer = {"controls": [{**LIDAR, "capture_frequency_hz": 5.0}]}
    await gate.clock.advance(0.2)
    gate.answer = answer
    await gate.clock.advance(0.2)
    assert gate.changes[-1].overrides == {} and said in gate.sensor.state
    gate.answer = {"controls": [{**LIDAR, "capture_frequency_hz": 5.0}]}
    await gate.clock.advance(0.2)
    assert gate.changes[-1].overrides == {PAIR: Override(5.0)} and "in control" in gate.sensor.state


async def test_while_it_is_suspended_nothing_changes(gate: Gate) -> None:
    gate.answer = {"controls": [{**LIDAR, "capture_frequency_hz": 5.0}]}
    await gate.clock.advance(0.2)
    gate.sensor.suspend()
    gate.answer = ResourceCallError(ResourceErrorKind.FAILED, "gone")
    await gate.clock.advance(1.0)
    assert len(gate.changes) == 1
    gate.sensor.resume()
    await gate.clock.advance(0.2)
    assert len(gate.changes) == 2
