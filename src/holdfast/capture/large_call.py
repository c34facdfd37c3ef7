"""A call whose answer may be large, over a connection of its own.

grpcio collects an answer in pieces and then copies it twice, in one go: with 38 MiB the event loop stands still for
50 ms or more, and each answer takes three times its size. Here its bytes are received in small steps, right where
they stay, so that the loop is never held up and memory is taken once. Its first bytes say how large it is; the
other side may send only `_FIRST_WINDOW` of it before there is memory for all. It is HTTP/2 for exactly one call:
one stream, and no state that outlives it.

Belongs to the event loop. When cancelled, the connection is closed and the answer is lost.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import struct
import urllib.parse
from collections.abc import Callable
from typing import Any, Protocol

import hpack

from ..base.clock import first_done
from ..errors import ResourceCallError

MAX_REQUEST_BYTES = 32 * 1024
"""What is sent without waiting for the other side's permission: HTTP/2 grants 65,535 bytes from the start."""
_MAX_HEADERS_BYTES = 16 * 1024
_FRAME_BYTES = 16 * 1024
"""The largest payload of a frame, as HTTP/2 has it unless somebody asks for more."""
_STAGING_BYTES = 256 * 1024
_WINDOW = (1 << 31) - 1
_FIRST_WINDOW = (1 << 16) - 1
_STREAM = 1

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_FRAME_HEAD = struct.Struct(">HBBBI")  # the length in two parts, kind, flags, stream
_SETTING = struct.Struct(">HI")
_NUMBER = struct.Struct(">I")
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
_ACK = _END_STREAM = 0x1
_END_HEADERS, _PADDED, _PRIORITY = 0x4, 0x8, 0x20
_HEADER_TABLE_SIZE, _ENABLE_PUSH = 1, 2
_MESSAGE_HEAD = struct.Struct(">BI")  # gRPC's: whether it is compressed, and its length


