"""Corrects the names of keys that are written in another case, such as `Capture_Methods`.

viam-server reads a config in Go, whose decoders accept such names (encoding/json, and mapstructure for attributes).
Where a key is there in the usual spelling too, that one counts, and the other stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Shape:
    """The usual names of an object's keys, and the shapes of what some hold: an object, or a list of objects."""

    names: Iterable[str] = ()
    inner: Mapping[str, Shape] = field(default_factory=dict)


_METHOD = Shape(
    (
        "name", "method", "capture_frequency_hz", "capture_queue_size", "capture_buffer_size", "additional_params",
        "disabled", "tags", "capture_directory", "priority", "timeout_ms", "max_in_flight",
    )
)  # fmt: skip
DATA_MANAGER = Shape(("adopt_component_settings",), {"capture_methods": _METHOD})
"""The attributes of a data manager that this package reads; `config` reads the others."""
_SERVICE_CONFIG = Shape(("type",), {"attributes": DATA_MANAGER})
_RESOURCE = Shape(
    ("name", "api", "type", "namespace", "model", "depends_on", "attributes"),
    {"service_configs": _SERVICE_CONFIG},
)
_REMOTE = Shape(("name", "prefix"), {"service_configs": _SERVICE_CONFIG})
_MODULE = Shape(("name", "type", "module_id", "executable_path", "version", "env"))
MACHINE = Shape(
    ("fragments", "cloud"),
    {"components": _RESOURCE, "services": _RESOURCE, "remotes": _REMOTE, "modules": _MODULE},
)
"""The keys of a machine's config that this package reads, without attributes: they have names of their own."""


def correct(value: Any, shape: Shape) -> None:
    """Renames the keys of an object, or of each object in a list, and in what they hold. Their order stays."""
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, dict):
            _correct_object(each, shape)


def _correct_object(found: dict[str, Any], shape: Shape) -> None:
    usual = {name.lower(): name for name in (*shape.names, *shape.inner) if name not in found}
    if any(key.lower() in usual for key in found):
        entries = [(usual.pop(key.lower(), key), value) for key, value in found.items()]
        found.clear()
        found.update(entries)
    for name, inner in shape.inner.items():
        correct(found.get(name), inner)
