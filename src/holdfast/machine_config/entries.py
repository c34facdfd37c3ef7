"""Capture methods as entries of a config, and what there is to say of them whatever is done with the config."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..config import is_off
from .finding import Finding, note, problem
from .machine import Holder, Json, Machine, Resource

PASSED_OVER = ("tags", "capture_directory")
"""Documented attributes of a capture method that the builtin takes no notice of, and Holdfast does."""


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

    @property
    def passed_over(self) -> list[str]:
        """What the builtin takes no notice of."""
        return [name for name in PASSED_OVER if self.attributes.get(name)]

    @property
    def without_name(self) -> Json:
        return {key: value for key, value in self.attributes.items() if key != "name"}

    def listed(self, machine: Machine) -> Json:
        """The entry as it stands in the data manager's own list: with the shortest name that is clear."""
        found = [each for each in machine.named(self.resource) if each.full_name == self.resource]
        name = machine.shortest_name(found[0]) if found else self.resource
        return {"name": name, **self.without_name}

    def __str__(self) -> str:
        return f"{self.attributes.get('method')} of {self.resource}"


def entries_of(machine: Machine, methods: Iterable[Any]) -> list[Entry]:
    """The entries of a list as Holdfast has it, which names each resource, in short or in full."""
    entries = []
    for method in methods:
        if isinstance(method, dict):
            name = str(method.get("name"))
            found = machine.named(name)
            entries.append(Entry(found[0].full_name if len(found) == 1 else name, method))
    return entries


def usable(holder: Holder, methods: list[Any], findings: list[Finding]) -> Iterator[Json]:
    """The entries of a list that are objects; each other one is a finding."""
    for method in methods:
        if isinstance(method, dict):
            yield method
        else:
            findings.append(problem(f"{holder.where}: {method!r} is left out, it is not a capture method"))


def of_attributes(entry: Entry) -> list[Finding]:
    return [note(f"{name} of {entry}: the builtin ignores it, Holdfast uses it") for name in entry.passed_over]


def of_dependencies(manager: Resource) -> list[Finding]:
    if not manager.depends_on:
        return []
    return [
        note(
            f"depends_on of {manager.name}: nothing is captured while one of {', '.join(manager.depends_on)} is "
            "missing; Holdfast does not need it, it captures each resource as soon as it is there"
        )
    ]


def of_fragments(machine: Machine) -> list[Finding]:
    if not machine.has_fragments:
        return []
    return [note("fragments are not in this config: what they configure is neither checked nor converted")]
