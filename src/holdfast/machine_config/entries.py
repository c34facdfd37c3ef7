"""Capture methods as entries of a config, not yet checked: `config.parse` does that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..config import is_off, ordered
from .finding import Finding, problem
from .machine import Holder, Json, Machine

IGNORED_BY_BUILTIN = ("tags", "capture_directory")
"""The documented attributes of a capture method that the builtin ignores and Holdfast uses."""


@dataclass(frozen=True)
class MethodEntry:
    """One capture method as it stands in a config, with its resource."""

    resource: str
    """The full name of the resource, or the name in the config where no resource or several have it."""
    attributes: Json

    @property
    def key(self) -> str:
        """A text that is equal for two entries that capture the same."""
        params = self.attributes.get("additional_params") or {}
        return repr((self.resource, self.attributes.get("method"), *ordered({"": params})))

    @property
    def runs(self) -> bool:
        """Whether it is switched on."""
        hz = self.attributes.get("capture_frequency_hz")
        return not self.attributes.get("disabled") and isinstance(hz, (int, float)) and not is_off(hz)

    @property
    def ignored_by_builtin(self) -> list[str]:
        """The attributes of this entry that the builtin ignores."""
        return [name for name in IGNORED_BY_BUILTIN if self.attributes.get(name)]

    @property
    def without_name(self) -> Json:
        return {key: value for key, value in self.attributes.items() if key != "name"}

    def listed(self, machine: Machine) -> Json:
        """Returns the entry for the data manager's own list, under the shortest name that only its resource has."""
        found = [each for each in machine.resources_named(self.resource) if each.full_name == self.resource]
        name = machine.shortest_name(found[0]) if found else self.resource
        return {"name": name, **self.without_name}

    def __str__(self) -> str:
        return f"{self.attributes.get('method')} of {self.resource}"


def method_entries(machine: Machine, methods: Iterable[Any]) -> list[MethodEntry]:
    """Returns the entries of the data manager's own list, which gives the short or the full name of each resource.

    Items that are not objects are left out.
    """
    entries = []
    for method in methods:
        if isinstance(method, dict):
            name = str(method.get("name"))
            found = machine.resources_named(name)
            entries.append(MethodEntry(found[0].full_name if len(found) == 1 else name, method))
    return entries


def usable_methods(holder: Holder, methods: Iterable[Any], findings: list[Finding]) -> list[Json]:
    """Returns the items of a list that are objects, and adds a finding for each other one."""
    usable = []
    for method in methods:
        if isinstance(method, dict):
            usable.append(method)
        else:
            findings.append(problem(f"{holder.title}: {method!r} is left out, it is not a capture method"))
    return usable
