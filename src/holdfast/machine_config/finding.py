"""Findings: what reading, linking, converting or checking a config has to report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How much a finding matters."""

    ERROR = "error"
    """Nothing works: viam-server would not get a data manager, or there is nothing to convert."""
    PROBLEM = "problem"
    """A part of the config has no effect, or could not be carried over."""
    NOTE = "note"
    """It works, but there is something to know, such as a difference from before."""


@dataclass(frozen=True)
class Finding:
    """A sentence about a config, which names the part that it is about."""

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
    """Tells whether there is nothing worse than notes."""
    return all(finding.level is Level.NOTE for finding in findings)
