"""`DirectClient` calls SDK objects as if they were behind a socket: for hosts without a parent, and for tests.

The SDK's own RPC services translate between messages and methods. So every API that the SDK knows works, with the
same bytes as over the parent's socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from google.protobuf.message import Message
from grpclib import GRPCError, Status
from grpclib.const import Handler
from viam.errors import ResourceNotFoundError, ViamGRPCError
from viam.resource.base import ResourceBase
from viam.resource.manager import ResourceManager
from viam.resource.registry import Registry, ResourceRegistration
from viam.resource.types import API

from holdfast.base.words import shortened
from holdfast.capture.client import MAX_ERROR_CHARS, NO_CAPTURE, StreamedAnswers
from holdfast.capture.large_call import RoomForAnswer
from holdfast.errors import AnswerTooLargeError, ResourceCallError, ResourceErrorKind


class DirectClient:
    """A `UnaryClient` that calls objects in this process."""

    def __init__(self, resources: Collection[ResourceBase]) -> None:
        apis: dict[API, ResourceRegistration[Any]] = {}
        for resource in resources:
            with suppress(ResourceNotFoundError):  # the SDK does not know its API
                apis[resource.API] = Registry.lookup_api(resource.API)
        manager = ResourceManager([resource for resource in resources if resource.API in apis])
        self._handlers: dict[str, Handler] = {}
        for api in apis.values():
            self._handlers.update(api.rpc_service(manager).__mapping__())

    async def call(self, method: str, request: bytes, timeout_s: float, most_bytes: int) -> bytes:
        return await self.large_call(method, request, timeout_s, _Fixed(most_bytes))

    async def large_call(self, method: str, request: bytes, timeout_s: float, room: RoomForAnswer) -> bytes:
        answers = await self.stream(method, request, timeout_s, room)
        if not answers:
            raise ResourceCallError(ResourceErrorKind.FAILED, f"{method} ended without an answer")
        return answers[-1]

    async def stream(self, method: str, request: bytes, timeout_s: float, room: RoomForAnswer) -> list[bytes]:
        handler = self._handlers.get(method)
        if handler is None:
            raise ResourceCallError(ResourceErrorKind.FAILED, f"no resource here serves {method}")
        stream = _Stream(handler.request_type.FromString(request), StreamedAnswers(method, room))
        try:
            await asyncio.wait_for(handler.func(stream), timeout_s)
        except asyncio.TimeoutError as error:
            raise ResourceCallError(ResourceErrorKind.TIMEOUT, f"no answer within {timeout_s:g} s") from error
        except Exception as error:
            raise stream.refusal or _translate(error) from error
        if stream.refusal is not None:  # the SDK has caught what the stream raised
            raise stream.refusal
        return stream.answers.taken()

    async def close(self) -> None:
        """Does nothing, since no connection is open."""


class _Fixed:
    """Room for so many bytes, which nobody else takes."""

    is_waiting = False

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._size_bytes = 0

    async def take(self, size_bytes: int) -> None:
        self.take_now(size_bytes)

    def take_now(self, size_bytes: int) -> None:
        self._size_bytes += size_bytes
        self.demand(self._size_bytes)

    def demand(self, size_bytes: int) -> None:
        if size_bytes > self._most_bytes:
            raise self.no_memory()

    def no_memory(self) -> ResourceCallError:
        return AnswerTooLargeError(self._size_bytes)


class _Stream:
    """The part of grpclib's server stream that the handler of a single request uses."""

    deadline = None
    metadata: Mapping[str, Any] | None = None

    def __init__(self, request: Message, answers: StreamedAnswers) -> None:
        self._request = request
        self.answers = answers
        self.refusal: ResourceCallError | None = None
        """Why an answer was not taken."""

    async def recv_message(self) -> Message:
        return self._request

    async def send_message(self, answer: Message) -> None:
        try:
            self.answers.add(answer.SerializeToString())
        except ResourceCallError as error:
            self.refusal = error
            raise


def _translate(error: Exception) -> ResourceCallError:
    if isinstance(error, ViamGRPCError):
        error = error.grpc_error
    if isinstance(error, GRPCError) and error.status is Status.FAILED_PRECONDITION and NO_CAPTURE in str(error):
        return ResourceCallError(ResourceErrorKind.FILTERED, NO_CAPTURE)
    return ResourceCallError(
        ResourceErrorKind.FAILED, shortened(str(error), MAX_ERROR_CHARS) or type(error).__name__
    )
