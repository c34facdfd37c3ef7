"""Carries gRPC's connections through a proxy: gRPC can't be given a connection, and knows no SOCKS.

The tunnel listens on an abstract Unix socket, which is no file, accepts connections of this process only, opens one
through the proxy for each, and copies the bytes in both directions. It holds back the side that is faster.

It belongs to the event loop. The bytes are copied by two threads for each connection, which wait in the kernel, and
not by the event loop, which captures meanwhile. Bound for each direction: `CHUNK_BYTES`.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import struct
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from ...base.tasks import begin, end
from ...base.threads import in_own_thread
from ...errors import CloudError
from .way import Way

CHUNK_BYTES = 64 * 1024
_RETRY_S = 1.0
_CREDENTIALS = struct.Struct("3i")


class Tunnel:
    """A tunnel over `way`. `close` must be called."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._name = f"holdfast-{secrets.token_hex(16)}"
        self._listener = socket.socket(socket.AF_UNIX)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def target(self) -> str:
        """What gRPC connects to."""
        return f"unix-abstract:{self._name}"

    def open(self) -> None:
        """Begins to listen."""
        self._listener.setblocking(False)
        self._listener.bind(f"\0{self._name}")
        self._listener.listen()
        self._begin(self._accept())

    async def close(self) -> None:
        """Ends all connections. Safe to call twice."""
        await end(self._tasks)
        self._listener.close()

    async def _accept(self) -> None:
        while True:
            try:
                near, _ = await asyncio.get_running_loop().sock_accept(self._listener)
            except OSError:  # too many files are open: the connection waits
                await asyncio.sleep(_RETRY_S)
            else:
                self._begin(self._carry(near))

    async def _carry(self, near: socket.socket) -> None:
        """Carries one connection until one side ends it. A way that is not there ends it at once; gRPC reports that
        to the caller, who finds out why."""
        with near, suppress(CloudError):
            if _is_ours(near):
                with await self._way.open() as far:
                    await _join(near, far)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = begin(work, "holdfast-tunnel")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _join(near: socket.socket, far: socket.socket) -> None:
    """Copies in both directions until one side ends the connection. No thread is left when it returns or is
    cancelled, so that the caller may close the sockets."""
    far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    near.setblocking(True)
    far.setblocking(True)
    copies: list[asyncio.Future[None]] = []
    try:
        for source, sink in ((near, far), (far, near)):
            copies.append(in_own_thread("holdfast-tunnel", "a tunnel through a proxy", _copy, source, sink))
        await asyncio.wait(copies)
    finally:
        _cut(near, far)
        await asyncio.gather(*copies)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    """Copies until one of the two ends, and then ends both; also after an error, since bytes may be lost then."""
    try:
        chunk = memoryview(bytearray(CHUNK_BYTES))
        with suppress(OSError):
            while size := source.recv_into(chunk):
                sink.sendall(chunk[:size])
    finally:
        _cut(source, sink)


def _cut(*connections: socket.socket) -> None:
    """Ends connections; threads that wait for them go on."""
    for connection in connections:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def _is_ours(connection: socket.socket) -> bool:
    """Returns whether this process opened the other end of `connection`."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, _, _ = _CREDENTIALS.unpack(credentials)
    return bool(pid == os.getpid())
