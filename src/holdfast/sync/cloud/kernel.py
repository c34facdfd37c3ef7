"""What the kernel knows of this process's TCP connections to one port (Linux: TCP_INFO). gRPC shows none of it.

Takes little time: of this process's open files only the sockets are examined. Where the kernel can't be asked, it
is as if there were no connections.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

_PROC = "/proc/self/fd"
_SIOCOUTQ = 0x5411
_ESTABLISHED = 1
_TCP_INFO = struct.Struct("=BxB21xI28xI60xQ64xI")
"""The state, how often in a row the kernel sent again without an answer, the packets that are not acknowledged, the
milliseconds since anything came, the bytes that are acknowledged in sequence, and the packets that are acknowledged
(since Linux 4.18)."""
_FOREVER = 127


@dataclass(frozen=True)
class Figures:
    """The figures of all connections together."""

    acknowledged_bytes: int = 0
    arrived_packets: int = 0
    """How many packets were acknowledged, also those behind a lost one."""
    waiting_bytes: int = 0
    """What was given to the kernel and is not acknowledged."""
    is_lost: bool = False
    """Whether what was sent over a connection is not acknowledged, although it was sent again."""
    are_open: bool = False
    """Whether there is a connection that both sides keep open."""
    heard_s: float = 0.0
    """The monotonic time when something came last over an open connection on which all is acknowledged."""

    def has_more_than(self, before: Figures) -> bool:
        """Returns whether more is acknowledged than `before`."""
        return self.acknowledged_bytes > before.acknowledged_bytes or self.arrived_packets > before.arrived_packets


def figures(port: int) -> Figures:
    """Returns the figures of the connections to `port`."""
    acknowledged = arrived = waiting = 0
    is_lost, are_open, heard_s = False, False, 0.0
    for connection in _connections(port):
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        state, again, under_way, silent_ms, in_sequence, packets = _TCP_INFO.unpack(
            info.ljust(_TCP_INFO.size, b"\0")
        )
        acknowledged, arrived = acknowledged + in_sequence, arrived + packets
        waiting += _waiting(connection)
        if state == _ESTABLISHED:
            are_open = True
            is_lost |= again > 0
            if not under_way:
                heard_s = max(heard_s, time.monotonic() - silent_ms / 1000)
    return Figures(acknowledged, arrived, waiting, is_lost, are_open, heard_s)


def ask(port: int, *, on: bool) -> None:
    """Has the kernel ask, or no longer ask, over each connection to `port` that is silent whether the other side is
    still there (TCP keepalive). The answer counts as heard; without one the connection stays."""
    for connection in _connections(port):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, on)
        for option, value in (
            (socket.TCP_KEEPIDLE, 1),
            (socket.TCP_KEEPINTVL, 1),
            (socket.TCP_KEEPCNT, _FOREVER),
        ):
            connection.setsockopt(socket.IPPROTO_TCP, option, value)


def _connections(port: int) -> Iterator[socket.socket]:
    """Yields each connection to `port`; it is valid until the next one is asked for. What becomes of it is gRPC's
    matter: one that ends meanwhile is passed over."""
    with suppress(OSError):
        for descriptor in map(int, os.listdir(_PROC)):
            with suppress(OSError):  # closed meanwhile, or no connection
                if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                    with socket.socket(fileno=os.dup(descriptor)) as connection:
                        if _is_tcp(connection) and connection.getpeername()[1] == port:
                            yield connection


def _is_tcp(connection: socket.socket) -> bool:
    return connection.family in (socket.AF_INET, socket.AF_INET6) and connection.type == socket.SOCK_STREAM


def _waiting(connection: socket.socket) -> int:
    import fcntl  # does not exist on every system, but wherever /proc does

    (waiting,) = struct.unpack("=i", fcntl.ioctl(connection.fileno(), _SIOCOUTQ, bytes(4)))
    return int(waiting)
