"""What a conversion to Holdfast, or back, moves, keeps and reports."""

from __future__ import annotations

import copy

import pytest

from holdfast import config
from holdfast.cli.conversion import Conversion
from holdfast.cli.to_builtin import BUILTIN_ATTRIBUTES, BUILTIN_METHOD_ATTRIBUTES, convert_to_builtin
from holdfast.cli.to_holdfast import convert_to_holdfast, local_module, registry_module
from holdfast.machine_config import UnreadableConfigError
from holdfast.machine_config.finding import Level

from ..machine_config.configs import READINGS, Json, associated, component, data_manager, machine, of_holdfast

HOST = config.Host("/home/user")


def convert(found: Json) -> Conversion:
    """Converts, with what components say left where it is."""
    return convert_to_holdfast(found, registry_module())


def move(found: Json) -> Conversion:
    """Converts, with what components say moved into the service."""
    return convert_to_holdfast(found, registry_module(), into_service=True)


def methods_in(conversion: Conversion) -> list[Json]:
    assert conversion.config is not None
    (service,) = (each for each in conversion.config["services"] if each["name"] == "data")
    methods: list[Json] = service["attributes"]["capture_methods"]
    return methods


def said(conversion: Conversion, level: Level) -> list[str]:
    return [finding.text for finding in conversion.findings if finding.level is level]


def test_the_builtin_s_place_is_taken_and_what_components_capture_moves_into_the_service() -> None:
    before = machine(component("thermometer", READINGS), service=data_manager(sync_interval_mins=1, tags=["a"]))
    conversion = move(before)
    assert conversion.findings == []
    assert conversion.config == {
        "components": [{"name": "thermometer", "api": "rdk:component:sensor", "model": "rdk:builtin:fake"}],
        "services": [
            {
                "name": "data",
                "api": "rdk:service:data_manager",
                "model": "holdfast:data-manager:durable",
                "attributes": {
                    "sync_interval_mins": 1,
                    "tags": ["a"],
                    "capture_methods": [{"name": "thermometer", **READINGS}],
                },
            }
        ],
        "modules": [
            {"type": "registry", "name": "holdfast", "module_id": "holdfast:data-manager", "version": "latest"}
        ],
    }
    assert convert_to_builtin(conversion.config).config == before


@pytest.mark.parametrize("attributes", [{}, {"attributes": None}, {"attributes": {}}])
@pytest.mark.parametrize("model", ["rdk:builtin:builtin", "holdfast:data-manager:durable"])
def test_a_converted_service_has_attributes(model: str, attributes: Json) -> None:
    service = {"name": "data", "api": "rdk:service:data_manager", "model": model, **attributes}
    for conversion in (move(machine(service=service)), convert_to_builtin(machine(service=service))):
        assert conversion.config is None or conversion.config["services"][0]["attributes"] == {}


@pytest.mark.parametrize(
    "service",
    [
        {"name": "data", "type": "data_manager"},
        {"name": "data", "type": "data_manager", "namespace": "rdk", "model": "builtin", "attributes": None},
        {"name": "data", "api": {"namespace": "rdk", "type": "service", "subtype": "data_manager"}},
        {
            "name": "data",
            "api": "rdk:service:data_manager",
            "model": {"namespace": "rdk", "model_family": "builtin", "name": "builtin"},
        },
    ],
)
@pytest.mark.parametrize("api", [{"type": "camera"}, {"type": "camera", "namespace": "rdk"}])
@pytest.mark.parametrize("kind", ["data_manager", "rdk:service:data_manager"])
def test_every_way_of_naming_an_api_and_a_model_is_understood(service: Json, api: Json, kind: str) -> None:
    camera = {"name": "eye", **api, "service_configs": [{**associated({"method": "GetImages"}), "type": kind}]}
    conversion = move({"components": [camera], "services": [service]})
    assert methods_in(conversion) == [{"name": "eye", "method": "GetImages"}]
    assert conversion.config is not None
    assert conversion.config["services"][0]["model"] == "holdfast:data-manager:durable"
    assert conversion.config["components"] == [{"name": "eye", **api}]


