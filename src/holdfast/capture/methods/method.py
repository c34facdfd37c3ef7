"""The types of the rows in the method tables, and the functions that build most of them.

A row says which RPC is called, how the request is built, and how the answer becomes what is stored: one `Struct`
(`TabularMethod`), or payloads of which each becomes a file (`BinaryMethod`). Rows are constants: equal
configurations have equal rows. Functions that read an answer raise ResourceCallError if they can't use it.
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
from .steps import Steps

MAX_DECODED_BYTES = 16 * 1024
"""The most that is decoded at once. It takes protobuf up to a millisecond, in which no other thread runs Python."""
MAX_TABULAR_BYTES = 16 * 1024 * 1024
"""The most that a tabular answer may have. A document of MongoDB has no more, and Viam's cloud takes 4 MB."""
MAX_BINARY_BYTES = 40 * 1024 * 1024
"""More than the 32 MiB that viam-server accepts from a module, less than the disk writer keeps in memory."""

MAX_PAYLOADS = 100
"""The most payloads that one answer may have, since each becomes a file."""

Answer = TypeVar("Answer", bound=Message)
Params = Mapping[str, Any]
"""The `additional_params` of a configured method."""
Problem = Callable[[Params], str]
"""Returns what is wrong with the parameters and how to fix it; empty if nothing is."""


@dataclass(frozen=True)
class Target:
    """What a request is made from: the resource's short name, and what is configured for the method."""

    name: str
    params: Params
    frequency_hz: float
    after_ns: int = 0
    """Where the previous answer ended (`BinaryAnswer.end_ns`), for streams that continue from there."""


def no_problem(params: Params) -> str:
    """Finds nothing wrong with any parameters."""
    return ""


@dataclass(frozen=True)
class TabularMethod:
    """A method whose answer becomes one `Struct`."""

    rpc: str
    """The full gRPC method name."""
    request: Callable[[Target], bytes]
    """Returns the serialized request."""
    payload: Callable[[bytes], bytes]
    """Returns the serialized `Struct` to store, from the serialized answer."""
    problem: Problem = no_problem
    most_bytes: int = MAX_TABULAR_BYTES
    """A larger answer is an error."""


@dataclass(frozen=True)
class Binary:
    """One payload. Its bytes are `parts`, joined: slices of the answer, so that nothing is copied."""

    parts: tuple[Buffer, ...]
    mime_type: str
    annotations: bytes = b""
    """A serialized `Annotations`."""

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.parts))


@dataclass(frozen=True)
class BinaryAnswer:
    """The payloads of one answer."""

    binaries: tuple[Binary, ...]
    received_ns: int = 0
    """The wall time at which they were taken, if the resource says it; else 0."""
    end_ns: int = 0
    """Where the stream ended, in ns as the resource gives it, for streams that continue from there."""


def _no_extension(params: Params) -> str:
    return ""


@dataclass(frozen=True)
class BinaryMethod:
    """A method whose answer becomes files, one for each payload."""

    rpc: str
    request: Callable[[Target], bytes]
    answer: Callable[[Target, Sequence[Buffer], Steps], BinaryAnswer]
    """Returns the payloads, from the serialized answer, or from all answers if `streamed`.

    It may run on any thread, and again for the same answer. Raises TooManyStepsError, see `steps`.
    """
    extension: Callable[[Params], str] = _no_extension
    """Returns the file extension for the header, like RDK's getFileExt."""
    problem: Problem = no_problem
    streamed: bool = False
    """Whether the RPC answers with a stream of messages."""
    gapless: bool = False
    """Whether a call lasts as long as its interval, and the next one continues at once where it ended."""
    most_bytes: int = MAX_BINARY_BYTES
    """A larger answer, or all messages of a stream together if they are larger, is an error."""


Method = TabularMethod | BinaryMethod


def unusable(why: str) -> ResourceCallError:
    """Returns the error for an answer of which nothing can be stored."""
    return ResourceCallError(ResourceErrorKind.FAILED, why)


def from_data_management() -> Struct:
    """Returns the `extra` that tells a filter module that the data manager calls (RDK's FromDMExtraMap)."""
    extra = Struct()
    extra.update({"fromDataManagement": True})
    return extra


def by_name(request_type: Callable[..., Message]) -> Callable[[Target], bytes]:
    """Returns a function that builds requests from the resource's name and `from_data_management`."""

    def request(target: Target) -> bytes:
        return request_type(name=target.name, extra=from_data_management()).SerializeToString()

    return request


def fields_of(answer_type: type[Message]) -> Callable[[bytes], bytes]:
    """Returns a function that makes payloads with every field of the answer, under its name in the .proto file.

    Fields that are zero are included, as by RDK's StructToStructPbIgnoreOmitEmpty. Numbers and enums become
    numbers; an empty list stays a list.
    """

    def payload(answer: bytes) -> bytes:
        return struct_of(decoded(answer_type, answer)).SerializeToString()

    return payload


def decoded(answer_type: type[Answer], answer: bytes | memoryview) -> Answer:
    """Returns the decoded answer. Raises ResourceCallError if it is not a message of that type, or too large."""
    if len(answer) > MAX_DECODED_BYTES:
        name = answer_type.DESCRIPTOR.name
        raise unusable(f"a {name} in the answer has {len(answer)} bytes; at most {MAX_DECODED_BYTES} are decoded")
    try:
        return answer_type.FromString(bytes(answer))
    except DecodeError as error:
        raise unusable(f"the answer can't be read as a {answer_type.DESCRIPTOR.name}") from error


def decoded_part(answer_type: type[Answer], part: memoryview, steps: Steps) -> Answer:
    """Returns a decoded part of an answer. Raises what `decoded` and `Steps` raise."""
    steps.take_bytes(len(part))
    return decoded(answer_type, part)


def struct_of(message: Message) -> Struct:
    """Returns a message as a `Struct`, by the rules of `fields_of`."""
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
    """Returns the problem with a parameter that must be a string; empty if there is none.

    `what` is the advice for users.
    """
    if name not in params:
        return f"additional_params.{name} is missing: {what}"
    if not isinstance(params[name], str) or not params[name]:
        return f"additional_params.{name} must be a string, not {params[name]!r}: {what}"
    return ""
