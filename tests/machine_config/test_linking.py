"""Linking finds what the builtin would capture of components, services and remotes."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given, settings

from holdfast.config import Card, ordered
from holdfast.machine_config import Machine, UnreadableConfigError, cards_of
from holdfast.machine_config.finding import Level
from holdfast.machine_config.linking import LinkedMethods, linked_methods

from .configs import READINGS, Json, associated, component, machine, what_the_builtin_captures
from .generated import machines

LOCAL = "rdk:component:sensor/a"


def link(config: Json) -> LinkedMethods:
    return linked_methods(Machine(config))


def deep(levels: int) -> Json:
    """Returns a capture method with this many lists in each other."""
    return {"name": "rdk:component:sensor/deep", **READINGS, "tags": json.loads("[" * levels + "]" * levels)}


def captured(linked: LinkedMethods) -> list[Json]:
    """Returns the entries as JSON, with the full names of their resources."""
    return [{**entry.attributes, "name": entry.resource} for entry in linked.entries]


def said(linked: LinkedMethods, level: Level) -> list[str]:
    return [finding.text for finding in linked.findings if finding.level is level]


@settings(max_examples=60, deadline=None)
@given(machines())
def test_what_is_linked_is_what_the_builtin_captures_and_the_config_stays_as_it_is(config: Json) -> None:
    before = copy.deepcopy(config)
    running = {
        (
            entry.resource,
            entry.attributes["method"],
            json.dumps(dict(ordered(entry.attributes.get("additional_params") or {})), sort_keys=True),
            entry.attributes["capture_frequency_hz"],
        )
        for entry in link(config).entries
        if entry.runs
    }
    assert running == what_the_builtin_captures(config)
    assert config == before


def test_of_two_lists_of_a_resource_the_last_counts_as_in_the_builtin_and_the_other_is_named() -> None:
    sensor = component("a")
    sensor["service_configs"] = [associated(READINGS), associated({**READINGS, "capture_frequency_hz": 1})]
    linked = link(machine(sensor))
    assert [method["capture_frequency_hz"] for method in captured(linked)] == [1]
    (text,) = said(linked, Level.PROBLEM)
    assert text.startswith("Readings of rdk:component:sensor/a has no effect: the last list")


def test_a_remotes_colon_becomes_its_prefix() -> None:
    named = {"name": "rdk:component:sensor/far:t", **READINGS}
    remote = {"name": "far", "prefix": "far_", "service_configs": [associated(named)]}
    linked = link(machine(remotes=[remote]))
    assert captured(linked) == [{**named, "name": "rdk:component:sensor/far_t"}]
    (text,) = said(linked, Level.NOTE)
    assert "rdk:component:sensor/far:t becomes rdk:component:sensor/far_t" in text


def test_a_remotes_list_of_several_resources_is_read_each_by_its_own_name() -> None:
    entries = [{"name": f"rdk:component:sensor/{name}", **READINGS} for name in "ab"]
    linked = link(machine(remotes=[{"name": "far", "service_configs": [associated(*entries)]}]))
    assert captured(linked) == entries
    (text,) = said(linked, Level.NOTE)
    assert "the builtin reads rdk:component:sensor/a for all" in text


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("Readings", "'Readings' is left out, it is not a capture method"),
        ("S" * 3_000_000, "SSS' is left out, it is not a capture method"),
        ({"method": "Readings", "name": "S" * 3_000_000}, "SSS… in the remote far is left out: its name must be"),
        (deep(380), "'tags': [[[...]]]} is left out, it has more than 32 lists and objects in each other"),
        (deep(900), "'tags': [[[...]]]} is left out, it has more than 32 lists and objects in each other"),
        (
            {"method": "Readings", "name": "short"},
            "Readings of short in the remote far is left out: its name must be",
        ),
    ],
)
def test_what_can_not_be_carried_over_is_named_and_the_rest_is(method: object, words: str) -> None:
    good = {"name": "rdk:component:sensor/t", **READINGS}
    service_config = {"type": "data_manager", "attributes": {"capture_methods": [method, good]}}
    linked = link(machine(remotes=[{"name": "far", "service_configs": [service_config]}]))
    assert captured(linked) == [good]
    (text,) = said(linked, Level.PROBLEM)
    assert words in text and len(text) < 500


def test_resources_stand_in_the_order_of_the_config_and_those_of_remotes_behind_all_others() -> None:
    far, near, local = ({"name": f"rdk:component:sensor/{name}", **READINGS} for name in ("far_t", "near_t", "a"))
    remotes = [
        {"name": "near", "prefix": "near_", "service_configs": [associated(far), associated(local)]},
        {"name": "far", "prefix": "far_", "service_configs": [associated(near)]},
    ]
    linked = link(machine(component("a"), component("b", READINGS), remotes=remotes))
    names = [entry.resource.partition("/")[2] for entry in linked.entries]
    assert names == ["a", "b", "near_t", "far_t"]


def test_an_entry_that_is_off_is_linked_beside_one_that_runs() -> None:
    off = {**READINGS, "disabled": True}
    linked = link(machine(component("a", off, READINGS, {**READINGS, "capture_frequency_hz": 1})))
    assert captured(linked) == [{"name": LOCAL, **off}, {"name": LOCAL, **READINGS}]
    (text,) = said(linked, Level.PROBLEM)
    assert text.startswith(f"Readings of {LOCAL} is configured twice with these parameters")


def test_cards_have_full_names_and_say_whose_settings_they_are() -> None:
    far = {"name": "rdk:component:sensor/far:t", **READINGS}
    slam = {"name": "map", "type": "slam", "service_configs": [associated({"method": "Position"}, {})]}
    remotes = [{"name": "far", "prefix": "far_", "service_configs": [associated(far)]}]
    config = machine(component("a", READINGS), remotes=remotes)
    config["services"].append(slam)
    cards, findings = cards_of(config)
    assert cards == [
        Card("component", "the component a", {"name": LOCAL, **READINGS}),
        Card("component", "the service map", {"name": "rdk:service:slam/map", "method": "Position"}),
        Card("component", "the service map", {"name": "rdk:service:slam/map"}),
        Card("remote", "the remote far", {"name": "rdk:component:sensor/far_t", **READINGS}),
    ]
    assert [finding.level for finding in findings] == [Level.NOTE]


def test_what_has_not_the_shape_of_a_machine_s_config_brings_no_cards() -> None:
    with pytest.raises(UnreadableConfigError):
        cards_of({"components": [{"name": "a", "service_configs": [{"type": "data_manager", "attributes": []}]}]})


def test_an_entry_is_listed_with_the_shortest_name_that_only_its_resource_has() -> None:
    config = machine(component("a", READINGS), component("b", READINGS), component("b", kind="camera"))
    names = [entry.listed(Machine(config))["name"] for entry in link(config).entries]
    assert names == ["a", "rdk:component:sensor/b"]


def in_capitals(value: object) -> object:
    """Returns a config with all keys in capitals, except in parameters and in what the cloud alone reads."""
    if isinstance(value, list):
        return [in_capitals(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name if name == "recent_data_store" else name.upper(): content
        if name in ("additional_params", "recent_data_store")
        else in_capitals(content)
        for name, content in value.items()
    }


@settings(max_examples=30, deadline=None)
@given(machines())
def test_the_case_of_keys_does_not_matter(config: Json) -> None:
    shouted = in_capitals(config)
    assert isinstance(shouted, dict)
    assert captured(link(shouted)) == captured(link(config))
