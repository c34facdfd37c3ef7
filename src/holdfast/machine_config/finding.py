"""What a command has to say about a config."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    ERROR = "error"
    """Nothing works: the data manager is not built, or there is nothing to convert."""
    PROBLEM = "problem"
    """Part of the config has no effect, or could not be carried over."""
    NOTE = "note"
    """Good to know: it works, but not as before."""


@dataclass(frozen=True)
class Finding:
    level: Level
    text: str

    def __str__(self) -> str:
        return f"{self.level.value}: {self.text}"


def error(text: str) -> Finding:
    return Finding(Level.ERROR, text)


def problem(text: str) -> Finding:
    return Finding(Level.PROBLEM, text)


def note(text: str) -> Finding:
    return Finding(Level.NOTE, text)


def is_fine(findings: Iterable[Finding]) -> bool:
    return all(finding.level is Level.NOTE for finding in findings)
