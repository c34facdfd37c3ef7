"""`config check` names what is wrong with a config, and how to fix it."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import pytest

from holdfast.cli.check import check
from holdfast.config import Host
from holdfast.machine_config import is_fine
from holdfast.machine_config.finding import Level

from ..machine_config.configs import READINGS, Json, associated, component, data_manager, machine, of_holdfast

HOST = Host("/home/user", working_folder="/srv/viam")
ENTRY = {"name": "a", **READINGS}


def texts(config: Json, level: Level) -> list[str]:
    return [finding.text for finding in check(config, HOST) if finding.level is level]


def test_a_machine_a_service_and_attributes_alone_are_fine_when_they_are() -> None:
    whole = of_holdfast(ENTRY, components=[component("a")])
    (service,) = whole["services"]
    for config in (whole, service, service["attributes"], {}, {**service, "attributes": {}}, without(service)):
        assert check(config, HOST) == [], config


def without(service: Json) -> Json:
    """Returns a service without attributes, like one that was just added."""
    return {key: value for key, value in service.items() if key != "attributes"}


def test_a_short_name_that_two_components_have_is_a_problem_with_their_full_names() -> None:
    twins = [component("a"), {**component("a"), "api": "rdk:component:movement_sensor"}]
    (found,) = texts(of_holdfast(ENTRY, components=twins), Level.PROBLEM)
    assert "write rdk:component:movement_sensor/a or rdk:component:sensor/a" in found
    full = [{**ENTRY, "name": f"{each['api']}/a"} for each in twins]
    assert check(of_holdfast(*full, components=twins), HOST) == []


@pytest.mark.parametrize("shape", ["machine", "service", "attributes"])
def test_what_the_machine_would_refuse_or_leave_out_is_found_in_every_shape(shape: str) -> None:
    whole = of_holdfast({**ENTRY, "capture_frequency_hz": "fast"}, components=[component("a")])
    (service,) = whole["services"]
    service["attributes"]["sync_intervall_mins"] = 1
    config = {"machine": whole, "service": service, "attributes": service["attributes"]}[shape]
    found = texts(config, Level.PROBLEM)
    assert found[0].startswith("capture_methods[0] (a Readings).capture_frequency_hz: must be a number")
    assert found[1].endswith("did you mean 'sync_interval_mins'?")
    service["attributes"]["sync_interval_mins"] = -1
    (refused,) = texts(config, Level.ERROR)
    assert refused.startswith("sync_interval_mins: can't be negative")
    assert texts(config, Level.PROBLEM)[:2] == found[:2], "a config that is refused has problems, too"


def test_each_error_for_which_a_config_is_refused_is_found_with_the_problems_beside_it() -> None:
    attributes = {"captur_dir": "/data", "Sync_interval_mins": "1", "local_copy": {"max_bytes": 1}}
    copy, interval = sorted(texts(attributes, Level.ERROR))
    assert "ync_interval_mins: must be a number" in interval and interval.endswith("captures and syncs nothing")
    assert copy.startswith("local_copy.dir: is missing")
    (problem,) = texts(attributes, Level.PROBLEM)
    assert problem.startswith("captur_dir: there is no such attribute")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({**ENTRY, "method": "Reading"}, "did you mean 'Readings'?"),
        ({**ENTRY, "method": "Position", "disabled": True}, "can't be captured"),
        (
            {**ENTRY, "name": "bar"},
            "capture_methods: Readings of bar: there is no such resource in this config; fix",
        ),
        ({**ENTRY, "name": "aa"}, "did you mean 'a'?"),
        ({**ENTRY, "name": "rdk:component:camera/a"}, "is a rdk:component:sensor, not a rdk:component:camera"),
        ({"name": "pins", "method": "Gpios", "capture_frequency_hz": 1}, "additional_params.pin_name is missing"),
    ],
)
def test_a_method_that_can_not_be_captured_is_named_with_the_fix(entry: Json, words: str) -> None:
    config = of_holdfast(entry, components=[component("a"), component("pins", kind="board")])
    (text,) = texts(config, Level.PROBLEM)
    assert words in text


@pytest.mark.parametrize("more", [{"remotes": [{"name": "far"}]}, {"fragments": ["id"]}])
@pytest.mark.parametrize("name", ["far_a", "rdk:component:camera/a"])
def test_what_may_be_a_remotes_or_a_fragments_is_no_problem_but_said(more: Json, name: str) -> None:
    config = of_holdfast({**ENTRY, "name": name}, components=[component("a")], **more)
    assert is_fine(check(config, HOST))
    assert "not in this config, so not checked" in texts(config, Level.NOTE)[0]


def test_capture_that_stands_with_a_component_is_fine() -> None:
    assert check(of_holdfast(components=[component("a", READINGS)]), HOST) == []


def test_a_card_that_the_machine_would_leave_out_is_found_and_names_the_component() -> None:
    bad = component("a", {**READINGS, "capture_frequency_hz": "fast"}, {**READINGS, "method": "Reading"})
    number, method = texts(of_holdfast(components=[bad]), Level.PROBLEM)
    assert number.startswith("the component a (Readings): capture_frequency_hz: must be a number")
    assert method.startswith("the component a: Reading of a") and "did you mean 'Readings'?" in method


def test_a_list_that_does_not_count_is_a_problem() -> None:
    sensor = component("a", READINGS)
    sensor["service_configs"].append(associated({**READINGS, "capture_frequency_hz": 1}))
    (text,) = texts(of_holdfast(components=[sensor]), Level.PROBLEM)
    assert text.startswith("Readings of rdk:component:sensor/a has no effect")


@pytest.mark.parametrize(
    ("entry", "verb"),
    [
        (ENTRY, "replaces"),
        ({**ENTRY, "name": "rdk:component:sensor/a"}, "replaces"),
        ({"name": "a", "method": "Readings", "priority": 2}, "adds to"),
        ({"name": "a", "method": "Readings", "disabled": True}, "switches off"),
    ],
)
def test_what_an_entry_of_the_service_does_to_a_card_is_said(entry: Json, verb: str) -> None:
    config = of_holdfast(entry, components=[component("a", READINGS)])
    assert is_fine(check(config, HOST))
    (text,) = texts(config, Level.NOTE)
    card = "Readings of rdk:component:sensor/a in the settings of the component a"
    assert text == f"capture_methods[0] {verb} {card}"


def test_cards_that_the_service_does_not_adopt_are_said_to_have_no_effect() -> None:
    config = of_holdfast(components=[component("a", READINGS)])
    config["services"][0]["attributes"]["Adopt_Component_Settings"] = False
    (text,) = texts(config, Level.NOTE)
    assert text.endswith("the component a has no effect, since adopt_component_settings is false")
    assert is_fine(check(config, HOST))


def test_a_check_leaves_the_config_as_it_is() -> None:
    service = {"name": "data", "api": "rdk:service:data_manager", "model": "holdfast:data-manager:durable"}
    for config in (machine(component("a", READINGS), service=service), of_holdfast(ENTRY)):
        before = copy.deepcopy(config)
        check(config, HOST)
        assert config == before


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (machine(), "data is the builtin"),
        (machine(service=data_manager("acme:x:y")), "acme:x:y"),
        (
            machine(service=data_manager("holdfast:data-manager:durable")),
            "modules: none provides holdfast:data-manager:durable; holdfast config convert adds",
        ),
        ({"components": []}, "there is no data manager"),
        ({"services": [data_manager(), {**data_manager(), "name": "b"}]}, "this one has data and b"),
    ],
)
def test_a_machine_on_which_holdfast_would_not_run_is_an_error(config: Json, words: str) -> None:
    (text,) = texts(config, Level.ERROR)
    assert words in text


def test_a_local_module_of_another_name_may_be_holdfast() -> None:
    local = {"type": "local", "name": "local-module-1", "executable_path": "/opt/holdfast/module/run.sh"}
    (text,) = texts(of_holdfast(modules=[local]), Level.NOTE)
    assert text == "modules: none is named holdfast; is it one of local-module-1?"
    assert is_fine(check(of_holdfast(modules=[local]), HOST))


@pytest.mark.parametrize(
    "attributes",
    [{"selective_syncer_name": "gone"}, {"capture_control_sensor": {"name": "gone", "key": "k"}}],
)
def test_a_sensor_that_steers_and_is_not_there_is_a_problem(attributes: Json) -> None:
    config = of_holdfast()
    config["services"][0]["attributes"] |= attributes
    (text,) = texts(config, Level.PROBLEM)
    assert text.startswith(f"{next(iter(attributes))} 'gone': there is no such resource")
    config["components"].append(component("gone"))
    assert check(config, HOST) == []


def test_what_the_builtin_would_do_otherwise_is_said() -> None:
    config = of_holdfast({**ENTRY, "tags": ["t"], "capture_directory": "/x"}, components=[component("a")])
    config["services"][0] |= {"depends_on": ["a"]}
    config["services"][0]["attributes"]["capture_disabled"] = True
    notes = texts(config, Level.NOTE)
    assert [text.partition(" ")[0] for text in notes] == [
        "capture_methods[0]",
        "tags",
        "capture_directory",
        "capture_disabled:",
        "depends_on",
    ]
    assert is_fine(check(config, HOST))


def test_what_keeps_a_path_from_being_synced_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.log").touch()
    (tmp_path / "failed").mkdir()
    os.mkfifo(tmp_path / "pipe")
    paths = [str(tmp_path / name) for name in ("", "a.log", "later", "*.log", "pipe", "failed")]
    config = of_holdfast()
    config["services"][0]["attributes"]["additional_sync_paths"] = [*paths, "logs", "*.csv", "/etc", "$HOME/x"]
    wrong = texts(config, Level.PROBLEM)
    for words in (
        "'/etc' is a system folder", "'$HOME/x': variables are not expanded", f"{paths[3]} is not there: * ? and [",
        "/*.csv is not there: * ? and [", "pipe is a pipe",
    ):  # fmt: skip
        assert any(words in text for text in wrong), words
    assert len(wrong) == 5
    noted = [text for text in texts(config, Level.NOTE) if "is never synced" in text]
    assert noted == [
        f"additional_sync_paths: on this computer {paths[5]} is never synced: folders of that name hold what "
        "Holdfast keeps back; name another one"
    ]
