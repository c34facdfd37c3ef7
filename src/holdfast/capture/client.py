"""The one way to a resource: bytes in, bytes out.

`UnaryClient` is the seam; `GrpcioClient` calls over the machine's own socket. Requests and answers are never
decoded here. gRPC's errors become `ResourceCallError` here and nowhere else.
"""

from __future__ import annotations

import os
from typing import Protocol

import grpc
import grpc.aio

from ..errors import ResourceCallError, ResourceErrorKind

NO_CAPTURE = "no capture from filter module"
MAX_ANSWER_BYTES = 40 * 1024 * 1024
"""More than the 32 MiB that viam-server accepts from a module, less than the disk writer keeps in memory."""


class UnaryClient(Protocol):
    """Calls gRPC methods, with one answer or a stream of them."""

    async def call(self, method: str, request: bytes, timeout_s: float) -> bytes:
        """Returns the serialized answer of `method` ("/package.Service/Method").

        Raises ResourceCallError. When cancelled, the call is cancelled and its answer is lost.
        """

    async def stream(self, method: str, request: bytes, timeout_s: float) -> list[bytes]:
        """Returns all answers of a method that answers with a stream, when the stream has ended.

        Raises ResourceCallError, also when they have more than `MAX_ANSWER_BYTES` together. When cancelled, the
        call is cancelled and its answers are lost.
        """

    async def close(self) -> None:
        """Ends every call in flight. Safe to call twice."""


class GrpcioClient:
    """Calls over the socket of viam-server: a path, or host:port if it uses TCP."""

    def __init__(self, address: str) -> None:
        target = f"unix:{address}" if os.path.isabs(address) else address
        self._channel = grpc.aio.insecure_channel(
            target,
            options=[
                ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
                ("grpc.enable_http_proxy", 0),
                ("grpc.enable_retries", 0),
                ("grpc.max_reconnect_backoff_ms", 1000),
            ],
        )
        self._methods: dict[str, grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = {}
        self._streams: dict[str, grpc.aio.UnaryStreamMultiCallable[bytes, bytes]] = {}

    async def call(self, method: str, request: bytes, timeout_s: float) -> bytes:
        callable_ = self._methods.get(method)
        if callable_ is None:
            callable_ = self._methods[method] = self._channel.unary_unary(method)
        try:
            return await callable_(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise _translate(error) from error

    async def stream(self, method: str, request: bytes, timeout_s: float) -> list[bytes]:
        callable_ = self._streams.get(method)
        if callable_ is None:
            callable_ = self._streams[method] = self._channel.unary_stream(method)
        answers: list[bytes] = []
        size_bytes = 0
        call = callable_(request, timeout=timeout_s)
        try:
            async for answer in call:
                size_bytes += len(answer)
                if size_bytes > MAX_ANSWER_BYTES:
                    raise too_large(method)
                answers.append(answer)
        except grpc.aio.AioRpcError as error:
            raise _translate(error) from error
        finally:
            call.cancel()
        return answers

    async def close(self) -> None:
        await self._channel.close()


def too_large(method: str) -> ResourceCallError:
    """Returns the error for a stream whose answers are too large to be kept in memory."""
    why = f"{method} answered with more than {MAX_ANSWER_BYTES >> 20} MiB"
    return ResourceCallError(ResourceErrorKind.FAILED, why)


def _translate(error: grpc.aio.AioRpcError) -> ResourceCallError:
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.FAILED_PRECONDITION and NO_CAPTURE in details:
        kind = ResourceErrorKind.FILTERED
    elif code is grpc.StatusCode.DEADLINE_EXCEEDED:
        kind = ResourceErrorKind.TIMEOUT
    else:
        kind = ResourceErrorKind.FAILED
    return ResourceCallError(kind, details or code.name)
