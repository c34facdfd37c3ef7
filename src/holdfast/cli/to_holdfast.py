"""From the builtin data manager to Holdfast: what the components say is captured moves into `capture_methods`.

What is captured afterwards is what the builtin captures, which is not always what the config seems to say: of two
service configs of a resource it uses the last, and it never finds `remote:name`. Whatever is left out or acts
otherwise than before is a finding that names it. Converting twice is the same as converting once.
"""

from __future__ import annotations

import copy
from typing import Any

from ..config import CAPTURE_METHODS, CLOUD_SIDE
from ..machine_config import (
    BUILTIN,
    HOLDFAST,
    MODULE_ID,
    MODULE_NAME,
    Entry,
    Finding,
    Holder,
    Json,
    Machine,
    Name,
    Resource,
    entries_of,
    list_in,
    note,
    of_attributes,
    of_dependencies,
    of_fragments,
    problem,
    usable,
)
from .conversion import Conversion, converted


def registry_module() -> Json:
    """The entry of `modules` for a machine that takes Holdfast from Viam's registry."""
    return {"type": "registry", "name": MODULE_NAME, "module_id": MODULE_ID, "version": "latest"}


def local_module(executable: str) -> Json:
    """The entry of `modules` for an executable on the machine."""
    return {"type": "local", "name": MODULE_NAME, "executable_path": executable}


def to_holdfast(config: Json, module: Json) -> Conversion:
    """Puts Holdfast in the builtin's place; `module` is added where no module of Holdfast is there.

    A config that has Holdfast already gets what its components say added. Raises UnreadableConfigError.
    """

    def change(machine: Machine, manager: Resource, findings: list[Finding]) -> None:
        methods = _kept(manager, findings)
        known = {entry.key for entry in entries_of(machine, methods) if entry.runs}
        for entry in _in_order(machine, _associated(machine, findings)):
            if entry.runs and entry.key in known:
                twice = "is there twice with these parameters; the first is used, the other left out"
                findings.append(problem(f"{entry} {twice}"))
                continue
            known |= {entry.key} if entry.runs else set()
            methods.append(_written(machine, entry))
            findings += _otherwise(entry)
        if methods:
            manager.attributes[CAPTURE_METHODS] = methods
        manager.entry["model"] = HOLDFAST
        findings += _with_module(machine, module)
        findings += of_dependencies(manager) + of_fragments(machine)

    return converted(config, (BUILTIN, HOLDFAST), change)


def _with_module(machine: Machine, module: Json) -> list[Finding]:
    path = module.get("executable_path")
    there = machine.holdfasts_modules(path)
    if not there:
        machine.add_module(copy.deepcopy(module))
    elif path and not any(each.get("executable_path") == path for each in there):
        return [note(f"the module {there[0].get('name')} is there already and stays as it is; {path} is not used")]
    return []


def _kept(manager: Resource, findings: list[Finding]) -> list[Any]:
    """What Holdfast captures already. The builtin takes no notice of such a list: there it is left out."""
    methods = list_in(manager.attributes, CAPTURE_METHODS, manager.where)
    if manager.model == HOLDFAST:
        return list(methods)
    if manager.attributes.pop(CAPTURE_METHODS, None) is None:
        return []
    findings.append(problem(f"{CAPTURE_METHODS} of {manager.name}, which the builtin does not read, is left out"))
    return []


def _associated(machine: Machine, findings: list[Finding]) -> list[Entry]:
    """What the builtin is told to capture. To it a resource has one list of methods: a later one counts."""
    lists: dict[str, list[Entry]] = {}

    def associate(holder: Holder, entries: list[Entry]) -> None:
        if not entries:
            return
        first = entries[0].resource
        for entry in lists.pop(first, ()):
            findings.append(problem(f"{entry} is left out: the builtin uses its last list, in {holder.where}"))
        lists[first] = entries
        if any(entry.resource != first for entry in entries):
            findings.append(
                note(
                    f"{holder.where}: the builtin reads {first} for all the names in this list; "
                    "Holdfast reads each by its own name"
                )
            )

    for resource in machine.resources:
        for methods in resource.take_methods():
            associate(resource, [Entry(resource.full_name, each) for each in usable(resource, methods, findings)])
    for remote in machine.remotes:
        for methods in remote.take_methods():
            entries = [_of_a_remote(machine, remote, each, findings) for each in usable(remote, methods, findings)]
            associate(remote, [entry for entry in entries if entry is not None])
    return [entry for entries in lists.values() for entry in entries]


def _of_a_remote(machine: Machine, remote: Holder, method: Json, findings: list[Finding]) -> Entry | None:
    name = Name.parsed(method.get("name"))
    if name is None:
        findings.append(
            problem(
                f"{method.get('method')} of {method.get('name')} in {remote.where} is left out: its name must be a "
                "full one, like rdk:component:sensor/thermometer"
            )
        )
        return None
    if name.remote:
        prefix = machine.prefix_of(name.remote)
        if prefix is not None:
            listed = Name(name.api, "", prefix + name.short)
            findings.append(
                note(f"{name} becomes {listed}, as the machine lists it; the builtin finds no remote:name")
            )
            name = listed
    return Entry(str(name), method)


def _in_order(machine: Machine, entries: list[Entry]) -> list[Entry]:
    """By resource, in the order of the config."""
    first_of = {entry.resource: index for index, entry in reversed(list(enumerate(entries)))}
    return sorted(entries, key=lambda entry: (machine.place_of(entry.resource), first_of[entry.resource]))


def _written(machine: Machine, entry: Entry) -> Json:
    found = [each for each in machine.named(entry.resource) if each.full_name == entry.resource]
    name = machine.shortest_name(found[0]) if found else entry.resource
    return {"name": name, **entry.without_name}


def _otherwise(entry: Entry) -> list[Finding]:
    of_the_cloud = sorted(CLOUD_SIDE & set(entry.attributes))
    return [
        *of_attributes(entry),
        *(
            note(f"{name} of {entry} is kept, but Viam's cloud looks for it in the component")
            for name in of_the_cloud
        ),
    ]
