"""The one way to a resource: bytes in, bytes out.

`UnaryClient` is the seam; `GrpcioClient` calls over the machine's own socket. Requests and answers are never
decoded here. gRPC's errors become `ResourceCallError` here and nowhere else; their texts are cut.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from typing import Protocol

import grpc
import grpc.aio

from ..base.filesystem import Buffer
from ..base.words import shortened
from ..errors import AnswerTooLargeError, ResourceCallError, ResourceErrorKind
from .large_call import CallFailedError, RoomForAnswer, large_call

NO_CAPTURE = "no capture from filter module"
MAX_STREAM_MESSAGES = 20_000
"""Each takes memory of its own, however small it is. That of an audio stream may be one for each 20 ms."""
MAX_STREAM_MESSAGE_BYTES = 32 * 1024 * 1024
"""What viam-server takes from a module, and passes on as it is."""
_COUNTED_AT_ONCE_BYTES = 64 * 1024
MAX_ERROR_CHARS = 300
_MAX_METADATA_BYTES = 1024 * 1024
"""A longer text of an error is lost; with gRPC's own limit of 8 KiB that would be the traceback of a module."""
_CODES: Mapping[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}
_PLACE_IN_CODE = re.compile(r" - file_name=.{0,4096}? func_name=\S{0,1024} line_num=\w{1,20}", re.DOTALL)
"""What Viam's Python SDK adds to the error of a module: a line of that module's code."""
_TOO_LARGE = re.compile(r"Received message larger than max \((\d+) vs\. (\d+)\)")


class UnaryClient(Protocol):
    """Calls gRPC methods, with one answer or a stream of them."""

    async def call(self, method: str, request: bytes, timeout_s: float, most_bytes: int) -> bytes:
        """Returns the serialized answer of `method` ("/package.Service/Method").

        Raises ResourceCallError; AnswerTooLargeError if the answer has more than `most_bytes`, which it then never
        takes in memory. When cancelled, the call is cancelled and its answer is lost.
        """

    async def large_call(self, method: str, request: bytes, timeout_s: float, room: RoomForAnswer) -> Buffer:
        """Does the same for an answer that may be large, which waits until there is memory for it in `room`.

        Raises ResourceCallError, also when there is none in time. When cancelled, the answer is lost.
        """

    async def stream(self, method: str, request: bytes, timeout_s: float, room: RoomForAnswer) -> Sequence[Buffer]:
        """Returns all answers of a method that answers with a stream, when the stream has ended.

        Raises ResourceCallError, also when they are more than `MAX_STREAM_MESSAGES`, when one has more than
        `MAX_STREAM_MESSAGE_BYTES`, or when there is no memory for them in `room`. When cancelled, the call is
        cancelled and its answers are lost.
        """

    async def close(self) -> None:
        """Ends every call in flight. Safe to call twice."""


