"""A machine's config is read as viam-server reads it."""

from __future__ import annotations

import pytest

from holdfast.machine_config import FullName, Machine, NoDataManagerError, UnreadableConfigError, is_machine

from .configs import READINGS, Json, associated, component, data_manager, machine, of_holdfast


@pytest.mark.parametrize(
    "entry",
    [
        {"api": "rdk:component:camera", "model": "rdk:builtin:fake"},
        {"api": {"namespace": "rdk", "type": "component", "subtype": "camera"}, "model": "fake"},
        {
            "type": "camera",
            "namespace": "rdk",
            "model": {"namespace": "rdk", "model_family": "builtin", "name": "fake"},
        },
        {"type": "camera", "model": "fake"},
    ],
)
def test_every_way_of_naming_an_api_and_a_model_is_understood(entry: Json) -> None:
    (resource,) = Machine({"components": [{"name": "eye", **entry}]}).resources
    assert (resource.api, resource.model) == ("rdk:component:camera", "rdk:builtin:fake")
    assert resource.full_name == "rdk:component:camera/eye"


def test_a_service_without_a_name_and_a_model_is_the_builtin() -> None:
    manager = Machine({"services": [{"type": "data_manager"}]}).data_manager
    assert (manager.name, manager.model) == ("builtin", "rdk:builtin:builtin")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rdk:component:sensor/t", FullName("rdk:component:sensor", "", "t")),
        ("rdk:component:sensor/far:t", FullName("rdk:component:sensor", "far", "t")),
        ("rdk:component:sensor/far:away:t", FullName("rdk:component:sensor", "far:away", "t")),
        ("t", None),
        ("sensor/t", None),
        (None, None),
    ],
)
def test_a_full_name_has_an_api_and_perhaps_a_remote(text: object, expected: FullName | None) -> None:
    assert FullName.parsed(text) == expected
    assert expected is None or str(expected) == text


def test_a_name_that_two_resources_have_is_no_short_name_of_either() -> None:
    found = Machine(machine(component("a"), component("a", kind="camera"), component("b")))
    names = [found.shortest_name(resource) for resource in found.resources[:3]]
    assert names == ["rdk:component:sensor/a", "rdk:component:camera/a", "b"]
    assert len(found.resources_named("a")) == 2


def test_a_resource_is_of_the_remote_with_the_longest_prefix_that_fits() -> None:
    prefixes = ("", "far_", "far_away_")
    found = Machine(machine(remotes=[{"name": f"r{prefix}", "prefix": prefix} for prefix in prefixes]))
    for name, prefix in (("t", ""), ("far_t", "far_"), ("far_away_t", "far_away_")):
        assert found.remote_of(f"rdk:component:sensor/{name}") is found.remotes[prefixes.index(prefix)]
    assert Machine(machine()).remote_of("rdk:component:sensor/t") is None


@pytest.mark.parametrize("services", [[], [data_manager(), {**data_manager(), "name": "other"}]])
def test_a_machine_has_exactly_one_data_manager(services: list[Json]) -> None:
    with pytest.raises(NoDataManagerError):
        _ = Machine({"services": services}).data_manager


def test_only_the_service_configs_of_a_data_manager_hold_capture_methods() -> None:
    sensor = component("a")
    other = {"type": "acme:service:watch", "attributes": {"capture_methods": [{"method": "x"}]}}
    sensor["service_configs"] = [other, associated(READINGS), associated()]
    (holder, _) = Machine(machine(sensor)).holders
    assert holder.method_lists == [[READINGS]]
    holder.remove_methods()
    assert sensor["service_configs"] == [other]


def test_capture_methods_are_appended_to_the_list_that_the_builtin_reads() -> None:
    sensor = component("a", READINGS)
    sensor["service_configs"].append({"type": "data_manager", "attributes": {"retention_policy": {"days": 5}}})
    (holder, _) = Machine(machine(sensor)).holders
    assert holder.append_methods([{"method": "DoCommand"}])
    assert holder.method_lists == [[READINGS, {"method": "DoCommand"}]]
    holder.remove_methods()
    assert not holder.append_methods([READINGS])
    assert holder.method_lists == [[READINGS]]
    assert sensor["service_configs"][0]["attributes"]["retention_policy"] == {"days": 5}


@pytest.mark.parametrize(
    "config",
    [{"components": {}}, {"components": ["a"]}, {"services": 1}, {"remotes": [1]}, {"modules": ["a"]}],
)
def test_what_has_not_the_shape_of_a_config_is_refused(config: Json) -> None:
    with pytest.raises(UnreadableConfigError):
        Machine(config)


def test_a_whole_config_is_known_by_its_sections() -> None:
    assert is_machine(of_holdfast())
    assert not is_machine(data_manager())
    assert not is_machine({})
