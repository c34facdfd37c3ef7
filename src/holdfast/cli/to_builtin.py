"""Converts a config from Holdfast back to the builtin: `capture_methods` moves into components and remotes.

There it joins what is set for capture already; of two that are about the same, the service's goes before.

Attributes that the builtin does not have stay, since it ignores them; so nothing is lost if the config is converted
again. Whatever can't be carried over, and whatever the builtin does differently, is a finding.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import chain

from ..config import CAPTURE_METHODS, CLOUD_SIDE
from ..machine_config import (
    BUILTIN,
    HOLDFAST,
    IGNORED_BY_BUILTIN,
    MODULE_NAME,
    Finding,
    FullName,
    Json,
    LinkedEntry,
    Machine,
    MethodEntry,
    Resource,
    linked_methods,
    method_entries,
    note,
    problem,
    settled_entries,
    usable_methods,
)
from .conversion import Conversion, convert_copy
from .shared_findings import findings_on_fragments

BUILTIN_ATTRIBUTES = frozenset(
    {
        "capture_dir", "tags", "capture_disabled", "mongo_capture_config", "delete_every_nth_when_disk_full",
        "maximum_capture_file_size_bytes", "disk_usage_deletion_threshold", "capture_dir_deletion_threshold",
        "additional_sync_paths", "file_last_modified_millis", "maximum_num_sync_threads", "sync_disabled",
        "selective_syncer_name", "sync_interval_mins", "capture_control_sensor",
    }
)  # fmt: skip
"""The attributes of the service that the builtin has (RDK's services/datamanager/builtin/config.go)."""
BUILTIN_METHOD_ATTRIBUTES = frozenset(
    {
        "name", "method", "capture_frequency_hz", "capture_queue_size", "capture_buffer_size", "additional_params",
        "disabled", *IGNORED_BY_BUILTIN,
    }
)  # fmt: skip
"""The attributes of a capture method that the builtin has (RDK's services/datamanager/data_manager.go)."""
_WITHOUT_EFFECT = "without effect on the builtin, kept for the way back"
_FOUND_BY_THE_BUILTIN = ("slam", "vision")
"""The services that the builtin captures even if its `depends_on` does not name them."""


def convert_to_builtin(config: Json) -> Conversion:
    """Returns the config with the builtin in Holdfast's place, and without Holdfast's module.

    Raises UnreadableConfigError.
    """
    return convert_copy(config, (HOLDFAST,), _put_builtin_in_place)


def _put_builtin_in_place(machine: Machine, manager: Resource, findings: list[Finding]) -> None:
    methods = usable_methods(manager, manager.listed_methods, findings)
    manager.attributes_to_change().pop(CAPTURE_METHODS, None)
    cards: list[LinkedEntry] = []
    if manager.adopts:
        linked = linked_methods(machine)
        cards, settled = linked.entries, settled_entries(methods, linked.entries)
        findings += linked.findings
        for each in settled:
            _rewrite(each.linked, each.result)
        gone = {each.index for each in settled}
        methods = [method for index, method in enumerate(methods) if index not in gone]
    moved = _by_resource(method_entries(machine, methods))
    for name, entries in moved.items():
        findings += _move_to_resource(machine, name, entries, cards)
    for of_one in _by_resource([*cards, *chain(*moved.values())]).values():
        findings += _findings_on_entries(manager, of_one)
    findings += _findings_on_service(manager)
    manager.entry["model"] = BUILTIN
    findings += _remove_modules(machine)
    findings += findings_on_fragments(machine)


def _remove_modules(machine: Machine) -> list[Finding]:
    gone = machine.remove_holdfast_modules()
    if not gone and machine.other_local_modules:
        others = ", ".join(machine.other_local_modules)
        return [note(f"no module is named {MODULE_NAME}: if one of {others} is Holdfast, remove it too")]
    findings = []
    for module in gone:
        path = module.get("executable_path")
        again = f"; to come back: holdfast config convert --executable {path}" if path else ""
        findings.append(note(f"the module {module.get('name')} is removed{again}"))
    return findings


def _rewrite(card: LinkedEntry, result: Json) -> None:
    """Makes an entry of a component, a service or a remote say what is in `result`."""
    name = {key: card.attributes[key] for key in ("name",) if key in card.attributes}
    card.attributes.clear()
    card.attributes.update({**name, **result})


def _by_resource(entries: Iterable[MethodEntry]) -> dict[str, list[MethodEntry]]:
    found: dict[str, list[MethodEntry]] = {}
    for entry in entries:
        found.setdefault(entry.resource, []).append(entry)
    return found


def _move_to_resource(
    machine: Machine, name: str, entries: list[MethodEntry], cards: list[LinkedEntry]
) -> list[Finding]:
    """Writes the methods of one resource to where the builtin reads them: beside its `cards`, if it has some."""
    beside = next((card for card in cards if card.resource == name), None)
    if beside is not None:
        named = beside.holder.kind == "remote"
        added = [{**each.attributes, "name": name} if named else each.without_name for each in entries]
        beside.holder.append_beside(beside.attributes, added)
        return []
    resources = machine.resources_named(name)
    if len(resources) == 1:
        if resources[0].append_methods([each.without_name for each in entries]):
            own = f"{resources[0].name} has capture methods of its own"
            return [note(f"{own}, which had no effect so far; the builtin uses them")]
        return []
    remote = machine.remote_of(name)
    if remote is not None and FullName.parsed(name):
        remote.add_service_config([each.attributes for each in entries])
        return []
    if resources:
        why = "two resources have that name, write the full one"
    elif remote is None:
        why = "there is no such resource in this config"
    else:
        why = "if it is a remote's, write its full name, like rdk:component:sensor/far_thermometer"
    return [problem(f"{each} is left out ({why}): {json.dumps(each.attributes)}") for each in entries]


def _findings_on_entries(manager: Resource, entries: list[MethodEntry]) -> list[Finding]:
    findings = []
    for entry in entries:
        own = set(entry.attributes) - BUILTIN_METHOD_ATTRIBUTES - CLOUD_SIDE
        if without_effect := sorted(own.union(entry.ignored_by_builtin)):
            findings.append(note(f"{', '.join(without_effect)} of {entry}: {_WITHOUT_EFFECT}"))
    name = FullName.parsed(entries[0].resource)
    if (
        name
        and ":service:" in name.api
        and name.api.split(":")[-1] not in _FOUND_BY_THE_BUILTIN
        and name.short not in manager.depends_on
    ):
        findings.append(note(f"the builtin captures {name.short} only when depends_on of {manager.name} names it"))
    return findings


def _findings_on_service(manager: Resource) -> list[Finding]:
    own = sorted(set(manager.attributes) - BUILTIN_ATTRIBUTES - CLOUD_SIDE)
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
