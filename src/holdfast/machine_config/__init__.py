"""A whole machine's config as JSON, and the capture methods in it.

Terms: a *machine* is a view of such a config. A *holder* is a component, a service or a remote, whose
`service_configs` may hold capture methods for the builtin data manager. A *method entry* is one capture method, as
JSON, with the full name of its resource where that is known. To *link* is to find what the builtin would capture. A
*finding* is a sentence about a config, with a level.

It stands right above `config`, whose `parse` checks the attributes of the data manager alone. Nothing here reads or
writes a file, or talks to a machine. Linking leaves the config as it is; methods that add or remove something
change it in place. Other packages import the names below, from the package and not from its modules.
"""

from .entries import IGNORED_BY_BUILTIN, MethodEntry, method_entries, usable_methods
from .finding import Finding, error, is_fine, note, problem
from .linking import LinkedEntry, LinkedMethods, cards_of, linked_methods
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
from .settled import SettledEntry, settled_entries
from .variables import substituted

__all__ = [
    "BUILTIN",
    "HOLDFAST",
    "IGNORED_BY_BUILTIN",
    "MODULE_ID",
    "MODULE_NAME",
    "Finding",
    "FullName",
    "Json",
    "LinkedEntry",
    "LinkedMethods",
    "Machine",
    "MethodEntry",
    "NoDataManagerError",
    "Resource",
    "SettledEntry",
    "UnreadableConfigError",
    "cards_of",
    "error",
    "is_fine",
    "is_machine",
    "linked_methods",
    "method_entries",
    "note",
    "problem",
    "settled_entries",
    "substituted",
    "usable_methods",
]
