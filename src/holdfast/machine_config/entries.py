"""Capture methods as entries of a config, not yet checked: `config.parse` does that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..base.words import MAX_SHOWN_CHARS, shortened, shown
from ..config import MOST_LEVELS, is_off, ordered, too_deep
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
        return named(self.attributes, self.resource)


def named(method: Json, resource: object) -> str:
    """Returns a capture method of a resource for people, within bounds."""
    return " of ".join(shortened(str(part), MAX_SHOWN_CHARS) for part in (method.get("method"), resource))


def method_entries(machine: Machine, methods: Iterable[Any]) -> list[MethodEntry]:
    """Returns the entries of the data manager's own list, which gives the short or the full name of each resource.

    Items that are not objects are left out, and those with too many in each other.
    """
    entries = []
    for method in methods:
        if not _why_unusable(method):
            name = str(method.get("name"))
            found = machine.resources_named(name)
            entries.append(MethodEntry(found[0].full_name if len(found) == 1 else name, method))
    return entries


def usable_methods(holder: Holder, methods: Iterable[Any], findings: list[Finding]) -> list[Json]:
    """Returns the items of a list that can be capture methods, and adds a finding for each other one."""
    usable = []
    for method in methods:
        if why := _why_unusable(method):
            findings.append(problem(f"{holder.title}: {shown(method)} is left out, {why}"))
        else:
            usable.append(method)
    return usable


def _why_unusable(method: Any) -> str:
    """Returns what keeps an item of a list from being a capture method; empty if nothing does."""
    if not isinstance(method, dict):
        return "it is not a capture method"
    return f"it has more than {MOST_LEVELS} lists and objects in each other" if too_deep(method) is not None else ""
