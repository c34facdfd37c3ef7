"""Converts protobuf's values to Python's. The SDK's own conversion is not used, since it turns null into 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.struct_pb2 import Value


def plain(fields: Mapping[str, Value]) -> dict[str, Any]:
    """Returns the fields of a `Struct`, or of a message with the same map, as plain values: numbers become floats,
    null becomes None."""
    return {name: _plain(value) for name, value in fields.items()}


def _plain(value: Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return plain(value.struct_value.fields)
    if kind == "list_value":
        return [_plain(item) for item in value.list_value.values]
    return None if kind in (None, "null_value") else getattr(value, kind)
