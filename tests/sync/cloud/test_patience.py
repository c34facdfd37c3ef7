"""What a look at the kernel's figures costs, and which connections it counts."""

from __future__ import annotations

import os
import socket

import pytest

from holdfast.sync.cloud.kernel import figures
from holdfast.sync.cloud.patience import Movement, Patience


def test_calls_that_look_at_once_share_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    listings = 0
    list_folder = os.listdir

    def counted(path: str) -> list[str]:
        nonlocal listings
        listings += 1
        return list_folder(path)

    monkeypatch.setattr(os, "listdir", counted)
    movement = Movement(1)
    calls = [Patience(movement) for _ in range(12)]
    assert all(call.look() for call in calls)
    assert listings == 1


def test_all_connections_to_the_port_count_and_no_others() -> None:
    with socket.create_server(("127.0.0.1", 0)) as cloud, socket.create_server(("127.0.0.1", 0)) as other:
        port = cloud.getsockname()[1]
        with (
            socket.create_connection(("127.0.0.1", port)) as first,
            socket.create_connection(("127.0.0.1", port)) as second,
            socket.create_connection(other.getsockname()) as third,
        ):
            peers = [cloud.accept()[0], cloud.accept()[0], other.accept()[0]]
            before = figures(port)
            for connection, size_bytes in ((first, 1000), (second, 200), (third, 50_000)):
                connection.sendall(bytes(size_bytes))
            for peer, size_bytes in zip(peers, (1000, 200, 50_000), strict=True):
                assert len(peer.recv(size_bytes, socket.MSG_WAITALL)) == size_bytes
            # the peer has acknowledged what it has read, unless the kernel delays that to send it along with data
            for peer in peers:
                peer.close()
            while (after := figures(port)).waiting_bytes:
                pass
            assert after.acknowledged_bytes - before.acknowledged_bytes == 1200