class CallFailedError(Exception):
    """The call ended with an error of gRPC: the number of its code, and its text."""

    def __init__(self, code: int, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


_UNAVAILABLE, _INTERNAL, _UNKNOWN = 14, 13, 2


class RoomForAnswer(Protocol):
    """The memory of one answer, see `answer_memory.Room`."""

    is_waiting: bool

    async def take(self, size_bytes: int) -> None:
        """Returns when there is memory for an answer of this size. Raises ResourceCallError if there never is."""

    def take_now(self, size_bytes: int) -> None:
        """Counts that much more of an answer, and raises ResourceCallError if there is no memory for it now."""

    def demand(self, size_bytes: int) -> None:
        """Raises ResourceCallError if an answer may not be as large."""

    def no_memory(self) -> ResourceCallError:
        """Returns the error of an answer for which there was no memory in time."""


async def large_call(
    address: str, method: str, request: bytes, timeout_s: float, room: RoomForAnswer
) -> memoryview:
    """Returns the serialized answer of `method`, which is called at a Unix socket or at host:port.

    Raises CallFailedError, what `room` raises, OSError if there is no connection, and asyncio.TimeoutError.
    """
    loop = asyncio.get_running_loop()
    receiver = _Receiver(_opening(method, request, timeout_s), room.demand)

    async def call() -> memoryview:
        if os.path.isabs(address):
            transport, _ = await loop.create_unix_connection(lambda: receiver, address)
        else:
            host, _, port = address.rpartition(":")
            transport, _ = await loop.create_connection(lambda: receiver, host.strip("[]"), int(port))
        try:
            await first_done(room.take(await receiver.size), receiver.failure())
            receiver.admit_all()
            return await receiver.answer
        finally:
            transport.abort()
            receiver.give_up()

    return await asyncio.wait_for(call(), timeout_s)


class _Receiver(asyncio.BufferedProtocol):
    """The connection of one call. `size` is done when the first bytes of the answer have come, `answer` when the
    call has ended. An error is that of `size`, or that of `answer` when the size is known."""

    def __init__(self, opening: bytes, demand: Callable[[int], None]) -> None:
        """`demand` raises ResourceCallError for an answer that is too large."""
        loop = asyncio.get_running_loop()
        self.size: asyncio.Future[int] = loop.create_future()
        self.answer: asyncio.Future[memoryview] = loop.create_future()
        self._opening = opening
        self._demand = demand
        self._most_bytes = _FIRST_WINDOW
        self._staging = memoryview(bytearray(_STAGING_BYTES))
        self._staged = 0
        self._has_ended = False
        self._message_head = b""
        self._message: memoryview | None = None
        self._received = 0
        self._headers = b""
        self._ends_with_headers = False
        self._decoder = hpack.Decoder(max_header_list_size=_MAX_HEADERS_BYTES)
        self._transport: asyncio.Transport | None = None

    def admit_all(self) -> None:
        """Lets the other side send all of the answer."""
        self._most_bytes = _WINDOW
        if not self.answer.done() and self._message is not None and len(self._message) >= _FIRST_WINDOW // 2:
            more = _NUMBER.pack(_WINDOW - _FIRST_WINDOW)
            self._write(_frame(_WINDOW_UPDATE, 0, 0, more) + _frame(_WINDOW_UPDATE, 0, _STREAM, more))

    def give_up(self) -> None:
        """Ends the call, if it has not ended; what the connection says from now on is nobody's error."""
        self._has_ended = True
        for future in (self.size, self.answer):
            if not future.cancel() and not future.cancelled():
                future.exception()

    async def failure(self) -> None:
        """Raises the error that ends the call; returns when it has ended without one."""
        await asyncio.shield(self.answer)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._opening)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(CallFailedError(_UNAVAILABLE, f"connection lost: {exc or 'the other side closed it'}"))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._staging[self._staged :]

    def buffer_updated(self, nbytes: int) -> None:
        self._staged += nbytes
        begin = self._staged if self._has_ended else 0
        try:
            while not self._has_ended:
                end = self._frame(begin)
                if end == begin:
                    break
                begin = end
        except (CallFailedError, ResourceCallError) as error:
            self._fail(error)
        except (hpack.HPACKError, ValueError, struct.error, IndexError) as error:
            self._fail(CallFailedError(_INTERNAL, f"not understood: {error}"))
        rest = self._staged - begin
        self._staging[:rest] = self._staging[begin : self._staged]
        self._staged = rest

    def _frame(self, begin: int) -> int:
        """Reads the frame at `begin` of what is staged, and returns its end; `begin` if it is not all there."""
        head_end = begin + _FRAME_HEAD.size
        if head_end > self._staged:
            return begin
        high, low, kind, flags, stream = _FRAME_HEAD.unpack_from(self._staging, begin)
        size = high << 8 | low
        if size > _FRAME_BYTES:
            raise CallFailedError(_INTERNAL, "a frame is larger than was agreed on")
        end: int = head_end + size
        if end > self._staged:
            return begin
        self._take(kind, flags, stream & _WINDOW, self._staging[head_end:end])
        return end

    def _take(self, kind: int, flags: int, stream: int, payload: memoryview) -> None:
        if kind == _DATA and stream == _STREAM:
            self._take_data(_unpadded(flags, payload))
            if flags & _END_STREAM:
                raise CallFailedError(_INTERNAL, "the answer ended without a status")
        elif kind in (_HEADERS, _CONTINUATION) and stream == _STREAM:
            if kind == _HEADERS:
                payload = _unpadded(flags, payload)[5 if flags & _PRIORITY else 0 :]
                self._ends_with_headers = bool(flags & _END_STREAM)
            self._take_headers(payload, last=bool(flags & _END_HEADERS))
        elif kind == _SETTINGS and not flags & _ACK:
            self._write(_frame(_SETTINGS, _ACK, 0))
        elif kind == _PING and not flags & _ACK:
            self._write(_frame(_PING, _ACK, 0, bytes(payload)))
        elif kind == _RST_STREAM and stream == _STREAM:
            raise CallFailedError(_INTERNAL, f"the call was reset with error {_NUMBER.unpack(payload)[0]}")
        elif kind == _GOAWAY and _NUMBER.unpack_from(payload)[0] & _WINDOW < _STREAM:
            raise CallFailedError(_UNAVAILABLE, "the other side takes no more calls")

    def _take_data(self, data: memoryview) -> None:
        if self._message is None:
            missing = _MESSAGE_HEAD.size - len(self._message_head)
            self._message_head += bytes(data[:missing])
            data = data[missing:]
            if len(self._message_head) < _MESSAGE_HEAD.size:
                return
            compressed, size_bytes = _MESSAGE_HEAD.unpack(self._message_head)
            if compressed:
                raise CallFailedError(_INTERNAL, "the answer is compressed, which was not asked for")
            self._demand(size_bytes)
            self._message = _memory(size_bytes)
            if not self.size.done():  # it was given up in this turn of the loop
                self.size.set_result(size_bytes)
        end = self._received + len(data)
        if end > len(self._message):
            raise CallFailedError(_INTERNAL, "there is more than one answer")
        if end > self._most_bytes:
            raise CallFailedError(_INTERNAL, "more was sent than was allowed")
        self._message[self._received : end] = data
        self._received = end

    def _take_headers(self, block: memoryview, *, last: bool) -> None:
        self._headers += block
        if len(self._headers) > _MAX_HEADERS_BYTES:
            raise CallFailedError(_UNKNOWN, f"the headers of the answer have more than {_MAX_HEADERS_BYTES} bytes")
        if not last:
            return
        headers = {_text(name): _text(value) for name, value in self._decoder.decode(self._headers, raw=True)}
        self._headers = b""
        if headers.get(":status", "200") != "200":
            raise CallFailedError(_UNKNOWN, f"HTTP status {headers[':status']}")
        if self._ends_with_headers:
            self._end(headers)

    def _end(self, trailers: dict[str, str]) -> None:
        code = int(trailers.get("grpc-status", _UNKNOWN))
        if code:
            raise CallFailedError(code, urllib.parse.unquote(trailers.get("grpc-message", ""), errors="replace"))
        if self._message is None or self._received < len(self._message):
            raise CallFailedError(_INTERNAL, "the call ended before its answer")
        self._has_ended = True
        if not self.answer.done():
            self.answer.set_result(self._message.toreadonly())

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def _fail(self, error: Exception) -> None:
        if not self._has_ended:
            self._has_ended = True
            future: asyncio.Future[Any] = self.answer if self.size.done() else self.size
            if not future.done():
                future.set_exception(error)


