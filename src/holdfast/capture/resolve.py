"""What runs: the configured capture methods, matched with the resources that the machine has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..base.words import closest
from ..config import CaptureMethod, short_name
from .methods import TABLES, Method, lookup, methods_of


@dataclass(frozen=True)
class Resolution:
    """What becomes of one configured method: the API and table row with which it runs, or why it does not."""

    method: CaptureMethod
    api: str = ""
    table: Method | None = None
    waiting: bool = False
    """Whether the resource does not exist yet. When it appears, viam-server sends a new configuration."""
    problem: str = ""
    """What is wrong and how to fix it; empty if nothing is."""


def resolve(methods: Iterable[CaptureMethod], resources: Mapping[str, Iterable[str]]) -> list[Resolution]:
    """Returns one resolution for each method. `resources` maps short names to the APIs of these resources."""
    resolutions: list[Resolution] = []
    running: set[tuple[str, str, str, str]] = set()
    for method in methods:
        found = _resolve(method, sorted(resources.get(short_name(method.name), ())))
        key = (found.api, short_name(method.name), method.method, repr(method.params))
        if found.table is not None and key in running:
            problem = (
                f"{method.method} of {method.name} appears twice, by its short and its full name; the first is used"
            )
            found = Resolution(method, found.api, problem=problem)
        running.add(key)
        resolutions.append(found)
    return resolutions


def possible_apis(method: CaptureMethod) -> list[str]:
    """Returns the APIs that the resource of a method may have: the one in its name, or all that have the method."""
    wanted_api = method.name.rpartition("/")[0]
    return [api for api in ([wanted_api] if wanted_api else TABLES) if lookup(api, method.method) is not None]


def _resolve(method: CaptureMethod, apis: list[str]) -> Resolution:
    if not apis and ":" in short_name(method.name):
        return Resolution(method, problem=_of_a_remote(short_name(method.name)))
    if not apis:
        return Resolution(method, waiting=True)
    wanted_api = method.name.rpartition("/")[0]
    if wanted_api and wanted_api not in apis:
        problem = f"is a {' and a '.join(apis)}, not a {wanted_api}: fix its name in capture_methods"
        return Resolution(method, apis[0], problem=f"{short_name(method.name)} {problem}")
    for api in [wanted_api] if wanted_api else apis:
        table = lookup(api, method.method)
        if table is not None:
            wrong = table.problem(dict(method.params))
            if wrong:
                return Resolution(method, api, problem=f"{method.method} of {short_name(method.name)}: {wrong}")
            return Resolution(method, api, table)
    return Resolution(method, apis[0], problem=_unknown_method(method, wanted_api or apis[0]))


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
