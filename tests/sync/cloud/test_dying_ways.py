"""A way to the cloud that dies while it is in use: another one is taken, without anything that a user does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import grpc
import pytest

from demo.cloud import LocalCloud
from demo.link import Link as Cable
from holdfast.base.clock import SystemClock
from holdfast.errors import CloudError
from holdfast.sync.cloud import cloud as clouds
from holdfast.sync.cloud import link as links
from holdfast.sync.cloud import patience
from holdfast.sync.cloud.cloud import Cloud, CloudSettings
from holdfast.sync.cloud.link import Link, LinkState
from holdfast.sync.cloud.verdicts import Verdict
from holdfast.sync.way import way as way_module
from tests.relay import copy
from tests.waiting import eventually

from ..way.conftest import Resolve, names, server, silent

__all__ = ["names", "server", "silent"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "_LOOK_S", 0.2)
    monkeypatch.setattr(patience, "LOOK_S", 0.2)
    monkeypatch.setattr(way_module, "TIMEOUT_S", 1.0)
    monkeypatch.setattr(clouds, "_CONNECT_TIMEOUT_S", 1.0)


@asynccontextmanager
async def linked(address: str, **environment: str) -> AsyncIterator[tuple[Cloud, Link]]:
    settings = CloudSettings(address, True, "part", "id", "key", environment)
    cloud = Cloud(settings)
    link = Link(cloud, settings, SystemClock())
    task = asyncio.create_task(link.run())
    try:
        await eventually(lambda: link.up)
        yield cloud, link
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await cloud.close()


class Relay:
    """Relays from `host` to this computer's 127.0.0.1, on the same port, until it dies without a word."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._alive = asyncio.Event()
        self._alive.set()
        self._server: asyncio.Server

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._relay, self._host, self._port)

    async def die(self, silent: Callable[[str, int], int]) -> None:
        """Connections stay open, and nothing moves; new ones are swallowed."""
        self._alive.clear()
        await self.take_no_more(silent)

    async def take_no_more(self, silent: Callable[[str, int], int]) -> None:
        """New connections are swallowed; the others go on."""
        self._server.close()
        await eventually(lambda: not self._server.sockets)
        silent(self._host, self._port)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)

        async def gated(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while chunk := await source.read(65536):
                await self._alive.wait()
                sink.write(chunk)
            sink.close()

        await asyncio.gather(gated(reader, far_writer), gated(far_reader, writer), return_exceptions=True)


async def test_when_the_better_address_dies_under_a_call_the_other_one_is_taken(
    server: LocalCloud, names: Resolve, silent: Callable[[str, int], int]
) -> None:
    port = int(server.address.rpartition(":")[2])
    names(cloud=["127.0.0.2", "127.0.0.1"])
    relay = Relay("127.0.0.2", port)
    await relay.start()
    async with linked(f"http://cloud.example:{port}") as (cloud, link):
        assert link.way == f"directly to 127.0.0.2:{port}"
        await relay.die(silent)
        with pytest.raises(CloudError) as caught:
            await cloud.upload_capture(bytes(1000))
        assert link.judge_failure("a", caught.value) is Verdict.LINK
        await eventually(lambda: link.up and link.way == f"directly to 127.0.0.1:{port}")
        await cloud.upload_capture(b"")


async def test_calls_are_left_alone_by_a_way_that_permits_no_further_connection(
    server: LocalCloud, names: Resolve, silent: Callable[[str, int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a router whose table of connections is full. The answer comes later than the link looks and gives up."""
    monkeypatch.setattr(patience, "_STALLED_LOOKS", 100)
    port = int(server.address.rpartition(":")[2])
    names(cloud=["127.0.0.2", "127.0.0.1"])
    answer = asyncio.Event()
    server.before_answer = answer.wait
    relay = Relay("127.0.0.2", port)
    await relay.start()
    async with linked(f"http://cloud.example:{port}") as (cloud, link):
        await relay.take_no_more(silent)
        call = asyncio.create_task(cloud.upload_capture(b""))
        await probed(cloud, 2)
        answer.set()
        await call
        assert link.up and link.way == f"directly to 127.0.0.2:{port}"


async def probed(cloud: Cloud, times: int) -> None:
    """Returns when the link has looked so often whether the cloud can be reached, and found that it can."""
    looks, probe = asyncio.Semaphore(0), cloud.probe

    async def counted() -> None:
        await probe()
        looks.release()

    cloud.probe = counted  # type: ignore[method-assign]
    for _ in range(times):
        await asyncio.wait_for(looks.acquire(), 20)


async def test_an_error_of_an_earlier_connection_does_not_bring_down_the_one_of_now(server: LocalCloud) -> None:
    async with linked(server.address) as (cloud, link):
        server.fail_next(grpc.StatusCode.UNAVAILABLE)
        probe = cloud.probe

        async def probed_late() -> None:
            await cloud.connect()
            await probe()

        cloud.probe = probed_late  # type: ignore[method-assign]
        with pytest.raises(CloudError) as caught:
            await cloud.upload_capture(b"")
        assert link.judge_failure("a", caught.value) is Verdict.RETRY
        assert link.judge_failure("b", caught.value) is Verdict.RETRY and link.up


async def test_a_slow_answer_is_waited_for_while_the_cloud_can_be_reached(server: LocalCloud) -> None:
    looked = asyncio.Event()
    server.before_answer = looked.wait
    async with linked(server.address) as (cloud, link):
        probe = cloud.probe

        async def counted() -> None:
            await probe()
            looked.set()

        cloud.probe = counted  # type: ignore[method-assign]
        await cloud.upload_capture(b"")
        assert link.up and server.calls["Authenticate"] == 1


async def test_a_proxy_that_dies_takes_the_link_down_and_its_return_brings_it_up(
    server: LocalCloud, names: Resolve
) -> None:
    """The cable leads to an HTTP proxy that leads each name to this computer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", int(target.rpartition(":")[2]))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    cable = Cable(proxy.sockets[0].getsockname()[1])
    await cable.start()
    address = f"http://cloud.example:{server.address.rpartition(':')[2]}"
    async with linked(address, HTTPS_PROXY=f"http://user:a-secret@127.0.0.1:{cable.port}") as (cloud, link):
        assert link.way == f"through the HTTP proxy 127.0.0.1:{cable.port} (HTTPS_PROXY)"
        await cloud.upload_capture(b"")
        await cable.cut()
        await eventually(lambda: link.state is LinkState.DOWN and "HTTPS_PROXY" in link.why)
        assert "a-secret" not in link.why
        await cable.restore()
        await eventually(lambda: link.up)
        await cloud.upload_capture(b"")
    await cable.stop()
    proxy.close()


async def test_a_way_that_takes_bytes_and_answers_nothing_is_left_for_another(
    server: LocalCloud, names: Resolve
) -> None:
    """The first address accepts connections, as a firewall may do for whatever is behind it."""
    port = int(server.address.rpartition(":")[2])
    names(cloud=["127.0.0.2", "127.0.0.1"])
    accepted: list[asyncio.StreamWriter] = []
    mute = await asyncio.start_server(lambda reader, writer: accepted.append(writer), "127.0.0.2", port)
    async with linked(f"http://cloud.example:{port}") as (_, link):
        assert accepted and link.way == f"directly to 127.0.0.1:{port}"
    mute.close()
    for writer in accepted:
        writer.close()


async def test_what_can_not_be_used_of_the_environment_is_known(server: LocalCloud, names: Resolve) -> None:
    names(cloud=["127.0.0.1"])
    environment = {"SOCKS_PROXY": "proxy:x", "SSL_CERT_FILE": "/no/such/file"}
    address = f"https://cloud.example:{server.address.rpartition(':')[2]}"
    cloud = Cloud(CloudSettings(address, False, "part", "id", "key", environment))
    with pytest.raises(CloudError, match="speaks no TLS"):
        await cloud.connect()
    assert [problem.split()[0].rstrip(":") for problem in cloud.problems] == ["SOCKS_PROXY", "SSL_CERT_FILE"]
    await cloud.close()
