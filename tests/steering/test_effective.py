"""The order of precedence: a pause, a frequency by command, the control sensor, the config."""

from __future__ import annotations

import pytest

from holdfast.config import MOST_HZ, CaptureMethod
from holdfast.steering.control_sensor import Override
from holdfast.steering.effective import Orders, effective

LIDAR = CaptureMethod("rdk:component:sensor/lidar", "Readings", 10.0, tags=("own",))
OFF = CaptureMethod("off", "Readings", 0.0, (("x", 1.0),))
PAIR = ("lidar", "Readings")


def run(*methods: CaptureMethod, **orders: object) -> dict[str, tuple[float, tuple[str, ...]]]:
    found = effective(methods, ("all",), Orders(**orders), {})  # type: ignore[arg-type]
    return {each.method.name: (each.method.frequency_hz, each.tags) for each in found}


def test_without_orders_the_config_runs() -> None:
    assert run(LIDAR, OFF) == {LIDAR.name: (10.0, ("all", "own"))}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (Override(5.0), (5.0, ("all", "own"))),
        (Override(None, ("t",)), (10.0, ("t",))),
        (Override(5.0, ()), (5.0, ())),
        (Override(), (10.0, ("all", "own"))),
    ],
)
def test_the_sensor_goes_before_the_config(override: Override, expected: tuple[float, tuple[str, ...]]) -> None:
    assert run(LIDAR, overrides={PAIR: override}) == {LIDAR.name: expected}


def test_a_pause_goes_before_a_frequency_by_command_before_the_sensor_before_the_config() -> None:
    sensor = {PAIR: Override(5.0, ("t",))}
    assert run(LIDAR, overrides=sensor)[LIDAR.name] == (5.0, ("t",))
    assert run(LIDAR, overrides=sensor, frequencies={PAIR: 7.0})[LIDAR.name] == (7.0, ("t",))
    assert run(LIDAR, overrides=sensor, frequencies={PAIR: 7.0}, paused=frozenset({"lidar"})) == {}
    assert run(LIDAR, overrides=sensor, frequencies={PAIR: 7.0}, all_paused=True) == {}


def test_what_is_said_of_a_full_name_goes_before_what_is_said_of_the_short_one() -> None:
    full, short = (LIDAR.name, "Readings"), PAIR
    overrides = {short: Override(5.0), full: Override(6.0)}
    assert run(LIDAR, overrides=overrides)[LIDAR.name][0] == 6.0
    assert run(LIDAR, frequencies={short: 7.0, full: 8.0}, overrides=overrides)[LIDAR.name][0] == 8.0
    assert run(LIDAR, paused=frozenset({LIDAR.name})) == {}
    other = frozenset({"rdk:component:camera/lidar"})
    assert run(LIDAR, paused=other)[LIDAR.name][0] == 10.0


def test_zero_is_off_by_the_sensor_and_by_command() -> None:
    assert run(LIDAR, overrides={PAIR: Override(0.0)}) == {}
    assert run(LIDAR, overrides={PAIR: Override(5.0)}, frequencies={PAIR: 0.0}) == {}
    assert run(LIDAR, overrides={PAIR: Override(0.0)}, frequencies={PAIR: 2.0})[LIDAR.name][0] == 2.0


def test_an_entry_that_is_off_runs_with_its_parameters_when_it_is_given_a_frequency() -> None:
    assert run(OFF, overrides={("off", "Readings"): Override(None, ("t",))}) == {}
    (found,) = effective([OFF], (), Orders(overrides={("off", "Readings"): Override(1.0)}), {})
    assert found.method == CaptureMethod("off", "Readings", 1.0, (("x", 1.0),))


def test_a_pair_that_is_not_configured_runs_when_it_is_given_a_frequency() -> None:
    assert run(overrides={("new", "Readings"): Override(3.0)}) == {"new": (3.0, ("all",))}
    assert run(overrides={("new", "Readings"): Override(None, ("t",))}) == {}
    assert run(frequencies={("new", "Readings"): 3.0}, paused=frozenset({"new"})) == {}


def test_a_frequency_that_no_clock_tells_apart_is_the_highest_one() -> None:
    beyond = CaptureMethod("fast", "Readings", 1e308)
    assert run(beyond) == {"fast": (MOST_HZ, ("all",))}
    assert run(beyond, overrides={("fast", "Readings"): Override(1e38)})["fast"][0] == MOST_HZ
    assert run(LIDAR, frequencies={PAIR: 1e300})[LIDAR.name][0] == MOST_HZ
