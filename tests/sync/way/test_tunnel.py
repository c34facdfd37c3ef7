"""The tunnel over a direct way: what a proxy adds to the way, the tunnel does not see."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
import sys
import threading
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from holdfast.config import Endpoint
from holdfast.sync.way.tunnel import CHUNK_BYTES, Tunnel
from holdfast.sync.way.way import Way

_TIMEOUT_S = 10.0


@pytest.fixture
def cloud() -> Iterator[socket.socket]:
    """What listens where the way leads."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


@asynccontextmanager
async def tunnel_to(cloud: socket.socket) -> AsyncIterator[Tunnel]:
    tunnel = Tunnel(Way(Endpoint("127.0.0.1", cloud.getsockname()[1]), address="127.0.0.1"))
    tunnel.open()
    try:
        yield tunnel
    finally:
        await tunnel.close()


def path_of(tunnel: Tunnel) -> str:
    return "\0" + tunnel.target.removeprefix("unix-abstract:")


@asynccontextmanager
async def connected(tunnel: Tunnel, cloud: socket.socket) -> AsyncIterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection through the tunnel: ours and the cloud's, over which a byte was exchanged."""
    with socket.socket(socket.AF_UNIX) as ours:
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(ours, path_of(tunnel))
        theirs, _ = await asyncio.wait_for(loop.sock_accept(cloud), _TIMEOUT_S)
        with theirs:
            for sender, taker in ((ours, theirs), (theirs, ours)):
                await loop.sock_sendall(sender, b"x")
                assert await asyncio.wait_for(loop.sock_recv(taker, 1), _TIMEOUT_S) == b"x"
            for end in (ours, theirs):
                end.settimeout(_TIMEOUT_S)
            yield ours, theirs


def carrying() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "holdfast-tunnel"]


async def test_bytes_pass_in_both_directions_while_the_event_loop_does_nothing(cloud: socket.socket) -> None:
    content = os.urandom(100 * CHUNK_BYTES + 1)
    async with tunnel_to(cloud) as tunnel, connected(tunnel, cloud) as (ours, theirs):
        for sender, taker in ((ours, theirs), (theirs, ours)):
            sending = threading.Thread(target=sender.sendall, args=(content,))
            sending.start()
            with taker.makefile("rb") as arriving:
                assert arriving.read(len(content)) == content
            sending.join()


@pytest.mark.parametrize("which", ["ours", "theirs"])
async def test_what_was_sent_before_the_end_arrives_and_then_the_end(cloud: socket.socket, which: str) -> None:
    async with tunnel_to(cloud) as tunnel, connected(tunnel, cloud) as (ours, theirs):
        ends, stays = (ours, theirs) if which == "ours" else (theirs, ours)
        ends.sendall(b"the last words")
        ends.close()
        with stays.makefile("rb") as arriving:
            assert await asyncio.to_thread(arriving.read) == b"the last words"


async def test_no_thread_is_left_when_the_tunnel_is_closed(cloud: socket.socket) -> None:
    async with tunnel_to(cloud) as tunnel, connected(tunnel, cloud) as (ours, theirs):
        stuck = threading.Thread(target=_send_until_the_end, args=(ours,))
        stuck.start()  # one of the tunnel's threads sends to a cloud that takes one byte
        assert theirs.recv(1)
        threads = carrying()
        assert len(threads) == 2
        await tunnel.close()
        for thread in threads:
            thread.join(_TIMEOUT_S)
            assert not thread.is_alive()
        await asyncio.to_thread(stuck.join)


async def test_a_connection_ends_at_once_when_nothing_listens(cloud: socket.socket) -> None:
    async with tunnel_to(cloud) as tunnel:
        cloud.close()
        reader, writer = await asyncio.open_unix_connection(path_of(tunnel))
        assert await asyncio.wait_for(reader.read(), _TIMEOUT_S) == b""
        writer.close()


async def test_another_process_gets_no_connection(cloud: socket.socket) -> None:
    program = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect('\\0' + sys.argv[1]); print(s.recv(1))"
    )
    async with tunnel_to(cloud) as tunnel:
        command = [sys.executable, "-c", program, path_of(tunnel)[1:]]
        ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=_TIMEOUT_S, check=True)
        assert ran.stdout.strip() == b"b''"
        with pytest.raises(BlockingIOError):
            cloud.accept()


async def test_a_connection_waits_while_too_many_files_are_open(
    cloud: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.sync.way.tunnel._RETRY_S", 0.01)
    real, failures = BaseSelectorEventLoop.sock_accept, [OSError(errno.EMFILE, "Too many open files")]

    async def accept(loop: BaseSelectorEventLoop, listener: socket.socket) -> object:
        if listener.family == socket.AF_UNIX and failures:
            raise failures.pop()
        return await real(loop, listener)

    monkeypatch.setattr(BaseSelectorEventLoop, "sock_accept", accept)
    async with tunnel_to(cloud) as tunnel, connected(tunnel, cloud):
        assert failures == []


def _send_until_the_end(end: socket.socket) -> None:
    try:
        while True:
            end.sendall(bytes(CHUNK_BYTES))
    except OSError:
        pass
