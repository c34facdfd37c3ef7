"""What the builtin data manager captures, as entries of Holdfast's `capture_methods`.

The builtin finds its capture methods with the components, services and remotes, in those of their `service_configs`
that are for a data manager; viam-server passes them to no other data manager. The rules are the builtin's:

- A resource has one list of capture methods. Of two service configs with a list, the last counts.
- A remote's list names its resources in full, as the machine lists them: with the remote's prefix. The first name
  in the list says whose list it is. The builtin never finds `remote:name`; here it becomes the name that is meant.

What is left out or differs from the builtin is a finding. Nothing here changes the config.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .entries import MethodEntry, method_entries, usable_methods
from .finding import Finding, note, problem
from .machine import FullName, Holder, Json, Machine


@dataclass(frozen=True)
class LinkedMethods:
    """The capture methods of components, services and remotes, in the order of the config."""

    entries: list[MethodEntry]
    findings: list[Finding]


def linked_methods(machine: Machine, listed: Iterable[Any]) -> LinkedMethods:
    """Returns what components, services and remotes add to the entries that the data manager has `listed` itself.

    An entry that runs, and captures the same as an earlier one or a listed one that runs, is left out.
    Raises UnreadableConfigError.
    """
    findings: list[Finding] = []
    entries = []
    running = {entry.key for entry in method_entries(machine, listed) if entry.runs}
    for entry in _in_order(machine, _last_lists(machine, findings)):
        if not entry.runs:
            entries.append(entry)
        elif entry.key not in running:
            running.add(entry.key)
            entries.append(entry)
        else:
            twice = "is there twice with these parameters; the first is used, the other left out"
            findings.append(problem(f"{entry} {twice}"))
    return LinkedMethods(entries, findings)


def _last_lists(machine: Machine, findings: list[Finding]) -> list[MethodEntry]:
    """Returns the entries of the lists that count."""
    lists: dict[str, list[MethodEntry]] = {}
    for holder, entries in _all_lists(machine, findings):
        if not entries:
            continue
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
    return [entry for entries in lists.values() for entry in entries]


def _all_lists(machine: Machine, findings: list[Finding]) -> Iterator[tuple[Holder, list[MethodEntry]]]:
    for resource in machine.resources:
        for methods in resource.method_lists:
            usable = usable_methods(resource, methods, findings)
            yield resource, [MethodEntry(resource.full_name, each) for each in usable]
    for remote in machine.remotes:
        for methods in remote.method_lists:
            usable = usable_methods(remote, methods, findings)
            entries = (_entry_of_remote(machine, remote, each, findings) for each in usable)
            yield remote, [entry for entry in entries if entry is not None]


def _entry_of_remote(machine: Machine, remote: Holder, method: Json, findings: list[Finding]) -> MethodEntry | None:
    name = FullName.parsed(method.get("name"))
    if name is None:
        findings.append(
            problem(
                f"{method.get('method')} of {method.get('name')} in {remote.where} is left out: its name must be a "
                "full one, like rdk:component:sensor/thermometer"
            )
        )
        return None
    if name.remote:
        prefix = machine.prefix_of_remote(name.remote)
        if prefix is not None:
            listed = FullName(name.api, "", prefix + name.short)
            findings.append(
                note(f"{name} becomes {listed}, as the machine lists it; the builtin finds no remote:name")
            )
            name = listed
    return MethodEntry(str(name), method)


def _in_order(machine: Machine, entries: list[MethodEntry]) -> list[MethodEntry]:
    """By resource, in the order of the config."""
    first_of = {entry.resource: index for index, entry in reversed(list(enumerate(entries)))}
    return sorted(entries, key=lambda entry: (machine.place_of(entry.resource), first_of[entry.resource]))
