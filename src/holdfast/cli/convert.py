"""From the builtin data manager to Holdfast: what the components say is captured moves into `capture_methods`.

What is captured afterwards is what the builtin captures, which is not always what the config seems to say: of two
service configs of a resource it uses the last, and it never finds `remote:name`. Whatever is left out or acts
otherwise than before is a finding that names it. Converting twice is the same as converting once.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..config import CLOUD_SIDE, is_off
from .finding import Finding, error, note, problem
from .machine import (
    BUILTIN,
    CAPTURE_METHODS,
    DATA_MANAGER,
    HOLDFAST,
    MODULE_ID,
    MODULE_NAME,
    Holder,
    Json,
    Machine,
    Name,
    Resource,
    list_in,
)

OWN_TO_A_METHOD = ("tags", "capture_directory")
"""Documented attributes of a capture method that the builtin takes no notice of, and Holdfast does."""


@dataclass
class Conversion:
    """The config as it was converted, None where that was not possible, and what there is to say about it."""

    config: Json | None
    findings: list[Finding] = field(default_factory=list)

    def failed(self, text: str) -> Conversion:
        self.config = None
        self.findings.append(error(text))
        return self


@dataclass(frozen=True)
class Entry:
    """One capture method, with the full name of its resource."""

    resource: str
    attributes: Json

    @property
    def key(self) -> str:
        """Equal for two entries that capture the same."""
        parts = (self.resource, self.attributes.get("method"), self.attributes.get("additional_params") or {})
        return json.dumps(parts, sort_keys=True)

    @property
    def runs(self) -> bool:
        hz = self.attributes.get("capture_frequency_hz")
        return not self.attributes.get("disabled") and isinstance(hz, (int, float)) and not is_off(hz)

    def __str__(self) -> str:
        return f"{self.attributes.get('method')} of {self.resource}"


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
    machine = Machine(copy.deepcopy(config))
    conversion = Conversion(machine.config)
    manager = the_data_manager(machine, conversion)
    if manager is None:
        return conversion
    if manager.model not in (BUILTIN, HOLDFAST):
        return conversion.failed(f"the data manager {manager.name} is {manager.model}; only {BUILTIN} is converted")
    tell = conversion.findings.append
    methods = _kept(manager, conversion.findings)
    known = {entry.key for entry in entries_of(machine, methods) if entry.runs}
    for entry in _in_order(machine, _associated(machine, conversion.findings)):
        if entry.runs and entry.key in known:
            tell(problem(f"{entry} is there twice with these parameters; the first is used, the other left out"))
            continue
        known |= {entry.key} if entry.runs else set()
        methods.append(_written(machine, entry))
        conversion.findings += _otherwise(entry)
    if methods:
        manager.attributes[CAPTURE_METHODS] = methods
    manager.entry["model"] = HOLDFAST
    if not machine.has_holdfasts_module:
        machine.add_module(copy.deepcopy(module))
    if manager.entry.get("depends_on"):
        names = ", ".join(map(str, manager.entry["depends_on"]))
        tell(note(f"depends_on of {manager.name} is kept: nothing is captured while one of {names} is missing"))
    conversion.findings += of_fragments(machine)
    return conversion


def the_data_manager(machine: Machine, conversion: Conversion) -> Resource | None:
    """The one data manager; None, with the error said, where there is not exactly one."""
    found = machine.data_managers
    if len(found) == 1:
        return found[0]
    if found:
        names = " and ".join(each.name for each in found)
        conversion.failed(f"a machine has one data manager, this one has {names}: remove what is too much")
    else:
        of_a_fragment = "; if it comes from a fragment, convert the fragment" if machine.has_fragments else ""
        conversion.failed(f"there is no data manager ({DATA_MANAGER}) in this config{of_a_fragment}")
    return None


def of_fragments(machine: Machine) -> list[Finding]:
    if not machine.has_fragments:
        return []
    return [note("fragments are not in this config: what they configure is neither checked nor converted")]


def entries_of(machine: Machine, methods: Iterable[Any]) -> list[Entry]:
    """The entries of a list as Holdfast has it, which names each resource, in short or in full."""
    entries = []
    for method in methods:
        if isinstance(method, dict):
            name = str(method.get("name"))
            found = machine.named(name)
            entries.append(Entry(found[0].full_name if len(found) == 1 else name, method))
    return entries


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


def usable(holder: Holder, methods: list[Any], findings: list[Finding]) -> Iterator[Json]:
    """The entries of a list that are objects; each other one is a finding."""
    for method in methods:
        if isinstance(method, dict):
            yield method
        else:
            findings.append(problem(f"{holder.where}: {method!r} is left out, it is no capture method"))


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
    found = [each for each in machine.resources if each.full_name == entry.resource]
    name = machine.shortest_name(found[0]) if found else entry.resource
    return {"name": name, **{key: value for key, value in entry.attributes.items() if key != "name"}}


def _otherwise(entry: Entry) -> list[Finding]:
    findings = [
        note(f"{name} of {entry}: the builtin takes no notice of it, Holdfast acts on it")
        for name in OWN_TO_A_METHOD
        if entry.attributes.get(name)
    ]
    findings += [
        note(f"{name} of {entry} is kept, but Viam's cloud looks for it in the component")
        for name in sorted(CLOUD_SIDE & set(entry.attributes))
    ]
    return findings
