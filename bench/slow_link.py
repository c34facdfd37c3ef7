"""`SlowLink` is a long, narrow or broken link to a server on this computer: a TCP relay with a round-trip time and
a rate.

Both may be set at any time, and apply to what is sent from then on. Invariants:
- No other program gets the port before `stop`, not even while the link is cut.
- A delay costs no throughput: as much is under way as the two ends agree on, up to `_MOST_UNDER_WAY_BYTES`. A
  receiver that falls behind does not stop the sender before that; otherwise the line would run empty behind it.
- The rate is that of the link, in each direction: its connections share it fairly, one piece each in turn. What
  waits for its turn is bounded, as in a router, so that the link slows the sender down.
- Connecting costs no delay, since the kernel answers; everything that is sent afterwards is delayed.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque

_MOST_UNDER_WAY_BYTES = 256 * 1024 * 1024
_QUEUE_BYTES = 256 * 1024
"""The most bytes of one connection that wait for their turn on a link with a rate."""
_PIECE_BYTES = 16 * 1024
_TICK_S = 0.002


class SlowLink:
    """Relays from a free port on 127.0.0.1 to `target_port`, from `start` to `stop`.

    Thread: all calls must come from one event loop.
    """

    def __init__(self, target_port: int) -> None:
        self.rtt_s = 0.0
        self.bytes_per_s = 0.0
        """The rate in each direction; 0: no limit."""
        self._target_port = target_port
        self._holder = _bound(0)
        self.port = int(self._holder.getsockname()[1])
        self._server: asyncio.Server | None = None
        self._ends: set[_End] = set()
        self._up, self._down = _Line(self), _Line(self)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Lets connections through, for the first time or again."""
        self._server = await asyncio.get_running_loop().create_server(self._accept, sock=_bound(self.port))

    def cut(self) -> None:
        """Ends all connections, and refuses new ones until `start`."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for end in list(self._ends):
            end.abort()

    def stop(self) -> None:
        self.cut()
        self._up.stop()
        self._down.stop()
        self._holder.close()

    def _accept(self) -> _End:
        client, server = _End(self._ends, self._up), _End(self._ends, self._down)
        client.peer, server.peer = server, client
        task = asyncio.get_running_loop().create_task(self._connect(client, server))
        client.connecting = task
        return client

    async def _connect(self, client: _End, server: _End) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: server, "127.0.0.1", self._target_port)
        except OSError:
            client.abort()


class _End(asyncio.Protocol):
    """One end of a connection, with what was read from it and is on its way to the peer."""

    def __init__(self, ends: set[_End], line: _Line) -> None:
        self.peer: _End
        self.connecting: asyncio.Task[None] | None = None
        self.queued: deque[bytes] = deque()
        """Data that waits for its turn on the line."""
        self.queued_bytes = 0
        self._ends = ends
        self._line = line
        self._transport: asyncio.Transport | None = None
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._under_way_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_full = False
        """Whether the program at this end reads too slowly: what arrives for it waits on the line."""
        self._early: list[bytes] = []
        self._held: set[str] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ends.add(self)
        transport.set_write_buffer_limits(high=1024 * 1024)
        for data in self._early:
            transport.write(data)
        self._early.clear()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ends.discard(self)
        self._transport = None
        self._line.forget(self)
        asyncio.get_running_loop().call_later(self._line.delay_s, self.peer.abort)

    def abort(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._line.bytes_per_s or self.queued:
            self.queued.append(data)
            self.queued_bytes += len(data)
            self._line.queue(self)
            self.hold("queue", self.queued_bytes > _QUEUE_BYTES)
        else:
            self.pass_on(data)

    def pass_on(self, data: bytes) -> None:
        """Puts data on the line, where it arrives after the delay."""
        delay_s = self._line.delay_s
        if not delay_s and not self._under_way and not self.peer._is_full:
            self.peer.write(data)
            return
        self._under_way.append((asyncio.get_running_loop().time() + delay_s, data))
        self._under_way_bytes += len(data)
        self.hold("delay", self._under_way_bytes > _MOST_UNDER_WAY_BYTES)
        if self._timer is None:
            self._arm()

    def hold(self, why: str, yes: bool) -> None:
        """Adds or removes the reason `why`; as long as there is a reason, nothing is read from this end."""
        before = bool(self._held)
        (self._held.add if yes else self._held.discard)(why)
        if self._transport is not None and before != bool(self._held):
            (self._transport.pause_reading if self._held else self._transport.resume_reading)()

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)
        else:
            self._early.append(data)

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self.peer._arrive()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._under_way and not self.peer._is_full:
            self._timer = asyncio.get_running_loop().call_at(self._under_way[0][0], self._arrive)

    def _arrive(self) -> None:
        now_s = asyncio.get_running_loop().time() + _TICK_S / 2
        while self._under_way and self._under_way[0][0] <= now_s and not self.peer._is_full:
            _, data = self._under_way.popleft()
            self._under_way_bytes -= len(data)
            self.peer.write(data)
        self.hold("delay", self._under_way_bytes > _MOST_UNDER_WAY_BYTES)
        self._arm()


class _Line:
    """One direction of the link: sends one piece of each waiting connection in turn, at the link's rate."""

    def __init__(self, link: SlowLink) -> None:
        self._link = link
        self._waiting: deque[_End] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._free_at_s = 0.0

    @property
    def delay_s(self) -> float:
        return self._link.rtt_s / 2

    @property
    def bytes_per_s(self) -> float:
        return self._link.bytes_per_s

    def queue(self, end: _End) -> None:
        if end not in self._waiting:
            self._waiting.append(end)
        if self._timer is None:
            self._turn()

    def forget(self, end: _End) -> None:
        if end in self._waiting:
            self._waiting.remove(end)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        now_s = loop.time()
        self._free_at_s = max(self._free_at_s, now_s - _TICK_S)
        while self._waiting and self._free_at_s <= now_s:
            end = self._waiting.popleft()
            piece = end.queued.popleft()
            if len(piece) > _PIECE_BYTES:
                end.queued.appendleft(piece[_PIECE_BYTES:])
                piece = piece[:_PIECE_BYTES]
            end.queued_bytes -= len(piece)
            if end.queued:
                self._waiting.append(end)
            end.pass_on(piece)
            end.hold("queue", end.queued_bytes > _QUEUE_BYTES)
            self._free_at_s += len(piece) / self.bytes_per_s if self.bytes_per_s else 0.0
        if self._waiting:
            self._timer = loop.call_at(max(self._free_at_s, now_s + _TICK_S), self._turn)


def _bound(port: int) -> socket.socket:
    """Returns a socket on that port (0: a free one).

    While it does not listen, it keeps the port, and the kernel refuses connections.
    """
    # asyncio turns off Nagle's algorithm for accepted connections only if the protocol is named here.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound
