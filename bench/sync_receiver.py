"""This program is the cheapest cloud that viam-server and both data managers accept: it counts what it receives,
and keeps none of it.

`python -m bench.sync_receiver WINDOW_BYTES` prints its port. The process that started it controls it by the service
`bench.Receiver`. A reading is counted by the one entry with which its map begins, which `bytes.count` finds without
decoding. A sender may have at least `WINDOW_BYTES` under way; gRPC widens the window for a large message.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING

import grpc
import grpc.aio
from viam.proto.app.robot import ConfigResponse, LogResponse, NeedsRestartResponse, RobotConfig
from viam.proto.rpc.auth import AuthenticateResponse

READING = b"\x0a\x08readings\x12"
"""The bytes with which the entry "readings" begins in the map of a Struct."""
STREAMS = (
    "/viam.app.datasync.v1.DataSyncService/FileUpload",
    "/viam.app.datasync.v1.DataSyncService/StreamingDataCaptureUpload",
)
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024

if TYPE_CHECKING:  # generic in their stubs only
    Context = grpc.aio.ServicerContext[bytes, bytes]
    Handler = grpc.RpcMethodHandler[bytes, bytes]


class UnwellError(Exception):
    """The receiver is set to answer uploads with UNAVAILABLE."""


class Receiver:
    """The answers by path, and a record of what was accepted. It does not depend on the server in front of it."""

    def __init__(self) -> None:
        self._arrivals: list[tuple[float, int, int]] = []
        self._streamed_bytes = 0
        self._well = True
        self._machine = RobotConfig()
        token = AuthenticateResponse(access_token="token").SerializeToString()
        restart = NeedsRestartResponse()
        restart.restart_check_interval.FromSeconds(60)
        self.answers: Mapping[str, Callable[[bytes], bytes]] = {
            "/proto.rpc.v1.AuthService/Authenticate": lambda _: token,
            "/viam.app.datasync.v1.DataSyncService/DataCaptureUpload": self._call,
            "/viam.app.v1.RobotService/Config": lambda _: ConfigResponse(config=self._machine).SerializeToString(),
            "/viam.app.v1.RobotService/Log": lambda _: LogResponse().SerializeToString(),
            "/viam.app.v1.RobotService/NeedsRestart": lambda _: restart.SerializeToString(),
            "/bench.Receiver/Configure": self._configure,
            "/bench.Receiver/SetWell": self._set_well,
            "/bench.Receiver/Streamed": lambda _: b"%d" % self._streamed_bytes,
            "/bench.Receiver/Take": self._take,
        }

    async def stream(self, messages: AsyncIterator[bytes]) -> bytes:
        """Receives a stream of one of `STREAMS`, and returns its answer. Raises UnwellError."""
        self._admit()
        size_bytes = 0
        async for message in messages:
            size_bytes += len(message)
            self._streamed_bytes += len(message)
        self._arrivals.append((time.monotonic(), 0, size_bytes))
        return b""

    def _call(self, request: bytes) -> bytes:
        self._admit()
        self._arrivals.append((time.monotonic(), request.count(READING), len(request)))
        return b""

    def _admit(self) -> None:
        if not self._well:
            raise UnwellError

    def _configure(self, request: bytes) -> bytes:
        """Sets the config that viam-server gets from now on."""
        self._machine = RobotConfig.FromString(request)
        return b""

    def _set_well(self, request: bytes) -> bytes:
        """Sets whether uploads are accepted (1) from now on, or answered with UNAVAILABLE (0)."""
        self._well = request == b"1"
        return b""

    def _take(self, _: bytes) -> bytes:
        """Returns what arrived since the last call: the monotonic time, the readings, the bytes."""
        arrivals, self._arrivals = self._arrivals, []
        return json.dumps(arrivals).encode()


class _ByPath(grpc.GenericRpcHandler):
    def __init__(self, receiver: Receiver) -> None:
        self._handlers = {path: _unary(answer) for path, answer in receiver.answers.items()}
        self._handlers |= dict.fromkeys(STREAMS, _stream(receiver))

    def service(self, details: grpc.HandlerCallDetails) -> Handler | None:
        return self._handlers.get(details.method)


def _unary(answer: Callable[[bytes], bytes]) -> Handler:
    async def handle(request: bytes, context: Context) -> bytes:
        try:
            return answer(request)
        except UnwellError:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not well")

    return grpc.unary_unary_rpc_method_handler(handle)


def _stream(receiver: Receiver) -> Handler:
    async def handle(messages: AsyncIterator[bytes], context: Context) -> bytes:
        try:
            return await receiver.stream(messages)
        except UnwellError:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not well")

    return grpc.stream_unary_rpc_method_handler(handle)


async def main(window_bytes: int) -> None:
    options = [
        ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.so_reuseport", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", 5000),
        ("grpc.http2.lookahead_bytes", window_bytes),
        ("grpc.http2.bdp_probe", 0),
    ]
    server = grpc.aio.server(options=options)
    server.add_generic_rpc_handlers((_ByPath(Receiver()),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