class GrpcioClient:
    """Calls over the socket of viam-server: a path, or host:port if it uses TCP.

    gRPC refuses large messages by connection. So there is one for each limit that is asked for, which are few, and
    one for each call whose answer may be large.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._target = f"unix:{address}" if os.path.isabs(address) else address
        self._channels: dict[int, grpc.aio.Channel] = {}
        self._methods: dict[tuple[str, int], grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = {}
        self._streams: dict[tuple[str, int], grpc.aio.UnaryStreamMultiCallable[bytes, bytes]] = {}

    async def call(self, method: str, request: bytes, timeout_s: float, most_bytes: int) -> bytes:
        callable_ = self._methods.get((method, most_bytes))
        if callable_ is None:
            callable_ = self._methods[method, most_bytes] = self._channel(most_bytes).unary_unary(method)
        try:
            return await callable_(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise _translate(error, most_bytes) from error

    async def stream(self, method: str, request: bytes, timeout_s: float, room: RoomForAnswer) -> list[bytes]:
        most_bytes = MAX_STREAM_MESSAGE_BYTES
        callable_ = self._streams.get((method, most_bytes))
        if callable_ is None:
            callable_ = self._streams[method, most_bytes] = self._channel(most_bytes).unary_stream(method)
        answers = StreamedAnswers(method, room)
        call = callable_(request, timeout=timeout_s)
        try:
            async for answer in call:
                answers.add(answer)
        except grpc.aio.AioRpcError as error:
            raise _translate(error, most_bytes) from error
        finally:
            call.cancel()
        return answers.taken()

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()

    async def large_call(self, method: str, request: bytes, timeout_s: float, room: RoomForAnswer) -> Buffer:
        try:
            return await large_call(self._address, method, request, timeout_s, room)
        except CallFailedError as error:
            raise _error(_CODES.get(error.code, grpc.StatusCode.UNKNOWN), error.details) from error
        except asyncio.TimeoutError as error:
            if room.is_waiting:
                raise room.no_memory() from error
            raise _error(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded") from error
        except OSError as error:
            raise _error(grpc.StatusCode.UNAVAILABLE, f"no connection: {error}") from error

    def _channel(self, most_bytes: int) -> grpc.aio.Channel:
        channel = self._channels.get(most_bytes)
        if channel is None:
            options = [
                ("grpc.max_receive_message_length", most_bytes),
                ("grpc.max_metadata_size", _MAX_METADATA_BYTES),
                ("grpc.absolute_max_metadata_size", _MAX_METADATA_BYTES),
                ("grpc.enable_http_proxy", 0),
                ("grpc.enable_retries", 0),
                ("grpc.max_reconnect_backoff_ms", 1000),
            ]
            channel = self._channels[most_bytes] = grpc.aio.insecure_channel(self._target, options=options)
        return channel


class StreamedAnswers:
    """The answers of one stream so far, within the bounds on their number and size."""

    def __init__(self, method: str, room: RoomForAnswer) -> None:
        self._answers: list[bytes] = []
        self._uncounted_bytes = 0
        self._method = method
        self._room = room

    def add(self, answer: bytes) -> None:
        """Takes one more. Raises ResourceCallError when it is one too many, or there is no memory for it."""
        self._uncounted_bytes += len(answer)
        if self._uncounted_bytes > _COUNTED_AT_ONCE_BYTES:
            self._count()
        if len(self._answers) >= MAX_STREAM_MESSAGES:
            why = f"{self._method} answered with more than {MAX_STREAM_MESSAGES} messages"
            raise ResourceCallError(ResourceErrorKind.FAILED, why)
        self._answers.append(answer)

    def taken(self) -> list[bytes]:
        """Returns them all when the stream has ended. Raises ResourceCallError when there is no memory for them."""
        self._count()
        return self._answers

    def _count(self) -> None:
        self._room.take_now(self._uncounted_bytes)
        self._uncounted_bytes = 0


def _translate(error: grpc.aio.AioRpcError, most_bytes: int) -> ResourceCallError:
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and (refused := _refused_bytes(details, most_bytes)):
        return AnswerTooLargeError(refused)
    return _error(code, details)


def _error(code: grpc.StatusCode, details: str) -> ResourceCallError:
    if code is grpc.StatusCode.FAILED_PRECONDITION and NO_CAPTURE in details:
        kind = ResourceErrorKind.FILTERED
    elif code is grpc.StatusCode.DEADLINE_EXCEEDED:
        kind = ResourceErrorKind.TIMEOUT
    else:
        kind = ResourceErrorKind.FAILED
    return ResourceCallError(kind, shortened(_PLACE_IN_CODE.sub("", details), MAX_ERROR_CHARS) or code.name)


def _refused_bytes(details: str, most_bytes: int) -> int:
    """Returns the size of the answer that this client refused; 0 if the error is another one."""
    found = _TOO_LARGE.search(details)
    size_bytes, limit_bytes = (int(found[1]), int(found[2])) if found else (0, 0)
    return size_bytes if limit_bytes == most_bytes < size_bytes else 0
