"""What runs: the configured capture methods, matched with the resources that the machine has."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from ..base.problems import Kind, Problem
from ..base.words import closest, some
from ..config import CaptureMethod, short_name
from .methods import TABLES, Method, lookup, methods_of, own_methods_of

_HINTED = 3
_APPEARS_S = 60.0
"""How long a resource may be missing before that is a problem: viam-server starts them one after the other."""


@dataclass(frozen=True)
class Resolution:
    """What becomes of one configured method: the API and table row with which it runs, or why it does not."""

    method: CaptureMethod
    api: str = ""
    table: Method | None = None
    waiting: bool = False
    """Whether the resource does not exist yet. When it appears, it is resolved anew."""
    problem: str = ""
    """What is wrong and how to fix it; empty if nothing is."""


def resolve(methods: Iterable[CaptureMethod], resources: Mapping[str, Iterable[str]]) -> list[Resolution]:
    """Returns one resolution for each method. `resources` maps short names to the APIs of these resources."""
    methods = list(methods)
    named = {method.name for method in methods}
    resolutions: list[Resolution] = []
    running: set[tuple[str, str, str, str]] = set()
    for method in methods:
        found = _resolve(method, sorted(resources.get(short_name(method.name), ())), named)
        key = (found.api, short_name(method.name), method.method, repr(method.params))
        if found.table is not None and key in running:
            problem = (
                f"{method.method} of {method.name} appears twice, by its short and its full name; the first is used"
            )
            found = Resolution(method, found.api, problem=problem)
        running.add(key)
        resolutions.append(found)
    return resolutions


def problems_of(resolutions: Iterable[Resolution], names: Collection[str] = ()) -> list[Problem]:
    """Returns what keeps methods from being captured: what can't be, and what the machine does not have.

    `names` are the short names of what it has, as far as they are known.
    """
    resolutions = list(resolutions)
    missing = sorted({found.method.name for found in resolutions if found.waiting})
    found = [Problem(Kind.CONFIG, each.problem) for each in resolutions if each.problem]
    if missing:
        of_it, it = ("it", "it is") if len(missing) == 1 else ("them", "they are")
        what = f"the machine does not have {some(missing)}: nothing of {of_it} is captured"
        do = f"correct the name, or see in the CONTROL tab why {it} not there; what appears is captured"
        do = "".join(f"{hint} Else " for hint in [_meant(missing[:_HINTED], names)] if hint) + do
        found.append(Problem(Kind.CAPTURE, what, do, key="missing", patience_s=_APPEARS_S))
    return found


def _meant(missing: Collection[str], names: Collection[str]) -> str:
    """Returns which of `names` may be meant by those that are missing, as questions; "" if none resembles them."""
    close = {name: closest(short_name(name), names) for name in missing}
    return " ".join(
        f"did you mean {found!r}?" if len(missing) == 1 else f"did you mean {found!r} by {name!r}?"
        for name, found in close.items()
        if found
    )


def possible_apis(method: CaptureMethod) -> list[str]:
    """Returns the APIs that the resource of a method may have: the one in its name, or all that have the method."""
    wanted_api = method.name.rpartition("/")[0]
    return [api for api in ([wanted_api] if wanted_api else TABLES) if lookup(api, method.method) is not None]


def full_names(method: CaptureMethod, resources: Mapping[str, Iterable[str]]) -> list[str]:
    """Returns the full names of the resources that a method may be of: those of its name that have the method.

    One that has a full name is of that resource alone, whether it is there or not.
    """
    api, _, name = method.name.rpartition("/")
    if api:
        return [method.name]
    return [f"{api}/{name}" for api in sorted(resources.get(name, ())) if lookup(api, method.method) is not None]


def not_captured(methods: Iterable[CaptureMethod], resources: Mapping[str, Iterable[str]]) -> list[tuple[str, str]]:
    """Returns the resources that could be captured and that no method is of, each as its short name and its API.

    Those of which only DoCommand and GetWorldPose could be captured, which every component has, are not among them.
    """
    named = {full for method in methods for full in full_names(method, resources)}
    found = ((name, api) for name, apis in resources.items() for api in apis)
    return sorted((name, api) for name, api in found if own_methods_of(api) and f"{api}/{name}" not in named)


def several(name: str, choices: Iterable[str]) -> str:
    """Says that several resources have a short name, and by which full names they can be told apart."""
    return f"several resources are named {name!r}: write {' or '.join(choices)}"


def _resolve(method: CaptureMethod, apis: list[str], named: Collection[str]) -> Resolution:
    """Returns what becomes of a method whose resource's name is that of resources of `apis`.

    `named` are the names of all methods: a resource that has its full name there is not meant by another full name.
    """
    wanted_api, _, name = method.name.rpartition("/")
    if not apis and ":" in name:
        return Resolution(method, problem=_of_a_remote(name))
    if wanted_api and wanted_api not in apis:
        others = [api for api in apis if f"{api}/{name}" not in named]
        if not others:
            return Resolution(method, waiting=True)
        problem = f"is a {' and a '.join(others)}, not a {wanted_api}: fix its name in capture_methods"
        return Resolution(method, others[0], problem=f"{name} {problem}")
    if not apis:
        return Resolution(method, waiting=True)
    choices = full_names(method, {name: apis})
    if len(choices) > 1:
        return Resolution(method, problem=f"{method.method} of {name}: {several(name, choices)}")
    api = choices[0].rpartition("/")[0] if choices else apis[0]
    table = lookup(api, method.method)
    if table is None:
        return Resolution(method, api, problem=_unknown_method(method, api))
    wrong = table.problem(dict(method.params))
    if wrong:
        return Resolution(method, api, problem=f"{method.method} of {name}: {wrong}")
    return Resolution(method, api, table)


def _of_a_remote(name: str) -> str:
    remote, _, local = name.rpartition(":")
    return (
        f"{name}: viam-server does not tell modules the names of remotes; write the name that the machine lists: "
        f"the prefix of the remote {remote!r}, followed by {local!r}"
    )


def _unknown_method(method: CaptureMethod, api: str) -> str:
    offered = methods_of(api)
    close = closest(method.method, offered)
    if close is not None:
        hint = f"did you mean {close!r}?"
    elif offered:
        hint = f"possible: {', '.join(offered)}"
    else:
        hint = "this version captures nothing of that API"
    return f"{method.method} of {short_name(method.name)} ({api}) can't be captured; {hint}"
