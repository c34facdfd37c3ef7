"""Names whose DNS server does not answer hold up nothing but themselves."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from holdfast.sync.way import lookup
from holdfast.sync.way.lookup import MAX_LOOKUPS, look_up


class DeadServer:
    """A DNS server that answers nothing until `answer`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._answers = threading.Event()
        self.asked = 0
        real = socket.getaddrinfo

        def getaddrinfo(host: str, port: int, **arguments: int) -> list[object]:
            if not arguments.get("flags"):
                self.asked += 1
                assert self._answers.wait(30)
                host = "192.0.2.1"
            return list(real(host, port, **arguments))

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    def answer(self) -> None:
        self._answers.set()


@pytest.fixture
def dead_server(monkeypatch: pytest.MonkeyPatch) -> DeadServer:
    monkeypatch.setattr(lookup, "LOOKUP_S", 0.05)
    return DeadServer(monkeypatch)


async def test_lookups_without_an_answer_are_given_up_and_few(dead_server: DeadServer) -> None:
    for _ in range(2 * MAX_LOOKUPS):
        with pytest.raises(OSError, match="no DNS server answers"):
            await look_up("cloud.example", 443)
    assert dead_server.asked == MAX_LOOKUPS
    dead_server.answer()
    await asyncio.wait_for(asyncio.to_thread(lambda: None), 10)  # the worker threads are free
    assert (await look_up("cloud.example", 443))[0][4] == ("192.0.2.1", 443)


async def test_the_answer_to_an_earlier_lookup_is_taken(dead_server: DeadServer) -> None:
    with pytest.raises(OSError, match="no DNS server answers"):
        await look_up("cloud.example", 443)
    later = asyncio.ensure_future(look_up("cloud.example", 443))
    dead_server.answer()
    assert (await later)[0][4] == ("192.0.2.1", 443)


async def test_an_address_is_no_name(dead_server: DeadServer) -> None:
    assert (await look_up("::1", 443))[0][4][:2] == ("::1", 443)
    assert dead_server.asked == 0


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example"])
async def test_what_can_be_no_name_is_an_error(host: str) -> None:
    with pytest.raises(OSError, match="no name of a computer"):
        await look_up(host, 443)
