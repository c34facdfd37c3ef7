"""A config that is converted: as a whole, or not at all."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..machine_config import Finding, Json, Machine, NoDataManagerError, Resource, error

Change = Callable[[Machine, Resource, list[Finding]], None]
"""Changes a machine, whose data manager is given, and adds what there is to say."""


@dataclass(frozen=True)
class Conversion:
    """The config as it was converted, None where that was not possible, and what there is to say about it."""

    config: Json | None
    findings: list[Finding]


def convert_copy(config: Json, models: Sequence[str], change: Change) -> Conversion:
    """What `change` makes of a copy of `config`; an error where its data manager is of none of the `models`.

    Raises UnreadableConfigError.
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
