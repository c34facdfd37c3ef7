"""The process that started us: viam-server, whose end is ours, however it comes.

It may die while we still start. Then our parent is already another process, of whose end we would hear too late or
never; but nobody reads our standard output any more, which viam-server does through a pipe.
"""

from __future__ import annotations

import asyncio
import os
import select
import stat
import sys

_STDOUT = 1
_POLL_S = 0.25


async def gone() -> None:
    """Returns when the process that started us is gone; at once when it was gone before this is called."""
    parent = os.getppid()
    handle = _handle_of(parent)
    if is_unread(_STDOUT):
        return
    if handle is not None:
        await _until_readable(handle)
        return
    while os.getppid() == parent:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(_POLL_S)


def is_unread(descriptor: int) -> bool:
    """Whether this is the end of a pipe that nobody reads at the other end."""
    try:
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            return False
    except OSError:  # it is closed
        return False
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _handle_of(pid: int) -> int | None:
    """A descriptor that is readable when that process ends; None where there is none, or no such process."""
    if sys.platform != "linux":
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:  # it is just gone, it lies outside of our container, or the kernel does not have this
        return None


async def _until_readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
