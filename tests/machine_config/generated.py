"""Generates machine configs with the builtin, in all the ways in which capture can be configured for it."""

from __future__ import annotations

import copy

from hypothesis import strategies as st

from holdfast.capture.methods import TABLES

from .configs import Json, associated

PARAMS = {
    "Analogs": {"reader_name": "a"},
    "Gpios": {"pin_name": "7"},
    "DoCommand": {"docommand_input": {"go": 1}},
    "CaptureAllFromCamera": {"camera_name": "eye"},
}
COMPONENTS = sorted(api for api in TABLES if ":component:" in api)
SERVICES = ["rdk:service:vision", "rdk:service:slam"]
names = st.sampled_from([f"r{n}" for n in range(8)])
frequencies = st.sampled_from([0.2, 1, 10, 33.3, 1000])


@st.composite
def capture_method(draw: st.DrawFn, api: str) -> Json:
    method = draw(st.sampled_from(sorted(TABLES[api])))
    entry: Json = {"method": method, "capture_frequency_hz": draw(frequencies)}
    if method in PARAMS:
        entry["additional_params"] = PARAMS[method]
    if draw(st.booleans()):
        more = [("disabled", True), ("capture_queue_size", 5), ("tags", ["t"]), ("recent_data_store", {"hours": 1})]
        entry.update([draw(st.sampled_from(more))])
    if entry.get("disabled") and draw(st.booleans()):
        entry["capture_frequency_hz"] = 0
    return entry


@st.composite
def methods_of(draw: st.DrawFn, api: str) -> list[Json]:
    return draw(st.lists(capture_method(api), max_size=3, unique_by=lambda entry: entry["method"]))


@st.composite
def resource(draw: st.DrawFn, name: str, api: str) -> Json:
    older = {"name": name, "type": api.split(":")[2], "model": "fake"}
    entry: Json = draw(st.sampled_from([{"name": name, "api": api, "model": "rdk:builtin:fake"}, older]))
    entry = copy.deepcopy(entry)
    configs: list[Json] = draw(st.lists(st.just({"type": "other", "attributes": {"x": 1}}), max_size=1))
    for _ in range(draw(st.integers(0, 2))):
        more = draw(st.sampled_from([{}, {"retention_policy": {"days": 5}}]))
        found = associated(*draw(methods_of(api)), **more)
        found["type"] = draw(st.sampled_from(["data_manager", "rdk:service:data_manager"]))
        configs.append(found)
    return {**entry, "service_configs": configs} if configs else entry


@st.composite
def remote(draw: st.DrawFn, name: str) -> Json:
    prefix = draw(st.sampled_from(["", "far_", "far_away_"]))
    entry: Json = {"name": name, "address": "there:8080", **({"prefix": prefix} if prefix else {})}
    configs = []
    for own in draw(st.lists(names, max_size=3, unique=True)):
        api = draw(st.sampled_from(COMPONENTS))
        full_name = f"{api}/{prefix}{own}"
        methods = [{"name": full_name, **each} for each in draw(methods_of(api))]
        if methods:
            configs.append(associated(*methods))
    return {**entry, "service_configs": configs} if configs else entry


@st.composite
def machines(draw: st.DrawFn) -> Json:
    all_names = iter(draw(st.permutations([f"r{n}" for n in range(8)])))
    components = [
        draw(resource(next(all_names), draw(st.sampled_from(COMPONENTS)))) for _ in range(draw(st.integers(0, 4)))
    ]
    services = [
        draw(resource(next(all_names), draw(st.sampled_from(SERVICES)))) for _ in range(draw(st.integers(0, 1)))
    ]
    attributes = {"capture_dir": "/data", "tags": ["a"], "sync_interval_mins": 0.5, "maximum_num_sync_threads": 250}
    kept = draw(st.sets(st.sampled_from(sorted(attributes))))
    model = draw(st.sampled_from([{}, {"model": "builtin"}, {"model": "rdk:builtin:builtin"}]))
    form = draw(st.sampled_from([{"api": "rdk:service:data_manager"}, {"type": "data_manager"}]))
    services.insert(
        draw(st.integers(0, len(services))),
        {"name": "data", **form, **model, "attributes": {name: attributes[name] for name in sorted(kept)}},
    )
    found: Json = {"components": components, "services": services, "network": {"fqdn": "here"}}
    if remotes := [draw(remote(f"rem{n}")) for n in range(draw(st.integers(0, 2)))]:
        found["remotes"] = remotes
    if draw(st.booleans()):
        found["modules"] = [{"type": "local", "name": "other", "executable_path": "/x"}]
    return found
