"""The instrument of the sync benchmarks: it delays by the round-trip time, shapes to the rate, and cuts.

Time is the event loop's own and passes only where nothing else is left to do, up to the next timer at once. So what
a link takes is exact, however busy the machine is: noise can at most let a piece miss its turn, and bounds from
above leave room for many of these.
"""

from __future__ import annotations

import asyncio
import random
import selectors
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from bench.slow_link import SlowLink

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
MIB = 1024 * 1024
LOOK_S = 0.002
"""Real time for the kernel to bring what is under way between two sockets, before time passes."""
EARLY_S = 0.001
"""What is due within half a tick arrives with what is due now."""


class PatientSelector(selectors.DefaultSelector):
    """Tells its loop to let time pass where nothing happens by itself."""

    pass_time: Callable[[float], None]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if not timeout:
            return super().select(timeout)
        events = super().select(min(timeout, LOOK_S))
        if not events:
            self.pass_time(timeout)
        return events


class PatientLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._now_s = 0.0
        selector = PatientSelector()
        selector.pass_time = self._pass_time
        super().__init__(selector)

    def time(self) -> float:
        return self._now_s

    def _pass_time(self, seconds: float) -> None:
        self._now_s += seconds


def patiently(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Runs a test on a loop whose time is simulated."""

    def run() -> None:
        loop = PatientLoop()
        try:
            loop.run_until_complete(test())
        finally:
            loop.close()

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


class World:
    """A link, and what connects to a server behind it."""

    def __init__(self) -> None:
        self.link: SlowLink
        self.accepted: asyncio.Queue[Connection] = asyncio.Queue()
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self) -> tuple[Connection, Connection]:
        """Both ends of a new connection: the near one, and the one of the server."""
        near = await asyncio.open_connection("127.0.0.1", self.link.port, limit=64 * MIB)
        far = await self.accepted.get()
        self._writers += [near[1], far[1]]
        return near, far

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted.put_nowait((reader, writer))

    def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def a_link(*, rtt_s: float = 0.0, bytes_per_s: float = 0.0) -> AsyncIterator[World]:
    world = World()
    server = await asyncio.start_server(world.accept, "127.0.0.1", 0, limit=64 * MIB)
    world.link = SlowLink(server.sockets[0].getsockname()[1])
    world.link.rtt_s, world.link.bytes_per_s = rtt_s, bytes_per_s
    await world.link.start()
    try:
        yield world
    finally:
        world.close()
        world.link.stop()
        server.close()


def now_s() -> float:
    return asyncio.get_running_loop().time()


async def arrival_s(reader: asyncio.StreamReader, size_bytes: int) -> float:
    """When so many bytes more have arrived."""
    await reader.readexactly(size_bytes)
    return now_s()


async def end_s(reader: asyncio.StreamReader) -> float:
    """When the connection has ended, orderly or not."""
    with suppress(ConnectionResetError):
        await reader.read()
    return now_s()


@patiently
async def test_a_round_trip_takes_the_round_trip_time_and_no_more() -> None:
    async with a_link(rtt_s=0.2) as world:
        (near_reader, near_writer), (far_reader, far_writer) = await world.connect()
        for trip in range(1, 4):
            near_writer.write(b"ping")
            there_s = await arrival_s(far_reader, 4)
            far_writer.write(b"pong")
            back_s = await arrival_s(near_reader, 4)
            assert there_s == pytest.approx(trip * 0.2 - 0.1, abs=6 * EARLY_S)
            assert back_s == pytest.approx(trip * 0.2, abs=6 * EARLY_S)


@patiently
async def test_a_link_without_a_delay_takes_no_time() -> None:
    async with a_link() as world:
        (near_reader, near_writer), (far_reader, far_writer) = await world.connect()
        near_writer.write(b"ping")
        await far_reader.readexactly(4)
        far_writer.write(bytes(4 * MIB))
        assert await arrival_s(near_reader, 4 * MIB) == 0


@patiently
async def test_what_is_said_before_the_other_end_is_reached_is_not_lost() -> None:
    async with a_link() as world:
        with socket.create_connection(("127.0.0.1", world.link.port)) as near:
            near.sendall(b"early")
            far_reader, far_writer = await world.accepted.get()
            assert await far_reader.readexactly(5) == b"early"
            far_writer.transport.abort()


@patiently
async def test_a_delay_costs_no_throughput() -> None:
    """With as little as a MiB for each round trip it would take 3 seconds."""
    async with a_link(rtt_s=0.2) as world:
        (_, near_writer), (far_reader, _) = await world.connect()
        near_writer.write(bytes(16 * MIB))
        assert 0.1 - EARLY_S <= await arrival_s(far_reader, 16 * MIB) < 1.5


@patiently
async def test_behind_a_receiver_that_falls_back_the_line_does_not_run_empty() -> None:
    async with a_link(rtt_s=0.2) as world:
        (_, near_writer), (far_reader, far_writer) = await world.connect()
        far_writer.transport.pause_reading()  # type: ignore[attr-defined]
        near_writer.write(bytes(32 * MIB))
        await asyncio.sleep(0.2)
        near_writer.write(bytes(8 * MIB))
        await asyncio.sleep(0.3)
        far_writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert await arrival_s(far_reader, 40 * MIB) < 0.5 + 0.1 / 2


@patiently
async def test_what_goes_each_way_goes_at_the_rate_of_the_link() -> None:
    async with a_link(rtt_s=0.1, bytes_per_s=MIB) as world:
        (near_reader, near_writer), (far_reader, far_writer) = await world.connect()
        near_writer.write(bytes(2 * MIB))
        far_writer.write(bytes(2 * MIB))
        arrivals_s = await asyncio.gather(arrival_s(far_reader, 2 * MIB), arrival_s(near_reader, 2 * MIB))
        # The first piece of 16 KiB need not wait for its turn, nor for what a tick holds.
        assert all(2.05 - 0.02 <= each_s < 2.05 * 1.1 for each_s in arrivals_s)


@patiently
async def test_a_link_that_was_idle_has_saved_nothing_up() -> None:
    async with a_link(bytes_per_s=MIB) as world:
        (_, near_writer), (far_reader, _) = await world.connect()
        near_writer.write(bytes(MIB // 4))
        await far_reader.readexactly(MIB // 4)
        await asyncio.sleep(1.0)
        begin_s = now_s()
        near_writer.write(bytes(MIB // 2))
        assert await arrival_s(far_reader, MIB // 2) - begin_s >= 0.5 - 0.02


@patiently
async def test_a_connection_gets_its_turn_beside_one_that_never_has_enough() -> None:
    async with a_link(bytes_per_s=MIB) as world:
        (_, greedy), (greedy_reader, _) = await world.connect()
        (_, modest), (modest_reader, _) = await world.connect()
        greedy.write(bytes(4 * MIB))
        await greedy_reader.readexactly(MIB)
        begin_s = now_s()
        modest.write(bytes(MIB // 2))
        all_of_it = asyncio.create_task(arrival_s(greedy_reader, 3 * MIB))
        assert 1 - 0.05 <= await arrival_s(modest_reader, MIB // 2) - begin_s < 1.2
        assert await all_of_it - begin_s >= 3.5 - 0.05


@patiently
async def test_a_sender_feels_the_link() -> None:
    """Beyond the kernel's buffers, a few MiB, it can send only what has gone on."""
    async with a_link(bytes_per_s=100 * MIB) as world:
        (_, near_writer), (far_reader, _) = await world.connect()
        near_writer.transport.set_write_buffer_limits(high=0)
        near_writer.write(bytes(64 * MIB))
        received_bytes = 0

        async def receive() -> None:
            nonlocal received_bytes
            while data := await far_reader.read(MIB):
                received_bytes += len(data)

        receiving = asyncio.create_task(receive())
        await near_writer.drain()
        assert received_bytes > 32 * MIB
        receiving.cancel()


@patiently
async def test_what_is_sent_arrives_in_its_order_while_rate_and_delay_change() -> None:
    async with a_link(rtt_s=0.2, bytes_per_s=MIB) as world:
        (_, near_writer), (far_reader, _) = await world.connect()
        sent = random.Random(1).randbytes(MIB)
        changes = [(0.0, 0.0), (0.02, 0.0), (0.2, MIB), (0.0, 10 * MIB), (0.1, 0.0), (0.0, MIB), (0.0, 0.0)]
        for number, (rtt_s, bytes_per_s) in enumerate(changes):
            near_writer.write(sent[number * MIB // 8 : (number + 1) * MIB // 8])
            await asyncio.sleep(0.05)
            world.link.rtt_s, world.link.bytes_per_s = rtt_s, bytes_per_s
        near_writer.write(sent[len(changes) * MIB // 8 :])
        assert await far_reader.readexactly(MIB) == sent


@patiently
async def test_an_end_arrives_after_the_delay_and_behind_what_was_said_before_it() -> None:
    async with a_link(rtt_s=0.2) as world:
        (near_reader, _), (_, far_writer) = await world.connect()
        far_writer.write(b"farewell")
        far_writer.close()
        assert await near_reader.readexactly(8) == b"farewell"
        assert await end_s(near_reader) == pytest.approx(0.1, abs=2 * EARLY_S)


@patiently
async def test_a_cut_ends_all_connections_and_what_was_under_way_never_arrives() -> None:
    async with a_link(rtt_s=0.2, bytes_per_s=MIB) as world:
        (near_reader, near_writer), (far_reader, _) = await world.connect()
        near_writer.write(bytes(MIB))
        await far_reader.readexactly(16 * 1024)
        world.link.cut()
        cut_s = now_s()
        assert await end_s(near_reader) == await end_s(far_reader) == cut_s
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", world.link.port)
        with socket.socket() as thief, pytest.raises(OSError, match="in use"):
            thief.bind(("127.0.0.1", world.link.port))


@patiently
async def test_a_link_that_is_started_again_works_at_its_port_with_nothing_of_before() -> None:
    async with a_link(rtt_s=0.2) as world:
        port = world.link.port
        (_, near_writer), _ = await world.connect()
        near_writer.write(b"before")
        await asyncio.sleep(0.05)
        world.link.cut()
        await world.link.start()
        assert world.link.port == port
        (_, near_writer), (far_reader, _) = await world.connect()
        near_writer.write(b"after")
        assert await far_reader.readexactly(5) == b"after"
        assert world.accepted.empty()


@patiently
async def test_a_server_that_is_away_ends_the_connection() -> None:
    async with a_link() as world:
        away = SlowLink(_free_port())
        await away.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", away.port)
        assert await end_s(reader) == 0
        writer.transport.abort()
        away.stop()
        assert world.accepted.empty()


def _free_port() -> int:
    probe = SlowLink(0)
    probe.stop()
    return probe.port