def _memory(size_bytes: int) -> memoryview:
    """Returns new memory. It is taken from the system page by page, as it is written: none is filled before."""
    return memoryview(mmap.mmap(-1, size_bytes) if size_bytes else bytearray())


def _opening(method: str, request: bytes, timeout_s: float) -> bytes:
    """Returns all that is sent of a call."""
    settings = ((_HEADER_TABLE_SIZE, 0), (_ENABLE_PUSH, 0))
    headers = (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", method),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("grpc-timeout", f"{max(1, min(99_999_999, round(timeout_s * 1000)))}m"),
    )
    message = _MESSAGE_HEAD.pack(0, len(request)) + request
    pieces = [message[at : at + _FRAME_BYTES] for at in range(0, len(message), _FRAME_BYTES)]
    return b"".join(
        (
            _PREFACE,
            _frame(_SETTINGS, 0, 0, b"".join(_SETTING.pack(*each) for each in settings)),
            _frame(_HEADERS, _END_HEADERS, _STREAM, hpack.Encoder().encode(headers)),
            *(_frame(_DATA, 0, _STREAM, piece) for piece in pieces[:-1]),
            _frame(_DATA, _END_STREAM, _STREAM, pieces[-1]),
        )
    )


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return _FRAME_HEAD.pack(len(payload) >> 8, len(payload) & 0xFF, kind, flags, stream) + payload


def _unpadded(flags: int, payload: memoryview) -> memoryview:
    return payload[1 : len(payload) - payload[0]] if flags & _PADDED else payload


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")
