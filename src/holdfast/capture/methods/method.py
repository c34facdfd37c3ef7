"""What a row of the method tables is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.struct_pb2 import Struct


@dataclass(frozen=True)
class TabularMethod:
    """A method whose answer becomes one `Struct`."""

    rpc: str
    """The full gRPC method name."""
    request: Callable[[str, Mapping[str, Any]], bytes]
    """The serialized request for a resource's name and the configured parameters."""
    payload: Callable[[bytes], bytes]
    """The serialized `Struct` to store, from the serialized answer."""


def from_data_management() -> Struct:
    """The `extra` by which a filter module knows that the data manager asks (RDK's FromDMExtraMap)."""
    extra = Struct()
    extra.update({"fromDataManagement": True})
    return extra
