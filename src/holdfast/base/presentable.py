"""`presentable` makes an answer fit to leave the program: what is not known is left out, texts are harmless, and it
is not too large.

An answer holds no null. Viam's SDK reads a null as 0, so a person would read "no time is left" where nothing is
known. Whoever makes an answer writes None for what is not known. Plain functions without state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .fitting import fitted
from .words import all_escaped


def presentable(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an answer of plain values without null, escaped, and of at most `fitting.MAX_BYTES`."""
    return fitted(all_escaped(known(answer)))


def known(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns plain values without those that are None, at any depth."""
    return {name: _known(value) for name, value in values.items() if value is not None}


def _known(value: Any) -> Any:
    if isinstance(value, Mapping):
        return known(value)
    if isinstance(value, (list, tuple)):
        return [_known(item) for item in value if item is not None]
    return value
