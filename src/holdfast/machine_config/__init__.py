"""A whole machine's config as JSON, and the capture methods in it."""

from .entries import IGNORED_BY_BUILTIN, MethodEntry, method_entries, usable_methods
from .finding import Finding, Level, error, is_fine, note, problem
from .linking import LinkedMethods, linked_methods
from .machine import (
    BUILTIN,
    HOLDFAST,
    MODULE_ID,
    MODULE_NAME,
    FullName,
    Json,
    Machine,
    NoDataManagerError,
    Resource,
    UnreadableConfigError,
    is_machine,
)

__all__ = [
    "BUILTIN",
    "HOLDFAST",
    "IGNORED_BY_BUILTIN",
    "MODULE_ID",
    "MODULE_NAME",
    "Finding",
    "FullName",
    "Json",
    "Level",
    "LinkedMethods",
    "Machine",
    "MethodEntry",
    "NoDataManagerError",
    "Resource",
    "UnreadableConfigError",
    "error",
    "is_fine",
    "is_machine",
    "linked_methods",
    "method_entries",
    "note",
    "problem",
    "usable_methods",
]
