"""A resource and one of its methods: what a frequency, an override and a sequence are about."""

from __future__ import annotations

from ..config import CaptureMethod, short_name

Pair = tuple[str, str]
"""The short name of a resource, and a method's name. Methods that differ in their parameters alone share a pair."""


def pair_of(method: CaptureMethod) -> Pair:
    """Returns the pair of a configured method."""
    return short_name(method.name), method.method
