"""A whole machine's config as JSON, and the capture methods in it."""

from .entries import PASSED_OVER, Entry, entries_of, of_attributes, of_dependencies, of_fragments, usable
from .finding import Finding, Level, error, is_fine, note, problem
from .linking import LinkedMethods, linked_methods
from .machine import (
    BUILTIN,
    HOLDFAST,
    MODULE_ID,
    MODULE_NAME,
    Holder,
    Json,
    Machine,
    Name,
    NoDataManagerError,
    Resource,
    UnreadableConfigError,
    is_machine,
    list_in,
)

__all__ = [
    "BUILTIN",
    "HOLDFAST",
    "MODULE_ID",
    "MODULE_NAME",
    "PASSED_OVER",
    "Entry",
    "Finding",
    "Holder",
    "Json",
    "Level",
    "LinkedMethods",
    "Machine",
    "Name",
    "NoDataManagerError",
    "Resource",
    "UnreadableConfigError",
    "entries_of",
    "error",
    "is_fine",
    "is_machine",
    "linked_methods",
    "list_in",
    "note",
    "of_attributes",
    "of_dependencies",
    "of_fragments",
    "problem",
    "usable",
]
