"""How long a call may take: as long as its bytes move, but not without end.

gRPC reports neither how much of a message was sent nor whether the receiver accepts any of it. A fixed deadline
would give up calls that a slow link does carry, again and again. The kernel knows (Linux: TCP_INFO): if the
receiver acknowledges bytes while more of ours wait to be sent, the call moves. Where the kernel can't be asked, a
call that does not end is given up after a fixed time. Time is counted in looks, so a computer that slept or was
held up does not take that for a stalled call.

Runs on the event loop and takes little of its time: all calls share one look at the kernel's figures, and of this
process's open files only the sockets are examined.
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
"""A call that did not move during so many looks, one minute, is given up."""
_SLOWEST_BYTES_PER_S = 4096
"""A call gets its size divided by this as additional time, whether it is seen to move or not."""
_MOST_MOVED_BYTES = 64 * 1024 * 1024
"""Far more than can be under way before a call. Movement beyond this is not of the call that is watched."""

_PROC = "/proc/self/fd"
_TCP_INFO_BYTES, _ACKNOWLEDGED_OFFSET = 128, 120
_SIOCOUTQ = 0x5411


class Movement:
    """The kernel's figures for all connections to `port` together. They are read at most twice in `LOOK_S`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sent = (0, 0)
        self._again_s = 0.0

    def sent(self) -> tuple[int, int]:
        """Returns two counts of bytes that this process sent there: acknowledged ones, and unacknowledged ones."""
        now_s = time.monotonic()
        if now_s >= self._again_s:
            self._sent, self._again_s = _sent_to(self._port), now_s + LOOK_S / 2
        return self._sent


class Patience:
    """Decides whether one call of `size_bytes` is worth waiting for. The caller calls `look` every `LOOK_S`."""

    def __init__(self, movement: Movement, size_bytes: int = 0) -> None:
        self._movement = movement
        self._looks = _STALLED_LOOKS + int(size_bytes / _SLOWEST_BYTES_PER_S / LOOK_S)
        self._acknowledged: int | None = None
        self.is_unacknowledged = False
        """Whether, at the last look, bytes were under way that the receiver had not acknowledged."""
        self._moved_bytes = 0

    @property
    def is_over(self) -> bool:
        """Whether the call is not worth waiting for any longer."""
        return self._looks <= 0

    def look(self, *, moved: bool = False) -> bool:
        """Returns whether to keep waiting. `moved` says that the caller knows that the call moved."""
        self._looks -= 1
        if self._looks < _STALLED_LOOKS and (moved or self._moves()):
            self._looks = _STALLED_LOOKS
        return not self.is_over

    def _moves(self) -> bool:
        before, (self._acknowledged, waiting) = self._acknowledged, self._movement.sent()
        self.is_unacknowledged = waiting > 0
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
    import fcntl  # does not exist on every system, but wherever /proc does

    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    (acknowledged,) = struct.unpack_from("=Q", info, _ACKNOWLEDGED_OFFSET)
    (waiting,) = struct.unpack("=i", fcntl.ioctl(connection.fileno(), _SIOCOUTQ, bytes(4)))
    return acknowledged, waiting
