"""Converts a config from the builtin to Holdfast: the service's model changes, and the module is added.

What is set for capture on components stays there, since Holdfast reads it there; it can also move into the service.
Either way the same is captured as before. This is not always what the config seems to say; the builtin's rules are
in `machine_config.linking`. Whatever is left out, and whatever works differently from before, is a finding.
Converting a converted config changes nothing.
"""

from __future__ import annotations

import copy
from typing import Any

from ..config import ADOPT, CAPTURE_METHODS, CLOUD_SIDE
from ..machine_config import (
    BUILTIN,
    HOLDFAST,
    MODULE_ID,
    MODULE_NAME,
    Finding,
    Json,
    LinkedEntry,
    Machine,
    MethodEntry,
    Resource,
    linked_methods,
    note,
    problem,
    settled_entries,
)
from .conversion import Conversion, convert_copy
from .shared_findings import findings_on_attributes, findings_on_dependencies, findings_on_fragments


def registry_module() -> Json:
    """Returns the entry in `modules` of a machine that takes Holdfast from Viam's registry."""
    return {"type": "registry", "name": MODULE_NAME, "module_id": MODULE_ID, "version": "latest"}


def local_module(executable: str) -> Json:
    """Returns the entry in `modules` of a machine that has Holdfast's executable on it."""
    return {"type": "local", "name": MODULE_NAME, "executable_path": executable}


def convert_to_holdfast(config: Json, module: Json, *, into_service: bool = False) -> Conversion:
    """Returns the config with Holdfast in the builtin's place, and with `module` if no module of Holdfast is in it.

    With `into_service`, what is set for capture on components moves into the service's `capture_methods`, also in a
    config that has Holdfast already. Raises UnreadableConfigError.
    """

    def put_holdfast_in_place(machine: Machine, manager: Resource, findings: list[Finding]) -> None:
        methods = _own_methods(manager, findings)
        linked = linked_methods(machine)
        if manager.model == BUILTIN or into_service:
            findings += linked.findings
            for entry in linked.entries:
                findings += findings_on_attributes(entry)
        if into_service:
            _move_into(methods, machine, manager, linked.entries, findings)
        elif manager.model == BUILTIN and not manager.adopts:
            findings.append(note(f"{ADOPT} of {manager.name} is false: what components say moves into the service"))
            _move_into(methods, machine, manager, linked.entries, findings)
        if methods:
            manager.attributes_to_change()[CAPTURE_METHODS] = methods
        manager.entry["model"] = HOLDFAST
        findings += _add_module(machine, module)
        findings += findings_on_dependencies(manager) + findings_on_fragments(machine)

    return convert_copy(config, (BUILTIN, HOLDFAST), put_holdfast_in_place)


def _add_module(machine: Machine, module: Json) -> list[Finding]:
    path = module.get("executable_path")
    there = machine.holdfast_modules(path)
    if not there:
        machine.add_module(copy.deepcopy(module))
    elif path and not any(each.get("executable_path") == path for each in there):
        return [note(f"the module {there[0].get('name')} is there already and stays as it is; {path} is not used")]
    return []


def _own_methods(manager: Resource, findings: list[Finding]) -> list[Any]:
    """Returns the service's own list. If the service is the builtin, which ignores the list, it is left out."""
    attributes, methods = manager.attributes_to_change(), manager.listed_methods
    if manager.model == HOLDFAST:
        return list(methods)
    if attributes.pop(CAPTURE_METHODS, None) is None:
        return []
    findings.append(problem(f"{CAPTURE_METHODS} of {manager.name}, which the builtin does not read, is left out"))
    return []


def _move_into(
    methods: list[Any], machine: Machine, manager: Resource, linked: list[LinkedEntry], findings: list[Finding]
) -> None:
    """Moves what components, services and remotes say into the list `methods`, whose entries go before."""
    settled = settled_entries(methods, linked) if manager.adopts else []
    for each in settled:
        methods[each.index] = {"name": methods[each.index]["name"], **each.result}
        findings.append(note(each.text))
    gone = {each.linked.key for each in settled}
    for entry in linked:
        if entry.key not in gone:
            methods.append(entry.listed(machine))
            findings += _findings_on_cloud_side(entry)
    for holder in machine.holders:
        holder.remove_methods()


def _findings_on_cloud_side(entry: MethodEntry) -> list[Finding]:
    return [
        note(f"{name} of {entry} is kept, but Viam's cloud looks for it in the component")
        for name in sorted(CLOUD_SIDE & set(entry.attributes))
    ]
