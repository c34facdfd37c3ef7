"""Machine configs for tests, and what the builtin and Holdfast capture of one."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from typing import Any

from holdfast.config import Host, ordered, parse
from holdfast.machine_config import cards_of

HOST = Host("/home/user")
Json = dict[str, Any]
Captured = set[tuple[str, str, str, float]]
"""The full resource name, method, parameters and frequency of each entry that runs."""

READINGS = {"method": "Readings", "capture_frequency_hz": 10}


def associated(*methods: Json, **more: Any) -> Json:
    return {"type": "data_manager", "attributes": {**more, "capture_methods": list(methods)}}


def component(name: str, *methods: Json, kind: str = "sensor", **more: Any) -> Json:
    found = {"name": name, "api": f"rdk:component:{kind}", "model": "rdk:builtin:fake", **more}
    return {**found, "service_configs": [associated(*methods)]} if methods else found


def data_manager(model: str = "rdk:builtin:builtin", **attributes: Any) -> Json:
    return {"name": "data", "api": "rdk:service:data_manager", "model": model, "attributes": attributes}


def machine(*components: Json, service: Json | None = None, **more: Any) -> Json:
    return {"components": list(components), "services": [service or data_manager()], **more}


def of_holdfast(*methods: Json, components: Iterable[Json] = (), **more: Any) -> Json:
    service = data_manager("holdfast:data-manager:durable", capture_methods=list(methods))
    module = {"type": "registry", "name": "holdfast", "module_id": "holdfast:data-manager", "version": "latest"}
    return machine(*components, service=service, **{"modules": [module], **more})


def what_the_builtin_captures(config: Json) -> Captured:
    """Links a config as RDK does (config/reader.go, the data manager's `Link`).

    The last non-empty list of a resource counts. A local resource's name comes from its own entry, a remote's from
    the first method of the list.
    """
    lists: dict[str, list[Json]] = {}
    for section, kind in (("components", "component"), ("services", "service")):
        for entry in config.get(section, []):
            api = entry.get("api") or f"rdk:{kind}:{entry.get('type')}"
            for methods in _lists(entry):
                lists[f"{api}/{entry['name']}"] = [{**each, "name": f"{api}/{entry['name']}"} for each in methods]
    for remote in config.get("remotes", []):
        for methods in _lists(remote):
            lists[methods[0]["name"]] = methods
    return _running(each for methods in lists.values() for each in methods)


def what_holdfast_captures(config: Json) -> Captured:
    """Returns what the module makes of a config, with the cards that it finds in it."""
    full_names = {
        entry["name"]: f"{entry.get('api') or f'rdk:{kind}:' + entry['type']}/{entry['name']}"
        for section, kind in (("components", "component"), ("services", "service"))
        for entry in config.get(section, [])
    }
    (service,) = (each for each in config["services"] if each.get("model") == "holdfast:data-manager:durable")
    found = parse(service["attributes"], HOST, cards_of(copy.deepcopy(config))[0])
    assert found.problems == ()
    return {
        (
            full_names.get(each.name, each.name),
            each.method,
            json.dumps(dict(each.params), sort_keys=True),
            each.frequency_hz,
        )
        for each in found.methods
    }


def _lists(entry: Json) -> list[list[Json]]:
    return [
        each["attributes"]["capture_methods"]
        for each in entry.get("service_configs", [])
        if each["type"] in ("data_manager", "rdk:service:data_manager")
        and each["attributes"].get("capture_methods")
    ]


def _running(methods: Iterable[Json]) -> Captured:
    return {
        (
            each["name"],
            each["method"],
            json.dumps(dict(ordered(each.get("additional_params") or {})), sort_keys=True),
            each["capture_frequency_hz"],
        )
        for each in methods
        if not each.get("disabled") and each["capture_frequency_hz"] > 0
    }
