"""Cards are captured like entries of `capture_methods`, which replace them, add to them and switch them off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from viam.proto.common import GetReadingsRequest
from viam.utils import dict_to_struct, struct_to_dict

from holdfast import config
from holdfast.config import MOST_LEVELS, CaptureMethod, Card, Config, ordered
from holdfast.errors import ConfigError

from .samples import HOST, JSON

SENSOR = "rdk:component:sensor/thermometer"
READINGS = {"name": SENSOR, "method": "Readings", "capture_frequency_hz": 10}


def card(source: str = "component", where: str = "the component thermometer", **values: Any) -> Card:
    return Card(source, where, {**READINGS, **values})


def merged(cards: Sequence[Card], *entries: dict[str, Any], **attributes: Any) -> Config:
    return config.parse({"capture_methods": list(entries), **attributes}, HOST, cards)


def entry(name: str = "thermometer", **values: Any) -> dict[str, Any]:
    return {"name": name, "method": "Readings", **values}


def test_cards_alone_are_captured_and_say_where_they_come_from() -> None:
    far = card("remote", "the remote far", name="rdk:component:sensor/far_t")
    found = merged([card(tags=["a"], priority=7), far, card("component", "the service slam", method="Position")])
    assert found.methods == (
        CaptureMethod(SENSOR, "Readings", 10.0, tags=("a",), source="component"),
        CaptureMethod("rdk:component:sensor/far_t", "Readings", 10.0, source="remote"),
        CaptureMethod(SENSOR, "Position", 10.0, source="component"),
    )
    assert found.methods[0].priority == 7
    assert (found.problems, found.off_methods) == ((), ())
    assert found.dependencies == (SENSOR, "rdk:component:sensor/far_t")


def test_cards_are_ignored_where_the_service_says_so() -> None:
    found = merged([card()], entry("other", capture_frequency_hz=1), adopt_component_settings=False)
    assert [method.name for method in found.methods] == ["other"]
    assert (found.adopt_component_settings, merged([]).adopt_component_settings) == (False, True)


@pytest.mark.parametrize("name", ["thermometer", SENSOR])
def test_an_entry_with_a_frequency_replaces_the_card(name: str) -> None:
    found = merged([card(tags=["a"])], entry(name, capture_frequency_hz=2))
    assert found.methods == (CaptureMethod(name, "Readings", 2.0),)
    assert found.problems == ()


@pytest.mark.parametrize("name", ["thermometer", SENSOR])
def test_an_entry_without_a_frequency_adds_its_keys_to_the_card(name: str) -> None:
    found = merged(
        [card(tags=["a"], timeout_ms=100, priority=7)], entry(name, Priority=2, timeout_ms=200, tags=None)
    )
    (method,) = found.methods
    assert method == CaptureMethod(SENSOR, "Readings", 10.0, tags=("a",), timeout_s=0.2, source="component")
    assert (method.priority, found.problems) == (2, ())


def test_disabled_switches_a_card_off_and_on() -> None:
    off = merged([card()], entry(disabled=True))
    assert (off.methods, off.problems) == ((), ())
    assert [method.name for method in off.off_methods] == [SENSOR]
    on = merged([card(disabled=True)], entry(disabled=False))
    assert [method.frequency_hz for method in on.methods] == [10.0]
    replaced = merged([card()], entry(capture_frequency_hz=1, disabled=True))
    assert (replaced.methods, replaced.off_methods[0].source, replaced.problems) == ((), "service", ())


def test_an_entry_is_about_the_card_with_its_resource_method_and_parameters_alone() -> None:
    cards = [card(additional_params={"a": 1, "b": [2, {"c": 3}]}), card(method="DoCommand")]
    same = entry(additional_params={"b": [2.0, {"c": 3.0}], "a": 1.0}, capture_frequency_hz=2)
    found = merged(cards, same, entry(capture_frequency_hz=3), entry("other", capture_frequency_hz=4))
    assert [(each.name, each.frequency_hz, each.source) for each in found.methods] == [
        ("thermometer", 2.0, "service"),
        ("thermometer", 3.0, "service"),
        ("other", 4.0, "service"),
        (SENSOR, 10.0, "component"),
    ]


@pytest.mark.parametrize("cards", [[], [card(method="DoCommand")], [card(name="rdk:component:sensor/other")]])
def test_an_entry_that_adds_to_nothing_is_a_problem(cards: list[Card]) -> None:
    (problem,) = merged(cards, entry(priority=2)).problems
    assert problem.startswith("capture_methods[0] (thermometer Readings).capture_frequency_hz: is missing")
    assert "adds to the settings of a component, and none has this capture method" in problem


def test_a_short_name_that_two_cards_resources_have_is_a_problem_with_their_full_names() -> None:
    twin = card(name="rdk:component:movement_sensor/thermometer")
    found = merged([card(), twin], entry(priority=2))
    assert [method.name for method in found.methods] == [SENSOR, "rdk:component:movement_sensor/thermometer"]
    (problem,) = found.problems
    assert f"write {SENSOR} or rdk:component:movement_sensor/thermometer" in problem
    full = merged([card(), twin], entry(SENSOR, priority=2), entry(twin.values["name"], priority=3))
    assert ([method.priority for method in full.methods], full.problems) == ([2, 3], ())


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (
            card(capture_frequency_hz="fast"),
            "the component thermometer (Readings): capture_frequency_hz: must be a number, not 'fast'",
        ),
        (card(method=None), "the component thermometer: method: is missing"),
        (card(additional_params=[1]), "the component thermometer: additional_params: must be an object"),
        (card(priority=10**400), "the component thermometer (Readings): priority: must be"),
        (card(timeout_ms=10**400), "the component thermometer (Readings): timeout_ms: must be"),
        (
            card("remote", "the remote far", tags="x"),
            f"the remote far ({SENSOR} Readings): tags: must be a list of strings",
        ),
    ],
)
def test_a_bad_card_names_the_component_and_costs_itself_alone(bad: Card, words: str) -> None:
    found = merged([bad, card(name="rdk:component:sensor/good")], entry("listed", capture_frequency_hz=1))
    assert [method.name for method in found.methods] == ["listed", "rdk:component:sensor/good"]
    (problem,) = found.problems
    assert problem.startswith(words)
    assert problem.endswith("; this is not captured, all else is")


def nested(levels: int, make: Callable[[Any], Any]) -> Any:
    """Returns this many lists or objects in each other."""
    value: Any = 1
    for _ in range(levels):
        value = make(value)
    return value


def in_list(value: Any) -> Any:
    return [value]


def in_object(value: Any) -> Any:
    return {"a": value}


@pytest.mark.parametrize("make", [in_list, in_object])
@pytest.mark.parametrize("levels", [33, 380, 100_000])
@pytest.mark.parametrize("name", ["additional_params", "tags", "zz"])
def test_a_card_with_too_many_objects_in_each_other_costs_itself_alone(
    name: str, levels: int, make: Callable[[Any], Any]
) -> None:
    deep = card(**{name: nested(levels, make)})
    found = merged([deep, card(name="rdk:component:sensor/good")], entry("listed", capture_frequency_hz=1))
    assert [method.name for method in found.methods] == ["listed", "rdk:component:sensor/good"]
    assert found.problems == (
        f"the component thermometer: {name}: has more than 32 lists and objects in each other; this is not "
        "captured, all else is",
    )
    listed = merged([], entry(capture_frequency_hz=1, **{name: nested(levels, make)}), READINGS)
    assert [method.name for method in listed.methods] == [SENSOR]
    (problem,) = listed.problems
    assert problem.startswith(f"capture_methods[0].{name}: has more than 32 lists and objects in each other; this ")


def test_what_a_call_can_carry_is_captured_with_objects_in_each_other() -> None:
    params = nested(MOST_LEVELS, in_object)
    found = merged([card(additional_params=params)])
    assert (dict(found.methods[0].params), found.problems) == (dict(ordered(params)), ())
    sent = GetReadingsRequest(name="thermometer", extra=dict_to_struct(params)).SerializeToString()
    assert struct_to_dict(GetReadingsRequest.FromString(sent).extra) == params


def test_what_is_wrong_with_a_part_of_a_card_names_the_component() -> None:
    (problem,) = merged([card(zz=1)]).problems
    assert problem.startswith("the component thermometer (Readings): zz: there is no such attribute")
    (off,) = merged([card(capture_frequency_hz=0)]).problems
    assert off.startswith(
        "the component thermometer (Readings): capture_frequency_hz: it is 0, so this entry is not"
    )


@pytest.mark.parametrize("bad", [{"priority": 11}, {"capture_frequency_hz": "fast"}])
def test_an_entry_that_can_not_be_used_leaves_the_card_as_it_is(bad: dict[str, Any]) -> None:
    found = merged([card()], entry(**bad))
    assert found.methods == (CaptureMethod(SENSOR, "Readings", 10.0, source="component"),)
    (problem,) = found.problems
    assert problem.startswith("capture_methods[0]")
    assert problem.endswith("this entry has no effect, the settings of the component thermometer hold")


def test_a_card_that_is_replaced_has_nothing_to_say() -> None:
    assert merged([card(tags=5, zz=1)], entry(capture_frequency_hz=1)).problems == ()


def test_of_two_entries_about_one_card_the_first_is_used() -> None:
    found = merged([card()], entry(priority=2), entry(SENSOR, priority=3), entry(capture_frequency_hz=1))
    assert [(method.priority, method.frequency_hz) for method in found.methods] == [(2, 10.0)]
    assert [problem.partition(":")[0] for problem in found.problems] == ["capture_methods[1]", "capture_methods[2]"]
    assert all("appears twice; the first entry is used" in problem for problem in found.problems)


def test_an_entry_that_adds_does_not_switch_on_what_the_one_before_switched_off() -> None:
    found = merged([card()], entry(disabled=True), entry(priority=2))
    assert (found.methods, len(found.problems)) == ((), 1)
    assert merged([card()], entry(disabled=True), entry(capture_frequency_hz=1)).methods[0].frequency_hz == 1


def test_of_two_cards_that_capture_the_same_the_one_that_runs_is_added_to() -> None:
    for cards in ([card(disabled=True), card()], [card(), card(disabled=True)]):
        found = merged(cards, entry(priority=2))
        assert [(method.priority, method.frequency_hz) for method in found.methods] == [(2, 10.0)]
        assert (found.off_methods, found.problems) == ((), ())


COPY = {"dir": "/data/copies", "max_bytes": 100_000}


@pytest.mark.parametrize("folder", ["/data/copies/x", "/data/copies", "/data"])
@pytest.mark.parametrize("hz", [10, 0])
def test_a_cards_folder_that_overlaps_with_the_local_copy_costs_its_place_alone(folder: str, hz: float) -> None:
    bad = card(capture_directory=folder, capture_frequency_hz=hz, disabled=not hz)
    found = merged([bad, card(name="rdk:component:sensor/good")], local_copy=COPY)
    methods = {method.name: method for method in (*found.methods, *found.off_methods)}
    assert methods.keys() == {SENSOR, "rdk:component:sensor/good"}
    assert (methods[SENSOR].capture_directory, found.capture_dirs) == ("", (found.capture_dir,))
    assert found.local_copy is not None
    assert found.problems == (
        f"the component thermometer (Readings): capture_directory: {folder} and the local copy /data/copies must "
        "not lie inside each other; its data is kept in capture_dir; name another folder",
    )


def test_a_cards_folder_in_the_local_copy_stays_out_of_it_where_an_entry_adds_to_the_card() -> None:
    found = merged([card(capture_directory="/data/copies/x")], entry(priority=2), local_copy=COPY)
    (method,) = found.methods
    assert (method.capture_directory, method.priority) == ("", 2)
    (problem,) = found.problems
    assert problem.startswith("capture_methods[0], added to the component thermometer: capture_directory: /data")


def test_a_cards_folder_that_an_entry_replaces_has_nothing_to_say() -> None:
    cards = [card(capture_directory="/data/copies/x")]
    for values in ({"capture_frequency_hz": 1}, {"capture_directory": "/data/own"}):
        assert merged(cards, entry(**values), local_copy=COPY).problems == ()


@pytest.mark.parametrize("cards", [[], [card()], [card(capture_directory="/data/copies/y")]])
def test_the_services_own_folder_in_the_local_copy_is_refused_whatever_the_cards_say(cards: list[Card]) -> None:
    for hz in (1, None):
        with pytest.raises(ConfigError, match="must not lie inside each other"):
            own = entry(capture_directory="/data/copies/x", capture_frequency_hz=hz)
            merged(cards, own, local_copy=COPY)


RESOURCES = ["rdk:component:sensor/a", "rdk:component:camera/a"]
THINGS = st.tuples(st.just("Readings"), st.sampled_from([{}, {"x": 1.0}]))
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "capture_frequency_hz": st.sampled_from([0.0, 1.0, 5.0]),
        "disabled": st.booleans(),
        "priority": st.integers(0, 9),
    },
)


def written(name: str, thing: tuple[str, dict[str, float]], values: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "method": thing[0], "additional_params": thing[1], **values}


CARDS = st.lists(st.builds(written, st.sampled_from(RESOURCES), THINGS, VALUES), max_size=5)
ENTRIES = st.lists(st.builds(written, st.sampled_from(["a", *RESOURCES]), THINGS, VALUES), max_size=5)


def is_on(values: dict[str, Any]) -> bool:
    return bool(values.get("capture_frequency_hz")) and not values.get("disabled")


def what_holds(cards: list[dict[str, Any]], entries: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Says by the rules' words what is captured, by resource, method and parameters."""

    def key(values: dict[str, Any]) -> str:
        return repr((values["name"], values["method"], values["additional_params"]))

    def about(values: dict[str, Any]) -> list[dict[str, Any]]:
        """The cards about the same as an entry: of each resource the first that runs, or else the first."""
        same = [
            each
            for each in cards
            if values["name"] in (each["name"], each["name"].partition("/")[2])
            and (each["method"], each["additional_params"]) == (values["method"], values["additional_params"])
        ]
        return [next(filter(is_on, found), found[0]) for name in RESOURCES if (found := named(same, name))]

    def named(found: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
        return [each for each in found if each["name"] == name]

    running: dict[str, dict[str, Any]] = {}
    settled = set()
    for values in entries:
        found = about(values)
        if len(found) > 1:
            continue
        same = key(found[0]) if found else key(values)
        if "capture_frequency_hz" not in values and found:
            if same in settled:
                continue
            values = {**found[0], **values}
        settled.add(same)
        if is_on(values):
            running.setdefault(same, values)
    for values in cards:
        if key(values) not in settled and is_on(values):
            running.setdefault(key(values), values)
    return running


@settings(max_examples=300, deadline=None)
@given(CARDS, ENTRIES)
def test_what_is_captured_is_what_the_rules_say(cards: list[dict[str, Any]], entries: list[dict[str, Any]]) -> None:
    found = merged([Card("component", "the component x", each) for each in cards], *entries)
    captured = [
        (config.short_name(each.name), each.method, dict(each.params), each.frequency_hz, each.priority)
        for each in found.methods
    ]
    wanted = [
        (
            config.short_name(each["name"]),
            each["method"],
            each["additional_params"],
            each["capture_frequency_hz"],
            each.get("priority", 5),
        )
        for each in what_holds(cards, entries).values()
    ]
    assert sorted(map(repr, captured)) == sorted(map(repr, wanted))


@given(st.lists(JSON | st.dictionaries(st.sampled_from([*READINGS, "disabled", "tags"]), JSON), max_size=4))
def test_no_card_keeps_a_good_one_from_being_captured(bad: list[Any]) -> None:
    cards = [Card("component", "the component x", each) for each in bad if isinstance(each, dict)]
    found = merged([*cards, card(name="rdk:component:sensor/good")], entry("listed", capture_frequency_hz=1))
    assert {"listed", "rdk:component:sensor/good"} <= {method.name for method in found.methods}


FOLDERS = st.sampled_from(
    ["/data", "/data/copies", "/data/copies/x", "/data/own", "/", "~", "relative", "/a\0", ""]
)
ANY = (
    JSON
    | FOLDERS
    | st.integers(-5, 5)
    | st.sampled_from([10**400, -(10**400), 33 * [0], nested(500, in_object), "\ud800"])
)
GOOD_METHOD = st.builds(
    lambda name, folder, hz: {"name": name, "method": "Readings", "capture_directory": folder, **hz},
    st.sampled_from(["a", *RESOURCES]),
    FOLDERS,
    st.sampled_from([{}, {"capture_frequency_hz": 1}, {"capture_frequency_hz": 0}, {"disabled": True}]),
)
KEYS = [*READINGS, "disabled", "capture_directory", "additional_params", "Priority", "tags", "timeout_ms", "zz"]
METHOD = st.builds(
    lambda good, bad: {**good, **bad}, GOOD_METHOD, st.dictionaries(st.sampled_from(KEYS), ANY, max_size=2)
)
GOOD_SERVICE = st.fixed_dictionaries(
    {"local_copy": st.just({"dir": "/data/copies"})},
    optional={
        "capture_dir": st.just("/data/own"),
        "capture_methods": st.lists(METHOD, max_size=3),
        "capture_store": st.sampled_from(["disk", "memory"]),
    },
)
ANY_SERVICE = st.fixed_dictionaries(
    {},
    optional={
        "capture_dir": FOLDERS,
        "local_copy": st.fixed_dictionaries({"dir": FOLDERS}) | ANY,
        "capture_methods": st.lists(METHOD, max_size=3) | ANY,
        "additional_sync_paths": st.lists(FOLDERS, max_size=2) | ANY,
        "adopt_component_settings": st.booleans() | ANY,
    },
)
SOURCES = st.sampled_from([("component", "the component a"), ("remote", "the remote far")])
ANY_CARDS = st.lists(
    st.builds(lambda source, values: Card(source[0], source[1], values), SOURCES, METHOD), max_size=4
)


@settings(max_examples=500, deadline=None)
@given(GOOD_SERVICE | ANY_SERVICE, ANY_CARDS)
def test_no_card_makes_the_service_be_refused(service: dict[str, Any], cards: list[Card]) -> None:
    def accepted(cards: Sequence[Card]) -> bool:
        try:
            config.parse(service, HOST, cards)
        except ConfigError:
            return False
        return True

    assert accepted(cards) or not accepted([])
