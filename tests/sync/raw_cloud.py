"""Something that listens where the cloud should be, and does what no gRPC server can be told to do.

HTTP/2 by hand (`h2`): logs everybody in, and does with each upload what `behave` says. The messages of answered
uploads are kept, so that tests compare with what the receiver has.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from viam.proto.app.datasync import DataCaptureUploadRequest
from viam.proto.rpc.auth import AuthenticateResponse

_ANSWER_HEADERS = [(":status", "200"), ("content-type", "application/grpc")]


def framed(message: bytes) -> bytes:
    """A message as gRPC puts it on the wire."""
    return b"\x00" + struct.pack(">I", len(message)) + message


@dataclass
class Call:
    """One call that came in; `received` grows while it is being sent."""

    wire: Wire
    stream: int
    method: str
    received: bytearray = field(default_factory=bytearray)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    """Some of its body is there."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """All of it is there."""

    def messages(self) -> list[bytes]:
        found, at = [], 0
        while at + 5 <= len(self.received):
            (size,) = struct.unpack(">I", self.received[at + 1 : at + 5])
            found.append(bytes(self.received[at + 5 : at + 5 + size]))
            at += 5 + size
        return found

    def answer(self, message: bytes | None = b"", code: int = 0, why: str = "") -> None:
        """Answers as gRPC does; with None, without a message."""
        h2 = self.wire.h2
        h2.send_headers(self.stream, _ANSWER_HEADERS)
        if message is not None:
            h2.send_data(self.stream, framed(message))
        h2.send_headers(self.stream, [("grpc-status", str(code)), ("grpc-message", why)], end_stream=True)
        self.wire.flush()

    async def send(self, message: bytes) -> None:
        """Answers with OK and a message of any size, as fast as the client reads it."""
        h2, rest = self.wire.h2, framed(message)
        h2.send_headers(self.stream, _ANSWER_HEADERS)
        while rest:
            size = min(h2.local_flow_control_window(self.stream), h2.max_outbound_frame_size)
            h2.send_data(self.stream, rest[:size])
            rest = rest[size:]
            self.wire.flush()
            await asyncio.sleep(0)
        h2.send_headers(self.stream, [("grpc-status", "0")], end_stream=True)
        self.wire.flush()

    def answer_http(self, status: int, body: bytes = b"<html></html>") -> None:
        """Answers as a web server does."""
        h2 = self.wire.h2
        h2.send_headers(self.stream, [(":status", str(status)), ("content-type", "text/html")])
        h2.send_data(self.stream, body, end_stream=True)
        self.wire.flush()

    def reset(self, code: ErrorCodes) -> None:
        """RST_STREAM."""
        self.wire.h2.reset_stream(self.stream, code)
        self.wire.flush()


Behaviour = Callable[[Call], Awaitable[object]]


async def accept(call: Call) -> None:
    """Takes it, as the cloud does."""
    await call.ended.wait()
    call.answer()
    call.wire.cloud.taken.append(call)


async def let_in(call: Call) -> None:
    """Gives a token to anybody."""
    await call.ended.wait()
    call.answer(AuthenticateResponse(access_token="token").SerializeToString())


class RawCloud:
    """Listens on a free port of 127.0.0.1. `behave` and `log_in`, what it does with an upload and with a login, may
    be changed at any time.

    `read_bytes` and `read_every_s` make it a slow reader, whose system takes in no more than it must.
    """

    def __init__(self, behave: Behaviour = accept, *, read_bytes: int = 65_536, read_every_s: float = 0.0) -> None:
        self.behave = behave
        self.withholds = False
        """Whether no call may send more than the first 64 KiB."""
        self.log_in: Behaviour = let_in
        self.read_bytes = read_bytes
        self.read_every_s = read_every_s
        self.calls: list[Call] = []
        self.taken: list[Call] = []
        self.wires: list[Wire] = []
        self.logins = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._port = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def readings(self) -> list[float]:
        """The numbers of the readings in uploads that were answered with OK."""
        numbers = []
        for call in self.taken:
            if call.method == "DataCaptureUpload":
                for data in DataCaptureUploadRequest.FromString(call.messages()[0]).sensor_contents:
                    numbers.append(data.struct.fields["readings"].struct_value.fields["n"].number_value)
        return numbers

    async def __aenter__(self) -> RawCloud:
        listening = socket.socket()
        if self.read_every_s:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        self._port = listening.getsockname()[1]
        self._listener = self._start(self._listen(listening))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def stop_listening(self) -> None:
        """Takes no further connection; those that stand go on."""
        self._listener.cancel()

    async def _listen(self, listening: socket.socket) -> None:
        with listening:
            while True:
                connection, _ = await asyncio.get_running_loop().sock_accept(listening)
                self._start(self._serve(connection))

    async def _serve(self, connection: socket.socket) -> None:
        with connection:
            wire = Wire(self, connection, asyncio.current_task())
            self.wires.append(wire)
            try:
                with suppress(OSError, ProtocolError):  # the client went
                    await wire.serve()
            finally:
                wire.end()

    async def meet(self, call: Call) -> None:
        if call.method == "Authenticate":
            self.logins += 1
        else:
            self.calls.append(call)
        with suppress(OSError, ProtocolError):  # the client went
            await (self.log_in if call.method == "Authenticate" else self.behave)(call)


class Wire:
    """One connection."""

    def __init__(self, cloud: RawCloud, connection: socket.socket, server: asyncio.Task[None] | None) -> None:
        self.cloud = cloud
        self._server = server
        self._is_cut = False
        self.h2 = H2Connection(H2Configuration(client_side=False))
        self._socket = connection
        self._calls: dict[int, Call] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def flush(self) -> None:
        """Sends what h2 has to say: little, so that the system takes it at once."""
        data = self.h2.data_to_send()
        if self._is_cut:
            raise ConnectionResetError
        if data:
            self._socket.send(data)

    def cut(self) -> None:
        """Resets the connection."""
        assert self._server is not None
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._server.cancel()
        self._is_cut = True

    def go_away(self) -> None:
        """GOAWAY, and the connection is closed."""
        self.h2.close_connection()
        self.flush()
        self._socket.shutdown(socket.SHUT_RDWR)

    async def serve(self) -> None:
        self.h2.initiate_connection()
        self.flush()
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(self._socket, self.cloud.read_bytes):
            for event in self.h2.receive_data(data):
                self._on(event)
            self.flush()
            if self.cloud.read_every_s and self._calls:
                await asyncio.sleep(self.cloud.read_every_s)

    def end(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _on(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            path = dict(event.headers)[b":path"].decode()
            call = self._calls[event.stream_id] = Call(self, event.stream_id, path.rpartition("/")[2])
            task = asyncio.ensure_future(self.cloud.meet(call))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif isinstance(event, DataReceived):
            call = self._calls[event.stream_id]
            call.received += event.data
            call.begun.set()
            if event.flow_controlled_length and self.cloud.withholds:
                self.h2.increment_flow_control_window(event.flow_controlled_length)
            elif event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            self._calls.pop(event.stream_id).ended.set()
        elif isinstance(event, StreamReset):
            self._calls.pop(event.stream_id, None)
