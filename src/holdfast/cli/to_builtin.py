"""From Holdfast back to the builtin data manager: `capture_methods` moves into the components.

Attributes that the builtin has not are kept, since it passes over them: converted again, nothing is lost. What it
can't be told, and what it does otherwise, is a finding that names it.
"""

from __future__ import annotations

import json

from ..config import CAPTURE_METHODS, CLOUD_SIDE
from ..machine_config import (
    BUILTIN,
    HOLDFAST,
    MODULE_NAME,
    PASSED_OVER,
    Entry,
    Finding,
    Json,
    Machine,
    Name,
    Resource,
    entries_of,
    list_in,
    note,
    of_fragments,
    problem,
    usable,
)
from .conversion import Conversion, converted

BUILTINS_ATTRIBUTES = frozenset(
    {
        "capture_dir", "tags", "capture_disabled", "mongo_capture_config", "delete_every_nth_when_disk_full",
        "maximum_capture_file_size_bytes", "disk_usage_deletion_threshold", "capture_dir_deletion_threshold",
        "additional_sync_paths", "file_last_modified_millis", "maximum_num_sync_threads", "sync_disabled",
        "selective_syncer_name", "sync_interval_mins", "capture_control_sensor",
    }
)  # fmt: skip
"""Of the service (rdk's services/datamanager/builtin/config.go)."""
BUILTINS_METHOD_ATTRIBUTES = frozenset(
    {
        "name", "method", "capture_frequency_hz", "capture_queue_size", "capture_buffer_size", "additional_params",
        "disabled", *PASSED_OVER,
    }
)  # fmt: skip
"""Of a capture method (rdk's services/datamanager/data_manager.go)."""
_WITHOUT_EFFECT = "without effect on the builtin, kept for the way back"
_FOUND_BY_THE_BUILTIN = ("slam", "vision")
"""Services that it captures without being told to depend on them."""


def to_builtin(config: Json) -> Conversion:
    """Puts the builtin in Holdfast's place and takes Holdfast's module out. Raises UnreadableConfigError."""
    return converted(config, (HOLDFAST,), _change)


def _change(machine: Machine, manager: Resource, findings: list[Finding]) -> None:
    listed = list_in(manager.attributes, CAPTURE_METHODS, manager.where)
    methods = list(usable(manager, listed, findings))
    manager.attributes.pop(CAPTURE_METHODS, None)
    for name, entries in _by_resource(machine, methods).items():
        findings += _placed(machine, name, entries)
        findings += _otherwise(manager, entries)
    findings += _of_the_service(manager)
    manager.entry["model"] = BUILTIN
    findings += _without_modules(machine)
    findings += of_fragments(machine)


def _without_modules(machine: Machine) -> list[Finding]:
    """Takes Holdfast's module out."""
    gone = machine.remove_modules()
    if not gone and machine.local_modules:
        of_others = ", ".join(machine.local_modules)
        return [note(f"no module is named {MODULE_NAME}: if one of {of_others} is Holdfast, remove it too")]
    findings = []
    for module in gone:
        path = module.get("executable_path")
        again = f"; to come back: holdfast config convert --executable {path}" if path else ""
        findings.append(note(f"the module {module.get('name')} is removed{again}"))
    return findings


def _by_resource(machine: Machine, methods: list[Json]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries_of(machine, methods):
        found.setdefault(entry.resource, []).append(entry)
    return found


def _placed(machine: Machine, name: str, entries: list[Entry]) -> list[Finding]:
    """Writes the methods of a resource to where the builtin looks for them."""
    resources = machine.named(name)
    if len(resources) == 1:
        return _into(resources[0], [each.without_name for each in entries])
    home = machine.home_of(name)
    if home is not None and Name.parsed(name):
        remote = machine.remotes[home]
        remote.add_service_config({CAPTURE_METHODS: [each.attributes for each in entries]})
        return []
    if resources:
        why = "two resources have that name, write the full one"
    elif home is None:
        why = "there is no such resource in this config"
    else:
        why = "if it is a remote's, write its full name, like rdk:component:sensor/far_thermometer"
    return [problem(f"{each} is left out ({why}): {json.dumps(each.attributes)}") for each in entries]


def _into(resource: Resource, methods: list[Json]) -> list[Finding]:
    if not resource.service_configs:
        resource.add_service_config({CAPTURE_METHODS: methods})
        return []
    last = resource.service_configs[-1]
    found = resource.methods_of(last)
    last["attributes"] = {**resource.attributes_of(last), CAPTURE_METHODS: [*found, *methods]}
    if not found:
        return []
    return [note(f"{resource.name} has capture methods of its own, so far without effect; the builtin uses them")]


def _otherwise(manager: Resource, entries: list[Entry]) -> list[Finding]:
    findings = []
    for entry in entries:
        own = set(entry.attributes) - BUILTINS_METHOD_ATTRIBUTES - CLOUD_SIDE
        if without_effect := sorted(own.union(entry.passed_over)):
            findings.append(note(f"{', '.join(without_effect)} of {entry}: {_WITHOUT_EFFECT}"))
    name = Name.parsed(entries[0].resource)
    if (
        name
        and ":service:" in name.api
        and name.api.split(":")[-1] not in _FOUND_BY_THE_BUILTIN
        and name.short not in manager.depends_on
    ):
        findings.append(note(f"the builtin captures {name.short} only when depends_on of {manager.name} names it"))
    return findings


def _of_the_service(manager: Resource) -> list[Finding]:
    own = sorted(set(manager.attributes) - BUILTINS_ATTRIBUTES - CLOUD_SIDE)
    findings = []
    if own:
        findings.append(note(f"{', '.join(own)}: {_WITHOUT_EFFECT}"))
    if manager.attributes.get("capture_store") == "memory":
        findings.append(
            note(
                'capture_store: the builtin does not look into memory; before you go back, set it to "disk" and '
                "wait until sync.draining of the status is empty"
            )
        )
    return findings
