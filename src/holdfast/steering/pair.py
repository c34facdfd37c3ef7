"""A resource and one of its methods: what a frequency, an override and a sequence are about."""

from __future__ import annotations

from ..capture.resolve import full_names
from ..config import CaptureMethod, short_name
from .machine_resources import Apis

Pair = tuple[str, str]
"""The name of a resource, and a method's name. Methods that differ in their parameters alone share a pair.

A short name means all resources that have it, a full one that resource alone.
"""


def names_of(method: CaptureMethod, apis: Apis) -> tuple[str, ...]:
    """Returns the names that mean the resource of a method: its full one, if that can be told, then the short one.

    `apis` are those of the resources that are there, by short name.
    """
    full = full_names(method, apis)
    return (*(full if len(full) == 1 else ()), short_name(method.name))


def pairs_of(method: CaptureMethod, apis: Apis) -> list[Pair]:
    """Returns the pairs that mean a configured method, by its names as in `names_of`."""
    return [(name, method.method) for name in names_of(method, apis)]
