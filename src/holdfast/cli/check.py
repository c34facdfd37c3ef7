"""Finds what is wrong with a config, before a machine has it.

The checks are those of the running module (`config.parse`, `capture.resolve`), with the resources in the config in
place of those on a machine. Added to these are checks that only a whole config allows: whether the module is in it,
what the service's entries do to what is set for capture on components, and whether the sensors that control capture
and sync are there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ..base.filesystem import FileSystem
from ..base.words import closest
from ..capture.resolve import resolve
from ..config import ADOPT, CAPTURE_METHODS, Card, Config, Host, parse, short_name
from ..errors import ConfigError
from ..machine_config import (
    BUILTIN,
    HOLDFAST,
    MODULE_NAME,
    Finding,
    Json,
    LinkedMethods,
    Machine,
    NoDataManagerError,
    Resource,
    SettledEntry,
    error,
    is_machine,
    linked_methods,
    method_entries,
    note,
    problem,
    settled_entries,
)
from .network_findings import findings_on_network
from .path_findings import findings_on_paths, findings_on_sync_paths
from .shared_findings import findings_on_attributes, findings_on_dependencies, findings_on_fragments

_BEFORE_INSIDE = re.compile(r"[.\[ ]")
"""What follows the name of an attribute of the service, where an error names something inside it."""


def check(config: Json, host: Host, environment: Mapping[str, str] | None = None) -> list[Finding]:
    """Returns the findings on a machine's config, on the data manager's entry in it, or on its attributes alone.

    Looks at what the config's paths lead to on this computer and, with `environment`, at the way to the cloud, for
    which a local module's own `env` counts too. Raises UnreadableConfigError.
    """
    environment = environment or {}
    if is_machine(config):
        return _check_machine(Machine(config), host, environment)
    if not {"api", "type", "model"}.isdisjoint(config):
        return _check_machine(Machine({"services": [config]}), host, environment, alone=True)
    return _check_attributes(config, host, environment)[0]


def _check_machine(
    machine: Machine, host: Host, environment: Mapping[str, str], *, alone: bool = False
) -> list[Finding]:
    try:
        manager = machine.data_manager
    except NoDataManagerError as refused:
        return [error(str(refused))]
    if manager.model == BUILTIN:
        return [
            error(f"{manager.name} is the builtin ({BUILTIN}); holdfast config convert puts Holdfast in its place")
        ]
    if manager.model != HOLDFAST:
        return [error(f"{manager.name} is of the model {manager.model}, not {HOLDFAST}")]
    linked = linked_methods(machine)
    cards = [entry.card for entry in linked.entries]
    findings, parsed = _check_attributes(manager.attributes, host, {**environment, **_module_env(machine)}, cards)
    if alone:
        return findings
    findings += _findings_on_modules(machine)
    settled = settled_entries(manager.listed_methods, linked.entries) if manager.adopts else []
    findings += _findings_on_cards(manager, linked, settled)
    if parsed is not None:
        gone = {each.linked.key for each in settled}
        where = {
            (entry.resource, str(entry.attributes.get("method"))): entry.holder.title
            for entry in linked.entries
            if entry.key not in gone
        }
        findings += _check_methods(machine, parsed, where) + _check_sensors(machine, parsed)
    findings += findings_on_dependencies(manager) + findings_on_fragments(machine)
    return findings


def _check_attributes(
    attributes: Json, host: Host, environment: Mapping[str, str], cards: Sequence[Card] = ()
) -> tuple[list[Finding], Config | None]:
    try:
        parsed = parse(attributes, host, cards)
    except ConfigError as refused:
        return _of_refused(attributes, host, cards, refused), None
    findings = [problem(text) for text in parsed.problems]
    findings += findings_on_paths(FileSystem(), parsed.paths) + findings_on_sync_paths(FileSystem(), parsed)
    findings += findings_on_network(parsed, environment)
    methods = attributes.get(CAPTURE_METHODS) or []
    findings += [text for entry in method_entries(Machine({}), methods) for text in findings_on_attributes(entry)]
    if parsed.capture_disabled and parsed.methods:
        findings.append(note("capture_disabled: nothing is captured; what is on disk is still synced"))
    return findings, parsed


def _of_refused(attributes: Json, host: Host, cards: Sequence[Card], refused: ConfigError) -> list[Finding]:
    """Returns each error for which a config is refused, and then the problems of what is left of it."""
    left, findings = dict(attributes), []
    while True:
        findings.append(error(f"{refused}; with this config the data manager captures and syncs nothing"))
        blamed = _BEFORE_INSIDE.split(refused.attribute)[0].lower()
        kept = {name: value for name, value in left.items() if name.lower() != blamed}
        if len(kept) == len(left):
            return findings
        left = kept
        try:
            parsed = parse(left, host, cards)
        except ConfigError as another:
            refused = another
        else:
            return findings + [problem(text) for text in parsed.problems]


def _module_env(machine: Machine) -> dict[str, str]:
    """Returns the variables that the config sets for the module alone."""
    found = [module.get("env") for module in machine.holdfast_modules()]
    return {name: str(value) for env in found if isinstance(env, dict) for name, value in env.items()}


def _findings_on_modules(machine: Machine) -> list[Finding]:
    if machine.holdfast_modules() or machine.has_fragments:
        return []
    if machine.other_local_modules:
        return [
            note(f"modules: none is named {MODULE_NAME}; is it one of {', '.join(machine.other_local_modules)}?")
        ]
    return [
        error(
            f"modules: none provides {HOLDFAST}; holdfast config convert adds the one in Viam's registry or, "
            "with --executable PATH, one that is on the machine"
        )
    ]


def _findings_on_cards(manager: Resource, linked: LinkedMethods, settled: Sequence[SettledEntry]) -> list[Finding]:
    """Returns what is to know of what components, services and remotes say, beside what is wrong with it."""
    if not manager.adopts:
        return [
            note(f"{entry} in the settings of {entry.holder.title} has no effect, since {ADOPT} is false")
            for entry in linked.entries
            if entry.runs
        ]
    return [
        *linked.findings,
        *(note(each.text) for each in settled),
        *(found for entry in linked.entries for found in findings_on_attributes(entry)),
    ]


def _check_methods(machine: Machine, parsed: Config, where: Mapping[tuple[str, str], str]) -> list[Finding]:
    """Returns the findings on what is captured. `where` says whose settings a resource's method stands in."""
    apis: dict[str, set[str]] = {}
    for resource in machine.resources:
        apis.setdefault(resource.name, set()).add(resource.api)
    findings = []
    off = (resolve([method], apis)[0] for method in parsed.off_methods)
    for resolution in (*resolve(parsed.methods, apis), *off):
        method = resolution.method
        place = where.get((method.name, method.method), CAPTURE_METHODS)
        elsewhere = "/" in method.name and not machine.resources_named(method.name) and machine.may_have_more
        if resolution.problem and not elsewhere:
            findings.append(problem(f"{place}: {resolution.problem}"))
        elif resolution.waiting or elsewhere:
            what = f"{place}: {method.method} of {method.name}"
            findings.append(_missing(machine, what, method.name))
    return findings


def _missing(machine: Machine, what: str, name: str) -> Finding:
    if machine.may_have_more:
        where = "remote" if machine.remotes else "fragment"
        return note(f"{what}: not in this config, so not checked; is it a {where}'s?")
    close = closest(short_name(name), [each.name for each in machine.capturable])
    hint = "fix the name, or add the resource" if close is None else f"did you mean {close!r}?"
    return problem(f"{what}: there is no such resource in this config; {hint}")


def _check_sensors(machine: Machine, parsed: Config) -> list[Finding]:
    """Returns the findings on the sensors that control sync and capture, if they are missing."""
    names = {"selective_syncer_name": parsed.selective_syncer_name}
    if parsed.capture_control_sensor is not None:
        names["capture_control_sensor"] = parsed.capture_control_sensor.name
    return [
        _missing(machine, f"{attribute} {name!r}", name)
        for attribute, name in names.items()
        if name
        and not machine.resources_named(name)
        and not any(each.name == short_name(name) for each in machine.resources)
    ]
