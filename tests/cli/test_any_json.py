"""Any value anywhere in a config gives an answer or UnreadableConfigError, never a crash."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.cli.check import check
from holdfast.cli.to_builtin import convert_to_builtin
from holdfast.cli.to_holdfast import convert_to_holdfast, registry_module
from holdfast.config import Host
from holdfast.machine_config import UnreadableConfigError

from ..machine_config.configs import READINGS, Json, associated, component, data_manager, machine, of_holdfast

Path = tuple[Any, ...]
ANYTHING: list[Any] = [None, True, 0, -1.5, "", "x", [], {}, [None], [1], ["x"], [[]], [{}], {"x": 1}]
FAR = {"name": "rdk:component:sensor/far_t", **READINGS, "additional_params": {"a": 1}, "tags": ["t"]}
REMOTE = {"name": "far", "prefix": "far_", "service_configs": [associated(FAR)]}
OLDER = {
    "name": "b",
    "type": "board",
    "namespace": "rdk",
    "model": "fake",
    "service_configs": [associated(READINGS)],
}
OBJECTS = {
    "name": "c",
    "api": {"namespace": "rdk", "type": "component", "subtype": "sensor"},
    "model": {"namespace": "rdk", "model_family": "builtin", "name": "fake"},
}
MOTION = {"name": "mover", "api": "rdk:service:motion"}
ATTRIBUTES: dict[str, Any] = {
    "capture_store": "memory",
    "selective_syncer_name": "s",
    "capture_control_sensor": {"name": "a", "key": "k"},
}


def with_the_builtin() -> Json:
    service = {**data_manager(**ATTRIBUTES), "depends_on": ["mover"]}
    found = machine(component("a", READINGS), OLDER, OBJECTS, service=service, remotes=[REMOTE], fragments=["id"])
    found["services"].append(MOTION)
    return found


def with_holdfast() -> Json:
    methods = [{"name": name, **READINGS} for name in ("a", "mover", "rdk:component:sensor/far_t", "gone")]
    found = of_holdfast(*methods, components=[component("a", READINGS), OLDER, OBJECTS], remotes=[REMOTE])
    found["services"][0]["attributes"] |= ATTRIBUTES
    found["services"].append(MOTION)
    return found


def places(value: Any, before: Path = ()) -> Iterator[Path]:
    """Yields the path to every value inside a config."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield (*before, key)
        yield from places(inner, (*before, key))


def replaced(config: Json, place: Path, by: Any) -> Json:
    found = copy.deepcopy(config)
    holder: Any = found
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = copy.deepcopy(by)
    return found


@pytest.mark.parametrize("config", [with_the_builtin(), with_holdfast()], ids=["builtin", "holdfast"])
def test_nothing_anywhere_in_a_config_makes_a_command_crash(config: Json) -> None:
    ways = list(places(config))
    assert len(ways) > 60
    for place in ways:
        for value in ANYTHING:
            changed = replaced(config, place, value)
            with contextlib.suppress(UnreadableConfigError):
                convert_to_holdfast(changed, registry_module())
            with contextlib.suppress(UnreadableConfigError):
                convert_to_holdfast(changed, registry_module(), into_service=True)
            with contextlib.suppress(UnreadableConfigError):
                convert_to_builtin(changed)
            with contextlib.suppress(UnreadableConfigError):
                check(changed, Host("/home/user"))
