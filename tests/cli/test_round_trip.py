"""Any config with the builtin captures the same after conversion, and converting back restores it."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings

from holdfast import config
from holdfast.cli.check import check
from holdfast.cli.to_builtin import convert_to_builtin
from holdfast.cli.to_holdfast import convert_to_holdfast, registry_module
from holdfast.machine_config.finding import Level

from ..machine_config.configs import Json, what_holdfast_captures, what_the_builtin_captures
from ..machine_config.generated import machines


def converted(machine: Json) -> Json:
    found = convert_to_holdfast(machine, registry_module()).config
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


@settings(max_examples=60, deadline=None)
@given(machines())
def test_a_converted_config_captures_the_same_and_our_parser_has_nothing_to_say(machine: Json) -> None:
    before = copy.deepcopy(machine)
    found = converted(machine)
    assert machine == before
    assert what_holdfast_captures(found) == what_the_builtin_captures(machine)
    assert config.parse(attributes_of(found), config.Host("/home/user")).problems == ()
    assert [finding for finding in check(found, config.Host("/home/user")) if finding.level is not Level.NOTE] == []
    kept = attributes_of(machine)
    assert {name: attributes_of(found)[name] for name in kept} == kept


@settings(max_examples=60, deadline=None)
@given(machines())
def test_the_way_back_and_again_leads_to_the_same(machine: Json) -> None:
    once = converted(machine)
    assert converted(once) == once
    returned = back(once)
    assert what_the_builtin_captures(returned) == what_the_builtin_captures(machine)
    assert converted(returned) == once
    assert back(converted(returned)) == returned
    assert returned.get("modules") == machine.get("modules")
    assert attributes_of(returned) == attributes_of(machine)
