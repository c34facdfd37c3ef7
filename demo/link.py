"""`Link` is a network link that can fail: a TCP relay on loopback that tests cut, stall, slow down and restore.

Invariants:
- From `start` to `stop` the address stays the same and no other program gets the port, whatever the link's state.
- Bytes are relayed in order or not at all. At most a few buffers are held per connection and direction, so a
  receiver that stops reading stops the sender.
- When `cut` returns, both ends of every connection have been reset, and none of its bytes arrives later.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Callable, Coroutine
from typing import Any

CHUNK_BYTES = 64 * 1024
_MAX_UNDER_WAY = 8
"""The most chunks of one connection and direction that are between the two ends of the link."""
# With a linger time of zero, close() sends a reset instead of an orderly end.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Link:
    """Relays connections from a free port on 127.0.0.1 to `target_port`.

    `delay_s` (one way) and `bytes_per_s` (of each connection and direction; 0: no limit) may be set at any time.
    Thread: all calls must come from one event loop.
    """

    def __init__(self, target_port: int, *, scheme: str = "http", target_host: str = "127.0.0.1") -> None:
        self.bytes_up = 0
        self.bytes_down = 0
        self.delay_s = 0.0
        self.bytes_per_s = 0.0
        self._target = (target_host, target_port)
        self._scheme = scheme
        self._port = 0
        self._port_holder: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._flowing = asyncio.Event()
        self._relays: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port to which clients connect; known after `start`."""
        return self._port

    @property
    def address(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._port}"

    @property
    def connections_count(self) -> int:
        """The number of connections that are open now."""
        return len(self._relays)

    async def start(self) -> None:
        """Takes a free port and starts to relay."""
        # This socket is bound and never listens, so it keeps the port while the link is cut. The kernel refuses
        # connections as long as no other socket on the port listens.
        self._port_holder = _bind(0)
        self._port = self._port_holder.getsockname()[1]
        await self.restore()

    async def stop(self) -> None:
        """Cuts the link and releases the port. Does nothing when the link is not started."""
        await self.cut()
        if self._port_holder:
            self._port_holder.close()
            self._port_holder = None

    async def cut(self) -> None:
        """Resets all connections, and refuses new ones until `restore` or `blackhole`."""
        if self._server:
            self._server.close()
            self._server = None
        relays = list(self._relays)
        for relay in relays:
            relay.cancel()
        await asyncio.gather(*relays, return_exceptions=True)

    async def restore(self) -> None:
        """Lets connections and bytes through again, including the bytes that waited in a black hole."""
        await self._listen()
        self._flowing.set()

    async def blackhole(self) -> None:
        """Keeps connections and accepts new ones, but moves no byte until `restore`."""
        self._flowing.clear()
        await self._listen()

    async def _listen(self) -> None:
        if not self._port_holder:
            raise RuntimeError("the link is not started")
        if not self._server:
            self._server = await asyncio.start_server(self._accept, sock=_bind(self._port), limit=CHUNK_BYTES)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._server:  # accepted just before the cut
            _reset(writer)
            return
        relay = asyncio.create_task(self._relay(reader, writer))
        self._relays.add(relay)
        relay.add_done_callback(self._relays.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relays one connection until both directions have ended; resets both ends if anything else ends it."""
        writers = [writer]
        try:
            await self._flowing.wait()
            far_reader, far_writer = await asyncio.open_connection(*self._target, limit=CHUNK_BYTES)
            writers.append(far_writer)
            await _both(
                self._pump(reader, far_writer, self._count_up),
                self._pump(far_reader, writer, self._count_down),
            )
            for each in writers:
                each.close()
        except OSError:
            pass  # one end is gone; the other one is reset below
        finally:
            for each in writers:
                if not each.is_closing():
                    _reset(each)
            for each in writers:
                with contextlib.suppress(OSError):
                    await each.wait_closed()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: Callable[[int], None]
    ) -> None:
        # With this, drain() waits until the kernel has everything: bytes in our own buffer would still be sent
        # after blackhole().
        writer.transport.set_write_buffer_limits(high=0)
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MAX_UNDER_WAY)
        await _both(self._take(reader, under_way), self._give(under_way, writer, count))

    async def _take(self, reader: asyncio.StreamReader, under_way: asyncio.Queue[tuple[float, bytes]]) -> None:
        chunk = None
        while chunk != b"":
            chunk = await reader.read(CHUNK_BYTES)
            await under_way.put((time.monotonic(), chunk))

    async def _give(
        self,
        under_way: asyncio.Queue[tuple[float, bytes]],
        writer: asyncio.StreamWriter,
        count: Callable[[int], None],
    ) -> None:
        while True:
            sent_s, chunk = await under_way.get()
            await asyncio.sleep(sent_s + self.delay_s - time.monotonic())
            await self._flowing.wait()
            if not chunk:
                break
            writer.write(chunk)
            await writer.drain()
            count(len(chunk))
            if self.bytes_per_s:
                await asyncio.sleep(len(chunk) / self.bytes_per_s)
        writer.write_eof()

    def _count_up(self, size_bytes: int) -> None:
        self.bytes_up += size_bytes

    def _count_down(self, size_bytes: int) -> None:
        self.bytes_down += size_bytes


async def _both(*pumps: Coroutine[Any, Any, None]) -> None:
    """Runs the pumps. When one fails or the caller is cancelled, none is left running."""
    tasks = [asyncio.create_task(pump) for pump in pumps]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _bind(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind(("127.0.0.1", port))
    bound.setblocking(False)
    return bound


def _reset(writer: asyncio.StreamWriter) -> None:
    peer = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
