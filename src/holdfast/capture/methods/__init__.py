"""What can be captured: one table per API, from the method in a config to its RPC and its payload.

A row says how the request is built from the parameters and how the answer becomes a payload. Adding a method is
adding a row.
"""

from __future__ import annotations

from collections.abc import Mapping

from . import sensor
from .method import TabularMethod

__all__ = ["TabularMethod", "lookup", "methods_of"]

_TABLES: Mapping[str, Mapping[str, TabularMethod]] = {sensor.API: sensor.METHODS}


def lookup(api: str, method: str) -> TabularMethod | None:
    """The row for `method` of `api`, or None when it can't be captured."""
    return _TABLES.get(api, {}).get(method)


def methods_of(api: str) -> list[str]:
    """The names of what can be captured of `api`, sorted."""
    return sorted(_TABLES.get(api, {}))