def test_what_is_not_capture_stays_where_it_is() -> None:
    other = {"type": "acme:service:watch", "attributes": {"capture_methods": [{"method": "x"}]}}
    sensor = component("a")
    sensor["service_configs"] = [other, associated(READINGS, retention_policy={"days": 5})]
    before = {**machine(sensor), "network": {"fqdn": "x"}, "cloud": {"id": "i", "secret": "s"}}
    conversion = move(before)
    assert conversion.config is not None
    kept = [other, {"type": "data_manager", "attributes": {"retention_policy": {"days": 5}}}]
    assert conversion.config["components"][0]["service_configs"] == kept
    assert (conversion.config["network"], conversion.config["cloud"]) == (before["network"], before["cloud"])
    assert convert_to_builtin(conversion.config).config == before


def test_a_name_that_two_resources_have_is_written_in_full() -> None:
    conversion = move(machine(component("a", READINGS), component("a", kind="camera")))
    assert [method["name"] for method in methods_in(conversion)] == ["rdk:component:sensor/a"]


def test_a_remotes_resource_keeps_its_full_name_and_comes_back_to_its_remote() -> None:
    full = {"name": "rdk:component:sensor/far_t", **READINGS}
    near = {"name": "near", "address": "a"}
    far = {"name": "far", "address": "b", "prefix": "far_", "service_configs": [associated(full)]}
    before = machine(component("b", READINGS), remotes=[near, far])
    conversion = move(before)
    assert methods_in(conversion) == [{"name": "b", **READINGS}, full]
    assert conversion.config is not None
    assert "service_configs" not in conversion.config["remotes"][1]
    assert convert_to_builtin(conversion.config).config == before


def test_an_entry_that_is_there_twice_is_named_and_used_once() -> None:
    off = {**READINGS, "disabled": True}
    other = {**READINGS, "additional_params": {"x": 1}}
    conversion = move(machine(component("a", READINGS, {**READINGS, "capture_frequency_hz": 1}, off, other)))
    assert methods_in(conversion) == [{"name": "a", **each} for each in (READINGS, off, other)]
    assert len(said(conversion, Level.PROBLEM)) == 1
    assert conversion.config is not None
    assert config.parse(conversion.config["services"][0]["attributes"], HOST).problems == ()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"tags": ["t"]}, "tags of Readings of rdk:component:sensor/a: the builtin ignores it"),
        ({"capture_directory": "/x"}, "capture_directory of Readings of"),
        ({"recent_data_store": {"stored_hours": 24}}, "recent_data_store of Readings of"),
    ],
)
def test_what_acts_otherwise_than_before_is_said(more: Json, words: str) -> None:
    conversion = move(machine(component("a", {**READINGS, **more})))
    assert methods_in(conversion) == [{"name": "a", **READINGS, **more}]
    (text,) = said(conversion, Level.NOTE)
    assert text.startswith(words)


def test_what_is_captured_stands_in_the_order_of_the_config_wherever_it_was_configured() -> None:
    far, near, local = ({"name": f"rdk:component:sensor/{name}", **READINGS} for name in ("far_t", "near_t", "a"))
    remotes = [
        {"name": "near", "prefix": "near_", "service_configs": [associated(far), associated(local)]},
        {"name": "far", "prefix": "far_", "service_configs": [associated(near)]},
    ]
    once = move(machine(component("a"), component("b", READINGS), remotes=remotes))
    names = [method["name"] for method in methods_in(once)]
    assert names == ["a", "b", "rdk:component:sensor/near_t", "rdk:component:sensor/far_t"]
    assert once.config is not None
    returned = convert_to_builtin(once.config).config
    assert returned is not None
    assert move(returned).config == once.config


