"""The messages of the data manager's RPCs, between the connection and plain values, within bounds.

The SDK would read a request whole and decode it on the event loop before anybody can look at it. Here its size is
looked at before it is read, and it is decoded on another thread (`off_loop`), up to the bounds of `struct_wire`. A
large request is read only if the budget has room for it; what is large in it is an `Attachment`, which has a part
of the budget until it is used.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpclib.protocol
from google.protobuf.message import Message
from grpclib.server import Stream
from viam.proto.app.datasync import MimeType
from viam.proto.common import DoCommandRequest, DoCommandResponse, GetStatusRequest, GetStatusResponse
from viam.proto.service.datamanager import SyncRequest, UploadBinaryDataToDatasetsRequest

from holdfast.base.attachment import Attachment, Budget, Share
from holdfast.errors import CommandError

from ..off_loop import off_loop
from .struct_wire import Reader, encoded_field, encoded_struct

MAX_REQUEST_BYTES = 48 * 1024 * 1024
"""More than viam-server passes on (32 MiB), and enough for 32 MiB of data in base64."""
MAX_SMALL_BYTES = 256 * 1024
"""A request may have so many bytes beside its attachments. One that is smaller needs no room in the budget."""
PIECE_BYTES = 256 * 1024
"""What is read at once of a request. What has come of it and waits to be read is bounded by its window, 4 MiB."""
BUDGET_BYTES = 64 * 1024 * 1024
"""What the attachments of all requests may take together."""

_PREFIX = struct.Struct(">BI")
_MAX_NAME_BYTES = 4096

ATTACHMENTS = Budget(BUDGET_BYTES)

Found = TypeVar("Found")


class Raw(bytes):
    """A serialized message, for grpclib's codec: it goes out as it is."""

    def SerializeToString(self) -> bytes:
        return self


@dataclass
class Upload:
    """What `UploadBinaryDataToDatasets` asks for."""

    name: str = ""
    data: Attachment = field(default_factory=lambda: Attachment(b""))
    tags: list[str] = field(default_factory=list)
    dataset_ids: list[str] = field(default_factory=list)
    mime_type: MimeType.ValueType = MimeType.MIME_TYPE_UNSPECIFIED


async def receive_name(stream: Stream[Any, Any]) -> str:
    """Returns the name in a request of which nothing else is of interest: `Sync`, `GetStatus`."""
    message, _ = await _receive(stream, MAX_SMALL_BYTES)
    return await off_loop(_name, message)


async def receive_command(stream: Stream[Any, Any]) -> tuple[str, dict[str, Any]]:
    """Returns the name and the command in a `DoCommandRequest`. A long text of the command is an attachment."""
    return await _received(stream, _command)


async def receive_upload(stream: Stream[Any, Any]) -> Upload:
    """Returns what is in an `UploadBinaryDataToDatasetsRequest`."""
    return await _received(stream, _upload)


async def send_result(stream: Stream[Any, Any], result: Mapping[str, Any]) -> None:
    """Sends a `DoCommandResponse` or a `GetStatusResponse`."""
    await stream.send_message(await off_loop(_with_result, result))


async def _received(stream: Stream[Any, Any], decode: Callable[[memoryview, Share | None], Found]) -> Found:
    """Reads a request and decodes it. Its share of the budget is given back at once when that fails, since grpclib
    keeps what an error holds."""
    message, share = await _receive(stream, MAX_REQUEST_BYTES)
    try:
        return await off_loop(decode, message, share)
    except BaseException:
        if share is not None:
            share.end()
        raise


