"""This module formats what the kill loop and the torture print."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_NAME_WIDTH = 50


def counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "-"


def rows_of(rows: Iterable[tuple[str, str]]) -> list[str]:
    return [f"{name:{_NAME_WIDTH}}{value}" for name, value in rows]
