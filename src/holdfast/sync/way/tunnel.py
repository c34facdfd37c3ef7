"""Carries gRPC's connections through a proxy: gRPC can't be given a connection, and knows no SOCKS.

The tunnel listens on an abstract Unix socket, which is no file, accepts connections of this process only, opens one
through the proxy for each, and copies the bytes in both directions. It holds back the side that is faster.

Runs on the event loop. Bound for each direction: `CHUNK_BYTES`, and a few times as much that asyncio keeps.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import struct
from contextlib import suppress

from ...base.clock import first_done
from ...base.tasks import begin, end
from ...errors import CloudError
from .way import Way

CHUNK_BYTES = 64 * 1024
_CREDENTIALS = struct.Struct("3i")


class Tunnel:
    """A tunnel over `way`. `close` must be called."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._name = f"holdfast-{secrets.token_hex(16)}"
        self._server: asyncio.Server | None = None
        self._carrying: set[asyncio.Task[None]] = set()

    @property
    def target(self) -> str:
        """What gRPC connects to."""
        return f"unix-abstract:{self._name}"

    async def open(self) -> None:
        """Begins to listen."""
        self._server = await asyncio.start_unix_server(self._accept, path=f"\0{self._name}", limit=CHUNK_BYTES)

    async def close(self) -> None:
        """Ends all connections. Safe to call twice."""
        if self._server is not None:
            self._server.close()
        await end(self._carrying)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = begin(self._carry(reader, writer), "holdfast-tunnel")
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carries one connection until one side ends it. A way that is not there ends it at once; gRPC reports that
        to the caller, who finds out why."""
        try:
            if not _is_ours(writer.get_extra_info("socket")):
                return
            with suppress(CloudError):
                opened = await self._way.open()
                far_reader, far_writer = await asyncio.open_connection(sock=opened, limit=CHUNK_BYTES)
                try:
                    await first_done(_copy(reader, far_writer), _copy(far_reader, writer))
                finally:
                    far_writer.close()
        finally:
            writer.close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await source.read(CHUNK_BYTES):
            sink.write(chunk)
            await sink.drain()


def _is_ours(connection: socket.socket) -> bool:
    """Returns whether this process opened the other end of `connection`."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, _, _ = _CREDENTIALS.unpack(credentials)
    return bool(pid == os.getpid())