async def _receive(stream: Stream[Any, Any], most_bytes: int) -> tuple[memoryview, Share | None]:
    """Reads a request if its size, which comes first, is within the bounds.

    Raises CommandError, and BusyError when there is no room for it now. grpclib throws away what of it has come.
    """
    connection = stream._stream  # grpclib's own way reads and decodes the whole
    prefix = await connection.recv_data(_PREFIX.size)
    if len(prefix) < _PREFIX.size:
        raise CommandError("the request is empty")
    compressed, size_bytes = _PREFIX.unpack(prefix)
    if compressed:
        raise CommandError("the request is compressed, and may not be")
    if size_bytes > most_bytes:
        raise CommandError(f"the request has {size_bytes} bytes, and may have {most_bytes}")
    share = ATTACHMENTS.reserve(size_bytes) if size_bytes > MAX_SMALL_BYTES else None
    try:
        return await _content(connection, size_bytes), share
    except BaseException:  # the caller is gone
        connection.buffer._acked.clear()  # grpclib keeps the stream, and what has come, until ten others have ended
        if share is not None:
            share.end()
        raise


async def _content(connection: grpclib.protocol.Stream, size_bytes: int) -> memoryview:
    """Reads the content of a request in small pieces.

    grpclib puts together what it reads in one go, which would keep the event loop for a millisecond for each MB. So
    would memory that is made for the whole request beforehand, since Python fills it with zeros.
    """
    content = bytearray()
    try:
        while len(content) < size_bytes:
            piece = await connection.recv_data(min(PIECE_BYTES, size_bytes - len(content)))
            if not piece:
                raise CommandError(f"the request ends after {len(content)} of {size_bytes} bytes")
            content += piece
            await asyncio.sleep(0)  # the next piece may be there already, and others wait
    except BaseException:
        content.clear()  # the error keeps it
        raise
    return memoryview(content).toreadonly()


def _number(message: type[Message], name: str) -> int:
    number: int = message.DESCRIPTOR.fields_by_name[name].number
    return number


_NAME = 1
assert {_number(each, "name") for each in (DoCommandRequest, GetStatusRequest, SyncRequest)} == {_NAME}
_COMMAND = _number(DoCommandRequest, "command")
_DATA, _TAGS, _DATASET_IDS, _MIME_TYPE = (
    _number(UploadBinaryDataToDatasetsRequest, name) for name in ("binary_data", "tags", "dataset_ids", "mime_type")
)


_RESULT = 1
assert {_number(each, "result") for each in (DoCommandResponse, GetStatusResponse)} == {_RESULT}


def _with_result(result: Mapping[str, Any]) -> Raw:
    return Raw(encoded_field(_RESULT, encoded_struct(result)))


def _name(message: memoryview) -> str:
    reader, name = Reader(), ""
    for number, _, content in reader.fields(message):
        if number == _NAME and isinstance(content, memoryview):
            name = _resource_name(reader, content)
    return name


def _command(message: memoryview, share: Share | None) -> tuple[str, dict[str, Any]]:
    reader, name, command = Reader(share), "", memoryview(b"")
    for number, _, content in reader.fields(message):
        if number == _NAME and isinstance(content, memoryview):
            name = _resource_name(reader, content)
        elif number == _COMMAND and isinstance(content, memoryview):
            command = content
    arguments = reader.struct(command)
    _check_rest(len(message) - sum(len(each) for each in arguments.values() if isinstance(each, Attachment)))
    return name, arguments


def _upload(message: memoryview, share: Share | None) -> Upload:
    reader, found, size_bytes = Reader(), Upload(), 0
    for number, _, content in reader.fields(message):
        if isinstance(content, int):
            if number == _MIME_TYPE:
                found.mime_type = MimeType.ValueType(content)
        elif number == _DATA:
            found.data, size_bytes = Attachment(content, share), len(content)
        elif number == _NAME:
            found.name = _resource_name(reader, content)
        elif number in (_TAGS, _DATASET_IDS):
            (found.tags if number == _TAGS else found.dataset_ids).append(reader.text(content))
    _check_rest(len(message) - size_bytes)
    return found


def _check_rest(size_bytes: int) -> None:
    if size_bytes > MAX_SMALL_BYTES:
        raise CommandError(
            f"the arguments have {size_bytes} bytes beside the data that they bring, and may have {MAX_SMALL_BYTES}"
        )


def _resource_name(reader: Reader, content: memoryview) -> str:
    if len(content) > _MAX_NAME_BYTES:
        raise CommandError(f"the name of the data manager has {len(content)} bytes, and may have {_MAX_NAME_BYTES}")
    return reader.text(content)
