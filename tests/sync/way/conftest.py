"""Names, addresses and servers for the tests of the way to the cloud."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from demo.cloud import LocalCloud
from tests.ports import swallowing

Resolve = Callable[..., None]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """`names(cloud=["::1", "127.0.0.1"])` makes the name `cloud.example` have these addresses, in this order."""
    known: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def getaddrinfo(
        host: str, port: int, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[object]:
        if host in known and flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "a name")
        addresses = known.get(host, [host])
        return [each for address in addresses for each in real(address, port, family, type, proto, flags)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    def set_names(**addresses: list[str]) -> None:
        known.update({f"{name}.example": each for name, each in addresses.items()})

    return set_names


@pytest.fixture
def silent() -> Iterator[Callable[[str, int], int]]:
    """`silent(address, port)` makes `address` swallow connections to that port, as a dead host does: the queue of a
    listener is filled up. Returns the port; 0 asks for a free one."""
    with ExitStack() as stack:

        def swallow(address: str, port: int = 0) -> int:
            return stack.enter_context(swallowing(address, port))

        yield swallow


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[LocalCloud]:
    server = LocalCloud(tmp_path / "cloud", api_keys={"id": "key"})
    await server.start()
    yield server
    await server.stop()
