"""How long a call may take: not for ever, but as long as its bytes move.

gRPC tells neither how much of a message is on its way nor whether the other side takes any of it, so a fixed
deadline would give up what a slow link carries, again and again. The kernel knows (Linux: TCP_INFO): what the other
side acknowledges while more of ours waits to be sent is movement. Where it can't be asked, there is the deadline.
Time is counted in looks, so that a computer that slept, or was held up, does not take that for a stuck call.

Belongs to the event loop, and takes little of it: all calls share a look at the kernel's figures, however many
there are, and of the files that are open only the sockets are looked into.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
import time
from contextlib import suppress

LOOK_S = 5.0
"""Seconds from one look to the next."""
_STALLED_LOOKS = 12
"""A call that has moved nothing for so long, a minute, is given up."""
_SLOWEST_BYTES_PER_S = 4096
"""By what a call's size adds to its time, whether it is seen to move or not."""
_MOST_MOVED_BYTES = 64 * 1024 * 1024
"""Far more than can be under way before a call: what moves beyond that is not this one."""

_PROC = "/proc/self/fd"
_TCP_INFO_BYTES, _ACKNOWLEDGED_OFFSET = 128, 120
_SIOCOUTQ = 0x5411


class Movement:
    """What the kernel says of all connections to `port` together, asked at most twice in `LOOK_S`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sent = (0, 0)
        self._again_s = 0.0

    def sent(self) -> tuple[int, int]:
        """The bytes that this process sent there and that are acknowledged, and those that are not yet."""
        now_s = time.monotonic()
        if now_s >= self._again_s:
            self._sent, self._again_s = _sent_to(self._port), now_s + LOOK_S / 2
        return self._sent


class Patience:
    """Of one call of `size_bytes`. `look` is to be called every `LOOK_S`."""

    def __init__(self, movement: Movement, size_bytes: int = 0) -> None:
        self._movement = movement
        self._looks = _STALLED_LOOKS + int(size_bytes / _SLOWEST_BYTES_PER_S / LOOK_S)
        self._acknowledged: int | None = None
        self._moved_bytes = 0

    def look(self, *, moved: bool = False) -> bool:
        """Whether to go on waiting; `moved` when the caller knows that it moved."""
        self._looks -= 1
        if self._looks < _STALLED_LOOKS and (moved or self._moves()):
            self._looks = _STALLED_LOOKS
        return self._looks > 0

    def _moves(self) -> bool:
        before, (self._acknowledged, waiting) = self._acknowledged, self._movement.sent()
        more = 0 if before is None else max(0, self._acknowledged - before)
        self._moved_bytes += more
        return more > 0 and waiting > 0 and self._moved_bytes < _MOST_MOVED_BYTES


def _sent_to(port: int) -> tuple[int, int]:
    acknowledged = waiting = 0
    with suppress(OSError):
        for descriptor in map(int, os.listdir(_PROC)):
            with suppress(OSError):  # closed meanwhile, or no connection
                if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                    with socket.socket(fileno=os.dup(descriptor)) as connection:
                        one = _of_connection(connection, port)
                    acknowledged, waiting = acknowledged + one[0], waiting + one[1]
    return acknowledged, waiting


def _of_connection(connection: socket.socket, port: int) -> tuple[int, int]:
    if connection.family not in (socket.AF_INET, socket.AF_INET6) or connection.getpeername()[1] != port:
        return 0, 0
    import fcntl  # not everywhere, as /proc is not

    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    (acknowledged,) = struct.unpack_from("=Q", info, _ACKNOWLEDGED_OFFSET)
    (waiting,) = struct.unpack("=i", fcntl.ioctl(connection.fileno(), _SIOCOUTQ, bytes(4)))
    return acknowledged, waiting
