"""The connection of one call with a large answer: what it receives, and what the other side can do to it."""

from __future__ import annotations

import asyncio
import gc
import os
import struct
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import hpack
import pytest

from holdfast.capture import answer_memory
from holdfast.capture import large_call as large_call_module
from holdfast.capture.answer_memory import AnswerMemory, Room
from holdfast.capture.client import MAX_ERROR_CHARS, GrpcioClient
from holdfast.capture.large_call import CallFailedError, large_call
from holdfast.errors import ResourceCallError, ResourceErrorKind
from tests.waiting import eventually

from .serving import served

METHOD = "/test.Large/Call"
MIB = 1024 * 1024
MOST_BYTES = 4 * MIB


def room(most_bytes: int = MOST_BYTES) -> Room:
    return Room(AnswerMemory(), most_bytes)


DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_STREAM, END_HEADERS, PADDED, PRIORITY = 1, 4, 8, 0x20


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 1) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def encoded(*headers: tuple[str, str]) -> bytes:
    return hpack.Encoder().encode(headers)


def message(content: bytes, size_bytes: int | None = None, compressed: int = 0) -> bytes:
    return struct.pack(">BI", compressed, len(content) if size_bytes is None else size_bytes) + content


HEAD = frame(SETTINGS, stream=0) + frame(HEADERS, encoded((":status", "200")), END_HEADERS)
OK = frame(HEADERS, encoded(("grpc-status", "0")), END_HEADERS | END_STREAM)
WHOLE = HEAD + frame(DATA, message(b"answer")) + OK


class Scripted:
    """A server that sends `pieces` to whoever calls, and keeps what it was sent."""

    def __init__(self, pieces: Sequence[bytes], *, ends: bool) -> None:
        self.received = bytearray()
        self.connections = 0
        self._pieces = pieces
        self._ends = ends

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            self.received += await reader.read(100_000)
            for piece in self._pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            while not self._ends and (more := await reader.read(100_000)):
                self.received += more
        except ConnectionError:
            pass
        finally:
            self.connections -= 1
            writer.close()


@asynccontextmanager
async def scripted(*pieces: bytes, ends: bool = False) -> AsyncIterator[tuple[Scripted, str]]:
    server = Scripted(pieces, ends=ends)
    with tempfile.TemporaryDirectory(prefix="hf-") as folder:
        address = os.path.join(folder, "socket")
        listening = await asyncio.start_unix_server(server.serve, address)
        try:
            yield server, address
        finally:
            listening.close()
            await listening.wait_closed()


async def answer_to(*pieces: bytes, ends: bool = False, timeout_s: float = 20.0) -> bytes:
    async with scripted(*pieces, ends=ends) as (server, address):
        try:
            return bytes(await large_call(address, METHOD, b"request", timeout_s, room()))
        finally:
            await eventually(lambda: not server.connections)


@pytest.mark.parametrize("step", [1, 2, 7, 100])
async def test_an_answer_is_whole_however_its_bytes_are_cut(step: int) -> None:
    assert await answer_to(*(WHOLE[at : at + step] for at in range(0, len(WHOLE), step))) == b"answer"


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + frame(DATA, message(b"")) + OK,
        HEAD + b"".join(frame(DATA, message(b"answer")[at : at + 1]) for at in range(11)) + OK,
        HEAD + frame(DATA, b"\2" + message(b"answer") + b"\0\0", PADDED) + OK,
        HEAD + frame(HEADERS, b"", END_HEADERS) + frame(DATA, message(b"answer")) + OK,
        frame(HEADERS, b"\1" + bytes(5) + encoded((":status", "200")) + b"\0", END_HEADERS | PADDED | PRIORITY)
        + frame(DATA, message(b"answer"))
        + OK,
        HEAD
        + frame(0x42, b"what is this")
        + frame(DATA, b"another's", stream=3)
        + frame(DATA, message(b"answer"))
        + OK,
        HEAD + frame(GOAWAY, struct.pack(">II", 1, 0), stream=0) + frame(DATA, message(b"answer")) + OK,
        HEAD
        + frame(DATA, message(b"answer"))
        + frame(HEADERS, encoded(("grpc-status", "0"))[:3], END_STREAM)
        + frame(CONTINUATION, encoded(("grpc-status", "0"))[3:], END_HEADERS),
    ],
    ids=["empty", "byte by byte", "padded", "no headers", "priority", "unknown", "goaway", "continuation"],
)
async def test_frames_are_read_as_http_2_has_them(sent: bytes) -> None:
    assert await answer_to(sent) in (b"answer", b"")


