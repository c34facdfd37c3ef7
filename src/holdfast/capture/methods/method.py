"""What a row of the method tables is made of.

A row says which RPC is called, how the request is built, and how the answer becomes what is stored: one `Struct`
(`TabularMethod`) or one or more payloads, each a file of its own (`BinaryMethod`). A row is a constant: equal
configurations have equal rows. An answer that can't be used is a ResourceCallError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.struct_pb2 import Struct, Value

from ...base.filesystem import Buffer
from ...errors import ResourceCallError, ResourceErrorKind

Answer = TypeVar("Answer", bound=Message)
Params = Mapping[str, Any]
"""`additional_params` of a configured method."""


@dataclass(frozen=True)
class Target:
    """Whom a request is for, and why."""

    name: str
    params: Params
    frequency_hz: float
    after_ns: int = 0
    """Where the answer before ended (`BinaryAnswer.end_ns`), for streams that go on there."""


def _nothing(params: Params) -> str:
    return ""


@dataclass(frozen=True)
class TabularMethod:
    """A method whose answer becomes one `Struct`."""

    rpc: str
    """The full gRPC method name."""
    request: Callable[[Target], bytes]
    """The serialized request."""
    payload: Callable[[bytes], bytes]
    """The serialized `Struct` to store, from the serialized answer."""
    problem: Callable[[Params], str] = _nothing
    """What is wrong with the parameters and how to mend it; empty when nothing is."""


@dataclass(frozen=True)
class Binary:
    """One payload. `parts` joined are its bytes: slices of the answer, so that nothing is copied."""

    parts: tuple[Buffer, ...]
    mime_type: str
    annotations: bytes = b""
    """A serialized `Annotations`."""


@dataclass(frozen=True)
class BinaryAnswer:
    """The payloads of one answer."""

    binaries: tuple[Binary, ...]
    received_ns: int = 0
    """When they were taken, where the resource says it; else 0."""
    end_ns: int = 0
    """Where the stream ended, for streams that go on there."""


def no_extension(params: Params) -> str:
    return ""


@dataclass(frozen=True)
class BinaryMethod:
    """A method whose answer becomes files."""

    rpc: str
    request: Callable[[Target], bytes]
    answer: Callable[[Target, Sequence[bytes]], BinaryAnswer]
    """The payloads, from the serialized answer, or answers where `streamed`."""
    extension: Callable[[Params], str] = no_extension
    """The file extension that the header tells, as RDK's getFileExt gives it."""
    problem: Callable[[Params], str] = _nothing
    streamed: bool = False
    """Whether the RPC answers with a stream of messages."""
    gapless: bool = False
    """A call lasts as long as its interval, and the next follows at once, where the one before ended."""


Method = TabularMethod | BinaryMethod


def unusable(why: str) -> ResourceCallError:
    """What is raised for an answer of which nothing can be stored."""
    return ResourceCallError(ResourceErrorKind.FAILED, why)


def from_data_management() -> Struct:
    """The `extra` by which a filter module knows that the data manager asks (RDK's FromDMExtraMap)."""
    extra = Struct()
    extra.update({"fromDataManagement": True})
    return extra


def by_name(request_type: Callable[..., Message]) -> Callable[[Target], bytes]:
    """Requests that tell the resource's name and that the data manager asks."""

    def request(target: Target) -> bytes:
        return request_type(name=target.name, extra=from_data_management()).SerializeToString()

    return request


def fields_of(answer_type: type[Message]) -> Callable[[bytes], bytes]:
    """Payloads with every field of the answer by its name in the .proto file, those that are zero too, as RDK's
    StructToStructPbIgnoreOmitEmpty makes them: numbers and enums are numbers, an empty list stays a list."""

    def payload(answer: bytes) -> bytes:
        return struct_of(decoded(answer_type, answer)).SerializeToString()

    return payload


def decoded(answer_type: type[Answer], answer: bytes) -> Answer:
    try:
        return answer_type.FromString(answer)
    except DecodeError as error:
        raise unusable(f"the answer is no {answer_type.DESCRIPTOR.name}") from error


def struct_of(message: Message) -> Struct:
    """A message as a `Struct`; see `fields_of`."""
    struct = Struct()
    _fill(struct, message)
    return struct


def _fill(struct: Struct, message: Message) -> None:
    for field in message.DESCRIPTOR.fields:
        value, found = getattr(message, field.name), struct.fields[field.name]
        if field.is_repeated:
            found.list_value.SetInParent()
            for item in value:
                _set(found.list_value.values.add(), field, item)
        else:
            _set(found, field, value)


def _set(found: Value, field: FieldDescriptor, value: Any) -> None:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        found.struct_value.SetInParent()
        _fill(found.struct_value, value)
    elif field.type == FieldDescriptor.TYPE_BOOL:
        found.bool_value = value
    else:
        found.number_value = value


def required_text(params: Params, name: str, what: str) -> str:
    """The problem with a parameter that must be a string, or nothing."""
    if name not in params:
        return f"additional_params.{name} is missing: {what}"
    if not isinstance(params[name], str) or not params[name]:
        return f"additional_params.{name} must be a string, not {params[name]!r}: {what}"
    return ""
