"""Which way is found, over real sockets: dead addresses, real proxies, and proxies that misbehave."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from demo.cloud import LocalCloud
from holdfast.config import Endpoint
from holdfast.errors import CloudError
from holdfast.sync.cloud.cloud import Cloud, CloudSettings
from holdfast.sync.way import way as way_module
from holdfast.sync.way.proxies import Kind, Proxy, Routes
from holdfast.sync.way.way import Doubts, Way, find_way
from tests.ports import free_port
from tests.proxies import http_proxy, socks_proxy
from tests.relay import copy

from .conftest import Resolve

Silence = Callable[..., int]


def port_of(server: LocalCloud) -> int:
    return int(server.address.rpartition(":")[2])


async def found(port: int, doubts: Doubts | None = None, **environment: str) -> Way:
    endpoint = Endpoint("cloud.example", port, is_plaintext=True)
    return await find_way(endpoint, Routes.to(endpoint, environment), doubts or Doubts())


@pytest.mark.parametrize(
    "addresses",
    [
        ["::1", "127.0.0.1"],
        ["127.0.0.2", "127.0.0.1"],
        ["::1", "127.0.0.2", "127.0.0.3", "127.0.0.1"],
    ],
)
async def test_addresses_that_never_answer_delay_the_one_that_does_by_moments(
    server: LocalCloud, names: Resolve, silent: Silence, addresses: list[str]
) -> None:
    names(cloud=addresses)
    for dead in addresses[:-1]:
        silent(dead, port_of(server))
    assert (await found(port_of(server))).address == "127.0.0.1"


async def test_everything_goes_over_the_address_that_answered(
    server: LocalCloud, names: Resolve, silent: Silence
) -> None:
    names(cloud=["::1", "127.0.0.1"])
    silent("::1", port_of(server))
    cloud = Cloud(CloudSettings(f"http://cloud.example:{port_of(server)}", True, "part", "id", "key"))
    await cloud.connect()
    await cloud.upload_capture(b"")
    assert cloud.way == f"directly to 127.0.0.1:{port_of(server)}"
    assert server.calls["DataCaptureUpload"] == 1
    await cloud.close()


async def test_an_address_that_refuses_costs_nothing(server: LocalCloud, names: Resolve) -> None:
    names(cloud=["127.0.0.2", "::1", "127.0.0.1"])
    assert (await found(port_of(server))).address == "127.0.0.1"


async def test_an_address_over_which_nothing_came_is_tried_last(names: Resolve) -> None:
    names(cloud=["127.0.0.2", "127.0.0.1"])
    doubts = Doubts()
    with socket.create_server(("127.0.0.2", 0)) as first, socket.socket() as second:
        port = first.getsockname()[1]
        second.bind(("127.0.0.1", port))
        second.listen()
        before = await found(port, doubts)
        doubts.note(before)
        assert (before.address, (await found(port, doubts)).address) == ("127.0.0.2", "127.0.0.1")


async def test_when_no_address_answers_that_is_said_in_time(
    names: Resolve, silent: Silence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(way_module, "TIMEOUT_S", 0.5)
    names(cloud=["127.0.0.1", "127.0.0.2"])
    port = silent("127.0.0.1")
    silent("127.0.0.2", port)
    with pytest.raises(CloudError, match=f"cloud.example:{port} does not answer"):
        await found(port)


async def test_the_direct_way_wins_over_a_socks_proxy(server: LocalCloud, names: Resolve) -> None:
    names(cloud=["127.0.0.1"])
    with socks_proxy() as proxy:
        assert (await found(port_of(server), SOCKS_PROXY=proxy)).address == "127.0.0.1"


@asynccontextmanager
async def resolving_socks_proxy() -> AsyncIterator[tuple[str, list[tuple[str, int]]]]:
    """A SOCKS5 proxy that leads each name to this computer; yields its address and what it was asked for."""
    asked: list[tuple[str, int]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly((await reader.readexactly(2))[1])
        writer.write(b"\x05\x00")
        head = await reader.readexactly(5)
        assert head[:4] == b"\x05\x01\x00\x03", "the name is resolved by the proxy"
        host = (await reader.readexactly(head[4])).decode()
        port = int.from_bytes(await reader.readexactly(2), "big")
        asked.append((host, port))
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{proxy.sockets[0].getsockname()[1]}", asked
    finally:
        proxy.close()


@pytest.mark.parametrize("dead", ["silent", "refuses", "has no name"])
async def test_without_a_direct_way_all_goes_through_the_socks_proxy(
    server: LocalCloud, names: Resolve, silent: Silence, dead: str
) -> None:
    if dead != "has no name":
        names(cloud=["127.0.0.2"])
    if dead == "silent":
        silent("127.0.0.2", port_of(server))
    async with resolving_socks_proxy() as (address, asked):
        cloud = Cloud(
            CloudSettings(
                f"http://cloud.example:{port_of(server)}",
                True,
                "part",
                "id",
                "key",
                environment={"SOCKS_PROXY": address, "HTTPS_PROXY": "http://127.0.0.1:1"},
            )
        )
        await cloud.connect()
        payload = bytes(1024 * 1024)
        await asyncio.gather(*(cloud.upload_capture(payload) for _ in range(8)), return_exceptions=True)
        assert cloud.way == f"through the SOCKS5 proxy {address} (SOCKS_PROXY)"
        assert server.calls["Authenticate"] == 1 and set(asked) == {("cloud.example", port_of(server))}
        assert len(asked) >= 2
        await cloud.close()
        assert cloud.way == ""


async def test_only_socks_means_that_the_direct_way_is_not_tried(server: LocalCloud, names: Resolve) -> None:
    names(cloud=["127.0.0.1"])
    async with resolving_socks_proxy() as (address, asked):
        way = await found(port_of(server), SOCKS_PROXY=address, ONLY_SOCKS_PROXY="true")
    assert way.proxy is not None and asked


async def test_the_proxy_leads_when_nothing_came_over_the_direct_way(server: LocalCloud, names: Resolve) -> None:
    names(cloud=["127.0.0.1"])
    doubts = Doubts()
    async with resolving_socks_proxy() as (address, _):
        direct = await found(port_of(server), doubts, SOCKS_PROXY=address)
        doubts.note(direct)
        through = await found(port_of(server), doubts, SOCKS_PROXY=address)
        doubts.note(through)
        again = await found(port_of(server), doubts, SOCKS_PROXY=address)
    assert (direct.proxy, again.proxy) == (None, None) and through.proxy is not None


async def test_both_reasons_are_told_when_neither_way_leads_there(names: Resolve) -> None:
    names(cloud=["127.0.0.2"])
    with pytest.raises(CloudError) as caught:
        await found(free_port(), SOCKS_PROXY=f"127.0.0.1:{free_port()}")
    assert "can't connect to cloud.example" in caught.value.message
    assert (
        "can't connect to the SOCKS5 proxy 127.0.0.1" in caught.value.message and "refused" in caught.value.message
    )


@pytest.mark.parametrize("login", ["", "user:s%3Acret@"])
async def test_a_real_socks_proxy_carries_uploads(server: LocalCloud, login: str) -> None:
    user, password = ("user", "s:cret") if login else ("", "")
    with socks_proxy(user, password) as address:
        routes = Routes(False, Proxy(Kind.SOCKS5, *_split(address), "SOCKS_PROXY", user, password))
        way = await find_way(Endpoint("127.0.0.1", port_of(server), is_plaintext=True), routes, Doubts())
        await way.probe()


async def test_a_socks_proxy_that_does_not_know_the_user_says_so(server: LocalCloud) -> None:
    with socks_proxy("user", "right") as address:
        for login in (("user", "wrong"), ("", "")):
            proxy = Proxy(Kind.SOCKS5, *_split(address), "SOCKS_PROXY", *login)
            with pytest.raises(CloudError, match="SOCKS_PROXY") as caught:
                await Way(Endpoint("127.0.0.1", port_of(server)), proxy=proxy).probe()
            assert "wrong" not in str(caught.value)


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


@pytest.mark.parametrize("login", [("", ""), ("user", "secret")])
async def test_a_real_http_proxy_carries_uploads(
    server: LocalCloud, tmp_path: Path, login: tuple[str, str]
) -> None:
    with http_proxy(tmp_path, *login) as address:
        proxy = Proxy(Kind.HTTP, *_split(address), "HTTPS_PROXY", *login)
        endpoint = Endpoint("127.0.0.1", port_of(server), is_plaintext=True)
        way = await find_way(endpoint, Routes(False, proxy), Doubts())
        await way.probe()
        if login[0]:
            for wrong, text in ((("", ""), "wants a user and a password"), (("user", "no"), "does not accept")):
                refused = Way(endpoint, proxy=Proxy(Kind.HTTP, *_split(address), "HTTPS_PROXY", *wrong))
                with pytest.raises(CloudError, match=f"HTTPS_PROXY.*{text}|{text}.*HTTPS_PROXY"):
                    await refused.probe()


async def test_a_real_http_proxy_that_can_not_reach_the_cloud_says_so(tmp_path: Path) -> None:
    with http_proxy(tmp_path) as address:
        proxy = Proxy(Kind.HTTP, *_split(address), "HTTPS_PROXY")
        with pytest.raises(CloudError, match=r"HTTPS_PROXY\) gives no way to 127.0.0.1:1: it answers '5"):
            await Way(Endpoint("127.0.0.1", 1), proxy=proxy).probe()


@asynccontextmanager
async def saying(*parts: bytes, end: bool = True) -> AsyncIterator[tuple[str, int]]:
    """A proxy that says this to each request, part by part, and then ends the connection or goes silent."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        if end:
            writer.close()
        else:
            await reader.read()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield "127.0.0.1", server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize(
    "answer",
    [b"", b"\x00\xff\x00\xff" * 5000, b"<html>login here</html>", b"HTTP/1.1 302 Found\r\n\r\n", b"HTTP/1.1"],
)
async def test_whatever_a_proxy_says_is_an_error_that_names_the_variable(kind: Kind, answer: bytes) -> None:
    async with saying(answer) as address:
        proxy = Proxy(kind, *address, "THE_VARIABLE", "user", "a-secret")
        with pytest.raises(CloudError, match="THE_VARIABLE") as caught:
            await Way(Endpoint("cloud.example", 443), proxy=proxy).probe()
    assert not caught.value.connected and "a-secret" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("status", ["407 Proxy Authentication Required", "502 Bad Gateway", "403 Forbidden"])
