"""What the tests of lost connections rely on: the link does what it is told, and only that."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from demo.link import CHUNK_BYTES, Link

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
# Long enough for a relay that moves bytes to have moved them many times over.
QUIET_S = 0.2


class Far:
    """The other end: its connections, in the order in which they came."""

    def __init__(self) -> None:
        self.connections: asyncio.Queue[Connection] = asyncio.Queue()
        self.port = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        if self._server:
            self._server.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.put_nowait((reader, writer))


@pytest.fixture
async def far() -> AsyncIterator[Far]:
    far = Far()
    await far.start()
    yield far
    far.stop()


@pytest.fixture
async def link(far: Far) -> AsyncIterator[Link]:
    link = Link(far.port)
    await link.start()
    yield link
    await link.stop()


@pytest.fixture
async def connect(link: Link) -> AsyncIterator[Callable[[], Coroutine[Any, Any, Connection]]]:
    writers: list[asyncio.StreamWriter] = []

    async def make() -> Connection:
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        writers.append(writer)
        return reader, writer

    yield make
    for writer in writers:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


Connect = Callable[[], Coroutine[Any, Any, Connection]]


async def moves_nothing(reader: asyncio.StreamReader) -> bool:
    """A black hole can only be seen by waiting; any byte ends the wait at once."""
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(reader.read(1), QUIET_S)
    return True


async def link_is_idle(link: Link) -> None:
    while link.connections_count:  # noqa: ASYNC110 - the link tells nobody that a connection has ended
        await asyncio.sleep(0.01)


async def test_bytes_pass_both_ways_and_are_counted(link: Link, far: Far, connect: Connect) -> None:
    near_reader, near_writer = await connect()
    near_writer.write(b"hello")
    far_reader, far_writer = await far.connections.get()
    assert await far_reader.readexactly(5) == b"hello"
    far_writer.write(b"hi")
    assert await near_reader.readexactly(2) == b"hi"
    near_writer.write_eof()
    assert await far_reader.read() == b""
    far_writer.write(b"!")  # one direction has ended, the other one goes on
    far_writer.close()
    assert await near_reader.read() == b"!"
    assert (link.bytes_up, link.bytes_down) == (5, 3)
    assert link.address == f"http://127.0.0.1:{link.port}"


async def test_a_large_transfer_that_ends_arrives_whole(far: Far, connect: Connect) -> None:
    _, near_writer = await connect()
    data = bytes(range(256)) * 40_000
    near_writer.write(data)
    near_writer.write_eof()
    far_reader, _ = await far.connections.get()
    assert await far_reader.read() == data


async def test_what_was_sent_before_an_orderly_end_can_be_read_after_it(
    link: Link, far: Far, connect: Connect
) -> None:
    near_reader, near_writer = await connect()
    near_writer.write_eof()
    _, far_writer = await far.connections.get()
    transport = near_writer.transport
    assert isinstance(transport, asyncio.Transport)
    transport.pause_reading()
    # More than the near end's kernel takes unread, and less than all kernel buffers on the way.
    data = bytes(512 * 1024)
    far_writer.write(data)
    far_writer.close()
    await asyncio.wait_for(link_is_idle(link), 10)
    transport.resume_reading()
    assert await near_reader.read() == data


async def test_a_cut_resets_both_ends(link: Link, far: Far, connect: Connect) -> None:
    near_reader, near_writer = await connect()
    near_writer.write(b"x")
    far_reader, _ = await far.connections.get()
    await far_reader.readexactly(1)
    await link.cut()
    with pytest.raises(ConnectionResetError):
        await near_reader.read()
    with pytest.raises(ConnectionResetError):
        await far_reader.read()
    assert link.connections_count == 0


async def test_a_cut_link_refuses_connections_and_keeps_its_port(link: Link, connect: Connect) -> None:
    await link.cut()
    with pytest.raises(ConnectionRefusedError):
        await connect()
    with socket.socket() as thief, pytest.raises(OSError, match="in use"):
        thief.bind(("127.0.0.1", link.port))


async def test_a_restored_link_works_at_the_same_port(link: Link, far: Far, connect: Connect) -> None:
    port = link.port
    await link.cut()
    await link.restore()
    assert link.port == port
    _, near_writer = await connect()
    near_writer.write(b"again")
    far_reader, _ = await far.connections.get()
    assert await far_reader.readexactly(5) == b"again"


async def test_a_black_hole_holds_back_what_an_open_connection_says(link: Link, far: Far, connect: Connect) -> None:
    near_reader, near_writer = await connect()
    near_writer.write(b"x")
    far_reader, far_writer = await far.connections.get()
    await far_reader.readexactly(1)
    await link.blackhole()
    near_writer.write(b"up")
    far_writer.write(b"down")
    assert await moves_nothing(far_reader)
    assert await moves_nothing(near_reader)
    await link.restore()
    assert await far_reader.readexactly(2) == b"up"
    assert await near_reader.readexactly(4) == b"down"


async def test_a_black_hole_accepts_connections(link: Link, far: Far, connect: Connect) -> None:
    await link.cut()
    await link.blackhole()
    near_reader, near_writer = await connect()
    near_writer.write(b"x")
    assert await moves_nothing(near_reader)
    assert far.connections.empty()
    await link.restore()
    far_reader, _ = await far.connections.get()
    assert await far_reader.readexactly(1) == b"x"


async def test_what_fell_into_a_black_hole_is_gone_after_a_cut(link: Link, far: Far, connect: Connect) -> None:
    await link.blackhole()
    near_reader, near_writer = await connect()
    near_writer.write(b"lost")
    assert await moves_nothing(near_reader)
    await link.cut()
    with pytest.raises(ConnectionResetError):
        await near_reader.read()
    await link.restore()
    _, near_writer = await connect()
    near_writer.write(b"new")
    far_reader, _ = await far.connections.get()
    assert await far_reader.readexactly(3) == b"new"
    assert far.connections.empty()


async def test_a_receiver_that_stops_reading_stops_the_sender(link: Link, far: Far, connect: Connect) -> None:
    _, near_writer = await connect()
    near_writer.transport.set_write_buffer_limits(high=0)

    async def flood() -> None:
        while True:
            near_writer.write(bytes(CHUNK_BYTES))
            await near_writer.drain()

    flooding = asyncio.create_task(flood())
    far_reader, _ = await far.connections.get()
    relayed = -1
    while relayed != link.bytes_up:  # until the kernel's buffers are full as well
        relayed = link.bytes_up
        await asyncio.sleep(QUIET_S)
    assert not flooding.done()
    await far_reader.readexactly(relayed + 1)  # reading sets it going again
    flooding.cancel()


async def test_a_dead_target_resets_the_client(link: Link, far: Far, connect: Connect) -> None:
    far.stop()
    near_reader, _ = await connect()
    with pytest.raises(ConnectionResetError):
        await near_reader.read()


async def test_a_stopped_link_gives_its_port_back(link: Link) -> None:
    await link.stop()
    with socket.socket() as heir:
        heir.bind(("127.0.0.1", link.port))


async def test_what_is_sent_over_a_slow_link_arrives_in_order_and_not_before_its_delay(
    far: Far, link: Link, connect: Callable[[], Coroutine[Any, Any, Connection]]
) -> None:
    link.delay_s = QUIET_S
    _, writer = await connect()
    far_reader, _ = await far.connections.get()
    sent_s = time.monotonic()
    writer.write(b"one")
    await writer.drain()
    writer.write(b"two")
    assert await far_reader.readexactly(6) == b"onetwo"
    assert time.monotonic() - sent_s >= QUIET_S


async def test_a_throttled_link_moves_no_more_than_it_is_told(
    far: Far, link: Link, connect: Callable[[], Coroutine[Any, Any, Connection]]
) -> None:
    link.bytes_per_s = 10 * CHUNK_BYTES
    _, writer = await connect()
    far_reader, _ = await far.connections.get()
    sent_s = time.monotonic()
    writer.write(bytes(4 * CHUNK_BYTES))
    await far_reader.readexactly(4 * CHUNK_BYTES)
    # What was read last need not have been waited for.
    assert time.monotonic() - sent_s >= 0.3 - CHUNK_BYTES / link.bytes_per_s
