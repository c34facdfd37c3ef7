"""What can be captured: one table for each API, from the method's name in a config to its RPC and its payload.

A *row* of a table says how a request is built from the parameters, and how the answer becomes a *payload*: what is
stored of it. To add a method is to add a row. The tables never call anything and never touch a disk. Other packages
import the names below, from here, or the module of an API for its names.
"""

from __future__ import annotations

from collections.abc import Mapping

from . import (
    arm,
    audio_in,
    board,
    camera,
    encoder,
    gantry,
    motor,
    movement_sensor,
    others,
    power_sensor,
    sensor,
    servo,
    slam,
    vision,
)
from .common import OF_ALL
from .method import Binary, BinaryAnswer, BinaryMethod, Method, TabularMethod, Target

__all__ = [
    "TABLES",
    "Binary",
    "BinaryAnswer",
    "BinaryMethod",
    "Method",
    "TabularMethod",
    "Target",
    "lookup",
    "methods_of",
    "own_methods_of",
]

TABLES: Mapping[str, Mapping[str, Method]] = {
    arm.API: arm.METHODS,
    audio_in.API: audio_in.METHODS,
    board.API: board.METHODS,
    camera.API: camera.METHODS,
    encoder.API: encoder.METHODS,
    gantry.API: gantry.METHODS,
    motor.API: motor.METHODS,
    movement_sensor.API: movement_sensor.METHODS,
    power_sensor.API: power_sensor.METHODS,
    sensor.API: sensor.METHODS,
    servo.API: servo.METHODS,
    slam.API: slam.METHODS,
    vision.API: vision.METHODS,
    **others.TABLES,
}


def lookup(api: str, method: str) -> Method | None:
    """Returns the row for `method` of `api`, or None if it can't be captured."""
    return TABLES.get(api, {}).get(method)


def methods_of(api: str) -> list[str]:
    """Returns the sorted names of the methods of `api` that can be captured."""
    return sorted(TABLES.get(api, {}))


def own_methods_of(api: str) -> list[str]:
    """Returns the sorted names of the methods of `api` that can be captured and that not every component has."""
    return sorted(TABLES.get(api, {}).keys() - OF_ALL)
