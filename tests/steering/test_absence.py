"""Why a collector does not run, by the rules of precedence."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.capture.causes import Absence
from holdfast.capture.resolve import Resolution
from holdfast.config import CaptureMethod, Config
from holdfast.steering import Orders, why_absent
from holdfast.steering.control_sensor import Override

API = "rdk:component:sensor"
LIDAR = (API, "lidar", "Readings")
FULL = f"{API}/lidar"
METHOD = CaptureMethod("lidar", "Readings", 10.0)


@pytest.mark.parametrize(
    ("config", "orders", "found", "why"),
    [
        ({}, {}, [], Absence.CONFIG),
        ({}, {}, [Resolution(METHOD, waiting=True)], Absence.NO_RESOURCE),
        ({}, {}, [Resolution(CaptureMethod(FULL, "Readings", 10.0), waiting=True)], Absence.NO_RESOURCE),
        ({}, {}, [Resolution(CaptureMethod("other", "Readings", 10.0), waiting=True)], Absence.CONFIG),
        ({}, {}, [Resolution(METHOD, problem="it has no such method")], Absence.CONFIG),
        ({"capture_disabled": True}, {"all_paused": True}, [], Absence.CONFIG),
        ({}, {"all_paused": True}, [Resolution(METHOD, waiting=True)], Absence.PAUSED),
        ({}, {"paused": frozenset({"lidar"})}, [], Absence.PAUSED),
        ({}, {"paused": frozenset({FULL})}, [], Absence.PAUSED),
        ({}, {"paused": frozenset({"rdk:component:camera/lidar"})}, [], Absence.CONFIG),
        ({}, {"frequencies": {("lidar", "Readings"): 0.0}}, [], Absence.PAUSED),
        ({}, {"frequencies": {("lidar", "Other"): 0.0}}, [], Absence.CONFIG),
        ({}, {"overrides": {(FULL, "Readings"): Override(0.0)}}, [], Absence.CONTROL_SENSOR),
        ({}, {"overrides": {("lidar", "Readings"): Override(None, ("tag",))}}, [], Absence.CONFIG),
        (
            {},
            {"overrides": {("lidar", "Readings"): Override(0.0)}, "frequencies": {("lidar", "Readings"): 5.0}},
            [Resolution(METHOD, waiting=True)],
            Absence.NO_RESOURCE,
        ),
    ],
)
def test_the_reason_follows_from_what_holds(
    config: dict[str, Any], orders: dict[str, Any], found: list[Resolution], why: Absence
) -> None:
    assert why_absent(LIDAR, Config("/data", **config), Orders(**orders), found) is why