def test_what_the_service_depends_on_is_kept_and_said() -> None:
    service = {**data_manager(), "depends_on": ["motion"]}
    conversion = move(machine(service=service))
    (text,) = said(conversion, Level.NOTE)
    assert "motion" in text


def test_a_list_that_the_builtin_does_not_read_is_left_out_and_named() -> None:
    conversion = move(machine(component("b", READINGS), service=data_manager(capture_methods=[{"name": "a"}])))
    assert [method["name"] for method in methods_in(conversion)] == ["b"]
    (text,) = said(conversion, Level.PROBLEM)
    assert text.startswith("capture_methods of data")


def test_the_model_is_changed_and_the_module_added_and_nothing_else() -> None:
    remote = {"name": "far", "service_configs": [associated({"name": "rdk:component:sensor/t", **READINGS})]}
    sensor = component("thermometer", {**READINGS, "recent_data_store": {"stored_hours": 24}})
    before = machine(sensor, remotes=[remote])
    conversion = convert(before)
    assert conversion.findings == []
    assert conversion.config is not None
    service = {**data_manager(), "model": "holdfast:data-manager:durable"}
    assert conversion.config == {**before, "services": [service], "modules": [registry_module()]}
    assert convert_to_builtin(conversion.config).config == before


def test_where_the_service_does_not_adopt_what_components_say_it_moves_and_that_is_said() -> None:
    conversion = convert(machine(component("a", READINGS), service=data_manager(adopt_component_settings=False)))
    assert methods_in(conversion) == [{"name": "a", **READINGS}]
    (text,) = said(conversion, Level.NOTE)
    assert text.startswith("adopt_component_settings of data is false")


def test_what_components_say_moves_with_what_the_service_adds_and_without_what_it_replaces() -> None:
    entries = [
        {"name": "a", "method": "Readings", "priority": 2},
        {"name": "b", "method": "Readings", "disabled": True},
        {"name": "c", "method": "Readings", "capture_frequency_hz": 1},
    ]
    found = of_holdfast(*entries, components=[component(name, {**READINGS, "tags": ["t"]}) for name in "abcd"])
    assert methods_in(move(found)) == [
        {"name": "a", **READINGS, "tags": ["t"], "priority": 2},
        {"name": "b", **READINGS, "tags": ["t"], "disabled": True},
        {"name": "c", "method": "Readings", "capture_frequency_hz": 1},
        {"name": "d", **READINGS, "tags": ["t"]},
    ]
    assert len([text for text in said(move(found), Level.NOTE) if text.startswith("capture_methods[")]) == 3


def test_on_the_way_back_what_the_service_says_joins_what_components_say() -> None:
    far = "rdk:component:sensor/far_t"
    entries = [
        {"name": "a", "method": "Readings", "priority": 2},
        {"name": "a", "method": "DoCommand", "capture_frequency_hz": 1},
        {"name": "far_t", "method": "Readings", "disabled": True},
        {"name": far, "method": "DoCommand", "capture_frequency_hz": 1},
    ]
    remote = {"name": "far", "prefix": "far_", "service_configs": [associated({"name": far, **READINGS})]}
    found = of_holdfast(*entries, components=[component("a", READINGS)], remotes=[remote])
    returned = convert_to_builtin(found).config
    assert returned is not None
    own = [{**READINGS, "priority": 2}, {"method": "DoCommand", "capture_frequency_hz": 1}]
    assert returned["components"] == [component("a", *own)]
    assert returned["remotes"][0]["service_configs"] == [
        associated({"name": far, **READINGS, "disabled": True}, {**entries[3], "name": far})
    ]
    assert "capture_methods" not in returned["services"][0]["attributes"]


