"""Any config with the builtin captures the same after conversion, and converting back restores it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import config
from holdfast.cli.check import check
from holdfast.cli.to_builtin import convert_to_builtin
from holdfast.cli.to_holdfast import convert_to_holdfast, registry_module
from holdfast.machine_config import cards_of
from holdfast.machine_config.finding import Level

from ..machine_config.configs import Json, what_holdfast_captures, what_the_builtin_captures
from ..machine_config.generated import machines

both_ways = pytest.mark.parametrize("into_service", [False, True])


def converted(machine: Json, into_service: bool) -> Json:
    found = convert_to_holdfast(machine, registry_module(), into_service=into_service).config
    assert found is not None
    return found


def back(machine: Json) -> Json:
    found = convert_to_builtin(machine).config
    assert found is not None
    return found


def attributes_of(machine: Json) -> dict[str, Any]:
    (service,) = (each for each in machine["services"] if each["name"] == "data")
    found: dict[str, Any] = service["attributes"]
    return found


@both_ways
@settings(max_examples=60, deadline=None)
@given(machines())
def test_a_converted_config_captures_the_same_and_our_parser_has_nothing_to_say(
    into_service: bool, machine: Json
) -> None:
    before = copy.deepcopy(machine)
    found = converted(machine, into_service)
    assert machine == before
    assert what_holdfast_captures(found) == what_the_builtin_captures(machine)
    wrong = [each for each in check(found, config.Host("/home/user")) if each.level is not Level.NOTE]
    assert [
        each.text for each in wrong if into_service or "the last list of a resource counts" not in each.text
    ] == []
    assert ("capture_methods" in attributes_of(found)) <= into_service
    kept = attributes_of(machine)
    assert {name: attributes_of(found)[name] for name in kept} == kept


@both_ways
@settings(max_examples=60, deadline=None)
@given(machines())
def test_the_way_back_and_again_leads_to_the_same(into_service: bool, machine: Json) -> None:
    once = converted(machine, into_service)
    assert converted(once, into_service) == once
    returned = back(once)
    assert what_the_builtin_captures(returned) == what_the_builtin_captures(machine)
    assert converted(returned, into_service) == once
    assert back(converted(returned, into_service)) == returned
    assert returned.get("modules") == machine.get("modules")
    assert attributes_of(returned) == attributes_of(machine)


@st.composite
def with_entries_in_both(draw: st.DrawFn) -> Json:
    """Returns a config with Holdfast, whose service says something about some of what components say."""
    found = converted(draw(machines()), into_service=False)
    entries = []
    cards = cards_of(copy.deepcopy(found))[0]
    remote = {card.values["name"].partition("/")[2] for card in cards if card.source == "remote"}
    for card in cards:
        change = draw(st.sampled_from([None, {"capture_frequency_hz": 7}, {"disabled": True}, {"priority": 2}]))
        if change is not None:
            short = card.values["name"].partition("/")[2]
            name = card.values["name"] if short in remote else draw(st.sampled_from([card.values["name"], short]))
            params = {"additional_params": card.values.get("additional_params")}
            entries.append({"name": name, "method": card.values["method"], **params, **change})
    attributes_of(found)["capture_methods"] = [
        each for index, each in enumerate(entries) if each not in entries[:index]
    ]
    return found


@settings(max_examples=60, deadline=None)
@given(with_entries_in_both())
def test_what_the_service_says_of_components_holds_on_each_way(machine: Json) -> None:
    captured = what_holdfast_captures(machine)
    assert what_holdfast_captures(converted(machine, into_service=False)) == captured
    assert what_holdfast_captures(converted(machine, into_service=True)) == captured
    assert what_the_builtin_captures(back(machine)) == captured
