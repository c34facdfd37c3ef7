"""The one way to a resource: bytes in, bytes out.

`UnaryClient` is the seam; `GrpcioClient` speaks to the machine's own socket. Requests and answers are never decoded
here. gRPC's errors become `ResourceCallError` at this door.
"""

from __future__ import annotations

import os
from typing import Protocol

import grpc
import grpc.aio

from ..errors import ResourceCallError, ResourceErrorKind

NO_CAPTURE = "no capture from filter module"
MAX_ANSWER_BYTES = 64 * 1024 * 1024


class UnaryClient(Protocol):
    """Calls one gRPC method."""

    async def call(self, method: str, request: bytes, timeout_s: float) -> bytes:
        """The serialized answer of `method` ("/package.Service/Method"), or ResourceCallError.

        When cancelled, the call is cancelled on its way and its answer is never seen.
        """

    async def close(self) -> None:
        """Ends every call that is under way. Safe to call twice."""


class GrpcioClient:
    """Calls over the parent's socket: a path, or host:port where viam-server uses TCP."""

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

    async def call(self, method: str, request: bytes, timeout_s: float) -> bytes:
        callable_ = self._methods.get(method)
        if callable_ is None:
            callable_ = self._methods[method] = self._channel.unary_unary(method)
        try:
            return await callable_(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise _translate(error) from error

    async def close(self) -> None:
        await self._channel.close()


def _translate(error: grpc.aio.AioRpcError) -> ResourceCallError:
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.FAILED_PRECONDITION and NO_CAPTURE in details:
        kind = ResourceErrorKind.FILTERED
    elif code is grpc.StatusCode.DEADLINE_EXCEEDED:
        kind = ResourceErrorKind.TIMEOUT
    else:
        kind = ResourceErrorKind.FAILED
    return ResourceCallError(kind, details or code.name)