def test_with_holdfast_there_what_a_component_says_is_added_and_what_was_there_stays() -> None:
    there = [{"name": "a", **READINGS}, {"name": "rdk:component:sensor/c", **READINGS, "priority": 2}]
    again = {**READINGS, "capture_frequency_hz": 1}
    found = of_holdfast(*there, components=[component("a", again), component("b", READINGS), component("c", again)])
    conversion = move(found)
    assert methods_in(conversion) == [*there, {"name": "b", **READINGS}]
    assert len(said(conversion, Level.NOTE)) == 2
    assert conversion.config is not None
    assert conversion.config["modules"] == found["modules"]


@pytest.mark.parametrize(
    ("services", "more", "words"),
    [
        ([], {}, "there is no data manager"),
        ([], {"fragments": ["f"]}, "give the fragment instead"),
        ([data_manager(), {**data_manager(), "name": "other"}], {}, "this one has data and other"),
        (
            [data_manager("acme:x:y")],
            {},
            "is acme:x:y; only rdk:builtin:builtin or holdfast:data-manager:durable is converted",
        ),
    ],
)
def test_what_can_not_be_converted_at_all_is_an_error(services: list[Json], more: Json, words: str) -> None:
    conversion = move({"components": [], "services": services, **more})
    assert conversion.config is None
    (text,) = said(conversion, Level.ERROR)
    assert words in text


@pytest.mark.parametrize(
    "config_with_a_flaw",
    [
        {"components": {}},
        {"components": ["a"]},
        {"services": 1},
        {"remotes": [1]},
        {"modules": ["a"]},
        machine({"name": "a", "service_configs": {}}),
        machine({"name": "a", "service_configs": [{"type": "data_manager", "attributes": []}]}),
        machine({"name": "a", "service_configs": [{"type": "data_manager", "attributes": {"capture_methods": 1}}]}),
        machine(service={**data_manager(), "attributes": "x"}),
        machine(service=data_manager("holdfast:data-manager:durable", capture_methods="x")),
    ],
)
def test_what_is_no_machine_s_config_is_refused_and_not_shown(config_with_a_flaw: Json) -> None:
    with pytest.raises(UnreadableConfigError):
        move(config_with_a_flaw)


def test_a_module_on_the_machine_is_named_by_its_path_and_taken_out_on_the_way_back() -> None:
    other = {"type": "local", "name": "other", "executable_path": "/other"}
    conversion = convert_to_holdfast(machine(modules=[other]), local_module("/opt/holdfast/module/run.sh"))
    assert conversion.config is not None
    ours = {"type": "local", "name": "holdfast", "executable_path": "/opt/holdfast/module/run.sh"}
    assert conversion.config["modules"] == [other, ours]
    returned = convert_to_builtin(conversion.config)
    assert returned.config is not None
    assert returned.config["modules"] == [other]
    (text,) = said(returned, Level.NOTE)
    assert "--executable /opt/holdfast/module/run.sh" in text


def test_an_executable_that_is_there_under_another_name_is_not_added_again() -> None:
    there = {"type": "local", "name": "local-module-1", "executable_path": "/opt/run.sh"}
    conversion = convert_to_holdfast(machine(modules=[there]), local_module("/opt/run.sh"))
    assert conversion.config is not None
    assert (conversion.config["modules"], conversion.findings) == ([there], [])
    (text,) = said(convert_to_builtin(conversion.config), Level.NOTE)
    assert text == "no module is named holdfast: if one of local-module-1 is Holdfast, remove it too"


def test_an_executable_beside_a_module_that_is_there_is_not_used_and_that_is_said() -> None:
    conversion = convert_to_holdfast(of_holdfast(), local_module("/opt/run.sh"))
    assert conversion.config == of_holdfast()
    (text,) = said(conversion, Level.NOTE)
    assert text.endswith("is there already and stays as it is; /opt/run.sh is not used")