async def test_the_status_of_an_http_proxy_is_told(status: str) -> None:
    page = f"HTTP/1.1 {status}\r\nContent-Type: text/html\r\n\r\n<html>{'x' * 5000}</html>".encode()
    async with saying(page) as address:
        with pytest.raises(CloudError, match=status):
            await Way(Endpoint("cloud.example", 443), proxy=Proxy(Kind.HTTP, *address, "HTTPS_PROXY")).probe()


@pytest.mark.parametrize("kind", list(Kind))
async def test_a_proxy_that_repeats_the_login_does_not_show_the_password(kind: Kind) -> None:
    answer = b"HTTP/1.1 407 no user:a-secret, no Basic dXNlcjphLXNlY3JldA==\r\n\r\n"
    async with saying(answer) as address:
        proxy = Proxy(kind, *address, "THE_VARIABLE", "user", "a-secret")
        with pytest.raises(CloudError, match="THE_VARIABLE") as caught:
            await Way(Endpoint("cloud.example", 443), proxy=proxy).probe()
    assert "secret" not in str(caught.value) and "dXNlcjphLXNlY3JldA" not in str(caught.value)


@pytest.mark.parametrize("kind", list(Kind))
async def test_a_proxy_that_says_nothing_is_given_up_in_time(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(way_module, "TIMEOUT_S", 0.3)
    async with saying(end=False) as address:
        with pytest.raises(CloudError, match=r"THE_VARIABLE\) does not answer"):
            await Way(Endpoint("cloud.example", 443), proxy=Proxy(kind, *address, "THE_VARIABLE")).probe()


async def test_an_answer_in_many_pieces_is_read_whole_and_nothing_of_the_cloud_with_it() -> None:
    """The library for SOCKS reads the answer of an HTTP proxy in one piece, and gives the rest to the cloud."""
    pieces = [bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\nVia: a proxy\r\n\r\n"]
    async with saying(*pieces, b"of the cloud", end=False) as address:
        opened = await Way(Endpoint("cloud.example", 443), proxy=Proxy(Kind.HTTP, *address, "HTTPS_PROXY")).open()
        with opened:
            assert await asyncio.get_running_loop().sock_recv(opened, 100) == b"of the cloud"


async def test_a_cancelled_search_leaves_nothing_open(names: Resolve, silent: Silence) -> None:
    names(cloud=["127.0.0.1"])
    port = silent("127.0.0.1")
    async with saying(end=False) as address:
        search = asyncio.create_task(found(port, SOCKS_PROXY=f"127.0.0.1:{address[1]}"))
        await asyncio.sleep(way_module.PROXY_AFTER_S * 1.5)
        search.cancel()
        with pytest.raises(asyncio.CancelledError):
            await search
    await asyncio.sleep(0)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not [task for task in others if "way" in repr(task.get_coro())]
