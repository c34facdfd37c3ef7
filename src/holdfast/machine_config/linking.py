"""Linking: what the builtin data manager would capture, as entries for Holdfast's `capture_methods`.

The builtin takes its capture methods from the `service_configs` of components, services and remotes, where they are
of the type `data_manager`. viam-server passes these to the builtin only. The rules are those of the builtin (RDK's
config/reader.go, and the data manager's `Link`):

- A resource has one list of capture methods. If several service configs have a list for it, the last one counts.
- A remote's list gives the full names of resources as the machine lists them, with the remote's prefix. The first
  name says whose list it is.

Three things differ, because what the user means is clear. An entry in a remote's list counts for the resource that
it names, not for the first one in the list. `remote:name`, which the builtin never finds, becomes the name with the
prefix. And where a list has the same method with the same parameters twice, the first entry that runs is used: the
builtin runs a collector for each, and never ends those that it does not know any more. Whatever is left out, and
whatever differs, is a finding. Nothing here changes the config.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..config import Card
from .entries import MethodEntry, named, usable_methods
from .finding import Finding, note, problem
from .machine import FullName, Holder, Json, Machine


@dataclass(frozen=True)
class LinkedEntry(MethodEntry):
    """A capture method that stands in the settings of a component, a service or a remote."""

    holder: Holder

    @property
    def card(self) -> Card:
        source = "remote" if self.holder.kind == "remote" else "component"
        return Card(source, self.holder.title, {**self.attributes, "name": self.resource})


@dataclass(frozen=True)
class LinkedMethods:
    """What linking a machine came to."""

    entries: list[LinkedEntry]
    """Sorted by the place of the resource in the config; those of remotes stand behind all others."""
    findings: list[Finding]


def cards_of(config: Json) -> tuple[list[Card], list[Finding]]:
    """Returns the capture methods of all components, services and remotes that count, and the findings on them.

    Names of keys in another case become the usual ones in the config itself. Raises UnreadableConfigError.
    """
    linked = linked_methods(Machine(config))
    return [entry.card for entry in linked.entries], linked.findings


def linked_methods(machine: Machine) -> LinkedMethods:
    """Returns the entries that stand in components, services and remotes.

    Of entries that run and capture the same, the first is used. Entries that are switched off are all kept. Raises
    UnreadableConfigError.
    """
    findings: list[Finding] = []
    entries = []
    running: set[str] = set()
    for entry in _in_order(machine, _last_lists(machine, findings)):
        if not entry.runs:
            entries.append(entry)
        elif entry.key not in running:
            running.add(entry.key)
            entries.append(entry)
        else:
            twice = "is configured twice with these parameters; the first entry is used, the other is left out"
            findings.append(problem(f"{entry} {twice}"))
    return LinkedMethods(entries, findings)


def _last_lists(machine: Machine, findings: list[Finding]) -> list[LinkedEntry]:
    """Returns the entries of the lists that count, by the first name in each list."""
    lists: dict[str, list[LinkedEntry]] = {}
    for holder, entries in _all_lists(machine, findings):
        if not entries:
            continue
        first = entries[0].resource
        for entry in lists.pop(first, ()):
            findings.append(
                problem(f"{entry} has no effect: the last list of a resource counts, in {holder.title}")
            )
        lists[first] = entries
        if any(entry.resource != first for entry in entries):
            findings.append(
                note(
                    f"{holder.title}: the builtin reads {first} for all the names in this list; "
                    "Holdfast reads each by its own name"
                )
            )
    return [entry for entries in lists.values() for entry in entries]


def _all_lists(machine: Machine, findings: list[Finding]) -> Iterator[tuple[Holder, list[LinkedEntry]]]:
    for resource in machine.resources:
        for methods in resource.method_lists:
            usable = usable_methods(resource, methods, findings)
            yield resource, [LinkedEntry(resource.full_name, each, resource) for each in usable]
    for remote in machine.remotes:
        for methods in remote.method_lists:
            usable = usable_methods(remote, methods, findings)
            entries = (_entry_of_remote(machine, remote, each, findings) for each in usable)
            yield remote, [entry for entry in entries if entry is not None]


def _entry_of_remote(machine: Machine, remote: Holder, method: Json, findings: list[Finding]) -> LinkedEntry | None:
    name = FullName.parsed(method.get("name"))
    if name is None:
        findings.append(
            problem(
                f"{named(method, method.get('name'))} in {remote.title} is left out: its name must be a "
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
    return LinkedEntry(str(name), method, remote)


def _in_order(machine: Machine, entries: list[LinkedEntry]) -> list[LinkedEntry]:
    """Returns the entries by resource, in the order of the config."""
    first_of = {entry.resource: index for index, entry in reversed(list(enumerate(entries)))}
    return sorted(entries, key=lambda entry: (machine.place_of(entry.resource), first_of[entry.resource]))