async def test_pings_and_settings_are_answered() -> None:
    before, after = HEAD + frame(PING, b"12345678", stream=0), frame(DATA, message(b"answer")) + OK
    async with scripted(before, *[b""] * 50, after) as (server, address):
        assert bytes(await large_call(address, METHOD, b"request", 20.0, room())) == b"answer"
        await eventually(lambda: not server.connections)
        assert frame(PING, b"12345678", 1, stream=0) in server.received
        assert frame(SETTINGS, b"", 1, stream=0) in server.received


ENDLESS = b"".join(frame(CONTINUATION, bytes(16_000)) for _ in range(10))


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"", "connection lost"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "a frame is larger than was agreed on"),
        (HEAD, "connection lost"),
        (HEAD + frame(DATA, message(b"answer")), "connection lost"),
        (HEAD + frame(DATA, message(b"answer"), END_STREAM), "without a status"),
        (HEAD + frame(DATA, message(b"ans", 6)) + OK, "ended before its answer"),
        (HEAD + OK, "ended before its answer"),
        (HEAD + frame(DATA, message(b"answer") + b"more") + OK, "more than one answer"),
        (HEAD + frame(DATA, message(b"answer", compressed=1)) + OK, "compressed"),
        (HEAD + frame(RST_STREAM, struct.pack(">I", 8)), "reset with error 8"),
        (frame(GOAWAY, struct.pack(">II", 0, 0), stream=0), "takes no more calls"),
        (frame(HEADERS, encoded((":status", "404")), END_HEADERS | END_STREAM), "HTTP status 404"),
        (frame(HEADERS, b"\xff\xff\xff\xff\xff\xff", END_HEADERS), "not understood"),
        (frame(HEADERS, encoded(("grpc-status", "what")), END_HEADERS | END_STREAM), "not understood"),
        (frame(HEADERS, b"", PADDED | END_HEADERS), "not understood"),
        (frame(HEADERS, b"", 0) + ENDLESS, "more than 16384 bytes"),
        (frame(DATA, bytes(20_000)), "larger than was agreed on"),
    ],
)
async def test_what_makes_no_sense_is_an_error_that_says_why(sent: bytes, why: str) -> None:
    with pytest.raises(CallFailedError, match=why):
        await answer_to(sent, ends=True)


async def test_an_answer_that_is_too_large_is_refused_by_its_first_bytes() -> None:
    with pytest.raises(ResourceCallError, match=r"larger than 4.0 MiB"):
        await answer_to(HEAD + frame(DATA, message(b"", MOST_BYTES + 1)))


async def test_a_call_without_an_answer_ends_in_time_and_so_does_its_connection() -> None:
    with pytest.raises(asyncio.TimeoutError):
        await answer_to(HEAD, timeout_s=0.05)


async def test_a_cancelled_call_closes_its_connection() -> None:
    async with scripted(HEAD) as (server, address):
        call = asyncio.ensure_future(large_call(address, METHOD, b"", 60.0, room()))
        await eventually(lambda: server.received)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await eventually(lambda: not server.connections)


