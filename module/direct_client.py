"""Calls SDK objects as if they stood behind a socket: for hosts without a parent, and for tests.

The SDK's own RPC services translate between messages and methods, so every API that the SDK knows works, by the
same bytes as over the parent's socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.message import Message
from grpclib import GRPCError, Status
from grpclib.const import Handler
from viam.errors import ViamGRPCError
from viam.resource.base import ResourceBase
from viam.resource.manager import ResourceManager
from viam.resource.registry import Registry

from holdfast.capture.client import NO_CAPTURE
from holdfast.errors import ResourceCallError, ResourceErrorKind


class DirectClient:
    """A `UnaryClient` over objects in this process."""

    def __init__(self, resources: Iterable[ResourceBase]) -> None:
        manager = ResourceManager(list(resources))
        self._handlers: dict[str, Handler] = {}
        for api in {resource.API for resource in manager.resources.values()}:
            self._handlers.update(Registry.lookup_api(api).rpc_service(manager).__mapping__())

    async def call(self, method: str, request: bytes, timeout_s: float) -> bytes:
        handler = self._handlers.get(method)
        if handler is None:
            raise ResourceCallError(ResourceErrorKind.FAILED, f"no resource here serves {method}")
        stream = _Stream(handler.request_type.FromString(request))
        try:
            await asyncio.wait_for(handler.func(stream), timeout_s)
        except asyncio.TimeoutError as error:
            raise ResourceCallError(ResourceErrorKind.TIMEOUT, f"no answer within {timeout_s:g} s") from error
        except Exception as error:
            raise _translate(error) from error
        if stream.answer is None:
            raise ResourceCallError(ResourceErrorKind.FAILED, f"{method} ended without an answer")
        return stream.answer.SerializeToString()

    async def close(self) -> None:
        """Nothing is open."""


class _Stream:
    """As much of grpclib's server stream as a unary handler uses."""

    deadline = None
    metadata: Mapping[str, Any] | None = None

    def __init__(self, request: Message) -> None:
        self._request = request
        self.answer: Message | None = None

    async def recv_message(self) -> Message:
        return self._request

    async def send_message(self, answer: Message) -> None:
        self.answer = answer


def _translate(error: Exception) -> ResourceCallError:
    if isinstance(error, ViamGRPCError):
        error = error.grpc_error
    if isinstance(error, GRPCError) and error.status is Status.FAILED_PRECONDITION and NO_CAPTURE in str(error):
        return ResourceCallError(ResourceErrorKind.FILTERED, NO_CAPTURE)
    return ResourceCallError(ResourceErrorKind.FAILED, str(error) or type(error).__name__)
