"""The findings that converting and checking a config have in common."""

from __future__ import annotations

from ..machine_config import Finding, Machine, MethodEntry, Resource, note


def findings_on_attributes(entry: MethodEntry) -> list[Finding]:
    return [
        note(f"{name} of {entry}: the builtin ignores it, Holdfast uses it") for name in entry.ignored_by_builtin
    ]


def findings_on_dependencies(manager: Resource) -> list[Finding]:
    if not manager.depends_on:
        return []
    return [
        note(
            f"depends_on of {manager.name}: nothing is captured while one of {', '.join(manager.depends_on)} is "
            "missing; Holdfast does not need depends_on: it captures each resource as soon as it is there"
        )
    ]


def findings_on_fragments(machine: Machine) -> list[Finding]:
    if not machine.has_fragments:
        return []
    return [note("fragments are not in this config: what they configure is neither checked nor converted")]