async def test_an_answer_is_received_in_steps_and_copied_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No step of the event loop takes more of it than the receiver's buffer holds."""
    taken: list[int] = []
    updated = large_call_module._Receiver.buffer_updated

    def noted(receiver: large_call_module._Receiver, nbytes: int) -> None:
        taken.append(nbytes)
        updated(receiver, nbytes)

    monkeypatch.setattr(large_call_module._Receiver, "buffer_updated", noted)
    content = os.urandom(MOST_BYTES)

    async def serve(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        return content

    async with real(serve) as client:
        answer = await client.large_call(METHOD, b"", 20.0, room())
    assert answer == content
    assert isinstance(answer, memoryview)
    assert max(taken) <= 256 * 1024


Serve = Callable[[bytes, "grpc.aio.ServicerContext[bytes, bytes]"], Awaitable[bytes]]


@asynccontextmanager
async def real(serve: Serve) -> AsyncIterator[GrpcioClient]:
    async with served("test.Large", {"Call": grpc.unary_unary_rpc_method_handler(serve)}) as client:
        yield client


async def test_a_large_answer_of_a_grpc_server_comes_as_it_is() -> None:
    content = os.urandom(20 * MIB)

    async def serve(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        assert request == bytes(30_000)
        return content

    async with real(serve) as client:
        assert await client.large_call(METHOD, bytes(30_000), 20.0, room(40 * MIB)) == content
        with pytest.raises(ResourceCallError, match=r"larger than 16.0 MiB"):
            await client.large_call(METHOD, bytes(30_000), 20.0, room(16 * MIB))


async def test_an_answer_waits_at_the_server_until_there_is_memory_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many come at once: none is refused, and all together never take more than there is."""
    monkeypatch.setattr(answer_memory, "MAX_BYTES", 10 * MIB)
    memory, most_bytes = AnswerMemory(), 0
    content = os.urandom(3 * MIB)

    async def serve(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        return content

    async def call(client: GrpcioClient) -> bool:
        nonlocal most_bytes
        mine = Room(memory, 40 * MIB)
        try:
            answer = await client.large_call(METHOD, b"", 60.0, mine)
            most_bytes = max(most_bytes, memory.taken_bytes)
            return bytes(answer) == content
        finally:
            mine.end()

    async with real(serve) as client:
        assert all(await asyncio.gather(*(call(client) for _ in range(12))))
    assert 6 * MIB < most_bytes <= 10 * MIB
    assert memory.taken_bytes == 0


async def test_before_there_is_memory_the_other_side_may_send_only_a_little() -> None:
    memory = AnswerMemory()
    await memory.take(answer_memory.MAX_BYTES)
    mine = Room(memory, MOST_BYTES)
    sent = [HEAD, frame(DATA, message(b"", MOST_BYTES)), *[frame(DATA, bytes(16_000)) for _ in range(5)]]
    async with scripted(b"".join(sent)) as (_, address):
        with pytest.raises(CallFailedError, match="more was sent than was allowed"):
            await large_call(address, METHOD, b"", 20.0, mine)
    async with scripted(b"".join(sent[:3])) as (_, address):
        with pytest.raises(ResourceCallError, match=r"no memory for an answer of 4.0 MiB"):
            await GrpcioClient(address).large_call(METHOD, b"", 1.0, Room(memory, MOST_BYTES))


async def test_a_large_answer_comes_over_tcp_too() -> None:
    """With VIAM_TCP_SOCKETS viam-server has a port in place of a socket."""
    server = Scripted([WHOLE], ends=False)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    assert await GrpcioClient(f"127.0.0.1:{port}").large_call(METHOD, b"", 20.0, room()) == b"answer"
    await eventually(lambda: not server.connections)
    listening.close()


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (grpc.StatusCode.FAILED_PRECONDITION, "no capture from filter module", ResourceErrorKind.FILTERED),
        (grpc.StatusCode.UNKNOWN, "broken: ä\n 100 %", ResourceErrorKind.FAILED),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "slow", ResourceErrorKind.TIMEOUT),
        (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "received message larger than max",
            ResourceErrorKind.FAILED,
        ),
        (grpc.StatusCode.INTERNAL, "x" * 10_000, ResourceErrorKind.FAILED),
    ],
)
async def test_the_errors_of_a_large_call_are_those_of_any_other(
    code: grpc.StatusCode, text: str, kind: ResourceErrorKind
) -> None:
    async def serve(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        await context.abort(code, text)

    async with real(serve) as client:
        errors = []
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: client.call(METHOD, b"", 20.0, MIB),
            lambda: client.large_call(METHOD, b"", 20.0, room()),
        ]
        for call in calls:
            with pytest.raises(ResourceCallError) as caught:
                await call()
            errors.append((type(caught.value), caught.value.kind, str(caught.value)))
    assert errors[0] == errors[1]
    assert errors[0][1] is kind
    assert len(errors[0][2]) <= MAX_ERROR_CHARS


async def test_a_large_call_to_nobody_is_an_error_and_one_without_an_answer_a_timeout(tmp_path: Path) -> None:
    with pytest.raises(ResourceCallError, match="no connection") as caught:
        await GrpcioClient(str(tmp_path / "nobody")).large_call(METHOD, b"", 5.0, room())
    assert caught.value.kind is ResourceErrorKind.FAILED
    async with scripted(HEAD) as (_, address):
        with pytest.raises(ResourceCallError) as caught:
            await GrpcioClient(address).large_call(METHOD, b"", 0.05, room())
    assert caught.value.kind is ResourceErrorKind.TIMEOUT


@pytest.mark.parametrize("waits_for", ["an answer", "memory", "the rest"])
@pytest.mark.parametrize("ends", ["in time", "cancelled"])
async def test_a_call_that_is_given_up_leaves_no_error_behind(
    waits_for: str, ends: str, caplog: pytest.LogCaptureFixture
) -> None:
    memory = AnswerMemory()
    if waits_for == "memory":
        await memory.take(answer_memory.MAX_BYTES)
    sent = HEAD if waits_for == "an answer" else HEAD + frame(DATA, message(b"", MIB))
    async with scripted(sent) as (server, address):
        call = asyncio.ensure_future(
            large_call(address, METHOD, b"request", 1.0 if ends == "in time" else 60.0, Room(memory, MOST_BYTES))
        )
        await eventually(lambda: server.received)
        if ends == "cancelled":
            call.cancel()
        with pytest.raises((asyncio.TimeoutError, asyncio.CancelledError)):
            await call
        await eventually(lambda: not server.connections)
    del call
    gc.collect()
    await asyncio.sleep(0)
    assert caplog.text == ""