def test_on_the_way_back_what_the_builtin_has_not_is_said_and_kept() -> None:
    entry = {"name": "a", **READINGS, "priority": 2, "capture_directory": "/x"}
    found = of_holdfast(entry, components=[component("a")])
    found["services"][0]["attributes"] |= {"capture_store": "memory", "sync_interval_mins": 1}
    returned = convert_to_builtin(found)
    assert returned.config is not None
    assert returned.config["services"][0]["attributes"] == {"capture_store": "memory", "sync_interval_mins": 1}
    texts = said(returned, Level.NOTE)
    assert "capture_directory, priority of Readings of rdk:component:sensor/a: without effect" in texts[0]
    assert texts[1].startswith("capture_store: without effect")
    assert "does not look into memory" in texts[2]
    assert move(returned.config).config == found


@pytest.mark.parametrize(
    ("name", "remotes", "words"),
    [
        ("rdk:component:sensor/gone", [], "there is no such resource in this config"),
        ("gone", [{"name": "far"}], "write its full name"),
    ],
)
def test_on_the_way_back_what_has_no_place_is_named_with_all_it_says(
    name: str, remotes: list[Json], words: str
) -> None:
    returned = convert_to_builtin(of_holdfast({"name": name, **READINGS}, remotes=remotes))
    (text,) = said(returned, Level.PROBLEM)
    assert words in text
    assert '"capture_frequency_hz": 10' in text


def test_on_the_way_back_a_component_s_own_list_is_added_to() -> None:
    sensor = component("a", {"method": "DoCommand"})
    found = of_holdfast({"name": "a", **READINGS}, components=[sensor])
    assert not any("own" in text for text in said(convert_to_builtin(found), Level.NOTE))
    found["services"][0]["attributes"]["adopt_component_settings"] = False
    returned = convert_to_builtin(found)
    assert returned.config is not None
    assert returned.config["components"][0]["service_configs"] == [associated({"method": "DoCommand"}, READINGS)]
    assert any("own" in text for text in said(returned, Level.NOTE))


def test_on_the_way_back_a_service_that_the_builtin_does_not_look_for_is_named() -> None:
    motion = {"name": "mover", "api": "rdk:service:motion", "model": "rdk:builtin:builtin"}
    found = of_holdfast({"name": "mover", "method": "DoCommand", "capture_frequency_hz": 1})
    found["services"].append(motion)
    assert any(
        "only when depends_on of data names it" in text for text in said(convert_to_builtin(found), Level.NOTE)
    )
    found["services"][0]["depends_on"] = ["mover"]
    assert not any("only when depends_on" in text for text in said(convert_to_builtin(found), Level.NOTE))


def test_only_holdfast_is_converted_back() -> None:
    assert "only holdfast:data-manager:durable is converted" in said(convert_to_builtin(machine()), Level.ERROR)[0]


def test_what_the_builtin_has_our_parser_knows() -> None:
    assert not any("no such attribute" in p for p in config.parse(dict.fromkeys(BUILTIN_ATTRIBUTES), HOST).problems)
    entry = {**dict.fromkeys(BUILTIN_METHOD_ATTRIBUTES), "name": "a", **READINGS}
    assert config.parse({"capture_methods": [entry]}, HOST).problems == ()


def test_a_config_that_is_converted_is_not_changed_itself() -> None:
    before = machine(component("a", READINGS))
    same = copy.deepcopy(before)
    move(before)
    assert before == same


def test_keys_in_another_case_are_read_and_attributes_of_other_models_stay_as_they_are() -> None:
    sensor = {**component("t"), "attributes": {"Capture_Methods": "its own"}}
    sensor["Service_Configs"] = [
        {
            "Type": "data_manager",
            "Attributes": {"Capture_Methods": [{"Method": "Readings", "Capture_Frequency_HZ": 2}]},
        }
    ]
    conversion = move(machine(sensor, service=data_manager()))
    assert conversion.findings == []
    assert methods_in(conversion) == [{"name": "t", "method": "Readings", "capture_frequency_hz": 2}]
    assert conversion.config is not None
    (converted,) = conversion.config["components"]
    assert converted == {name: value for name, value in sensor.items() if name != "Service_Configs"}
