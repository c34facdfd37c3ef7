"""This program serves the receiver of `sync_receiver` with a window, for calls and connection, that never widens.

It is started as `python -m bench.narrow_receiver WINDOW_BYTES`. gRPC's own servers widen a window for a larger
message; a proxy in front of a cloud may not. It uses grpclib, whose windows have the size of its configuration.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from typing import Any

from grpclib.config import Configuration
from grpclib.const import Cardinality, Handler, Status
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError
from grpclib.server import Server, Stream

from .sync_receiver import STREAMS, Receiver, UnwellError


class _Bytes(CodecBase):
    """Passes messages through unchanged."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


class _Service:
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def __mapping__(self) -> dict[str, Handler]:
        unary = {
            path: Handler(_unary(answer), Cardinality.UNARY_UNARY, bytes, bytes)
            for path, answer in self._receiver.answers.items()
        }
        return unary | dict.fromkeys(STREAMS, Handler(self._stream, Cardinality.STREAM_UNARY, bytes, bytes))

    async def _stream(self, stream: Stream[bytes, bytes]) -> None:
        try:
            await stream.send_message(await self._receiver.stream(aiter(stream)))
        except UnwellError:
            raise GRPCError(Status.UNAVAILABLE, "not well") from None


def _unary(answer: Callable[[bytes], bytes]) -> Callable[[Stream[bytes, bytes]], Any]:
    async def handle(stream: Stream[bytes, bytes]) -> None:
        request = await stream.recv_message()
        try:
            await stream.send_message(answer(request or b""))
        except UnwellError:
            raise GRPCError(Status.UNAVAILABLE, "not well") from None

    return handle


async def main(window_bytes: int) -> None:
    narrow = Configuration(http2_connection_window_size=window_bytes, http2_stream_window_size=window_bytes)
    server = Server([_Service(Receiver())], codec=_Bytes(), config=narrow)
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    await server.start(sock=listening)
    print(listening.getsockname()[1], flush=True)
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
