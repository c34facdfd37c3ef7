"""The client on a real gRPC server: unary and streamed answers as bytes, errors as ours, memory bounded."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

from holdfast.capture.answer_memory import SMALL_BYTES, AnswerMemory, Room
from holdfast.capture.client import GrpcioClient
from holdfast.errors import ResourceCallError, ResourceErrorKind
from tests.waiting import eventually

SERVICE = "test.Echo"
MIB = 1024 * 1024


def room(most_bytes: int) -> Room:
    return Room(AnswerMemory(), min(SMALL_BYTES, most_bytes), most_bytes)


class Echo:
    """Answers N bytes: `Unary` with the same, `Stream` with the same N times, `Fail` with the error they name."""

    def __init__(self) -> None:
        self.sent = 0
        self.ended = asyncio.Event()

    async def unary(self, request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        return request

    async def stream(self, request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> AsyncIterator[bytes]:
        try:
            for _ in range(len(request)):
                self.sent += 1
                yield request
        finally:
            self.ended.set()

    async def fail(self, request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> AsyncIterator[bytes]:
        yield b"one"
        if request == b"hang":
            await asyncio.sleep(60)
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, request.decode())


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def client(echo: Echo) -> AsyncIterator[GrpcioClient]:
    server = grpc.aio.server()
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Unary": grpc.unary_unary_rpc_method_handler(echo.unary),
        "Stream": grpc.unary_stream_rpc_method_handler(echo.stream),
        "Fail": grpc.unary_stream_rpc_method_handler(echo.fail),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    with tempfile.TemporaryDirectory(prefix="hf-") as folder:
        address = str(Path(folder) / "socket")
        server.add_insecure_port(f"unix:{address}")
        await server.start()
        client = GrpcioClient(address)
        yield client
        await client.close()
        await server.stop(None)


async def test_a_unary_answer_comes_as_bytes(client: GrpcioClient) -> None:
    assert await client.call(f"/{SERVICE}/Unary", b"\x00\xff", 5.0, 2) == b"\x00\xff"


async def test_a_stream_comes_whole_and_in_order(client: GrpcioClient) -> None:
    assert await client.stream(f"/{SERVICE}/Stream", b"abc", 5.0, room(9)) == [b"abc"] * 3
    assert await client.stream(f"/{SERVICE}/Stream", b"", 5.0, room(9)) == []


async def test_a_stream_that_does_not_end_is_cut_where_memory_ends(client: GrpcioClient, echo: Echo) -> None:
    with pytest.raises(ResourceCallError, match="larger than 977 KiB, the most that is taken") as caught:
        await client.stream(f"/{SERVICE}/Stream", bytes(10_000), 5.0, room(1_000_000))
    assert caught.value.kind is ResourceErrorKind.FAILED
    await asyncio.wait_for(echo.ended.wait(), 10)  # the server notices
    assert echo.sent < 10_000


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (b"no capture from filter module", ResourceErrorKind.FILTERED),
        (b"broken", ResourceErrorKind.FAILED),
        (b"hang", ResourceErrorKind.TIMEOUT),
    ],
)
async def test_an_error_in_the_midst_of_a_stream_is_the_streams(
    client: GrpcioClient, request_: bytes, kind: ResourceErrorKind
) -> None:
    with pytest.raises(ResourceCallError) as caught:
        await client.stream(f"/{SERVICE}/Fail", request_, 0.5, room(MIB))
    assert caught.value.kind is kind


async def test_a_method_that_is_not_there_is_an_error(client: GrpcioClient) -> None:
    with pytest.raises(ResourceCallError) as caught:
        await client.stream("/test.Nobody/Stream", b"", 5.0, room(MIB))
    assert caught.value.kind is ResourceErrorKind.FAILED


async def test_a_cancelled_stream_ends_on_the_server_too(client: GrpcioClient, echo: Echo) -> None:
    task = asyncio.ensure_future(client.stream(f"/{SERVICE}/Stream", bytes(50_000), 60.0, room(1 << 40)))
    await eventually(lambda: echo.sent)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(echo.ended.wait(), 10)
