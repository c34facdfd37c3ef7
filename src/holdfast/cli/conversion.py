"""What both directions of a conversion share: a copy of the config is changed, and findings are collected."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..machine_config import Finding, Json, Machine, NoDataManagerError, Resource, error

Change = Callable[[Machine, Resource, list[Finding]], None]
"""Changes a machine in place, given its data manager, and adds to the findings."""


@dataclass(frozen=True)
class Conversion:
    """A converted config, or None if it can't be converted at all, with the findings."""

    config: Json | None
    findings: list[Finding]


def convert_copy(config: Json, models: Sequence[str], change: Change) -> Conversion:
    """Returns what `change` makes of a copy of `config`, if the data manager in it is of one of the `models`.

    If it is not, an error among the findings says so. Raises UnreadableConfigError.
    """
    machine = Machine(copy.deepcopy(config))
    try:
        manager = machine.data_manager
    except NoDataManagerError as refused:
        return Conversion(None, [error(str(refused))])
    if manager.model not in models:
        only = f"only {' or '.join(models)} is converted"
        return Conversion(None, [error(f"the data manager {manager.name} is {manager.model}; {only}")])
    findings: list[Finding] = []
    change(machine, manager, findings)
    return Conversion(machine.config, findings)
