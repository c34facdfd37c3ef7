"""The client on a real gRPC server: unary and streamed answers as bytes, errors as ours, memory bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest

from holdfast.capture.answer_memory import SMALL_BYTES, AnswerMemory, Room
from holdfast.capture.client import MAX_ERROR_CHARS, GrpcioClient
from holdfast.errors import AnswerTooLargeError, ResourceCallError, ResourceErrorKind
from tests.waiting import eventually

from .serving import served

SERVICE = "test.Echo"
MIB = 1024 * 1024


def room(most_bytes: int) -> Room:
    return Room(AnswerMemory(), most_bytes)


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
        larger = b"larger" in request
        code = grpc.StatusCode.RESOURCE_EXHAUSTED if larger else grpc.StatusCode.FAILED_PRECONDITION
        await context.abort(code, request.decode())


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def client(echo: Echo) -> AsyncIterator[GrpcioClient]:
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Unary": grpc.unary_unary_rpc_method_handler(echo.unary),
        "Stream": grpc.unary_stream_rpc_method_handler(echo.stream),
        "Fail": grpc.unary_stream_rpc_method_handler(echo.fail),
    }
    async with served(SERVICE, handlers) as client:
        yield client


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


async def test_an_answer_that_is_larger_than_its_call_allows_is_refused_with_its_size(client: GrpcioClient) -> None:
    with pytest.raises(AnswerTooLargeError) as caught:
        await client.call(f"/{SERVICE}/Unary", bytes(3 * MIB), 5.0, SMALL_BYTES)
    assert caught.value.size_bytes == 3 * MIB
    assert await client.call(f"/{SERVICE}/Unary", bytes(3 * MIB), 5.0, 4 * MIB) == bytes(3 * MIB)
    assert await client.call(f"/{SERVICE}/Unary", b"small", 5.0, SMALL_BYTES) == b"small"


async def test_a_stream_that_is_larger_than_its_room_is_an_error(client: GrpcioClient) -> None:
    with pytest.raises(ResourceCallError, match=r"larger than 1.0 MiB"):
        await client.stream(f"/{SERVICE}/Stream", bytes(2_000), 5.0, room(MIB))


async def test_what_another_one_refused_as_too_large_is_an_error_like_any_other(client: GrpcioClient) -> None:
    """What this client refuses has its own limit in the text."""
    text = b"Received message larger than max (9999999 vs. 1000)"
    with pytest.raises(ResourceCallError) as caught:
        await client.stream(f"/{SERVICE}/Fail", text, 5.0, room(MIB))
    assert not isinstance(caught.value, AnswerTooLargeError)


async def test_a_stream_of_too_many_messages_is_an_error(
    client: GrpcioClient, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.capture.client.MAX_STREAM_MESSAGES", 10)
    assert len(await client.stream(f"/{SERVICE}/Stream", bytes(10), 5.0, room(MIB))) == 10
    with pytest.raises(ResourceCallError, match="answered with more than 10 messages"):
        await client.stream(f"/{SERVICE}/Stream", bytes(5_000), 5.0, room(MIB))
    await asyncio.wait_for(echo.ended.wait(), 10)
    assert echo.sent < 5_000


@pytest.mark.parametrize("size_bytes", [1000, 20_000, 500_000])
async def test_a_long_text_of_an_error_arrives_and_is_cut(client: GrpcioClient, size_bytes: int) -> None:
    """gRPC's own limit for it is 8 KiB, beyond which the text would be about that limit."""
    with pytest.raises(ResourceCallError) as caught:
        await client.stream(f"/{SERVICE}/Fail", b"broken: " + b"x" * size_bytes, 5.0, room(MIB))
    assert str(caught.value).startswith("broken: xxx")
    assert len(str(caught.value)) == MAX_ERROR_CHARS


async def test_the_place_in_a_modules_code_is_cut_out_of_its_error(client: GrpcioClient) -> None:
    said = "ValueError - no such pin - file_name='/a module/board.py' func_name='do' line_num=17 (at viam-server)"
    with pytest.raises(ResourceCallError) as caught:
        await client.stream(f"/{SERVICE}/Fail", said.encode(), 5, room(MIB))
    assert str(caught.value) == "ValueError - no such pin (at viam-server)"


async def test_a_filter_is_known_whatever_else_it_says(client: GrpcioClient) -> None:
    text = b"x" * 20_000 + b" no capture from filter module"
    with pytest.raises(ResourceCallError) as caught:
        await client.stream(f"/{SERVICE}/Fail", text, 5.0, room(MIB))
    assert caught.value.kind is ResourceErrorKind.FILTERED
