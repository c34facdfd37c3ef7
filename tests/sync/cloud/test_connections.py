"""How many connections calls use, to a real server behind a cable that counts them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from demo.cloud import LocalCloud
from demo.link import Link as Cable
from holdfast.errors import CloudError
from holdfast.sync.cloud.cloud import Cloud
from holdfast.sync.cloud.connections import BUSY_BYTES, MAX_CONNECTIONS, Connections
from holdfast.sync.cloud.replies import FILE_UPLOAD
from holdfast.sync.delivery.calls import file_contents, file_metadata, upload_metadata
from tests.waiting import eventually

from ..conftest import metadata
from ..delivery.test_calls import found
from .test_cloud import SECRET, settings

Call = Callable[[], Coroutine[Any, Any, object]]


class Rig:
    """A cloud that answers when `go_on` is set, behind a cable."""

    def __init__(self, server: LocalCloud, cable: Cable) -> None:
        self.server = server
        self.cable = cable
        self.cloud = Cloud(settings(cable.address))
        self.go_on = asyncio.Event()
        self.held = 0
        server.before_answer = self._hold

    async def _hold(self) -> None:
        self.held += 1
        await self.go_on.wait()

    def unary(self, size_bytes: int) -> Coroutine[Any, Any, object]:
        head = upload_metadata(metadata(), "part").SerializeToString()
        padding = b"\x7a" + _varint(size_bytes) + bytes(size_bytes)  # an unknown field
        return self.cloud.upload_capture(b"\x0a" + _varint(len(head)) + head + padding)

    def stream(self, size_bytes: int) -> Coroutine[Any, Any, object]:
        def messages() -> Iterator[bytes]:
            yield file_metadata(found("/x/a.txt"), "part", ())
            yield file_contents(bytes(size_bytes))

        return self.cloud.upload_stream(FILE_UPLOAD, messages)

    async def together(self, calls: list[Coroutine[Any, Any, object]]) -> int:
        """Returns how many connections all `calls` together open, beside the one of the login."""
        before, self.held = self.cable.connections_count, 0
        tasks = [asyncio.ensure_future(call) for call in calls]
        await eventually(lambda: self.held == len(calls))
        opened = self.cable.connections_count - before
        self.go_on.set()
        await asyncio.gather(*tasks)
        self.go_on.clear()
        return opened


def _varint(number: int) -> bytes:
    return b"" if not number else bytes([number & 0x7F | (0x80 if number > 0x7F else 0)]) + _varint(number >> 7)


@asynccontextmanager
async def rig_in(folder: Path) -> AsyncIterator[Rig]:
    server = LocalCloud(folder, api_keys={"id": SECRET})
    await server.start()
    cable = Cable(int(server.address.rpartition(":")[2]))
    await cable.start()
    rig = Rig(server, cable)
    await rig.cloud.connect()
    await eventually(lambda: cable.connections_count == 1, 20)
    yield rig
    await rig.cloud.close()
    await cable.stop()
    await server.stop()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig_in(tmp_path) as made:
        yield made


async def test_calls_that_fill_a_window_go_over_four_connections_with_one_login(rig: Rig) -> None:
    assert await rig.together([rig.unary(BUSY_BYTES) for _ in range(12)]) == MAX_CONNECTIONS - 1
    assert await rig.together([rig.unary(BUSY_BYTES) for _ in range(12)]) == 0
    assert rig.server.calls["Authenticate"] == 1


async def test_calls_that_fit_into_a_window_share_a_connection(rig: Rig) -> None:
    assert await rig.together([rig.unary(1000) for _ in range(12)]) == 0


async def test_streams_that_go_together_have_connections_of_their_own(rig: Rig) -> None:
    assert await rig.together([rig.stream(100)]) == 1
    assert await rig.together([rig.stream(100) for _ in range(12)]) == MAX_CONNECTIONS - 1
    assert rig.server.calls["Authenticate"] == 1


async def test_when_the_cloud_is_left_every_connection_is_closed(rig: Rig) -> None:
    await rig.together([*(rig.unary(BUSY_BYTES) for _ in range(8)), *(rig.stream(1) for _ in range(8))])
    await rig.cloud.close()
    await eventually(lambda: rig.cable.connections_count == 0)


async def fails(connections: Connections[int], code: str, uses: list[int]) -> None:
    with pytest.raises(CloudError), connections.one_for(BUSY_BYTES) as channel:
        uses.append(channel)
        raise CloudError(code, "as asked", connected=True)


@pytest.mark.parametrize(("code", "given_up"), [("UNAVAILABLE", True), ("INTERNAL", False)])
async def test_a_further_connection_that_can_not_be_made_is_not_tried_again(code: str, given_up: bool) -> None:
    numbers = iter(range(10))
    connections = Connections(lambda: next(numbers))
    with connections.one_for(1) as first:
        assert first == 0
    uses: list[int] = []
    with connections.one_for(BUSY_BYTES):
        await fails(connections, code, uses)
        await fails(connections, code, uses)
    assert uses == ([1, 0] if given_up else [1, 1])
    assert connections.channels == [0, 1]


async def test_a_connection_that_has_carried_calls_is_kept_when_it_fails() -> None:
    numbers = iter(range(10))
    connections = Connections(lambda: next(numbers))
    with connections.one_for(BUSY_BYTES), connections.one_for(1) as second:
        assert second == 1
    uses: list[int] = []
    with connections.one_for(BUSY_BYTES):
        await fails(connections, "UNAVAILABLE", uses)
        await fails(connections, "UNAVAILABLE", uses)
    assert uses == [1, 1]


async def test_the_only_connection_is_used_whatever_happened() -> None:
    connections = Connections(lambda: 7)
    uses: list[int] = []
    for _ in range(3):
        await fails(connections, "UNAVAILABLE", uses)
    assert uses == [7, 7, 7]
