"""What a row of the parity table is, and what the two viam-servers get to capture it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

HZ = 1.0


class Compared(Enum):
    """How strictly the readings of a row are compared."""

    EXACT = "value for value, bit for bit"
    NOISE = "numbers to nine decimals: Go computes them by another way"
    SHAPE = "names and kinds: the values are the time's or a counter's"
    OTHERWISE = "both write a reading, the same but for one thing"
    BUILTIN = "the builtin alone writes a reading"
    OURS = "ours alone writes a reading"
    NOTHING = "neither writes a reading"


@dataclass(frozen=True)
class Resource:
    """A component or service of both machines, or of the remote that both share."""

    api: str
    name: str
    model: str = "holdfast:parity:answers"
    attributes: Mapping[str, Any] = field(default_factory=dict)
    frame: Mapping[str, Any] | None = None

    @property
    def is_another_service(self) -> bool:
        """Neither a component nor one of the services that the builtin looks for by itself."""
        return ":service:" in self.api and self.api.split(":")[-1] not in ("slam", "vision")

    def config(self) -> dict[str, Any]:
        frame = {} if self.frame is None else {"frame": self.frame}
        return {"name": self.name, "api": self.api, "model": self.model, "attributes": self.attributes, **frame}


@dataclass(frozen=True)
class Row:
    """One entry of `capture_methods`, how its readings are compared and, where that is not exactly, why."""

    resource: Resource
    method: str
    params: Mapping[str, Any] = field(default_factory=dict)
    compared: Compared = Compared.EXACT
    why: str = ""
    hz: float = HZ
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further attributes of the entry."""
    but: tuple[str, ...] = ()
    """Where OTHERWISE the two differ, as keys from the outside in."""
    remote: str = ""
    """The remote that has the resource."""

    @property
    def name(self) -> str:
        """The resource's name as a config has it."""
        return self.resource.name

    @property
    def folder(self) -> str:
        """Where its files lie below the capture folder."""
        return f"{self.resource.api}/{self.name}/{self.method}".replace(":", "_")

    def __str__(self) -> str:
        api = self.resource.api.split(":")[-1]
        params = "".join(f",{key}={value}" for key, value in self.params.items() if isinstance(value, (str, float)))
        return f"{api}.{self.method}-{self.name}{params}"

    def capture_method(self) -> dict[str, Any]:
        entry = {"method": self.method, "capture_frequency_hz": self.hz, **self.more}
        return {**entry, "additional_params": self.params} if self.params else entry


def as_builtin(rows: Sequence[Row], machine: Mapping[str, Any], data_manager: Mapping[str, Any]) -> dict[str, Any]:
    """The machine's config with viam-server's own data manager: what to capture stands with each resource."""
    entries: dict[str, list[dict[str, Any]]] = {}
    remotes: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in rows:
        if row.remote:
            full_name = f"{row.resource.api}/{row.name}"
            of_remote = remotes.setdefault(row.remote, {})
            of_remote.setdefault(full_name, []).append({**row.capture_method(), "name": full_name})
        else:
            entries.setdefault(row.name, []).append(row.capture_method())

    def with_capture(resource: Mapping[str, Any]) -> dict[str, Any]:
        methods = entries.get(resource["name"], [])
        return {**resource, "service_configs": [_associated(methods)]} if methods else dict(resource)

    service = {
        "name": "data",
        "api": "rdk:service:data_manager",
        "model": "rdk:builtin:builtin",
        "attributes": data_manager,
        # It finds components, slam and vision by itself; what else it shall find it must depend on.
        "depends_on": sorted({row.name for row in rows if row.resource.is_another_service}),
    }
    far = {name: [_associated(methods) for methods in of_remote.values()] for name, of_remote in remotes.items()}
    return {
        **machine,
        "components": [with_capture(each) for each in machine["components"]],
        "services": [*(with_capture(each) for each in machine["services"]), service],
        "remotes": [{**each, "service_configs": far.get(each["name"], [])} for each in machine["remotes"]],
    }


def as_ours(rows: Sequence[Row], machine: Mapping[str, Any], data_manager: Mapping[str, Any]) -> dict[str, Any]:
    """The same config, in which only the data manager's model is another one."""
    config = as_builtin(rows, machine, data_manager)
    *others, service = config["services"]
    return {**config, "services": [*others, {**service, "model": "holdfast:data-manager:durable"}]}


def _associated(methods: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "data_manager", "attributes": {"capture_methods": methods}}
